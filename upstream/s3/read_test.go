package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

// TestOpenChecksTheRange is about an object of ten bytes, "0123456789".
func TestOpenChecksTheRange(t *testing.T) {
	whole := answer{status: 200, body: "0123456789"}
	part := func(contentRange, body string) answer {
		return answer{status: 206, header: map[string]string{"Content-Range": contentRange}, body: body}
	}
	tests := []struct {
		name   string
		rng    byterange.Spec
		answer answer
		want   string
		code   upstream.Code
		fails  bool
	}{
		{name: "all", answer: whole, want: "0123456789"},
		{name: "all of nothing", answer: answer{status: 200}},
		{name: "closed", rng: byterange.Closed(2, 4), answer: part("bytes 2-4/10", "234"), want: "234"},
		{name: "closed, clamped", rng: byterange.Closed(8, 99), answer: part("bytes 8-9/10", "89"), want: "89"},
		{name: "open", rng: byterange.From(7), answer: part("bytes 7-9/10", "789"), want: "789"},
		{name: "suffix", rng: byterange.Suffix(3), answer: part("bytes 7-9/10", "789"), want: "789"},
		{name: "suffix longer than the object", rng: byterange.Suffix(99), answer: part("bytes 0-9/10", "0123456789"), want: "0123456789"},
		{name: "the whole for a part is cut", rng: byterange.Closed(2, 4), answer: whole, want: "234"},
		{name: "the whole for a suffix is cut", rng: byterange.Suffix(3), answer: whole, want: "789"},
		{name: "the whole for the whole as a range", rng: byterange.From(0), answer: whole, want: "0123456789"},
		{name: "the whole, but past its end", rng: byterange.From(10), answer: whole, code: upstream.RangeError, fails: true},
		{name: "a suffix of nothing, MinIO's way", rng: byterange.Suffix(3), answer: part("bytes 0--1/0", ""), code: upstream.RangeError, fails: true},
		{name: "a suffix of length nothing", rng: byterange.Suffix(0), answer: whole, code: upstream.RangeError, fails: true},
		{name: "416", rng: byterange.From(10), answer: s3Error(416, "InvalidRange"), code: upstream.RangeError, fails: true},
		{name: "shifted", rng: byterange.Closed(2, 4), answer: part("bytes 3-5/10", "345"), fails: true},
		{name: "shorter", rng: byterange.Closed(2, 4), answer: part("bytes 2-3/10", "23"), fails: true},
		{name: "longer", rng: byterange.Closed(2, 4), answer: part("bytes 2-5/10", "2345"), fails: true},
		{name: "a part for the whole", answer: part("bytes 0-4/10", "01234"), fails: true},
		{name: "206 without Content-Range", rng: byterange.Closed(2, 4), answer: answer{status: 206, body: "234"}, fails: true},
		{name: "of unknown size", rng: byterange.Closed(2, 4), answer: part("bytes 2-4/*", "234"), fails: true},
		{name: "past the size", rng: byterange.Closed(2, 4), answer: part("bytes 2-4/4", "234"), fails: true},
		{name: "with a sign", rng: byterange.Closed(2, 4), answer: part("bytes +2-4/10", "234"), fails: true},
		{name: "backwards", rng: byterange.Closed(2, 4), answer: part("bytes 4-2/10", "234"), fails: true},
		{name: "another length than it says", rng: byterange.Closed(2, 4), answer: part("bytes 2-4/10", "23456"), fails: true},
		{name: "multipart/byteranges", rng: byterange.Closed(2, 4), answer: answer{status: 206, header: map[string]string{"Content-Type": "multipart/byteranges; boundary=x"}, body: "--x--"}, fails: true},
		{name: "204", answer: answer{status: 204}, fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Range"); got != tt.rng.Header() {
					t.Errorf("Range: %q, want %q", got, tt.rng.Header())
				}
				w.Header().Set("ETag", `"e"`)
				tt.answer.ServeHTTP(w, r)
			})
			st, err := b.Open(t.Context(), loc, upstream.OpenOptions{Range: tt.rng})
			if tt.fails {
				wantCode(t, err, tt.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer st.Body.Close()
			got, err := io.ReadAll(st.Body)
			if err != nil || string(got) != tt.want || st.Range.Len != int64(len(tt.want)) {
				t.Errorf("read %q as %+v, %v; want %q", got, st.Range, err, tt.want)
			}
			if len(tt.answer.body) == 10 && st.Attrs.Size != 10 {
				t.Errorf("size %d, want the object's", st.Attrs.Size)
			}
		})
	}
}

