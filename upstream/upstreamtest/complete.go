package upstreamtest

import (
	"sync"

	"unistore/upstream"
)

func completeCases() []testCase {
	all := []testCase{
		{name: "complete/wrong order", run: func(e *env) { completeWrong(e, upstream.PartOrder, 2, 1) }},
		{name: "complete/a part twice", run: func(e *env) { completeWrong(e, upstream.PartOrder, 1, 1) }},
		{name: "complete/a part that is not there", run: func(e *env) { completeWrong(e, upstream.InvalidPart, 1, 2, 5) }},
		{name: "complete/wrong etag", run: completeWrongETag},
		{name: "complete/a part too small", run: completeTooSmall},
		{name: "complete/twice", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			req := upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 1, []byte("x"))}}
			e.complete(up, req)
			e.completeFails(up, req, upstream.NoUpload)
			e.wantContent("k", []byte("x"))
		}},
		{name: "complete/at once, one wins", run: completeRace},
		{name: "complete/without parts", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			e.part(up, 1, []byte("x"))
			e.completeFails(up, upstream.CompleteRequest{}, upstream.Invalid, upstream.InvalidPart)
			e.wantAbsent("k")
		}},
		{name: "complete/if-none-match of an existing key", needs: createOnly, run: completeExisting},
		{name: "complete/if-none-match of a new key", needs: createOnly, run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			part := e.part(up, 1, []byte("x"))
			e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{part}, IfNoneMatch: true})
			e.wantContent("k", []byte("x"))
		}},
		{name: "complete/if-none-match, 8 racers, one wins", needs: createOnly, run: completeRacers},
		{name: "complete/if-match", needs: replaceOnly, run: completeIfMatch},
		{name: "upload/abort", run: abort},
		{name: "upload/abort twice", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			if err := e.multiparter().AbortUpload(e.ctx, up); err != nil {
				e.Fatal(err)
			}
			e.wantCode(e.multiparter().AbortUpload(e.ctx, up), upstream.NoUpload)
		}},
		{name: "upload/unknown id", run: unknownUpload},
		{name: "upload/id of another key", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			up.Key = "other"
			_, err := e.multiparter().UploadPart(e.ctx, up, 1, partRequest([]byte("x")))
			e.wantCode(err, upstream.NoUpload)
		}},
		{name: "upload/missing bucket", needs: buckets, run: func(e *env) {
			loc := upstream.Loc{Bucket: e.bucketName(), Key: "k"}
			_, err := e.multiparter().CreateUpload(e.ctx, loc, upstream.CreateUploadRequest{})
			e.wantCode(err, upstream.NoBucket)
		}},
	}
	for i := range all {
		all[i].needs |= multipart
	}
	return all
}

// completeWrong completes with parts 1 and 2 uploaded and a list that must fail, then with the right one.
func completeWrong(e *env, code upstream.Code, numbers ...int) {
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{1: e.partSize(), 2: 10}, 1, 2)
	parts[5] = parts[2]
	_, list := pick(data, parts, numbers...)
	e.completeFails(up, upstream.CompleteRequest{Parts: list}, code)
	e.wantAbsent("k")
	whole, list := pick(data, parts, 1, 2)
	e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: list}), whole, list)
}

func completeWrongETag(e *env) {
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	part := e.part(up, 1, []byte("x"))
	for _, etag := range []string{md5Of([]byte("y")), part.ETag + "-1", "", "../../x", "<ETag>"} {
		req := upstream.CompleteRequest{Parts: []upstream.Part{{Number: 1, ETag: etag}}}
		e.completeFails(up, req, upstream.InvalidPart, upstream.Invalid)
	}
	e.wantAbsent("k")
	e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	e.wantContent("k", []byte("x"))
}

func completeTooSmall(e *env) {
	minPart := int(e.b.Limits().MinPart)
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{1: max(minPart-1, 10), 2: 10}, 1, 2)
	whole, list := pick(data, parts, 1, 2)
	if minPart <= 1 { // then it is none
		e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: list}), whole, list)
		return
	}
	e.completeFails(up, upstream.CompleteRequest{Parts: list}, upstream.TooSmall)
	e.wantAbsent("k")
}

