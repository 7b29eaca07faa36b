// Package wiretest proves that a driver over HTTP falls into none of the traps that SDKs of object stores have in common:
// each case is named after one. It runs drivers against the emulator of their store, with something going wrong, and
// against servers that answer as no store should.
package wiretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"unistore/byterange"
	"unistore/upstream"
	"unistore/upstream/emulator"
)

// Harness tells the suite how to get at a driver.
type Harness struct {
	Dialect emulator.Dialect
	// Domain is the host that drivers of Open ask; buckets go before it.
	Domain string
	Bucket string // a name that the store takes
	// Open makes the driver of the service at an endpoint, SCHEME://DOMAIN:PORT, with these credentials.
	Open func(t *testing.T, endpoint, accessKey, secretKey string, log io.Writer) upstream.Backend
}

func (h Harness) endpoint(scheme, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return scheme + "://" + net.JoinHostPort(h.Domain, port)
}

const (
	accessKey = "AKWIRETEST"
	secretKey = "w1retest-s3cret"
)

// env is one case's world: a driver, its emulator, and an empty bucket.
type env struct {
	*testing.T
	h   Harness
	b   upstream.Backend
	emu *emulator.Server
	log bytes.Buffer
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for name, run := range map[string]func(*env){
		"an error under 200 OK is an error":                  errorUnder200,
		"a result that is cut or empty is an error":          cutDocuments,
		"a body that is cut is no end of file":               cutBodies,
		"a lost answer is called sent":                       lostAnswer,
		"the SDK repeats nothing":                            noRetries,
		"an answer without an ETag is none":                  noETags,
		"a call that waits for its answer can be cancelled":  cancelWaiting,
		"a range of one byte is asked for as one":            oneByte,
		"user headers do not replace the object's":           userHeaders,
		"content types are not guessed":                      noGuess,
		"header values are ASCII on the wire":                asciiOnTheWire,
		"copy sources keep every character":                  copySources,
		"lists of parts are neither sorted nor pasted":       partLists,
		"a path that leads to the bucket is never asked for": dotKeys,
		"wrong keys are told apart, and no secret is told":   wrongKeys,
	} {
		t.Run(name, func(t *testing.T) {
			e := &env{T: t, h: h}
			srv, err := emulator.Start("127.0.0.1:0", emulator.Config{
				Dialect: h.Dialect, Credentials: map[string]string{accessKey: secretKey}, Domains: []string{h.Domain},
			})
			if err != nil {
				t.Fatal(err)
			}
			e.emu = srv
			e.b = h.Open(t, h.endpoint("http", srv.Addr), accessKey, secretKey, &e.log)
			t.Cleanup(func() {
				if err := errors.Join(e.b.Close(), srv.Close()); err != nil {
					t.Error(err)
				}
			})
			if err := e.b.(upstream.Bucketer).CreateBucket(t.Context(), h.Bucket); err != nil {
				t.Fatal(err)
			}
			run(e)
		})
	}
	runServers(t, h)
}

func (e *env) loc(key string) upstream.Loc { return upstream.Loc{Bucket: e.h.Bucket, Key: key} }

func request(data string) upstream.PutRequest {
	return upstream.PutRequest{Body: strings.NewReader(data), Size: int64(len(data))}
}

func (e *env) put(key, data string) {
	e.Helper()
	if _, err := e.b.Put(e.Context(), e.loc(key), request(data)); err != nil {
		e.Fatalf("Put %q: %v", key, err)
	}
}

func (e *env) upload(key string) (upstream.Upload, upstream.Part) {
	e.Helper()
	m := e.b.(upstream.Multiparter)
	id, err := m.CreateUpload(e.Context(), e.loc(key), upstream.CreateUploadRequest{})
	if err != nil {
		e.Fatal(err)
	}
	up := upstream.Upload{Loc: e.loc(key), ID: id}
	part, err := m.UploadPart(e.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("part"), Size: 4})
	if err != nil {
		e.Fatal(err)
	}
	return up, part
}

func (e *env) read(key string, opts upstream.OpenOptions) (string, error) {
	st, err := e.b.Open(e.Context(), e.loc(key), opts)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(st.Body)
	return string(b), errors.Join(err, st.Body.Close())
}

// want checks an error's code and returns it.
func want(t *testing.T, what string, err error, code upstream.Code) *upstream.Error {
	t.Helper()
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("%s: %v, want %v", what, err, code)
	}
	return e
}

