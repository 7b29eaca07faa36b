package s3

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"unistore/checksum"
	"unistore/object"
	"unistore/upstream"
)

func TestPutSendsEverythingVerbatim(t *testing.T) {
	var got *http.Request
	var body string
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got, body = r, string(data)
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("X-Amz-Version-Id", "v2")
	})
	attrs, err := b.Put(t.Context(), upstream.Loc{Bucket: "bucket", Key: "a b+c%2F/ü?#"}, upstream.PutRequest{
		Body: strings.NewReader("hello"), Size: 5,
		Headers: object.Headers{
			ContentType: "text/x", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "inline", CacheControl: "no-store",
			Expires: "0", User: map[string]string{"name": "Grüße", "empty": ""},
		},
		Checksum: &object.Checksum{Algorithm: "CRC32C", Value: "yZRlqg=="}, MD5: "bWQ1", IfNoneMatch: true, StorageClass: "STANDARD_IA",
	})
	if err != nil {
		t.Fatal(err)
	}
	if attrs.Size != 5 || attrs.ETag != "e" || attrs.VersionID != "v2" {
		t.Errorf("attributes %+v", attrs)
	}
	if body != "hello" || got.ContentLength != 5 || len(got.TransferEncoding) > 0 {
		t.Errorf("body %q, length %d, %v", body, got.ContentLength, got.TransferEncoding)
	}
	if want := "/bucket/a%20b%2Bc%252F/%C3%BC%3F%23"; got.URL.EscapedPath() != want {
		t.Errorf("path %q, want %q", got.URL.EscapedPath(), want)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/x", "Content-Encoding": "gzip", "Content-Language": "de", "Content-Disposition": "inline",
		"Cache-Control": "no-store", "Expires": "0", "X-Amz-Meta-Name": "Grüße", "X-Amz-Meta-Empty": "",
		"X-Amz-Checksum-Crc32c": "yZRlqg==", "Content-Md5": "bWQ1", "If-None-Match": "*", "X-Amz-Storage-Class": "STANDARD_IA",
		"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
	} {
		if values, ok := got.Header[name]; !ok || len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
		if name != "X-Amz-Content-Sha256" && !strings.Contains(got.Header.Get("Authorization"), strings.ToLower(name)) {
			t.Errorf("%s is not signed", name)
		}
	}
}

func TestPutOfABadBody(t *testing.T) {
	var stored atomic.Bool
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil && n == r.ContentLength {
			stored.Store(true)
		}
		w.Header().Set("ETag", `"e"`)
	})
	own := errors.New("the client's own error")
	for _, tt := range []struct {
		name string
		body string
		ends error // after body; nil: io.EOF
		size int64
		want upstream.Code
	}{
		{"ends early", "01234", nil, 10, upstream.TooShort},
		{"is too long", "0123456789x", nil, 10, upstream.Invalid},
		{"fails after its last byte", "0123456789", own, 10, upstream.TooShort},
		{"empty, fails", "", own, 0, upstream.TooShort},
		{"empty, is too long", "x", nil, 0, upstream.Invalid},
	} {
		for name, framing := range map[string]int32{"plain": framingNone, "framed": framingWorks} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				b.frames.Store(framing)
				body := io.Reader(strings.NewReader(tt.body))
				if tt.ends != nil {
					body = io.MultiReader(body, iotest.ErrReader(tt.ends))
				}
				_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: body, Size: tt.size})
				wantCode(t, err, tt.want)
				if errors.Is(err, own) != (tt.ends != nil) {
					t.Errorf("error %v", err)
				}
				if stored.Load() {
					t.Error("the server had a whole body")
				}
			})
		}
	}
}

func TestBlockedBody(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	s := upstream.NewStore("test", b, upstream.StoreConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	entered := make(chan struct{})
	body := io.MultiReader(strings.NewReader("0"), readerFunc(func([]byte) (int, error) {
		close(entered)
		<-ctx.Done()
		return 0, ctx.Err()
	}))
	done := make(chan error)
	go func() {
		_, err := s.Put(ctx, loc, upstream.PutRequest{Body: body, Size: 10})
		done <- err
	}()
	<-entered
	cancel()
	wantCode(t, <-done, upstream.Cancelled)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The server's answer comes before the body: the error is the server's, and the body stays.
func TestEarlyRefusal(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		s3Error(412, "PreconditionFailed").ServeHTTP(w, r)
	})
	body := bytes.NewReader(make([]byte, 10<<20))
	_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: body, Size: 10 << 20, IfNoneMatch: true})
	wantCode(t, err, upstream.Changed)
	if body.Len() != 10<<20 {
		t.Errorf("%d bytes of the body were sent", 10<<20-body.Len())
	}
}

