package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"unistore/byterange"
)

// gate is a body that delivers as much as it is allowed to.
type gate struct {
	io.Reader
	ctx   context.Context
	allow chan int // bytes
	left  int
	stop  chan struct{} // closed by Close
	once  sync.Once
}

func newGate(ctx context.Context, r io.Reader) *gate {
	return &gate{Reader: r, ctx: ctx, allow: make(chan int, 1000), stop: make(chan struct{})}
}

func (g *gate) Read(p []byte) (int, error) {
	for g.left == 0 {
		select {
		case g.left = <-g.allow:
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		case <-g.stop:
			return 0, errors.New("closed")
		}
	}
	n, err := g.Reader.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.stop) })
	return nil
}

// gates are the bodies under way, by where they begin.
type gates struct {
	t  testing.TB
	mu sync.Mutex
	at map[int64]*gate
}

// gated makes every body of e's origin a gate.
func (e *env) gated() *gates {
	gs := &gates{t: e.t, at: make(map[int64]*gate)}
	e.o.hook = func(ctx context.Context, _ string, r byterange.Range, body io.Reader) (io.Reader, error) {
		g := newGate(ctx, body)
		gs.mu.Lock()
		defer gs.mu.Unlock()
		gs.at[r.Off] = g
		return g, nil
	}
	return gs
}

// get waits for the body that begins at off.
func (gs *gates) get(off int64) (g *gate) {
	gs.t.Helper()
	eventually(gs.t, fmt.Sprint("a request at ", off), func() bool {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		g = gs.at[off]
		return g != nil
	})
	return g
}

// opened is the outcome of a Cache.Read in another goroutine.
type opened struct {
	r   *Reader
	err error
}

func (e *env) openAsync(req ReadRequest) <-chan opened {
	ch := make(chan opened, 1)
	go func() {
		r, err := e.c.Read(context.Background(), req)
		ch <- opened{r, err}
	}()
	return ch
}

// waiters waits until n readers wait for fills.
func (e *env) waiters(n int) {
	e.t.Helper()
	eventually(e.t, fmt.Sprint(n, " waiters"), func() bool {
		e.c.mu.Lock()
		defer e.c.mu.Unlock()
		sum := 0
		for f := range e.c.mu.fills {
			sum += f.waiters
		}
		return sum == n
	})
}

func TestConcurrentColdReadersFetchOnce(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprintf("first %t", first), func(t *testing.T) {
			e := newEnv(t, nil)
			const size = 3<<20 + 777
			e.o.put("k", size)
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range 64 {
				req := e.request("k", 0, size)
				if first && i == 0 {
					req.First = e.o.first(t, "k", req.Range)
				}
				wg.Go(func() {
					if req.First == nil && first {
						<-start
					}
					res, got, err := readAll(e.c, req)
					if err != nil || !bytes.Equal(got, e.o.content("k")) {
						t.Errorf("%+v, %v, %d bytes", res, err, len(got))
					}
				})
				if i == 0 && first {
					eventually(t, "the stream", func() bool { s := e.c.Stats(); return s.Fills > 0 || s.Blocks > 0 })
					close(start)
				}
			}
			wg.Wait()
			if _, n := e.o.counts(); n != size {
				t.Errorf("%d bytes fetched for an object of %d", n, size)
			}
			if first {
				e.wantFetches(1)
			}
			e.idle()
			e.checkDisk()
		})
	}
}

func TestReadWhileFilling(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	gates := e.gated()
	ch := e.openAsync(e.request("k", 0, blockLen))
	g := gates.get(0)
	g.allow <- page
	got := <-ch // the first page is enough
	if got.err != nil {
		t.Fatal(got.err)
	}
	defer got.r.Close()
	buf := make([]byte, 2*page)
	n, err := got.r.Read(buf)
	if err != nil || n != page || !bytes.Equal(buf[:n], e.o.content("k")[:page]) {
		t.Fatalf("Read = %d, %v", n, err)
	}
	g.allow <- blockLen + 1
	rest, err := io.ReadAll(got.r)
	if err != nil || !bytes.Equal(rest, e.o.content("k")[page:]) {
		t.Fatalf("%d bytes, %v", len(rest), err)
	}
}

