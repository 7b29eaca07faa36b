package upstreamtest

import (
	"cmp"
	"slices"

	"unistore/upstream"
)

func uploadListCases() []testCase {
	all := []testCase{
		{name: "list parts/none, some, paging", run: listParts},
		{name: "list uploads/empty", run: func(e *env) {
			page, err := e.multiparter().ListUploads(e.ctx, upstream.ListUploadsRequest{Bucket: e.bucket, MaxUploads: 1000})
			if err != nil || len(page.Uploads) != 0 || page.More {
				e.Errorf("ListUploads = %+v, %v", page, err)
			}
		}},
		{name: "list uploads/all, in order", run: func(e *env) {
			e.wantUploads(e.startUploads(), upstream.ListUploadsRequest{MaxUploads: 1000})
		}},
		{name: "list uploads/every page size", run: func(e *env) {
			want := e.startUploads()
			for n := 1; n <= len(want)+1; n++ {
				e.wantUploads(want, upstream.ListUploadsRequest{MaxUploads: n})
			}
		}},
		{name: "list uploads/prefix", run: func(e *env) {
			e.wantUploads(e.startUploads()[1:4], upstream.ListUploadsRequest{Prefix: "b", MaxUploads: 2})
		}},
		{name: "list uploads/delimiter", run: listUploadsDelimiter},
		{name: "list uploads/completed and aborted are gone", run: func(e *env) {
			one := e.createUpload("a", upstream.CreateUploadRequest{})
			two := e.createUpload("b", upstream.CreateUploadRequest{})
			left := e.createUpload("c", upstream.CreateUploadRequest{})
			e.complete(one, upstream.CompleteRequest{Parts: []upstream.Part{e.part(one, 1, []byte("x"))}})
			if err := e.multiparter().AbortUpload(e.ctx, two); err != nil {
				e.Fatal(err)
			}
			e.wantUploads([]upstream.Upload{left}, upstream.ListUploadsRequest{MaxUploads: 1000})
		}},
		{name: "list uploads/missing bucket", needs: buckets, run: func(e *env) {
			req := upstream.ListUploadsRequest{Bucket: e.bucketName(), MaxUploads: 10}
			_, err := e.multiparter().ListUploads(e.ctx, req)
			e.wantCode(err, upstream.NoBucket)
		}},
	}
	for i := range all {
		all[i].needs |= multipart
	}
	return all
}

func listParts(e *env) {
	m := e.multiparter()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	page, err := m.ListParts(e.ctx, up, 0, 10)
	if err != nil || len(page.Parts) != 0 || page.More {
		e.Fatalf("ListParts of no parts = %+v, %v", page, err)
	}
	want := map[int]upstream.Part{}
	for i, n := range []int{7, 1, 30, 2, 11} {
		want[n] = e.part(up, n, e.data(10+i))
	}
	order := []int{1, 2, 7, 11, 30}
	for limit := 1; limit <= 6; limit++ {
		var got []int
		for after, more := 0, true; more; {
			page, err := m.ListParts(e.ctx, up, after, limit)
			if err != nil || len(page.Parts) > limit || (page.More && len(page.Parts) == 0) {
				e.Fatalf("ListParts after %d, at most %d = %+v, %v", after, limit, page, err)
			}
			for _, p := range page.Parts {
				if w := want[p.Number]; p.ETag != w.ETag || p.Size != w.Size || p.ModTime.IsZero() {
					e.Errorf("ListParts has %+v, UploadPart said %+v", p, w)
				}
				got, after = append(got, p.Number), p.Number
			}
			more = page.More
		}
		if !slices.Equal(got, order) {
			e.Errorf("at most %d: parts %v, want %v", limit, got, order)
		}
	}
}

// startUploads starts some uploads, two of them of one key, and returns them in the order of a listing.
func (e *env) startUploads() []upstream.Upload {
	e.Helper()
	var ups []upstream.Upload
	for _, key := range []string{"a", "b/1", "b/2", "b/2", "c"} {
		ups = append(ups, e.createUpload(key, upstream.CreateUploadRequest{}))
	}
	return ups
}

// wantUploads follows the pages of req. Uploads of one key that start at the same moment may come in
// either order.
func (e *env) wantUploads(want []upstream.Upload, req upstream.ListUploadsRequest) {
	e.Helper()
	req.Bucket = e.bucket
	var got []upstream.Upload
	for range 100 {
		page, err := e.multiparter().ListUploads(e.ctx, req)
		if err != nil || len(page.Uploads) > req.MaxUploads {
			e.Fatalf("ListUploads %+v = %+v, %v", req, page, err)
		}
		for _, u := range page.Uploads {
			if u.Started.IsZero() {
				e.Errorf("upload %+v has no start", u)
			}
			got = append(got, upstream.Upload{Loc: e.loc(u.Key), ID: u.ID})
		}
		if !page.More {
			break
		}
		req.KeyMarker, req.UploadIDMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
	byKey := func(a, b upstream.Upload) int { return cmp.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(got, byKey) {
		e.Errorf("uploads are not in order: %+v", got)
	}
	byID := func(a, b upstream.Upload) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) }
	if !slices.Equal(slices.SortedFunc(slices.Values(got), byID), slices.SortedFunc(slices.Values(want), byID)) {
		e.Errorf("ListUploads %+v:\n got %+v\nwant %+v", req, got, want)
	}
}

func listUploadsDelimiter(e *env) {
	e.startUploads()
	req := upstream.ListUploadsRequest{Bucket: e.bucket, Delimiter: "/", MaxUploads: 1000}
	page, err := e.multiparter().ListUploads(e.ctx, req)
	if err != nil || len(page.Uploads) != 2 || !slices.Equal(page.Prefixes, []string{"b/"}) {
		e.Errorf("ListUploads = %+v, %v", page, err)
	}
}
