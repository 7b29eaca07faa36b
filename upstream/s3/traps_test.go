package s3

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"unistore/byterange"
	"unistore/upstream"
)

// The tests here are named after what loses data, or goes to another place, when the SDK is used as it comes.

// A body without a length that the SDK knows goes out with the length that is signed, not in chunks.
func TestTrapPipe(t *testing.T) {
	var got *http.Request
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"e"`)
	})
	pipe, feed := io.Pipe()
	go func() { _, _ = io.WriteString(feed, "0123456789"); _ = feed.Close() }()
	if _, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: pipe, Size: 10}); err != nil {
		t.Fatal(err)
	}
	if got.ContentLength != 10 || len(got.TransferEncoding) > 0 || got.Header.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" {
		t.Errorf("length %d, %v, %v", got.ContentLength, got.TransferEncoding, got.Header)
	}
	if _, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: struct{ io.Reader }{strings.NewReader("")}}); err != nil {
		t.Fatal(err)
	}
	if got.ContentLength != 0 || len(got.TransferEncoding) > 0 {
		t.Errorf("of an empty body: length %d, %v", got.ContentLength, got.TransferEncoding)
	}
}

// The SDK's own configuration adds checksums and trailers that other stores refuse.
func TestTrapChecksumsNobodyAskedFor(t *testing.T) {
	t.Setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
	t.Setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Checksum") || strings.HasPrefix(name, "X-Amz-Sdk-Checksum") || name == "X-Amz-Trailer" || name == "Content-Encoding" {
				t.Errorf("%s %s: %s: %q", r.Method, r.URL, name, r.Header[name])
			}
		}
		w.Header().Set("ETag", `"e"`)
	})
	if _, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1}); err != nil {
		t.Error(err)
	}
	up := upstream.Upload{Loc: loc, ID: "id"}
	if _, err := b.UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("x"), Size: 1}); err != nil {
		t.Error(err)
	}
	st, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Body.Close()
}

// The SDK repeats what fails, without a pause once its quota is used up.
func TestTrapRetries(t *testing.T) {
	var requests atomic.Int32
	var fail http.HandlerFunc
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		fail(w, r)
	})
	up := upstream.Upload{Loc: loc, ID: "id"}
	calls := map[string]func() error{
		"Stat":   func() error { _, err := b.Stat(t.Context(), loc, upstream.StatOptions{}); return err },
		"Open":   func() error { _, err := b.Open(t.Context(), loc, upstream.OpenOptions{}); return err },
		"Delete": func() error { return b.Delete(t.Context(), loc, upstream.DeleteOptions{}) },
		"List": func() error {
			_, err := b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1})
			return err
		},
		"Put": func() error {
			_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
			return err
		},
		"CreateUpload": func() error {
			_, err := b.CreateUpload(t.Context(), loc, upstream.CreateUploadRequest{})
			return err
		},
		"CompleteUpload": func() error {
			_, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{{Number: 1, ETag: "e"}}})
			return err
		},
	}
	for what, answer := range map[string]http.HandlerFunc{
		"500": s3Error(500, "InternalError").ServeHTTP, "503": s3Error(503, "SlowDown").ServeHTTP,
	} {
		fail = answer
		for op, call := range calls {
			requests.Store(0)
			if err := call(); err == nil || requests.Load() != 1 {
				t.Errorf("%s, %s: %d requests, %v", op, what, requests.Load(), err)
			}
		}
	}
}

// The source of a copy is a path in which the caller escapes everything; "+" is a space to servers, "?" begins a query.
func TestTrapCopySource(t *testing.T) {
	var got string
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			got = r.Header.Get("X-Amz-Copy-Source")
			_, _ = io.WriteString(w, `<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>`)
			return
		}
		w.Header().Set("ETag", `"e"`)
	})
	src := upstream.Loc{Bucket: "bucket", Key: "a b+c%2F/ü?versionId=x#&"}
	const want = "bucket/a%20b%2Bc%252F/%C3%BC%3FversionId%3Dx%23%26"
	if _, err := b.Copy(t.Context(), loc, upstream.CopyRequest{Source: src}); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	_, _ = b.CopyPart(t.Context(), upstream.Upload{Loc: loc, ID: "id"}, 1, upstream.CopyPartRequest{Source: src, SourceVersion: "v+1", Range: byterange.All()})
	if got != want+"?versionId=v%2B1" {
		t.Errorf("%q", got)
	}
}

// What is stored packed arrives as it is stored, with its length.
func TestTrapPackedObjects(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, strings.Repeat("words ", 1000))
	_ = z.Close()
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" && got != "" {
			t.Errorf("Accept-Encoding: %s", got)
		}
		answer{status: 200, header: map[string]string{"ETag": `"e"`, "Content-Encoding": "gzip"}, body: packed.String()}.ServeHTTP(w, r)
	})
	st, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	data, err := io.ReadAll(st.Body)
	if err != nil || !bytes.Equal(data, packed.Bytes()) || st.Attrs.Size != int64(packed.Len()) || st.Attrs.Headers.ContentEncoding != "gzip" {
		t.Errorf("%d bytes, %v, %+v; want %d", len(data), err, st.Attrs, packed.Len())
	}
}

// A proxy's page has no code, and says nothing about the object.
func TestTrapProxyPages(t *testing.T) {
	for status, want := range map[int]upstream.Code{
		502: upstream.Unavailable, 503: upstream.Unavailable, 504: upstream.Unavailable, 429: upstream.Throttled, 200: upstream.Unavailable,
	} {
		page := answer{status: status, header: map[string]string{"Content-Type": "text/html"}, body: "<html><body>Not a store</body></html>"}
		b := open(t, page.ServeHTTP)
		if status == 200 { // nothing at all is no listing either
			_, err := open(t, answer{status: 200}.ServeHTTP).List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1})
			wantCode(t, err, want)
		}
		_, err := b.List(t.Context(), upstream.ListRequest{Bucket: "bucket", MaxKeys: 1})
		wantCode(t, err, want)
		_, err = b.ListParts(t.Context(), upstream.Upload{Loc: loc, ID: "id"}, 0, 10)
		wantCode(t, err, want)
		_, err = b.ListUploads(t.Context(), upstream.ListUploadsRequest{Bucket: "bucket", MaxUploads: 10})
		wantCode(t, err, want)
		_, err = b.ListBuckets(t.Context())
		wantCode(t, err, want)
		_, err = b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
		wantCode(t, err, want)
	}
}

// The caller's list of parts is neither sorted nor sent in a wrong order, and no ETag of a client adds elements to it.
func TestTrapPartList(t *testing.T) {
	sent := ""
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		sent += string(data)
		s3Error(400, "InvalidPart").ServeHTTP(w, r)
	})
	up := upstream.Upload{Loc: loc, ID: "id"}
	backwards := []upstream.Part{{Number: 2, ETag: "b"}, {Number: 1, ETag: "a"}}
	_, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: backwards})
	wantCode(t, err, upstream.PartOrder)
	if backwards[0].Number != 2 || sent != "" {
		t.Errorf("the list is %+v, sent %q", backwards, sent)
	}
	evil := []upstream.Part{{Number: 1, ETag: "a</ETag></Part><Part><PartNumber>2</PartNumber><ETag>b"}}
	_, err = b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: evil})
	wantCode(t, err, upstream.InvalidPart)
	if strings.Count(sent, "<PartNumber>") > 1 {
		t.Errorf("sent %q", sent)
	}
}

// Proxies rewrite some headers that the SDK would sign.
func TestTrapSignedHeaders(t *testing.T) {
	var signed string
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		_, signed, _ = strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "0")
	})
	if _, err := b.Stat(t.Context(), loc, upstream.StatOptions{}); err != nil {
		t.Fatal(err)
	}
	signed, _, _ = strings.Cut(signed, ",")
	for name := range strings.SplitSeq(signed, ";") {
		if name == "accept-encoding" || name == "user-agent" || strings.HasPrefix(name, "amz-sdk") {
			t.Errorf("%s is signed: %s", name, signed)
		}
	}
}