func TestLateReaderJoins(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	gates := e.gated()
	a := e.openAsync(e.request("k", 0, blockLen))
	g := gates.get(0)
	b := e.openAsync(e.request("k", 2*page, page))
	e.waiters(2)
	g.allow <- blockLen + 1
	for _, ch := range []<-chan opened{a, b} {
		got := <-ch
		if got.err != nil {
			t.Fatal(got.err)
		}
		if _, err := io.Copy(io.Discard, got.r); err != nil {
			t.Error(err)
		}
		if got.r.req.Range.Len == page && !got.r.Result().Collapsed {
			t.Errorf("%+v, want collapsed", got.r.Result())
		}
		got.r.Close()
	}
	e.wantFetches(1)
	e.idle()
}

func TestAbandonedFillIsCancelled(t *testing.T) {
	e := newEnv(t, nil)
	const size = 16 << 20
	e.o.put("k", size)
	gates := e.gated()
	ch := e.openAsync(e.request("k", 0, size))
	g := gates.get(0)
	g.allow <- 3*page + 100
	got := <-ch
	if got.err != nil {
		t.Fatal(got.err)
	}
	got.r.Close()
	eventually(t, "the fills end", func() bool { return e.c.Stats().Fills == 0 })
	e.idle()
	e.checkDisk()
	if _, n := e.o.counts(); n > 4*page {
		t.Errorf("%d bytes were fetched after the reader left", n)
	}
	// What was completed is kept.
	e.o.hook = nil
	before, _ := e.o.counts()
	e.read("k", 0, 3*page)
	e.wantFetches(before)
}

func TestWaiterKeepsFillAlive(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	gates := e.gated()
	leader := e.openAsync(e.request("k", 0, blockLen))
	g := gates.get(0)
	g.allow <- page
	got := <-leader
	waiter := e.openAsync(e.request("k", 3*page, page))
	e.waiters(2)
	got.r.Close()
	g.allow <- blockLen + 1
	w := <-waiter
	if w.err != nil {
		t.Fatal(w.err)
	}
	defer w.r.Close()
	if data, err := io.ReadAll(w.r); err != nil || !bytes.Equal(data, e.o.content("k")[3*page:]) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	e.wantFetches(1)
}

func TestCancelledReaderLeavesQueue(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	gates := e.gated()
	leader := e.openAsync(e.request("k", 0, blockLen))
	g := gates.get(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := e.c.Read(ctx, e.request("k", page, page))
		done <- err
	}()
	e.waiters(2)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v", err)
	}
	e.waiters(1)
	g.allow <- blockLen + 1
	got := <-leader
	if _, err := io.Copy(io.Discard, got.r); err != nil {
		t.Error(err)
	}
	got.r.Close()
	e.idle()
}

func TestFailedLeaderPassesTheTurn(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	gates := e.gated()
	failing := e.request("k", 0, blockLen)
	refuse := make(chan struct{})
	broken := errors.New("refused")
	failing.Fetch = func(context.Context, byterange.Range) (io.ReadCloser, error) {
		<-refuse
		return nil, broken
	}
	leader := e.openAsync(failing)
	e.waiters(1)
	var waiters []<-chan opened
	for range 5 {
		waiters = append(waiters, e.openAsync(e.request("k", 0, blockLen)))
	}
	e.waiters(6)
	close(refuse)
	if got := <-leader; !errors.Is(got.err, broken) {
		t.Errorf("leader: %v", got.err)
	}
	gates.get(0).allow <- blockLen + 1
	for _, w := range waiters {
		got := <-w
		if got.err != nil {
			t.Errorf("waiter: %v", got.err)
			continue
		}
		if _, err := io.Copy(io.Discard, got.r); err != nil {
			t.Error(err)
		}
		got.r.Close()
	}
	e.wantFetches(1)
	e.idle()
}

// breaking makes every body of at least n bytes fail after n bytes, the given number of times.
func (e *env) breaking(n int64, times int, with error) {
	var mu sync.Mutex
	e.o.hook = func(_ context.Context, _ string, r byterange.Range, body io.Reader) (io.Reader, error) {
		mu.Lock()
		defer mu.Unlock()
		if times == 0 || r.Len <= n {
			return body, nil
		}
		times--
		return io.MultiReader(io.LimitReader(body, n), errReader{with}), nil
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestBrokenBodyIsResumed(t *testing.T) {
	tests := []struct {
		name  string
		after int64
		times int
		first bool
		want  error
	}{
		{"once in the middle", 2*page + 10, 1, false, nil},
		{"stream in the middle", 2*page + 10, 1, true, nil},
		{"at once, twice", 0, 2, false, nil},
		{"for ever", 0, 1000, false, errBroken},
		{"for ever, with progress", page, 1000, false, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, nil)
			e.o.put("k", 2*blockLen)
			e.breaking(test.after, test.times, errBroken)
			req := e.request("k", 0, 2*blockLen)
			if test.first {
				req.First = e.o.first(t, "k", req.Range)
			}
			if test.want == nil {
				e.do(req)
			} else if _, _, err := readAll(e.c, req); !errors.Is(err, test.want) {
				t.Errorf("error %v", err)
			}
			e.idle()
			e.checkDisk()
		})
	}
}

