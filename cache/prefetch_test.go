package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/byterange"
)

func (e *env) prefetch(ctx context.Context, name string, off, n int64, cause Cause, pin *PinRequest) (PrefetchResult, error) {
	r := e.request(name, off, n)
	return e.c.Prefetch(ctx, PrefetchRequest{Key: r.Key, Attrs: r.Attrs, Range: r.Range, Fetch: r.Fetch, Cause: cause, Pin: pin})
}

func (e *env) prefetched(outcome string) int64 {
	return int64(testutil.ToFloat64(e.m.PrefetchBytes.WithLabelValues(outcome)))
}

func TestPrefetchBringsWhatIsMissing(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 3<<20)
	e.read("a", 512<<10, 64<<10) // in the midst
	before, _ := e.o.counts()
	res, err := e.prefetch(t.Context(), "a", 0, 2<<20, CauseSequential, nil)
	if err != nil || res.Fetched != 2<<20-64<<10 {
		t.Fatalf("%+v, %v", res, err)
	}
	if n, _ := e.o.counts(); n-before != 3 { // before it, and two runs of 1 MiB at most after it
		t.Errorf("%d requests for two gaps and a run limit of 1 MiB", n-before)
	}
	if got := int64(testutil.ToFloat64(e.m.CacheFillBytes.WithLabelValues("sequential"))); got != res.Fetched {
		t.Errorf("%d bytes counted by cause, %d fetched", got, res.Fetched)
	}
	before, _ = e.o.counts()
	if again, err := e.prefetch(t.Context(), "a", 0, 2<<20, CauseHint, nil); err != nil || again.Fetched != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if got := e.read("a", 1<<20, 1<<20); got.Source != SourceCache || !got.Prefetched {
		t.Errorf("read of what was fetched ahead: %+v", got)
	}
	if n, _ := e.o.counts(); n != before {
		t.Errorf("%d requests for what is there", n-before)
	}
	if issued, used := e.prefetched("issued"), e.prefetched("used"); issued != res.Fetched || used < 1<<20 {
		t.Errorf("issued %d of %d, used %d", issued, res.Fetched, used)
	}
	e.idle()
}

// What nobody has read when it goes was wasted; what was read was not.
func TestPrefetchCountsWaste(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	if _, err := e.prefetch(t.Context(), "a", 0, 1<<20, CauseStrided, nil); err != nil {
		t.Fatal(err)
	}
	e.read("a", 0, blockLen)
	e.c.Learn(keyOf("a"), e.c.Begin(keyOf("a")), e.o.attrs("a"))
	e.c.Drop(keyOf("a"))
	e.idle()
	if used, wasted := e.prefetched("used"), e.prefetched("wasted"); used != blockLen || wasted != 1<<20-blockLen {
		t.Errorf("used %d, wasted %d", used, wasted)
	}
	e.idle()
}

