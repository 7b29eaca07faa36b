package oss_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"unistore/byterange"
	"unistore/config"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/emulator"
	"unistore/upstream/internal/wiretest"
	"unistore/upstream/oss"
)

// The tests here are named after what loses data, or hangs, when the SDK is used as it comes. All of them run against the
// emulator.

// world is a driver, the emulator behind it, and a bucket.
type world struct {
	t   *testing.T
	b   *oss.Backend
	emu *emulator.Server
}

const bucket = "traps"

func newWorld(t *testing.T, change func(*emulator.Quirks)) *world {
	t.Helper()
	q := emulator.DefaultQuirks(emulator.OSS)
	if change != nil {
		change(&q)
	}
	w := &world{t: t, emu: startEmulator(t, emulator.Config{Quirks: &q})}
	w.b = open(t, w.emu.URL)
	t.Cleanup(func() {
		if err := w.b.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.b.CreateBucket(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	return w
}

func loc(key string) upstream.Loc { return upstream.Loc{Bucket: bucket, Key: key} }

func body(s string) upstream.PutRequest {
	return upstream.PutRequest{Body: strings.NewReader(s), Size: int64(len(s))}
}

func part(s string) upstream.PartRequest {
	return upstream.PartRequest{Body: strings.NewReader(s), Size: int64(len(s))}
}

func (w *world) put(key, data string) object.Attrs {
	w.t.Helper()
	attrs, err := w.b.Put(w.t.Context(), loc(key), body(data))
	if err != nil {
		w.t.Fatal(err)
	}
	return attrs
}

func (w *world) read(key string, opts upstream.OpenOptions) (string, error) {
	st, err := w.b.Open(w.t.Context(), loc(key), opts)
	if err != nil {
		return "", err
	}
	defer st.Body.Close()
	data, err := io.ReadAll(st.Body)
	return string(data), err
}

func (w *world) holds(key, want string) {
	w.t.Helper()
	w.emu.SetInject(nil)
	if got, err := w.read(key, upstream.OpenOptions{}); err != nil || got != want {
		w.t.Errorf("%s holds %q, %v; want %q", key, got, err, want)
	}
}

func (w *world) absent(key string) {
	w.t.Helper()
	w.emu.SetInject(nil)
	_, err := w.b.Stat(w.t.Context(), loc(key), upstream.StatOptions{})
	w.code(err, upstream.NotExist)
}

func (w *world) code(err error, want upstream.Code) {
	w.t.Helper()
	if err == nil || upstream.CodeOf(err) != want {
		w.t.Errorf("%v, want %q", err, want)
	}
}

// inject makes the requests of one operation go wrong.
func (w *world) inject(op emulator.Operation, f emulator.Fault) {
	w.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Op == op {
			return f
		}
		return emulator.Fault{}
	})
}

// upload starts an upload with one part.
func (w *world) upload(key, data string) (upstream.Upload, upstream.CompleteRequest) {
	w.t.Helper()
	id, err := w.b.CreateUpload(w.t.Context(), loc(key), upstream.CreateUploadRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc(key), ID: id}
	p, err := w.b.UploadPart(w.t.Context(), up, 1, part(data))
	if err != nil {
		w.t.Fatal(err)
	}
	return up, upstream.CompleteRequest{Parts: []upstream.Part{p}}
}

// stillBody delivers some bytes, then nothing until its context ends, as the gateway's bodies do.
type stillBody struct {
	ctx context.Context
	src io.Reader
}

func (b stillBody) Read(p []byte) (int, error) {
	if n, err := b.src.Read(p); err == nil {
		return n, nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

// Section 0, 1: the SDK waits for a body that stands still, and the object must not be what had come of it.
func TestTrapBodyThatStandsStill(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := w.b.Put(ctx, loc("k"), upstream.PutRequest{Body: stillBody{ctx, strings.NewReader("some")}, Size: 10})
		done <- err
	}()
	select {
	case err := <-done:
		w.code(err, upstream.Cancelled)
	case <-time.After(15 * time.Second):
		t.Fatal("Put hangs")
	}
	w.absent("k")
}

// Section 0, 2: the SDK takes an error under 200 OK for success.
func TestTrapErrorUnder200(t *testing.T) {
	for _, spaces := range []int{0, 20} {
		w := newWorld(t, func(q *emulator.Quirks) { q.CompleteSpaces = spaces })
		w.put("src", "data")
		up, complete := w.upload("k", "new")
		for op, call := range map[emulator.Operation]func() error{
			emulator.CompleteUpload: func() error { _, err := w.b.CompleteUpload(t.Context(), up, complete); return err },
			emulator.CopyObject: func() error {
				_, err := w.b.Copy(t.Context(), loc("k"), upstream.CopyRequest{Source: loc("src")})
				return err
			},
			emulator.UploadPartCopy: func() error {
				_, err := w.b.CopyPart(t.Context(), up, 2, upstream.CopyPartRequest{Source: loc("src"), Range: byterange.All()})
				return err
			},
		} {
			for code, want := range map[string]upstream.Code{"InternalError": upstream.Unavailable, "SlowDown": upstream.Throttled, "NoSuchUpload": upstream.NoUpload} {
				w.inject(op, emulator.Fault{ErrorIn200: code})
				err := call()
				w.code(err, want)
				if e, ok := errors.AsType[*upstream.Error](err); !ok || !strings.HasPrefix(e.RequestID, "EMULATOR") {
					t.Errorf("%s: no request id in %v", op, err)
				}
			}
			for name, f := range map[string]emulator.Fault{"no answer": {CutAfter: true}, "cut": {CutBody: 60 + spaces}} {
				if op == emulator.CompleteUpload {
					continue // which would have completed it; see TestTrapLostAnswerToComplete
				}
				w.inject(op, f)
				if err := call(); upstream.CodeOf(err) != upstream.Unavailable || err == nil {
					t.Errorf("%s, %s: %v", op, name, err)
				}
			}
		}
		w.emu.SetInject(nil)
		if _, err := w.b.CompleteUpload(t.Context(), up, complete); err != nil {
			t.Errorf("the upload is gone: %v", err)
		}
		w.holds("k", "new")
	}
}

func TestTrapLostAnswerToComplete(t *testing.T) {
	for name, f := range map[string]emulator.Fault{"no answer": {CutAfter: true}, "cut in the document": {CutBody: 60}} {
		w := newWorld(t, nil)
		up, complete := w.upload("k", "new")
		w.inject(emulator.CompleteUpload, f)
		_, err := w.b.CompleteUpload(t.Context(), up, complete)
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Code != upstream.Unavailable || e.Unsent {
			t.Errorf("%s: %v", name, err)
		}
		w.holds("k", "new") // for upstream.Store to find out
	}
}

// Section 0, 3: the SDK repeats what fails, also what must not happen twice.
func TestTrapRetries(t *testing.T) {
	w := newWorld(t, nil)
	for _, op := range []emulator.Operation{emulator.HeadObject, emulator.GetObject, emulator.PutObject, emulator.List, emulator.CreateUpload} {
		for _, f := range []emulator.Fault{{Status: 503, Code: "SlowDown"}, {Status: 500, Code: "InternalError"}, {CutBefore: true}} {
			w.inject(op, f)
			before := w.emu.Requests(op)
			calls := map[emulator.Operation]func() error{
				emulator.HeadObject: func() error { _, err := w.b.Stat(t.Context(), loc("k"), upstream.StatOptions{}); return err },
				emulator.GetObject:  func() error { _, err := w.read("k", upstream.OpenOptions{}); return err },
				emulator.PutObject:  func() error { _, err := w.b.Put(t.Context(), loc("k"), body("x")); return err },
				emulator.List: func() error {
					_, err := w.b.List(t.Context(), upstream.ListRequest{Bucket: bucket, MaxKeys: 9})
					return err
				},
				emulator.CreateUpload: func() error {
					_, err := w.b.CreateUpload(t.Context(), loc("k"), upstream.CreateUploadRequest{})
					return err
				},
			}
			if err := calls[op](); err == nil {
				t.Errorf("%s, %+v: no error", op, f)
			}
			// net/http itself repeats a GET or HEAD on a connection that had been idle, and nothing else.
			most := 1
			if f.CutBefore && (op == emulator.GetObject || op == emulator.HeadObject || op == emulator.List) {
				most = 2
			}
			if n := w.emu.Requests(op) - before; n < 1 || n > most {
				t.Errorf("%s, %+v: %d requests", op, f, n)
			}
		}
	}
}

// Section 0, 4: objects stored packed arrive unpacked and without a length; redirects are followed.
func TestTrapTransport(t *testing.T) {
	w := newWorld(t, nil)
	packed := "\x1f\x8b\x08\x00not really"
	req := body(packed)
	req.Headers.ContentEncoding = "gzip"
	if _, err := w.b.Put(t.Context(), loc("k.gz"), req); err != nil {
		t.Fatal(err)
	}
	st, err := w.b.Open(t.Context(), loc("k.gz"), upstream.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(st.Body)
	if _ = st.Body.Close(); err != nil || string(data) != packed || st.Attrs.Headers.ContentEncoding != "gzip" || st.Attrs.Size != int64(len(packed)) {
		t.Errorf("%q, %v, %+v", data, err, st.Attrs)
	}
	w.emu.SetInject(func(emulator.Call) emulator.Fault {
		return emulator.Fault{Status: 307, Code: "TemporaryRedirect", Set: map[string]string{"Location": w.emu.URL + "/elsewhere/k"}}
	})
	before := w.emu.Requests(emulator.GetObject)
	_, err = w.read("k.gz", upstream.OpenOptions{})
	w.code(err, upstream.Access)
	if n := w.emu.Requests(emulator.GetObject) - before; n != 1 {
		t.Errorf("%d requests: the redirect was followed", n)
	}
}

// Section 0, 5: bodies, empty ones too, are sent without a length.
func TestTrapLengths(t *testing.T) {
	w := newWorld(t, nil)
	var chunked atomic.Int64
	w.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Length < 0 {
			chunked.Add(1)
			t.Errorf("%s came in chunks", c.Op)
		}
		return emulator.Fault{}
	})
	ctx := t.Context()
	for _, data := range []string{"", "x", strings.Repeat("data", 1<<18)} {
		src := struct{ io.Reader }{strings.NewReader(data)} // of no length that the SDK could see
		if _, err := w.b.Put(ctx, loc("k"), upstream.PutRequest{Body: src, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		id, err := w.b.CreateUpload(ctx, loc("k"), upstream.CreateUploadRequest{})
		if err != nil {
			t.Fatal(err)
		}
		up := upstream.Upload{Loc: loc("k"), ID: id}
		p, err := w.b.UploadPart(ctx, up, 1, upstream.PartRequest{Body: struct{ io.Reader }{strings.NewReader(data)}, Size: int64(len(data))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.b.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{p}}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.b.Copy(ctx, loc("copy"), upstream.CopyRequest{Source: loc("k")}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.b.DeleteBatch(ctx, bucket, []string{"k", "copy"}); err != nil {
		t.Fatal(err)
	}
}

// Section 0, 7, and 2: keys that OSS refuses, or that lead elsewhere, are refused before anything is sent.
func TestTrapKeys(t *testing.T) {
	w := newWorld(t, nil)
	w.put("safe", "data")
	before := w.total()
	for _, key := range []string{"", "/a", `\a`, ".", "..", "a/../b", "./a", "a/..", strings.Repeat("k", 1024)} {
		ctx := t.Context()
		_, err := w.b.Put(ctx, loc(key), body("x"))
		w.code(err, upstream.InvalidKey)
		_, err = w.b.Stat(ctx, loc(key), upstream.StatOptions{})
		w.code(err, upstream.InvalidKey)
		w.code(w.b.Delete(ctx, loc(key), upstream.DeleteOptions{}), upstream.InvalidKey)
		_, err = w.b.CreateUpload(ctx, loc(key), upstream.CreateUploadRequest{})
		w.code(err, upstream.InvalidKey)
		_, err = w.b.Copy(ctx, loc("copy"), upstream.CopyRequest{Source: loc(key)})
		w.code(err, upstream.InvalidKey)
		errs, err := w.b.DeleteBatch(ctx, bucket, []string{key})
		if err != nil {
			t.Fatal(err)
		}
		w.code(errs[0], upstream.InvalidKey)
	}
	if after := w.total(); after != before {
		t.Errorf("%d requests were sent", after-before)
	}
	w.holds("safe", "data")
}

// total is how many requests the emulator has seen, of the kinds that the tests send.
func (w *world) total() (n int) {
	for _, op := range []emulator.Operation{
		emulator.PutObject, emulator.HeadObject, emulator.GetObject, emulator.DeleteObject, emulator.CreateUpload, emulator.CopyObject,
		emulator.DeleteObjects, emulator.DeleteBucket, emulator.CreateBucket, emulator.List, emulator.CompleteUpload, "refused", emulator.Unknown,
	} {
		n += w.emu.Requests(op)
	}
	return n
}

// Section 0, 9: a HEAD's error has no words.
func TestTrapWordlessHead(t *testing.T) {
	for _, words := range []bool{true, false} {
		w := newWorld(t, func(q *emulator.Quirks) { q.HeadErrors = words })
		if err := w.b.DeleteBucket(t.Context(), bucket); err != nil { // what is known of it is forgotten
			t.Fatal(err)
		}
		if err := w.b.CreateBucket(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
		asked := w.emu.Requests(emulator.BucketInfo)
		_, err := w.b.Stat(t.Context(), loc("missing"), upstream.StatOptions{})
		if words && w.emu.Requests(emulator.BucketInfo) != asked {
			t.Error("the bucket was looked for, though OSS has said what is missing")
		}
		w.code(err, upstream.NotExist)
		_, err = w.b.Stat(t.Context(), upstream.Loc{Bucket: "no-such-bucket", Key: "k"}, upstream.StatOptions{})
		w.code(err, upstream.NoBucket)
	}
}

// Section 0, 10 and 11: the SDK sorts what the caller gave, and an ETag goes into the XML.
func TestTrapPartList(t *testing.T) {
	w := newWorld(t, nil)
	up, complete := w.upload("k", "one")
	p1 := complete.Parts[0]
	p2, err := w.b.UploadPart(t.Context(), up, 2, part("two"))
	if err != nil {
		t.Fatal(err)
	}
	list := []upstream.Part{p2, p1}
	_, err = w.b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: list})
	w.code(err, upstream.PartOrder)
	if list[0].Number != 2 {
		t.Error("the caller's list was sorted")
	}
	for _, etag := range []string{"", `x</ETag></Part><Part><PartNumber>2</PartNumber><ETag>` + p2.ETag, "a b", `"` + p1.ETag} {
		_, err := w.b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{{Number: 1, ETag: etag}}})
		w.code(err, upstream.InvalidPart)
	}
	if n := w.emu.Requests(emulator.CompleteUpload); n != 0 {
		t.Errorf("%d completions were sent", n)
	}
	w.absent("k")
}

// Section 2: without "standard" behaviour a range outside of the object gives 200 and all of it.
func TestTrapRangeBehaviour(t *testing.T) {
	w := newWorld(t, nil)
	w.put("k", "0123456789")
	w.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Header.Get("Range") != "" && c.Header.Get("X-Oss-Range-Behavior") != "standard" {
			t.Error("a range is asked for without the standard behaviour")
		}
		return emulator.Fault{}
	})
	for spec, want := range map[byterange.Spec]string{
		byterange.Closed(5, 20): "56789", byterange.Suffix(20): "0123456789", byterange.From(9): "9", byterange.Closed(0, 0): "0",
	} {
		if got, err := w.read("k", upstream.OpenOptions{Range: spec}); err != nil || got != want {
			t.Errorf("%+v: %q, %v", spec, got, err)
		}
	}
	for _, spec := range []byterange.Spec{byterange.From(10), byterange.Closed(10, 20), byterange.Suffix(0)} {
		_, err := w.read("k", upstream.OpenOptions{Range: spec})
		w.code(err, upstream.RangeError)
	}
	// A store that ignores the range altogether.
	w.inject(emulator.GetObject, emulator.Fault{Set: map[string]string{"Content-Range": "bytes 0-2/10"}})
	_, err := w.read("k", upstream.OpenOptions{Range: byterange.Closed(3, 5)})
	w.code(err, upstream.Unavailable)
}

// Section 2: the range of a copied part that is outside of its source copies all of it.
func TestTrapCopyRange(t *testing.T) {
	w := newWorld(t, nil)
	w.put("src", "0123456789")
	up, _ := w.upload("k", "one")
	for _, spec := range []byterange.Spec{byterange.Closed(5, 10), byterange.Closed(10, 11), byterange.From(10)} {
		_, err := w.b.CopyPart(t.Context(), up, 2, upstream.CopyPartRequest{Source: loc("src"), Range: spec})
		w.code(err, upstream.RangeError)
	}
	p, err := w.b.CopyPart(t.Context(), up, 2, upstream.CopyPartRequest{Source: loc("src"), Range: byterange.Closed(5, 9)})
	if err != nil || p.Size != 5 {
		t.Errorf("%+v, %v", p, err)
	}
	if n := w.emu.Requests(emulator.UploadPartCopy); n != 1 {
		t.Errorf("%d copies were sent", n)
	}
}

// Section 2: a content type is guessed from the key.
func TestTrapContentType(t *testing.T) {
	w := newWorld(t, nil)
	w.put("page.html", "x")
	up, complete := w.upload("page.css", "x")
	if _, err := w.b.CompleteUpload(t.Context(), up, complete); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"page.html", "page.css"} {
		attrs, err := w.b.Stat(t.Context(), loc(key), upstream.StatOptions{})
		if err != nil || attrs.Headers.ContentType != "binary/octet-stream" {
			t.Errorf("%s: %q, %v", key, attrs.Headers.ContentType, err)
		}
	}
}