var errBroken = errors.New("connection reset")

func TestEndOfBodyIsVerified(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", page)
	e.o.hook = func(_ context.Context, _ string, _ byterange.Range, body io.Reader) (io.Reader, error) {
		return io.MultiReader(body, errReader{errBroken}), nil // in the place of EOF
	}
	for range 2 {
		if _, got, err := readAll(e.c, e.request("k", 0, page)); !errors.Is(err, errBroken) || len(got) != 0 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	req := e.request("k", 0, page)
	req.NoStore = true
	if _, got, err := readAll(e.c, req); !errors.Is(err, errBroken) || len(got) != 0 {
		t.Errorf("around: %d bytes, %v", len(got), err)
	}
	e.idle()
	e.checkDisk()
}

func TestChangedObject(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 4<<20)
	req := e.request("k", 0, 4<<20)
	e.o.put("k", 1000)
	if _, err := e.c.Read(t.Context(), req); !errors.Is(err, ErrChanged) {
		t.Errorf("before the first byte: %v", err)
	}

	// In mid-read: what was sent is of the old version, and then there is an error.
	e.o.put("k", 4<<20)
	old := e.o.content("k")
	req = e.request("k", 0, 4<<20)
	r, err := e.c.Read(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	e.o.put("k", 4<<20)
	e.c.Forget(keyOf("k"))
	got, err := io.ReadAll(r)
	if err == nil && len(got) != 4<<20 || err != nil && !errors.Is(err, ErrChanged) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if !bytes.Equal(got, old[:len(got)]) {
		t.Error("bytes of another version")
	}
}

func TestSlowReaderDoesNotSlowTheFill(t *testing.T) {
	e := newEnv(t, nil)
	const size = 1 << 20
	e.o.put("k", size)
	slow, err := e.c.Read(t.Context(), e.request("k", 0, size))
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	eventually(t, "the whole run is resident though nobody reads", func() bool { return e.c.Stats().Resident == size })
	if data, err := io.ReadAll(slow); err != nil || !bytes.Equal(data, e.o.content("k")) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestLookAheadIsBounded(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprintf("first %t", first), func(t *testing.T) {
			e := newEnv(t, nil) // runs of 1 MiB, 4 ahead
			const size = 20 << 20
			e.o.put("k", size)
			req := e.request("k", 0, size)
			if first {
				req.First = e.o.first(t, "k", req.Range)
			}
			r, err := e.c.Read(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the window", func() bool { return e.c.Stats().Resident == 4<<20 })
			if first {
				time.Sleep(20 * time.Millisecond) // time for a mistake to show, not for work to end
			}
			if n := e.c.Stats().Resident; n != 4<<20 {
				t.Errorf("%d bytes ahead of a reader that does not move", n)
			}
			if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, e.o.content("k")) {
				t.Errorf("%d bytes, %v", len(data), err)
			}
			r.Close()
			if first {
				e.wantFetches(1)
			} else {
				e.wantFetches(20)
			}
			if _, n := e.o.counts(); n > size {
				t.Errorf("%d bytes", n)
			}
			e.idle()
		})
	}
}

func TestRandomReadFetchesItsPages(t *testing.T) {
	e := newEnv(t, nil)
	const size = 8 << 20
	e.o.put("k", size)
	e.read("k", 3<<20+100, 500_000)
	if fetches, n := e.o.counts(); fetches != 1 || n > 500_000+2*page {
		t.Errorf("%d requests, %d bytes", fetches, n)
	}
	e.idle()
	e.checkDisk()
}

func TestGapsAreFilled(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 2*blockLen)
	for _, p := range []int64{1, 4, 6} {
		e.read("k", p*page, page)
	}
	e.wantFetches(3)
	if res := e.read("k", 0, 2*blockLen); !res.Partial || res.Source != SourceFill {
		t.Errorf("%+v", res)
	}
	e.wantFetches(4) // 0, 2-3, 5, 7
	e.restart()
	e.read("k", 0, 2*blockLen)
	e.wantFetches(0)
	e.idle()
	e.checkDisk()
}