// A reader that comes to a range on its way joins; the context of the prefetch does not end its fill then.
func TestReaderTakesAPrefetchOver(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	gate, begun := make(chan struct{}), make(chan struct{})
	e.o.hook = func(_ context.Context, _ string, _ byterange.Range, body io.Reader) (io.Reader, error) {
		close(begun)
		<-gate
		return body, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := e.prefetch(ctx, "a", 0, 1<<20, CauseSequential, nil)
		done <- err
	}()
	<-begun
	var wg sync.WaitGroup
	wg.Go(func() { e.read("a", 100, 1000) })
	eventually(t, "the reader joins", func() bool {
		e.c.mu.Lock()
		defer e.c.mu.Unlock()
		for f := range e.c.mu.fills {
			return f.waiters == 2
		}
		return false
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(gate)
	wg.Wait()
	if n, _ := e.o.counts(); n != 1 {
		t.Errorf("%d requests", n)
	}
	e.idle()
}

// A fetch ahead that waits is told when a reader joins its fill, not when another fetch ahead does.
func TestReaderIsWaitedFor(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	begun := make(chan (<-chan struct{}), 1)
	e.o.hook = func(ctx context.Context, _ string, _ byterange.Range, body io.Reader) (io.Reader, error) {
		wanted := Wanted(ctx)
		if wanted == nil { // a reader's own
			return body, nil
		}
		select {
		case begun <- wanted:
		default:
		}
		select {
		case <-wanted:
			return body, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Second):
			return nil, errors.New("a reader joined and nobody was told")
		}
	}
	var wg sync.WaitGroup
	ahead := func(pin *PinRequest) {
		wg.Go(func() {
			if _, err := e.prefetch(t.Context(), "a", 0, 1<<20, CauseRegistered, pin); err != nil {
				t.Error(err)
			}
		})
	}
	ahead(nil)
	wanted := <-begun
	ahead(&PinRequest{Query: "q", Kind: PinSoft, TTL: time.Hour})
	e.waiters(2)
	select {
	case <-wanted:
		t.Error("wanted by another fetch ahead")
	default:
	}
	for range 2 {
		wg.Go(func() { e.read("a", 100, 1000) })
	}
	wg.Wait()
	e.c.Unpin("q")
	e.idle()
}

// The fill that a reader of its own needs is wanted from the beginning; that of a fetch ahead which is read here is not.
func TestWhoIsWaitedFor(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	var wanted <-chan struct{}
	e.o.hook = func(ctx context.Context, _ string, _ byterange.Range, body io.Reader) (io.Reader, error) {
		wanted = Wanted(ctx)
		return body, nil
	}
	e.read("a", 0, 100)
	if wanted != nil {
		t.Error("a fill for a reader waits to be wanted")
	}
	req := e.request("a", 512<<10, 100)
	req.uncounted = true
	if _, _, err := readAll(e.c, req); err != nil {
		t.Fatal(err)
	}
	if wanted == nil {
		t.Error("a fill for nobody who waits is wanted from the beginning")
	}
	e.idle()
}

// Without a reader, the context ends it; what has come stays.
func TestPrefetchIsCancelled(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	e.o.hook = func(ctx context.Context, _ string, _ byterange.Range, body io.Reader) (io.Reader, error) {
		return io.MultiReader(io.LimitReader(body, 2*page), untilDone{ctx, cancel}), nil
	}
	if _, err := e.prefetch(ctx, "a", 0, 1<<20, CauseRegistered, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	e.idle()
	if got := e.c.Resident(keyOf("a"), e.o.attrs("a"), []byterange.Range{{Len: 1 << 20}}); got != 2*page {
		t.Errorf("%d bytes stay of two pages that had come", got)
	}
}

// untilDone blocks until ctx is done, after it has called cancel.
type untilDone struct {
	ctx    context.Context
	cancel func()
}

func (u untilDone) Read([]byte) (int, error) {
	u.cancel()
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}

func TestPrefetchPins(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", 1<<20)
	res, err := e.prefetch(t.Context(), "a", 0, 1<<20, CauseRegistered, &PinRequest{Query: "q", Kind: PinHard, TTL: time.Hour})
	if err != nil || res.Pin.Bytes != 1<<20 || res.Pin.Refused != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if p := e.c.Pins(); len(p) != 1 || p[0].HardBytes != 1<<20 {
		t.Errorf("pins: %+v", p)
	}
	if got := e.read("a", 0, 1<<20); !got.Pinned {
		t.Errorf("%+v", got)
	}
	if used := e.prefetched("used"); used != 1<<20 {
		t.Errorf("used %d of pinned blocks", used)
	}
	e.c.Unpin("q")
	e.idle()
}

func TestPrefetchThatCanNotBeKept(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("b", 1<<20)
	r := e.request("b", 0, 100)
	r.Attrs.ETag = ""
	if _, err := e.c.Prefetch(t.Context(), PrefetchRequest{Key: r.Key, Attrs: r.Attrs, Range: r.Range, Fetch: r.Fetch, Cause: CauseHint}); !errors.Is(err, ErrNotKept) {
		t.Errorf("no version: %v", err)
	}
	stale := e.request("b", 0, 100)
	e.o.put("b", 1<<20)
	if _, err := e.c.Prefetch(t.Context(), PrefetchRequest{Key: stale.Key, Attrs: stale.Attrs, Range: stale.Range, Fetch: stale.Fetch, Cause: CauseHint}); !errors.Is(err, ErrChanged) {
		t.Errorf("another version: %v", err)
	}
	e.idle()
}

// Readers, prefetches, cancels and drops side by side: every byte is right, and nothing is left.
func TestPrefetchBesideReaders(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Size = 8 << 20 })
	for _, name := range []string{"a", "b", "c"} {
		e.o.put(name, 4<<20+12345)
	}
	var wg sync.WaitGroup
	for worker := range uint64(6) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(worker, 4))
			for range 150 {
				name := string(rune('a' + r.IntN(3)))
				off := r.Int64N(4 << 20)
				n := 1 + r.Int64N(min(1<<20, 4<<20+12345-off))
				switch {
				case worker%2 == 0:
					_, got, err := readAll(e.c, e.request(name, off, n))
					if err != nil || !bytes.Equal(got, e.o.content(name)[off:off+n]) {
						t.Errorf("worker %d: read of %d bytes: %v", worker, len(got), err)
					}
				case r.IntN(30) == 0:
					e.c.Drop(keyOf(name))
				default:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(3000))*time.Microsecond)
					if _, err := e.prefetch(ctx, name, off, n, CauseSequential, nil); err != nil &&
						!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrNotKept) && !errors.Is(err, errAbandoned) {
						t.Errorf("worker %d: prefetch: %v", worker, err)
					}
					cancel()
				}
			}
		})
	}
	wg.Wait()
	e.idle()
	for _, name := range []string{"a", "b", "c"} {
		e.read(name, 0, 4<<20+12345)
	}
	e.idle()
}