// failing runs what completes and copies, with a fault at each.
func (e *env) failing(f emulator.Fault, judge func(what string, err error)) {
	m, c := e.b.(upstream.Multiparter), e.b.(upstream.Copier)
	e.put("src", "source")
	up, part := e.upload("dst")
	e.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Op == emulator.CompleteUpload || c.Op == emulator.CopyObject || c.Op == emulator.UploadPartCopy {
			return f
		}
		return emulator.Fault{}
	})
	defer e.emu.SetInject(nil)
	_, err := m.CompleteUpload(e.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	judge("CompleteUpload", err)
	_, err = c.Copy(e.Context(), e.loc("dst"), upstream.CopyRequest{Source: e.loc("src")})
	judge("Copy", err)
	_, err = c.CopyPart(e.Context(), up, 2, upstream.CopyPartRequest{Source: e.loc("src")})
	judge("CopyPart", err)
}

func errorUnder200(e *env) {
	for code, want200 := range map[string]upstream.Code{
		"InternalError": upstream.Unavailable, "EntityTooSmall": upstream.TooSmall, "SlowDown": upstream.Throttled, "SomethingNew": upstream.Unavailable,
	} {
		e.failing(emulator.Fault{ErrorIn200: code}, func(what string, err error) {
			got := want(e.T, what, err, want200)
			if !strings.Contains(got.Message, code) || got.RequestID == "" || got.Unsent {
				e.Errorf("%s: %+v", what, got)
			}
		})
		if _, err := e.b.Stat(e.Context(), e.loc("dst"), upstream.StatOptions{}); !errors.Is(err, upstream.NotExist) {
			e.Errorf("%s: Stat of what was not made: %v", code, err)
		}
	}
}

func cutDocuments(e *env) {
	e.failing(emulator.Fault{CutBody: 60}, func(what string, err error) { want(e.T, what, err, upstream.Unavailable) })
	e.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Op == emulator.List || c.Op == emulator.ListParts || c.Op == emulator.ListUploads {
			return emulator.Fault{CutBody: 60}
		}
		return emulator.Fault{}
	})
	_, err := e.b.List(e.Context(), upstream.ListRequest{Bucket: e.h.Bucket, MaxKeys: 10})
	want(e.T, "List", err, upstream.Unavailable)
	_, err = e.b.(upstream.Multiparter).ListUploads(e.Context(), upstream.ListUploadsRequest{Bucket: e.h.Bucket, MaxUploads: 10})
	want(e.T, "ListUploads", err, upstream.Unavailable)
}

