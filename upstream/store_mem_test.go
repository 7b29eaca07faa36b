package upstream_test

import (
	"bytes"
	"io"
	"testing"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/mem"
)

// noCopier hides the abilities that a Store replaces.
type noCopier struct {
	upstream.Backend
	upstream.Bucketer
	upstream.Multiparter
}

func newMemStore(t *testing.T) *upstream.Store {
	t.Helper()
	b := mem.New(mem.Config{})
	s := upstream.NewStore("mem", noCopier{b, b, b}, upstream.StoreConfig{MaxConnections: 1}) // one: a copy must not need two
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, s *upstream.Store, loc upstream.Loc) (object.Attrs, string) {
	t.Helper()
	st, err := s.Open(t.Context(), loc, upstream.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(st.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return st.Attrs, string(data)
}

func TestCopyThrough(t *testing.T) {
	s := newMemStore(t)
	ctx := t.Context()
	src, dst := upstream.Loc{Bucket: "bucket", Key: "src"}, upstream.Loc{Bucket: "bucket", Key: "dst"}
	put, err := s.Put(ctx, src, upstream.PutRequest{
		Body: bytes.NewReader([]byte("0123456789")), Size: 10, Headers: object.Headers{ContentType: "text/plain"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(ctx, dst, upstream.CopyRequest{Source: src, SourceIfMatch: put.ETag}); err != nil {
		t.Fatal(err)
	}
	if attrs, data := read(t, s, dst); data != "0123456789" || attrs.Headers.ContentType != "text/plain" {
		t.Errorf("the copy is %q of type %q", data, attrs.Headers.ContentType)
	}
	replace := upstream.CopyRequest{Source: src, Replace: true, Headers: object.Headers{ContentType: "image/png"}}
	if _, err := s.Copy(ctx, src, replace); err != nil { // onto itself
		t.Fatal(err)
	}
	if attrs, data := read(t, s, src); data != "0123456789" || attrs.Headers.ContentType != "image/png" {
		t.Errorf("the object copied onto itself is %q of type %q", data, attrs.Headers.ContentType)
	}
	_, err = s.Copy(ctx, dst, upstream.CopyRequest{Source: src, SourceIfMatch: "other"})
	wantCode(t, err, upstream.Changed)
	_, err = s.Copy(ctx, dst, upstream.CopyRequest{Source: src, IfNoneMatch: true})
	wantCode(t, err, upstream.Changed)
	_, err = s.Copy(ctx, dst, upstream.CopyRequest{Source: upstream.Loc{Bucket: "bucket", Key: "missing"}})
	wantCode(t, err, upstream.NotExist)
}

func TestCopyPartThrough(t *testing.T) {
	s := newMemStore(t)
	ctx := t.Context()
	src, dst := upstream.Loc{Bucket: "bucket", Key: "src"}, upstream.Loc{Bucket: "bucket", Key: "dst"}
	if _, err := s.Put(ctx, src, upstream.PutRequest{Body: bytes.NewReader([]byte("0123456789")), Size: 10}); err != nil {
		t.Fatal(err)
	}
	id, err := s.CreateUpload(ctx, dst, upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: dst, ID: id}
	_, err = s.CopyPart(ctx, up, 1, upstream.CopyPartRequest{Source: src, Range: byterange.Closed(5, 10)})
	wantCode(t, err, upstream.RangeError) // unlike a read's, this range is not clamped
	part, err := s.CopyPart(ctx, up, 1, upstream.CopyPartRequest{Source: src, Range: byterange.Closed(2, 5)})
	if err != nil || part.Size != 4 {
		t.Fatalf("CopyPart = %+v, %v", part, err)
	}
	if _, err := s.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{part}}); err != nil {
		t.Fatal(err)
	}
	if _, data := read(t, s, dst); data != "2345" {
		t.Errorf("the object of the copied part is %q", data)
	}
}

func wantCode(t *testing.T, err error, want upstream.Code) {
	t.Helper()
	if err == nil || upstream.CodeOf(err) != want {
		t.Errorf("error %v, want %v", err, want)
	}
}