func completeRace(e *env) {
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data := e.data(200_000)
	req := upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 1, data)}}
	var wg sync.WaitGroup
	var errs [4]error
	for i := range errs {
		wg.Go(func() { _, errs[i] = e.multiparter().CompleteUpload(e.ctx, up, req) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		e.wantCode(err, upstream.NoUpload, upstream.Conflict)
	}
	if won == 0 {
		e.Errorf("nobody won: %v", errs)
	}
	e.wantContent("k", data)
}

func completeExisting(e *env) {
	e.put("k", []byte("old"))
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	part := e.part(up, 1, []byte("new"))
	e.completeFails(up, upstream.CompleteRequest{Parts: []upstream.Part{part}, IfNoneMatch: true}, upstream.Changed)
	e.wantContent("k", []byte("old"))
}

// completeRacers lets 8 uploads of a new key end at once: one becomes the object, the others leave it alone.
func completeRacers(e *env) {
	const n = 8
	var (
		ups    [n]upstream.Upload
		parts  [n]upstream.Part
		bodies [n][]byte
		errs   [n]error
		start  = make(chan struct{})
		wg     sync.WaitGroup
	)
	for i := range n {
		ups[i], bodies[i] = e.createUpload("dir/k", upstream.CreateUploadRequest{}), e.data(1000+i)
		parts[i] = e.part(ups[i], 1, bodies[i])
	}
	for i := range n {
		wg.Go(func() {
			<-start
			_, errs[i] = e.multiparter().CompleteUpload(e.ctx, ups[i], upstream.CompleteRequest{Parts: parts[i : i+1], IfNoneMatch: true})
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil:
			e.wantCode(err, upstream.Changed, upstream.Conflict)
		case winner >= 0:
			e.Fatalf("uploads %d and %d both won", winner, i)
		default:
			winner = i
		}
	}
	if winner < 0 {
		e.Fatal("nobody won")
	}
	e.wantContent("dir/k", bodies[winner])
}

func completeIfMatch(e *env) {
	first := e.put("k", []byte("1"))
	second := e.put("k", []byte("2"))
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	list := []upstream.Part{e.part(up, 1, []byte("3"))}
	e.completeFails(up, upstream.CompleteRequest{Parts: list, IfMatch: first.ETag}, upstream.Changed)
	e.wantContent("k", []byte("2"))
	e.complete(up, upstream.CompleteRequest{Parts: list, IfMatch: second.ETag})
	e.wantContent("k", []byte("3"))
}

func abort(e *env) {
	m := e.multiparter()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	part := e.part(up, 1, []byte("x"))
	if err := m.AbortUpload(e.ctx, up); err != nil {
		e.Fatal(err)
	}
	e.wantNoUpload(up, part)
	e.wantAbsent("k")
}

// wantNoUpload checks that nothing can be done with an upload.
func (e *env) wantNoUpload(up upstream.Upload, part upstream.Part) {
	e.Helper()
	m := e.multiparter()
	_, err := m.UploadPart(e.ctx, up, 2, partRequest([]byte("y")))
	e.wantCode(err, upstream.NoUpload)
	e.completeFails(up, upstream.CompleteRequest{Parts: []upstream.Part{part}}, upstream.NoUpload)
	_, err = m.ListParts(e.ctx, up, 0, 10)
	e.wantCode(err, upstream.NoUpload)
	e.wantCode(m.AbortUpload(e.ctx, up), upstream.NoUpload)
}

func unknownUpload(e *env) {
	part := upstream.Part{Number: 1, ETag: md5Of(nil)}
	existing := e.createUpload("k", upstream.CreateUploadRequest{})
	for _, id := range []string{"unknown", "../../x", "a/b", ".", "%00", existing.ID + "0", existing.ID[1:]} {
		e.wantNoUpload(upstream.Upload{Loc: e.loc("k"), ID: id}, part)
	}
	e.part(existing, 1, []byte("still there"))
}
