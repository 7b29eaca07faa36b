package wiretest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"unistore/byterange"
	"unistore/upstream"
)

// runServers are the cases against servers that are no stores.
func runServers(t *testing.T, h Harness) {
	for name, run := range map[string]func(*testing.T, Harness){
		"the whole object where a range was asked for": wholeObject,
		"another range than was asked for":             otherRange,
		"redirects are not followed":                   redirects,
		"other documents are no answers":               otherDocuments,
		"documents have a limit":                       longDocuments,
		"a version that the store does not know":       nullVersions,
		"pages of proxies are not taken for a store's": proxyPages,
		"every body has a length":                      lengths,
		"an early refusal of a body":                   earlyRefusal,
		"TLS is verified":                              tlsVerified,
	} {
		t.Run(name, func(t *testing.T) { run(t, h) })
	}
}

func loc(h Harness) upstream.Loc { return upstream.Loc{Bucket: h.Bucket, Key: "k"} }

func wholeObject(t *testing.T, h Harness) {
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		_, _ = io.WriteString(w, "0123456789")
	})
	for spec, wanted := range map[byterange.Spec]string{
		byterange.Closed(3, 3): "3", byterange.Closed(3, 5): "345", byterange.From(8): "89", byterange.Suffix(1): "9", byterange.Closed(5, 100): "56789",
	} {
		st, err := b.Open(t.Context(), loc(h), upstream.OpenOptions{Range: spec})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(st.Body)
		if string(got) != wanted || err != nil || st.Range.Len != int64(len(wanted)) || st.Attrs.Size != 10 {
			t.Errorf("%s: %q, %v, %+v", spec.Header(), got, err, st.Range)
		}
		_ = st.Body.Close()
	}
	_, err := b.Open(t.Context(), loc(h), upstream.OpenOptions{Range: byterange.From(10)})
	want(t, "behind the end", err, upstream.RangeError)
}

func otherRange(t *testing.T, h Harness) {
	var reply string
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Range", reply)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "345")
	})
	for _, reply = range []string{"bytes 2-4/10", "bytes 3-5/5", "bytes 3-6/10", "bytes 3-5/*", "", "items 3-5/10", "bytes 5-3/10"} {
		_, err := b.Open(t.Context(), loc(h), upstream.OpenOptions{Range: byterange.Closed(3, 5)})
		want(t, reply, err, upstream.Unavailable)
	}
}

func redirects(t *testing.T, h Harness) {
	var mu sync.Mutex
	var paths []string
	b := serve(t, h, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
		w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	_, err := b.Open(t.Context(), loc(h), upstream.OpenOptions{})
	want(t, "Open", err, upstream.Access)
	_, err = b.Put(t.Context(), loc(h), request("x"))
	want(t, "Put", err, upstream.Access)
	if len(paths) != 2 || strings.Contains(strings.Join(paths, ""), "elsewhere") {
		t.Errorf("asked for %q", paths)
	}
}

func proxyPages(t *testing.T, h Harness) {
	var status int
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body>Not a store</body></html>")
	})
	for code, wanted := range map[int]upstream.Code{
		502: upstream.Unavailable, 503: upstream.Unavailable, 504: upstream.Unavailable, 404: upstream.Unavailable,
		403: upstream.Access, 429: upstream.Throttled, 400: upstream.Invalid, 200: upstream.Unavailable,
	} {
		status = code
		_, err := b.List(t.Context(), upstream.ListRequest{Bucket: h.Bucket, MaxKeys: 1})
		want(t, strconv.Itoa(code), err, wanted)
		_, err = b.Put(t.Context(), loc(h), request("x"))
		want(t, "Put "+strconv.Itoa(code), err, wanted)
	}
}

func lengths(t *testing.T, h Harness) {
	b := serve(t, h, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPut && (r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0) {
			t.Errorf("%d bytes came with length %d, %q", len(body), r.ContentLength, r.TransferEncoding)
		}
		w.Header().Set("ETag", `"e"`)
	})
	up := upstream.Upload{Loc: loc(h), ID: "upload1"}
	for _, data := range []string{"", "x", strings.Repeat("x", 100_000)} {
		hidden := func() io.Reader { return struct{ io.Reader }{strings.NewReader(data)} }
		if _, err := b.Put(t.Context(), loc(h), upstream.PutRequest{Body: hidden(), Size: int64(len(data))}); err != nil {
			t.Error(err)
		}
		if _, err := b.(upstream.Multiparter).UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: hidden(), Size: int64(len(data))}); err != nil {
			t.Error(err)
		}
	}
}

func earlyRefusal(t *testing.T, h Harness) {
	b := serve(t, h, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
	})
	body := strings.NewReader(strings.Repeat("x", 8<<20))
	_, err := b.Put(t.Context(), loc(h), upstream.PutRequest{Body: body, Size: body.Size()})
	// The answer, or the reset of the connection that may overtake it.
	if !errors.Is(err, upstream.Access) && !errors.Is(err, upstream.Unavailable) {
		t.Errorf("%v", err)
	}
	done := serve(t, h, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("ETag", `"e"`) })
	body = strings.NewReader(strings.Repeat("x", 64<<20))
	_, err = done.Put(t.Context(), loc(h), upstream.PutRequest{Body: body, Size: body.Size()})
	want(t, "success before the end of the body", err, upstream.Unavailable)
}

func tlsVerified(t *testing.T, h Harness) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came through") }))
	defer srv.Close()
	b := h.Open(t, h.endpoint("https", srv.Listener.Addr().String()), accessKey, secretKey, io.Discard)
	defer b.Close()
	_, err := b.Open(t.Context(), loc(h), upstream.OpenOptions{})
	if got := want(t, "Open", err, upstream.Unavailable); !got.Unsent || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%+v", got)
	}
}