// An answer before the body has been read cannot mean that the body was stored.
func TestEarlySuccessIsNone(t *testing.T) {
	b := open(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Connection", "close")
	})
	release := make(chan struct{})
	body := io.MultiReader(strings.NewReader("0"), readerFunc(func([]byte) (int, error) { <-release; return 0, io.EOF }))
	time.AfterFunc(50*time.Millisecond, func() { close(release) })
	_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: body, Size: 10})
	if err == nil {
		t.Error("success without the body")
	}
}

func TestTwoHundredWithError(t *testing.T) {
	doc := `<?xml version="1.0"?>` + "\n   \n" + `<Error><Code>%s</Code><Message>words</Message></Error>`
	up := upstream.Upload{Loc: loc, ID: "id"}
	parts := upstream.CompleteRequest{Parts: []upstream.Part{{Number: 1, ETag: "e"}}}
	for body, want := range map[string]upstream.Code{
		fmt.Sprintf(doc, "InternalError"): upstream.Unavailable, fmt.Sprintf(doc, "SlowDown"): upstream.Throttled,
		"": upstream.Unavailable, "<CompleteMultipartUploadResult": upstream.Unavailable, "<x/>": upstream.Unavailable,
	} {
		b := open(t, answer{status: 200, body: body}.ServeHTTP)
		for name, call := range map[string]func() error{
			"CompleteUpload": func() error { _, err := b.CompleteUpload(t.Context(), up, parts); return err },
			"Copy":           func() error { _, err := b.Copy(t.Context(), loc, upstream.CopyRequest{Source: loc}); return err },
			"CopyPart": func() error {
				_, err := b.CopyPart(t.Context(), up, 1, upstream.CopyPartRequest{Source: loc})
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s of %.20q", name, body), func(t *testing.T) { wantCode(t, call(), want) })
		}
	}
}

// TestFraming decodes what newFramed makes with the gateway's own, independent decoder of such bodies.
func TestFraming(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	sizes := []int64{1, 15, 16, 17, frameChunk - 1, frameChunk, frameChunk + 1, 3*frameChunk - 1, 3 * frameChunk, 1<<20 + 13}
	for _, algorithm := range []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"} {
		for _, size := range sizes {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			f, ok := newFramed(iotest.HalfReader(bytes.NewReader(data)), size, algorithm)
			if !ok {
				t.Fatalf("no %s", algorithm)
			}
			coded, err := io.ReadAll(f)
			if err != nil || int64(len(coded)) != f.length(size) {
				t.Fatalf("%s of %d bytes: %d bytes of framing, announced %d, %v", algorithm, size, len(coded), f.length(size), err)
			}
			if got, err := deframe(coded, size, checksum.Header(algorithm)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s of %d bytes: decoded %d bytes, %v", algorithm, size, len(got), err)
			}
			cut := coded[:rng.IntN(len(coded))]
			if got, err := deframe(cut, size, checksum.Header(algorithm)); err == nil {
				t.Errorf("%s of %d bytes, cut after %d: decoded %d bytes", algorithm, size, len(cut), len(got))
			}
		}
	}
	if _, ok := newFramed(nil, 1, "MD4"); ok {
		t.Error("MD4 is known")
	}
}

// deframe reads aws-chunked framing as the S3 documentation describes it.
func deframe(coded []byte, size int64, trailer string) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(coded))
	var data []byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return data, err
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64)
		if err != nil {
			return data, err
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(r, chunk); err != nil {
			return data, err
		}
		if string(chunk[n:]) != "\r\n" {
			return data, fmt.Errorf("chunk ends in %q", chunk[n:])
		}
		data = append(data, chunk[:n]...)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return data, err
	}
	algorithm, _ := checksum.FromHeader(trailer)
	sum, _ := checksum.New(algorithm)
	_, _ = sum.Write(data)
	if want := trailer + ":" + checksum.Encode(sum) + "\r\n\r\n"; string(rest) != want || int64(len(data)) != size {
		return data, fmt.Errorf("%d bytes, then %q; want %d, %q", len(data), rest, size, want)
	}
	return data, nil
}

// framedServer takes framed bodies, or refuses them by the status and code of refuse.
func framedServer(t *testing.T, refuse *answer, probes, puts *atomic.Int64) *Backend {
	t.Helper()
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		isFramed := r.Header.Get("X-Amz-Content-Sha256") == trailerPayload
		if isFramed {
			size, _ := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
			data, err = deframe(data, size, r.Header.Get("X-Amz-Trailer"))
			if err != nil || r.Header.Get("Content-Encoding") != "" {
				t.Errorf("framing: %v, %v", err, r.Header)
			}
		}
		if r.URL.Query().Has("uploadId") {
			probes.Add(1)
			if refuse != nil {
				refuse.ServeHTTP(w, r)
				return
			}
			s3Error(404, "NoSuchUpload").ServeHTTP(w, r)
			return
		}
		puts.Add(1)
		if isFramed == (refuse != nil) || len(data) != 100_000 {
			t.Errorf("body of %d bytes, framed %v", len(data), isFramed)
		}
		w.Header().Set("ETag", `"e"`)
	})
	b.frames.Store(framingUnknown)
	return b
}

