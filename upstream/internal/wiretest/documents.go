package wiretest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"unistore/upstream"
	"unistore/upstream/emulator"
	"unistore/upstream/internal/wire"
)

// otherDocuments: what something in between says, under 200, is neither an answer nor a deletion. SDKs take it for a
// document in which everything is missing.
func otherDocuments(t *testing.T, h Harness) {
	page := ""
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })
	m, c, bucketer := b.(upstream.Multiparter), b.(upstream.Copier), b.(upstream.Bucketer)
	ctx, up := t.Context(), upstream.Upload{Loc: loc(h), ID: "0123"}
	for _, page = range []string{"", "<html><body>log in</body></html>", "<?xml version='1.0'?><Other/>"} {
		errs := map[string]error{
			"Delete": b.Delete(ctx, loc(h), upstream.DeleteOptions{}), "DeleteBucket": bucketer.DeleteBucket(ctx, h.Bucket), "AbortUpload": m.AbortUpload(ctx, up),
		}
		_, errs["List"] = b.List(ctx, upstream.ListRequest{Bucket: h.Bucket, MaxKeys: 1})
		_, errs["ListBuckets"] = bucketer.ListBuckets(ctx)
		if h.Dialect == emulator.OSS { // the others have HEAD for it, whose answer has no document
			_, errs["StatBucket"] = bucketer.StatBucket(ctx, h.Bucket)
		}
		_, errs["CreateUpload"] = m.CreateUpload(ctx, loc(h), upstream.CreateUploadRequest{})
		_, errs["ListParts"] = m.ListParts(ctx, up, 0, 1)
		_, errs["ListUploads"] = m.ListUploads(ctx, upstream.ListUploadsRequest{Bucket: h.Bucket, MaxUploads: 1})
		_, errs["CompleteUpload"] = m.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{{Number: 1, ETag: "a"}}})
		_, errs["Copy"] = c.Copy(ctx, loc(h), upstream.CopyRequest{Source: upstream.Loc{Bucket: h.Bucket, Key: "src"}})
		_, errs["DeleteBatch"] = b.(upstream.BatchDeleter).DeleteBatch(ctx, h.Bucket, []string{"a"})
		_, errs["Stat"] = b.Stat(ctx, loc(h), upstream.StatOptions{})
		_, errs["Open"] = b.Open(ctx, loc(h), upstream.OpenOptions{})
		_, errs["Put"] = b.Put(ctx, loc(h), request("x"))
		for call, err := range errs {
			if err == nil || upstream.CodeOf(err) != upstream.Unavailable {
				t.Errorf("%s, %q: %v", call, page, err)
			}
		}
	}
}

// longDocuments: no more of a listing is read than a listing can have.
func longDocuments(t *testing.T, h Harness) {
	filler := strings.Repeat(" ", 1<<20)
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<ListBucketResult>")
		for n := 0; n <= wire.MaxDocument; n += len(filler) {
			_, _ = io.WriteString(w, filler)
		}
		_, _ = io.WriteString(w, "</ListBucketResult>")
	})
	_, err := b.List(t.Context(), upstream.ListRequest{Bucket: h.Bucket, MaxKeys: 1})
	want(t, "List", err, upstream.Unavailable)
}

// nullVersions: where a store does not know the version "null", which an object without versions has, nothing may be
// deleted or read in its place unless there are no versions.
func nullVersions(t *testing.T, h Harness) {
	for name, c := range map[string]struct {
		versioning string // the answer to the question whether the bucket has versions
		current    string // the version that the object has
		only       bool   // the object may stand for its version "null"
	}{
		"no versions":     {versioning: "<VersioningConfiguration/>", only: true},
		"versions":        {versioning: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", current: "7"},
		"versions before": {versioning: "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>", current: "7"},
		"not known":       {current: "7"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			deleted := 0
			b := serve(t, h, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				switch q := r.URL.Query(); {
				case q.Has("versioning"):
					_, _ = io.WriteString(w, c.versioning)
				case q.Has("versionId"):
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, "<Error><Code>InvalidArgument</Code></Error>")
				case r.Method == http.MethodDelete:
					deleted++
					w.WriteHeader(http.StatusNoContent)
				default:
					w.Header().Set("ETag", `"e"`)
					w.Header().Set("Content-Length", "1")
					if c.current != "" {
						w.Header().Set("X-Cos-Version-Id", c.current)
						w.Header().Set("X-Obs-Version-Id", c.current)
					}
					_, _ = io.WriteString(w, "x")
				}
			})
			del := b.Delete(t.Context(), loc(h), upstream.DeleteOptions{VersionID: "null"})
			_, stat := b.Stat(t.Context(), loc(h), upstream.StatOptions{VersionID: "null"})
			st, open := b.Open(t.Context(), loc(h), upstream.OpenOptions{StatOptions: upstream.StatOptions{VersionID: "null"}})
			if open == nil {
				_ = st.Body.Close()
			}
			only := c.only && h.Dialect != emulator.OSS // whose driver asks for nothing else
			mu.Lock()
			defer mu.Unlock()
			if (del == nil) != only || (deleted == 1) != only || deleted > 1 || (stat == nil) != only || (open == nil) != only {
				t.Errorf("%d deletions; Delete: %v, Stat: %v, Open: %v", deleted, del, stat, open)
			}
		})
	}
}