func TestOpenRefusesToSkipALargeObject(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", strconv.Itoa((16<<20)+100))
		w.WriteHeader(http.StatusOK)
	})
	_, err := b.Open(t.Context(), loc, upstream.OpenOptions{Range: byterange.From((16 << 20) + 1)})
	wantCode(t, err, upstream.Unavailable)
}

func TestReadsWithoutETagOrLength(t *testing.T) {
	b := open(t, answer{status: 200, body: "x"}.ServeHTTP)
	_, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
	wantCode(t, err, upstream.Unavailable)
	_, err = b.Stat(t.Context(), loc, upstream.StatOptions{})
	wantCode(t, err, upstream.Unavailable)
	b = open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // chunked: no length
	})
	_, err = b.Open(t.Context(), loc, upstream.OpenOptions{})
	wantCode(t, err, upstream.Unavailable)
}

func TestBodyCutByTheNetwork(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "01234")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	st, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	got, err := io.ReadAll(st.Body)
	wantCode(t, err, upstream.Unavailable)
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "01234" {
		t.Errorf("read %q, %v", got, err)
	}
}

// A body without Content-Length, of another length than its Content-Range says.
func TestChunkedBodyOfWrongLength(t *testing.T) {
	for _, body := range []string{"01", "01234"} {
		b := open(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"e"`)
			w.Header().Set("Content-Range", "bytes 0-2/10")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, body)
		})
		st, err := b.Open(t.Context(), loc, upstream.OpenOptions{Range: byterange.Closed(0, 2)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(st.Body)
		wantCode(t, err, upstream.Unavailable)
		if len(got) > 3 {
			t.Errorf("delivered %q", got)
		}
		_ = st.Body.Close()
	}
}

func TestReadBodyLeavesTheConnectionUsable(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"e"`)
		answer{status: 200, body: strings.Repeat("x", 100_000)}.ServeHTTP(w, r)
	})
	var opened, reused atomic.Int64
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		opened.Add(1)
		if c.Reused {
			reused.Add(1)
		}
	}})
	for range 5 {
		st, err := b.Open(ctx, loc, upstream.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(st.Body, make([]byte, 100_000)); err != nil { // and no Read that finds the end
			t.Fatal(err)
		}
		if err := st.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if reused.Load() != opened.Load()-1 {
		t.Errorf("%d of %d connections were used again, want all but the first", reused.Load(), opened.Load())
	}
}

func TestConditionsAndVersionsOfReads(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status answer
		want   upstream.Code
	}{
		{"changed", s3Error(412, "PreconditionFailed"), upstream.Changed},
		{"not modified", answer{status: 304, header: map[string]string{"Content-Length": "0"}}, upstream.NotModified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("If-Match") != `"a-1"` || r.Header.Get("If-None-Match") != `"b"` || r.URL.Query().Get("versionId") != "v+1" {
					t.Errorf("sent %v %v", r.URL, r.Header)
				}
				if tt.status.status == 304 {
					w.WriteHeader(304)
					return
				}
				tt.status.ServeHTTP(w, r)
			})
			opts := upstream.OpenOptions{IfMatch: "a-1", IfNoneMatch: "b", StatOptions: upstream.StatOptions{VersionID: "v+1"}}
			_, err := b.Open(t.Context(), loc, opts)
			wantCode(t, err, tt.want)
		})
	}
}