func cutBodies(e *env) {
	data := strings.Repeat("0123456789", 10_000)
	e.put("k", data)
	e.emu.SetInject(func(c emulator.Call) emulator.Fault {
		if c.Op == emulator.GetObject {
			return emulator.Fault{CutBody: 70_000}
		}
		return emulator.Fault{}
	})
	got, err := e.read("k", upstream.OpenOptions{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(data, got) {
		e.Errorf("%d bytes, %v", len(got), err)
	}
}

func lostAnswer(e *env) {
	e.emu.SetInject(func(emulator.Call) emulator.Fault { return emulator.Fault{CutAfter: true} })
	_, err := e.b.Put(e.Context(), e.loc("k"), request("x"))
	if got := want(e.T, "Put", err, upstream.Unavailable); got.Unsent {
		e.Error("the request was sent, and may have been carried out")
	}
	e.emu.SetInject(nil)
	if got, err := e.read("k", upstream.OpenOptions{}); got != "x" || err != nil {
		e.Errorf("the emulator has not carried it out: %q, %v", got, err)
	}
}

func noRetries(e *env) {
	up, part := e.upload("k")
	for _, f := range []emulator.Fault{{Status: 500, Code: "InternalError"}, {Status: 503, Code: "SlowDown"}, {CutBefore: true}} {
		calls := 0
		var mu sync.Mutex
		e.emu.SetInject(func(emulator.Call) emulator.Fault {
			mu.Lock()
			defer mu.Unlock()
			calls++
			return f
		})
		m := e.b.(upstream.Multiparter)
		for what, call := range map[string]func() error{
			"Open": func() error { _, err := e.read("k", upstream.OpenOptions{}); return err },
			"Stat": func() error { _, err := e.b.Stat(e.Context(), e.loc("k"), upstream.StatOptions{}); return err },
			"Put":  func() error { _, err := e.b.Put(e.Context(), e.loc("k"), request("x")); return err },
			"List": func() error {
				_, err := e.b.List(e.Context(), upstream.ListRequest{Bucket: e.h.Bucket, MaxKeys: 1})
				return err
			},
			"Delete":    func() error { return e.b.Delete(e.Context(), e.loc("k"), upstream.DeleteOptions{}) },
			"ListParts": func() error { _, err := m.ListParts(e.Context(), up, 0, 10); return err },
			"CreateUpload": func() error {
				_, err := m.CreateUpload(e.Context(), e.loc("k"), upstream.CreateUploadRequest{})
				return err
			},
			"CompleteUpload": func() error {
				_, err := m.CompleteUpload(e.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
				return err
			},
		} {
			before := calls
			err := call()
			mu.Lock()
			// A request of which the connection breaks before its answer is repeated by net/http itself, when it may
			// be and the connection had been used.
			if n := calls - before; err == nil || n > 2 || (n > 1 && !f.CutBefore) {
				e.Errorf("%s with %+v: %d requests, %v", what, f, n, err)
			}
			mu.Unlock()
		}
	}
}

func noETags(e *env) {
	e.put("k", "x")
	up, _ := e.upload("other")
	e.emu.SetInject(func(emulator.Call) emulator.Fault { return emulator.Fault{Omit: []string{"ETag"}} })
	_, err := e.b.Put(e.Context(), e.loc("k"), request("x"))
	want(e.T, "Put", err, upstream.Unavailable)
	_, err = e.b.Stat(e.Context(), e.loc("k"), upstream.StatOptions{})
	want(e.T, "Stat", err, upstream.Unavailable)
	_, err = e.b.Open(e.Context(), e.loc("k"), upstream.OpenOptions{})
	want(e.T, "Open", err, upstream.Unavailable)
	_, err = e.b.(upstream.Multiparter).UploadPart(e.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("x"), Size: 1})
	want(e.T, "UploadPart", err, upstream.Unavailable)
}

func cancelWaiting(e *env) {
	reached, release := make(chan struct{}, 10), make(chan struct{})
	defer close(release)
	e.emu.SetInject(func(emulator.Call) emulator.Fault {
		reached <- struct{}{}
		<-release
		return emulator.Fault{}
	})
	for what, call := range map[string]func(context.Context) error{
		"Stat": func(ctx context.Context) error {
			_, err := e.b.Stat(ctx, e.loc("k"), upstream.StatOptions{})
			return err
		},
		"Put": func(ctx context.Context) error { _, err := e.b.Put(ctx, e.loc("k"), request("x")); return err },
		"List": func(ctx context.Context) error {
			_, err := e.b.List(ctx, upstream.ListRequest{Bucket: e.h.Bucket, MaxKeys: 1})
			return err
		},
	} {
		ctx, cancel := context.WithCancel(e.Context())
		go func() {
			<-reached
			cancel()
		}()
		if err := call(ctx); !errors.Is(err, upstream.Cancelled) || !errors.Is(err, context.Canceled) {
			e.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

func oneByte(e *env) {
	e.put("k", "0123456789")
	var asked []string
	e.emu.SetInject(func(c emulator.Call) emulator.Fault {
		asked = append(asked, c.Header.Get("Range"))
		return emulator.Fault{}
	})
	for i, spec := range []byterange.Spec{byterange.Closed(3, 3), byterange.Closed(0, 0), byterange.Suffix(1)} {
		got, err := e.read("k", upstream.OpenOptions{Range: spec})
		if wanted := string("309"[i]); got != wanted || err != nil {
			e.Errorf("%q, %v, want %q", got, err, wanted)
		}
	}
	if strings.Join(asked, " ") != "bytes=3-3 bytes=0-0 bytes=-1" {
		e.Errorf("asked for %q", asked)
	}
}

func partLists(e *env) {
	m := e.b.(upstream.Multiparter)
	up, part := e.upload("k")
	second, err := m.UploadPart(e.Context(), up, 2, upstream.PartRequest{Body: strings.NewReader("second"), Size: 6})
	if err != nil {
		e.Fatal(err)
	}
	completions := e.emu.Requests(emulator.CompleteUpload)
	backwards := []upstream.Part{second, part}
	_, err = m.CompleteUpload(e.Context(), up, upstream.CompleteRequest{Parts: backwards})
	want(e.T, "backwards", err, upstream.PartOrder)
	if backwards[0].Number != 2 {
		e.Error("the caller's list was sorted")
	}
	evil := []upstream.Part{{Number: 1, ETag: part.ETag + "</ETag></Part><Part><PartNumber>2</PartNumber><ETag>" + second.ETag}}
	_, err = m.CompleteUpload(e.Context(), up, upstream.CompleteRequest{Parts: evil})
	want(e.T, "an ETag with elements in it", err, upstream.InvalidPart)
	if n := e.emu.Requests(emulator.CompleteUpload) - completions; n != 0 {
		e.Errorf("%d of these lists were sent", n)
	}
}

// serve answers every request by handler, and returns a driver that asks it.
func serve(t *testing.T, h Harness, handler http.HandlerFunc) upstream.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	b := h.Open(t, h.endpoint("http", l.Addr().String()), accessKey, secretKey, io.Discard)
	t.Cleanup(func() {
		_ = b.Close()
		_ = srv.Close()
		<-done
	})
	return b
}
