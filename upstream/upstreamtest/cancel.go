package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/goleak"

	"unistore/upstream"
)

func cancelCases() []testCase {
	return []testCase{
		{name: "cancel/before every call", run: cancelledCalls},
		{name: "cancel/deadline has passed", run: func(e *env) {
			ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
			defer cancel()
			_, err := e.b.Stat(ctx, e.loc("k"), upstream.StatOptions{})
			e.wantCode(err, upstream.Cancelled)
		}},
		{name: "cancel/before a part", needs: multipart, run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			_, err := e.multiparter().UploadPart(ctx, up, 1, partRequest([]byte("x")))
			e.wantCode(err, upstream.Cancelled)
			e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 1, []byte("y"))}})
			e.wantContent("k", []byte("y"))
		}},
		{name: "cancel/in mid-read", run: cancelRead},
		{name: "cancel/in mid-list", run: cancelList},
		{name: "cancel/close in mid-read", run: closeRead},
		{name: "cancel/close without reading", run: func(e *env) {
			e.put("k", e.data(5<<20))
			ignore := goleak.IgnoreCurrent()
			for range 20 {
				s, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{})
				if err != nil {
					e.Fatal(err)
				}
				e.within("Close", func() { _ = s.Body.Close() })
			}
			e.wantFewGoroutines(ignore)
		}},
		{name: "cancel/storm leaves nothing behind", run: cancelStorm},
	}
}

// wantFewGoroutines fails the case when goroutines are left that belong to no idle connection.
func (e *env) wantFewGoroutines(ignore goleak.Option) {
	e.Helper()
	if err := goleak.Find(ignore,
		// the two of a connection of net/http that is kept for the next request, and a server's end of it
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	); err != nil {
		e.Errorf("goroutines left: %v", err)
	}
}

func cancelledCalls(e *env) {
	e.put("k", []byte("x"))
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	calls := map[string]func() error{
		"Stat": func() error { _, err := e.b.Stat(ctx, e.loc("k"), upstream.StatOptions{}); return err },
		"Open": func() error {
			s, err := e.b.Open(ctx, e.loc("k"), upstream.OpenOptions{})
			if err == nil { // then the body must tell
				_, err = io.ReadAll(s.Body)
				_ = s.Body.Close()
			}
			return err
		},
		"Put":    func() error { _, err := e.b.Put(ctx, e.loc("k2"), putRequest([]byte("y"))); return err },
		"Delete": func() error { return e.b.Delete(ctx, e.loc("k"), upstream.DeleteOptions{}) },
		"List": func() error {
			_, err := e.b.List(ctx, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 10})
			return err
		},
	}
	if b, ok := e.b.(upstream.Bucketer); ok {
		calls["ListBuckets"] = func() error { _, err := b.ListBuckets(ctx); return err }
		calls["StatBucket"] = func() error { _, err := b.StatBucket(ctx, e.bucket); return err }
		calls["CreateBucket"] = func() error { return b.CreateBucket(ctx, e.bucketName()) }
		calls["DeleteBucket"] = func() error { return b.DeleteBucket(ctx, e.bucket) }
	}
	if m, ok := e.b.(upstream.Multiparter); ok {
		calls["CreateUpload"] = func() error {
			_, err := m.CreateUpload(ctx, e.loc("k3"), upstream.CreateUploadRequest{})
			return err
		}
	}
	for name, call := range calls {
		var err error
		e.within(name, func() { err = call() })
		if !errors.Is(err, upstream.Cancelled) {
			e.Errorf("%s: %v, want Cancelled", name, err)
		}
	}
	e.wantContent("k", []byte("x"))
	e.wantKeys("k")
}

// cancelRead ends the context while a body is read. Bytes that are on their way may still come; the end
// of the object may not.
func cancelRead(e *env) {
	e.put("k", e.data(16<<20))
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	s, err := e.b.Open(ctx, e.loc("k"), upstream.OpenOptions{})
	if err != nil {
		e.Fatal(err)
	}
	defer func() { _ = s.Body.Close() }()
	if _, err := io.ReadFull(s.Body, make([]byte, 1000)); err != nil {
		e.Fatal(err)
	}
	cancel()
	var n int64
	e.within("Read", func() { n, err = io.Copy(io.Discard, s.Body) })
	if err == nil {
		e.Fatalf("a cancelled body ended well after %d bytes", n+1000)
	}
	if !errors.Is(err, upstream.Cancelled) && !errors.Is(err, context.Canceled) {
		e.Errorf("a cancelled body ended with %v", err)
	}
}

func cancelList(e *env) {
	keys := make([]string, 200)
	for i := range keys {
		keys[i] = fmt.Sprintf("d%d/%03d", i%10, i)
	}
	e.fill(keys...)
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	pages := 0
	var err error
	e.within("List", func() {
		req := upstream.ListRequest{Bucket: e.bucket, MaxKeys: 1}
		for err == nil { // the case's own context ends it at last
			var page upstream.ListPage
			page, err = e.b.List(ctx, req)
			if pages++; pages == 5 {
				time.AfterFunc(time.Millisecond, cancel)
			}
			req.Token = page.Next // from the start again after the last
		}
	})
	e.wantCode(err, upstream.Cancelled)
}

// closeRead closes bodies in the middle, from the reader and while a Read may be under way.
func closeRead(e *env) {
	e.put("k", e.data(8<<20))
	for range 5 {
		s, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{})
		if err != nil {
			e.Fatal(err)
		}
		if _, err := io.ReadFull(s.Body, make([]byte, 1000)); err != nil {
			e.Fatal(err)
		}
		e.within("Close", func() { _ = s.Body.Close() })
		if n, err := io.Copy(io.Discard, s.Body); err == nil {
			e.Fatalf("a closed body ended well after %d more bytes", n)
		}
	}
}

// cancelStorm starts many reads and writes and cancels them at random moments.
func cancelStorm(e *env) {
	data := e.data(2 << 20)
	e.put("k", data)
	ignore := goleak.IgnoreCurrent()
	delays := make([]time.Duration, 60)
	for i := range delays {
		delays[i] = time.Duration(e.rng.IntN(5000)) * time.Microsecond
	}
	e.within("the storm", func() {
		_ = forEach(delays, func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(e.ctx, d)
			defer cancel()
			if d%2 == 0 {
				_, _ = e.b.Put(ctx, e.loc("k"), putRequest(data))
				return nil
			}
			s, err := e.b.Open(ctx, e.loc("k"), upstream.OpenOptions{})
			if err == nil {
				_, _ = io.Copy(io.Discard, s.Body)
				_ = s.Body.Close()
			}
			return nil
		})
	})
	e.wantFewGoroutines(ignore)
	e.wantContent("k", data)
	e.wantKeys("k")
}