// Section 2: forbid-overwrite is ignored where a bucket has versions, and there is no If-Match for writes.
func TestTrapConditions(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		w := newWorld(t, func(q *emulator.Quirks) { q.Versioned = versioned })
		first := w.put("k", "old")
		create := body("new")
		create.IfNoneMatch = true
		want := upstream.Changed
		if versioned {
			want = upstream.Unsupported
		}
		_, err := w.b.Put(t.Context(), loc("k"), create)
		w.code(err, want)
		up, complete := w.upload("k", "new")
		complete.IfNoneMatch = true
		_, err = w.b.CompleteUpload(t.Context(), up, complete)
		w.code(err, want)
		_, err = w.b.Copy(t.Context(), loc("k"), upstream.CopyRequest{Source: loc("other"), IfNoneMatch: true})
		if versioned {
			w.code(err, upstream.Unsupported)
		}
		replace := body("new")
		replace.IfMatch = first.ETag
		_, err = w.b.Put(t.Context(), loc("k"), replace)
		w.code(err, upstream.Unsupported)
		w.code(w.b.Delete(t.Context(), loc("k"), upstream.DeleteOptions{IfMatch: first.ETag}), upstream.Unsupported)
		w.holds("k", "old")
	}
}

// Section 2: the SDK's correction of the clock is a data race; a clock that is wrong is our fault, and not the client's.
func TestTrapClockSkew(t *testing.T) {
	var logs bytes.Buffer
	emu := startEmulator(t, emulator.Config{Now: func() time.Time { return time.Now().Add(-20 * time.Minute) }})
	b, err := oss.New(oss.Config{
		Name: "emulator", Region: region, Endpoint: emu.URL, AccessKey: accessKey, SecretKey: config.NewSecret(secretKey),
		Log: zerolog.New(zerolog.SyncWriter(&logs)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := b.List(t.Context(), upstream.ListRequest{Bucket: bucket, MaxKeys: 1}); upstream.CodeOf(err) != upstream.Access {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := emu.Requests("refused"); n != 40 {
		t.Errorf("%d refused of 40", n)
	}
	if out := logs.String(); !strings.Contains(out, "RequestTimeTooSkewed") || strings.Contains(out, secretKey) {
		t.Errorf("logged: %s", out)
	}
}

// Section 8: faults of our credentials are not the client's, and the secret is in no error.
func TestTrapCredentials(t *testing.T) {
	w := newWorld(t, nil)
	w.put("k", "data")
	for _, cfg := range []oss.Config{
		{AccessKey: accessKey, SecretKey: config.NewSecret("a-wrong-secret")},
		{AccessKey: "LTAIstranger", SecretKey: config.NewSecret("a-wrong-secret")},
	} {
		cfg.Region, cfg.Endpoint, cfg.Log = region, w.emu.URL, zerolog.Nop()
		b, err := oss.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, stat := b.Stat(t.Context(), loc("k"), upstream.StatOptions{})
		_, put := b.Put(t.Context(), loc("k"), body("new"))
		_, list := b.ListBuckets(t.Context())
		for _, err := range []error{stat, put, list} {
			w.code(err, upstream.Access)
			if s := err.Error(); strings.Contains(s, "a-wrong-secret") || !strings.Contains(s, "credentials") {
				t.Errorf("%s", s)
			}
		}
		_ = b.Close()
	}
	w.holds("k", "data")
}

// Section 2: OSS tells a checksum of what it has; it is compared with ours.
func TestTrapChecksums(t *testing.T) {
	w := newWorld(t, nil)
	data := strings.Repeat("0123456789", 20_000)
	w.put("k", data)
	up, _ := w.upload("k", "one")
	wrong := emulator.Fault{Set: map[string]string{"X-Oss-Hash-Crc64ecma": "1"}}
	w.inject(emulator.PutObject, wrong)
	attrs, err := w.b.Put(t.Context(), loc("other"), body(data))
	w.code(err, upstream.Corrupted)
	if attrs.ETag == "" || attrs.Size != int64(len(data)) {
		t.Errorf("what is there now is not told: %+v", attrs)
	}
	w.inject(emulator.UploadPart, wrong)
	_, err = w.b.UploadPart(t.Context(), up, 2, part(data))
	w.code(err, upstream.Corrupted)
	w.inject(emulator.GetObject, wrong)
	got, err := w.read("k", upstream.OpenOptions{})
	w.code(err, upstream.Unavailable)
	if len(got) >= len(data) {
		t.Errorf("all %d bytes came in spite of the checksum", len(got))
	}
	if got, err := w.read("k", upstream.OpenOptions{Range: byterange.Closed(0, 9)}); err != nil || got != data[:10] {
		t.Errorf("a range, of which the checksum is not: %q, %v", got, err)
	}
	w.holds("k", data)
}

// Section 2: ETags are in upper case, and stay as they are.
func TestTrapUpperETags(t *testing.T) {
	w := newWorld(t, nil)
	attrs := w.put("k", "x")
	if attrs.ETag != "9DD4E461268C8034F5C8564E155C67A6" || !attrs.ETagMD5 {
		t.Errorf("%+v", attrs)
	}
	if got, err := w.read("k", upstream.OpenOptions{IfMatch: attrs.ETag}); err != nil || got != "x" {
		t.Errorf("%q, %v", got, err)
	}
	store := upstream.NewStore("emulator", open(t, w.emu.URL), upstream.StoreConfig{})
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Put(t.Context(), loc("k"), body("y")); err != nil {
		t.Errorf("the Store compares the ETag with the MD5: %v", err)
	}
	up, complete := w.upload("k", "parts")
	made, err := w.b.CompleteUpload(t.Context(), up, complete)
	if err != nil || made.ETagMD5 || !strings.HasSuffix(made.ETag, "-1") {
		t.Errorf("%+v, %v: the ETag of an object of parts is opaque", made, err)
	}
}

// Section 0, 8: a space in a listing is "+" or "%20", and the SDK leaves out the common prefixes of uploads.
func TestTrapListings(t *testing.T) {
	for _, plus := range []bool{false, true} {
		w := newWorld(t, func(q *emulator.Quirks) { q.ListPlus = plus })
		w.put("a b/c+d", "x")
		w.put("a%20b", "x")
		page, err := w.b.List(t.Context(), upstream.ListRequest{Bucket: bucket, MaxKeys: 9, Delimiter: "/"})
		if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "a%20b" || len(page.Prefixes) != 1 || page.Prefixes[0] != "a b/" {
			t.Errorf("%+v, %v", page, err)
		}
		w.upload("a b/upload", "x")
		uploads, err := w.b.ListUploads(t.Context(), upstream.ListUploadsRequest{Bucket: bucket, Delimiter: "/", MaxUploads: 9})
		if err != nil || len(uploads.Prefixes) != 1 || uploads.Prefixes[0] != "a b/" {
			t.Errorf("%+v, %v", uploads, err)
		}
	}
}

// The traps that SDKs of object stores have in common, also against servers that are no stores.
func TestTraps(t *testing.T) {
	wiretest.Run(t, wiretest.Harness{
		Dialect: emulator.OSS, Domain: "oss.localhost", Bucket: bucket,
		Open: func(t *testing.T, endpoint, access, secret string, log io.Writer) upstream.Backend {
			b, err := oss.New(oss.Config{
				Name: "test", Region: region, Endpoint: endpoint, AccessKey: access, SecretKey: config.NewSecret(secret), Log: zerolog.New(log),
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	})
}

func TestThrottled(t *testing.T) {
	w := newWorld(t, nil)
	w.inject(emulator.GetObject, emulator.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"})
	_, err := w.read("k", upstream.OpenOptions{})
	if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Code != upstream.Throttled || e.RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Setenv("OSS_ACCESS_KEY_ID", "")
	t.Setenv("OSS_ACCESS_KEY_SECRET", "")
	keys := func(cfg oss.Config) oss.Config {
		cfg.AccessKey, cfg.SecretKey = "AK", config.NewSecret("hidden-secret")
		return cfg
	}
	for name, tt := range map[string]struct {
		cfg  oss.Config
		want string // in the error; empty: none
	}{
		"region":                          {keys(oss.Config{Region: "cn-hangzhou"}), ""},
		"endpoint that names the region":  {keys(oss.Config{Endpoint: "https://oss-cn-beijing-internal.aliyuncs.com"}), ""},
		"endpoint of another name":        {keys(oss.Config{Endpoint: "https://oss.example.com"}), "region"},
		"accelerated, which has no name":  {keys(oss.Config{Endpoint: "https://oss-accelerate.aliyuncs.com"}), "region"},
		"another name, and a region":      {keys(oss.Config{Endpoint: "https://oss.example.com", Region: "cn-beijing"}), ""},
		"nothing":                         {keys(oss.Config{}), "region"},
		"a region that is none":           {keys(oss.Config{Region: "cn/../x", Endpoint: "https://oss.example.com"}), "region"},
		"an endpoint with a path":         {keys(oss.Config{Region: "cn-beijing", Endpoint: "https://oss.example.com/x"}), "endpoint"},
		"no keys":                         {oss.Config{Region: "cn-beijing"}, "OSS_ACCESS_KEY_ID"},
		"half a pair":                     {oss.Config{Region: "cn-beijing", AccessKey: "AK"}, "go together"},
		"certificates that are not there": {keys(oss.Config{Region: "cn-beijing", CAFile: "/does/not/exist"}), "CA"},
	} {
		b, err := oss.New(tt.cfg)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want == "":
			_ = b.Close()
		case err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hidden-secret"):
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