func TestFramingIsProbedOnce(t *testing.T) {
	notImplemented, invalid, slow := s3Error(501, "NotImplemented"), s3Error(400, "InvalidArgument"), s3Error(503, "SlowDown")
	for _, tt := range []struct {
		name   string
		refuse *answer
	}{{"taken", nil}, {"not implemented", &notImplemented}, {"invalid", &invalid}} {
		t.Run(tt.name, func(t *testing.T) {
			var probes, puts atomic.Int64
			b := framedServer(t, tt.refuse, &probes, &puts)
			for range 3 {
				if _, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: bytes.NewReader(make([]byte, 100_000)), Size: 100_000}); err != nil {
					t.Fatal(err)
				}
			}
			if probes.Load() != 1 || puts.Load() != 3 {
				t.Errorf("%d probes, %d bodies; want 1, 3", probes.Load(), puts.Load())
			}
		})
	}
	t.Run("no answer yet", func(t *testing.T) {
		var probes, puts atomic.Int64
		b := framedServer(t, &slow, &probes, &puts)
		body := bytes.NewReader(make([]byte, 100_000))
		_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: body, Size: 100_000})
		if e := wantCode(t, err, upstream.Throttled); !e.Unsent || body.Len() != 100_000 || puts.Load() != 0 {
			t.Errorf("unsent %v, %d bytes left, %d bodies sent", e.Unsent, body.Len(), puts.Load())
		}
	})
}

func TestUploadIDsThatArePaths(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a%2fb", "a b", "-"} {
		up := upstream.Upload{Loc: loc, ID: id}
		wantCode(t, b.AbortUpload(t.Context(), up), upstream.NoUpload)
		_, err := b.UploadPart(t.Context(), up, 1, upstream.PartRequest{})
		wantCode(t, err, upstream.NoUpload)
	}
}

// An upload that is gone is aborted again: a part may have come after the first time.
func TestAbortOfAnUploadThatIsGone(t *testing.T) {
	for _, tt := range []struct {
		answer answer
		want   upstream.Code
	}{
		{answer{status: http.StatusNoContent}, upstream.NoUpload}, // MinIO
		{s3Error(http.StatusNotFound, "NoSuchUpload"), upstream.NoUpload},
		{s3Error(http.StatusBadRequest, "InvalidArgument"), upstream.NoUpload},
		{s3Error(http.StatusInternalServerError, "InternalError"), upstream.Unavailable},
	} {
		var sent atomic.Int64
		b := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				sent.Add(1)
				tt.answer.ServeHTTP(w, r)
				return
			}
			s3Error(http.StatusNotFound, "NoSuchUpload").ServeHTTP(w, r)
		})
		wantCode(t, b.AbortUpload(t.Context(), upstream.Upload{Loc: loc, ID: "u"}), tt.want)
		if sent.Load() != 1 {
			t.Errorf("%d deletions sent", sent.Load())
		}
	}
}

func TestHeadersThatCannotBeSent(t *testing.T) {
	b := open(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	for _, h := range []object.Headers{
		{ContentType: "a\r\nX-Evil: 1"}, {User: map[string]string{"a b": "c"}}, {User: map[string]string{"a": "\x00"}}, {User: map[string]string{"a:": ""}},
	} {
		_, err := b.Put(t.Context(), loc, upstream.PutRequest{Headers: h})
		wantCode(t, err, upstream.Invalid)
	}
}

// versitygw's answer for a real clash, for one that has passed, and for a name that no file can have.
func TestDirectoryInTheObjectsPlace(t *testing.T) {
	for _, tt := range []struct {
		name, key, below string
		want             upstream.Code
	}{
		{"a clash", "a", "a/b", upstream.InvalidKey},
		{"one that has passed", "a", "", upstream.Unavailable},
		{"a long name", strings.Repeat("a", 256) + "/b", "", upstream.InvalidKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPut:
					s3Error(409, "ExistingObjectIsDirectory").ServeHTTP(w, r)
				case tt.below != "":
					_, _ = io.WriteString(w, listing("", "", tt.below))
				default:
					_, _ = io.WriteString(w, listing("", ""))
				}
			})
			_, err := b.Put(t.Context(), upstream.Loc{Bucket: "bucket", Key: tt.key}, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
			wantCode(t, err, tt.want)
		})
	}
}