func TestStatReadsEveryHeader(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Checksum-Mode") != "ENABLED" {
			t.Error("checksums are not asked for")
		}
		h := w.Header()
		for k, v := range map[string]string{
			"ETag": `"0123-2"`, "Content-Length": "42", "Content-Type": "text/plain", "Content-Encoding": "aws-chunked, gzip",
			"Content-Language": "de", "Content-Disposition": `attachment; filename="ü"`, "Cache-Control": "no-cache", "Expires": "0",
			"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "X-Amz-Meta-Name": "=?UTF-8?B?w7w=?=", "X-Amz-Meta-Empty": "",
			"X-Amz-Version-Id": "v1", "X-Amz-Storage-Class": "GLACIER", "X-Amz-Mp-Parts-Count": "2",
			"X-Amz-Checksum-Crc32": "AAAAAA==-2", "X-Amz-Checksum-Type": "COMPOSITE",
		} {
			h.Set(k, v)
		}
	})
	got, err := b.Stat(t.Context(), loc, upstream.StatOptions{Checksums: true})
	if err != nil {
		t.Fatal(err)
	}
	want := object.Headers{
		ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", CacheControl: "no-cache",
		ContentDisposition: `attachment; filename="ü"`, Expires: "0", User: map[string]string{"name": "=?UTF-8?B?w7w=?=", "empty": ""},
	}
	if diff := diffHeaders(got.Headers, want); diff != "" {
		t.Error(diff)
	}
	if got.ETag != "0123-2" || got.Size != 42 || got.VersionID != "v1" || got.StorageClass != "GLACIER" || got.PartsCount != 2 ||
		got.ModTime.Unix() != 1445412480 || !got.HeadersKnown {
		t.Errorf("attributes %+v", got)
	}
	if len(got.Checksums) != 1 || got.Checksums[0] != (object.Checksum{Algorithm: "CRC32", Value: "AAAAAA==-2", Type: "COMPOSITE"}) {
		t.Errorf("checksums %+v", got.Checksums)
	}
}

func TestHangingServerIsLeft(t *testing.T) {
	entered := make(chan struct{}, 8)
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client leaves
		entered <- struct{}{}
		<-r.Context().Done()
	})
	for name, call := range map[string]func(context.Context) error{
		"Stat": func(ctx context.Context) error { _, err := b.Stat(ctx, loc, upstream.StatOptions{}); return err },
		"Open": func(ctx context.Context) error { _, err := b.Open(ctx, loc, upstream.OpenOptions{}); return err },
		"List": func(ctx context.Context) error {
			_, err := b.List(ctx, upstream.ListRequest{Bucket: "bucket", MaxKeys: 1})
			return err
		},
		"Put": func(ctx context.Context) error {
			_, err := b.Put(ctx, loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error)
			go func() { done <- call(ctx) }()
			<-entered
			cancel()
			wantCode(t, <-done, upstream.Cancelled)
		})
	}
}

// MinIO says nothing of bytes in its answer to a request for the first part of an empty object.
func TestFirstPartOfAnEmptyObject(t *testing.T) {
	for etag, ok := range map[string]bool{`"d41d8cd98f00b204e9800998ecf8427e"`: true, `"d41d8cd98f00b204e9800998ecf8427f"`: false} {
		b := open(t, answer{status: http.StatusPartialContent, header: map[string]string{"ETag": etag}}.ServeHTTP)
		st, err := b.Open(t.Context(), loc, upstream.OpenOptions{StatOptions: upstream.StatOptions{PartNumber: 1}})
		if !ok {
			wantCode(t, err, upstream.Unavailable)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(st.Body); err != nil || len(data) != 0 || st.Range.Len != 0 || st.Attrs.Size != 0 {
			t.Errorf("%q, %v, %+v", data, err, st)
		}
		if err := st.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
