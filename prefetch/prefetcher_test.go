package prefetch

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"unistore/byterange"
	"unistore/cache"
	"unistore/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// filler is a cache that takes note of what it is to fetch, and does it when it is let.
type filler struct {
	mu struct {
		sync.Mutex
		asked []cache.PrefetchRequest
		ended int
	}
	gate chan struct{} // nil: at once
	fail error
}

func (f *filler) Prefetch(ctx context.Context, req cache.PrefetchRequest) (cache.PrefetchResult, error) {
	f.mu.Lock()
	f.mu.asked = append(f.mu.asked, req)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.ended++
	}()
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return cache.PrefetchResult{}, ctx.Err()
		}
	}
	return cache.PrefetchResult{Fetched: req.Range.Len}, f.fail
}

func (f *filler) Fetched(context.Context, cache.PrefetchRequest) ([]byte, error) { return nil, errSlow }

func (f *filler) counts() (asked, ended int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.mu.asked), f.mu.ended
}

// ranges returns what was asked for, ascending.
func (f *filler) ranges() (out []byterange.Range) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.mu.asked {
		out = append(out, r.Range)
	}
	slices.SortFunc(out, func(a, b byterange.Range) int { return int(a.Off - b.Off) })
	return out
}

func newTest(t *testing.T, f *filler, b Budget) (*Prefetcher, *metrics.Metrics) {
	t.Helper()
	m := metrics.New(prometheus.NewRegistry())
	p := New(Config{
		Cache: f, Budget: b, MaxWindow: 64 * mib, Unit: mib, Metrics: m,
		Throttled: func(err error) bool { return errors.Is(err, errSlow) },
	})
	t.Cleanup(func() { p.Close() })
	return p, m
}

var errSlow = errors.New("slow down")

func reading(key string, off, n int64) Read {
	return Read{
		Target: Target{Key: cache.Key{Upstream: "u", Bucket: "b", Key: key}, ETag: "e", Size: 1 << 30},
		Range:  byterange.Range{Off: off, Len: n}, Query: "q",
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// idle waits until nothing is queued or under way, and checks that nothing is held.
func idle(t *testing.T, p *Prefetcher) {
	t.Helper()
	eventually(t, "idle", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.mu.sched.queued == 0 && len(p.mu.sched.running) == 0 && !p.mu.ticking
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.mu.sched; s.bytes != 0 || s.count != 0 || len(s.queries) != 0 {
		t.Errorf("left: %d bytes, %d jobs, %d queries", s.bytes, s.count, len(s.queries))
	}
}

// A scan: every byte behind its first read is fetched ahead, once.
func TestScanIsFetchedAhead(t *testing.T) {
	f := &filler{}
	p, _ := newTest(t, f, Budget{Memory: 256 * mib, Jobs: 64})
	const size, step = int64(256) * mib, mib
	for off := int64(0); off < size; off += step {
		r := reading("k", off, step)
		r.Target.Size = size
		p.Observe(r).Done(step, 0, false)
	}
	idle(t, p)
	end := step
	for _, r := range f.ranges() {
		if r.Off != end {
			t.Fatalf("%+v follows the byte %d", r, end)
		}
		end = r.End()
	}
	if end != size {
		t.Errorf("fetched up to %d of %d", end, size)
	}
}

func TestBudgetsHold(t *testing.T) {
	f := &filler{gate: make(chan struct{})}
	p, m := newTest(t, f, Budget{Memory: 64 * mib, Jobs: 3})
	p.Observe(reading("k", 0, 8*mib)).Done(8*mib, time.Second, false)
	eventually(t, "three jobs", func() bool { n, _ := f.counts(); return n == 3 })
	if got := testutil.ToFloat64(m.PrefetchJobs.WithLabelValues("running")); got != 3 {
		t.Errorf("%v running by the metric", got)
	}
	if got := testutil.ToFloat64(m.PrefetchJobs.WithLabelValues("queued")); got == 0 {
		t.Error("nothing waits")
	}
	// A reader comes to one that is under way: it is demand from now on, and another one may start.
	p.Observe(reading("k", 8*mib, mib)).Done(mib, 0, false)
	eventually(t, "a fourth job", func() bool { n, _ := f.counts(); return n == 4 })
	if got := testutil.ToFloat64(m.PrefetchPromoted); got != 1 {
		t.Errorf("%v promoted", got)
	}
	close(f.gate)
	idle(t, p)
}

func TestClientThatLeavesEndsItsJobs(t *testing.T) {
	f := &filler{gate: make(chan struct{})}
	p, m := newTest(t, f, Budget{Memory: 64 * mib, Jobs: 2})
	o := p.Observe(reading("k", 0, 8*mib))
	eventually(t, "two jobs", func() bool { n, _ := f.counts(); return n == 2 })
	o.Done(mib, 0, true)
	idle(t, p)
	if asked, ended := f.counts(); asked != 2 || ended != 2 {
		t.Errorf("%d asked, %d ended", asked, ended)
	}
	if got := testutil.ToFloat64(m.PrefetchBytes.WithLabelValues("cancelled")); got < float64(8*mib) {
		t.Errorf("%v bytes cancelled", got)
	}
}

func TestCancelQuery(t *testing.T) {
	f := &filler{gate: make(chan struct{})}
	p, _ := newTest(t, f, Budget{Memory: 64 * mib, Jobs: 1})
	var mu sync.Mutex
	ends := map[string][]error{}
	add := func(query string) {
		j := &Job{Target: reading("k", 0, 1).Target, Range: byterange.Range{Len: mib}, Class: ClassRegistered, Query: query}
		j.Done = func(r JobResult) {
			mu.Lock()
			defer mu.Unlock()
			ends[query] = append(ends[query], r.Err)
		}
		if !p.Add(j) {
			t.Fatal("not taken")
		}
	}
	for range 3 {
		add("a")
		add("b")
	}
	p.CancelQuery("a")
	close(f.gate)
	idle(t, p)
	mu.Lock()
	defer mu.Unlock()
	if len(ends["a"]) != 3 || len(ends["b"]) != 3 {
		t.Fatalf("%v", ends)
	}
	for i := range 3 {
		if !errors.Is(ends["a"][i], ErrDropped) || ends["b"][i] != nil {
			t.Errorf("%v", ends)
		}
	}
}

// A storm of 503: the requests under way fall at once, and come back when it is over.
func TestStormOf503(t *testing.T) {
	f := &filler{fail: errSlow}
	p, _ := newTest(t, f, Budget{Memory: 256 * mib, Jobs: 64})
	for i := range int64(16) {
		p.Observe(reading("k", i*mib, mib)).Done(mib, 0, false)
	}
	idle(t, p)
	p.mu.Lock()
	l := p.mu.sched.linkOf(linkKey{"u", "b"})
	jobs := l.jobs
	p.mu.Unlock()
	if jobs == 0 || jobs > 2 {
		t.Errorf("limit %v after every request was refused", jobs)
	}
}

// Whatever happens, a nil Prefetcher, a closed one and a full queue are no trouble.
func TestNothingToDo(t *testing.T) {
	var none *Prefetcher
	none.Observe(reading("k", 0, mib)).Done(1, 0, false)
	none.CancelQuery("q")
	none.Go(func(context.Context) { t.Error("runs") })
	if none.Add(&Job{}) || none.Close() != nil {
		t.Error("a nil Prefetcher does something")
	}
	body := io.NopCloser(strings.NewReader("x"))
	if none.Begin("u", "b", true).Answered(body, nil) != body {
		t.Error("another body")
	}

	f := &filler{gate: make(chan struct{})}
	p, _ := newTest(t, f, Budget{Memory: mib, Jobs: 1})
	taken := 0
	for range maxQueued + 10 {
		if p.Add(&Job{Range: byterange.Range{Len: mib}, Class: ClassHinted}) {
			taken++
		}
	}
	if taken != maxQueued+1 {
		t.Errorf("%d taken", taken)
	}
	o := p.Observe(reading("k", 0, mib))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	o.Done(1, 0, false)
	if p.Add(&Job{}) || p.Observe(reading("k", 0, mib)) != nil {
		t.Error("a closed Prefetcher takes more")
	}
}

func TestTransfersMeasure(t *testing.T) {
	now := epoch
	m := metrics.New(prometheus.NewRegistry())
	p := New(Config{Cache: &filler{}, Budget: Budget{Memory: mib, Jobs: 1}, MaxWindow: mib, Unit: mib, Metrics: m, Now: func() time.Time { return now }})
	defer p.Close()
	tr := p.Begin("u", "b", true)
	now = now.Add(70 * time.Millisecond)
	body := tr.Answered(io.NopCloser(strings.NewReader(strings.Repeat("x", 2<<20))), nil)
	state := func() (Estimate, int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		l := p.mu.sched.linkOf(linkKey{"u", "b"})
		return l.Estimate(now), l.demand
	}
	if e, demand := state(); e.FirstByte != 70*time.Millisecond || demand != 1 {
		t.Errorf("%+v, %d", e, demand)
	}
	if n, err := io.Copy(io.Discard, body); err != nil || n != 2<<20 {
		t.Fatal(n, err)
	}
	body.Close()
	body.Close()
	if e, demand := state(); e.Bandwidth == assumedBandwidth || demand != 0 {
		t.Errorf("%+v, %d", e, demand)
	}
	p.Begin("u", "b", true).Answered(nil, errSlow)
	if _, demand := state(); demand != 0 {
		t.Errorf("%d after a failure", demand)
	}
}

// Reads, hints, cancels and ends from many sides: nothing is left, nothing hangs.
func TestPrefetcherSideBySide(t *testing.T) {
	f := &filler{}
	p, _ := newTest(t, f, Budget{Memory: 32 * mib, Jobs: 4})
	var all sync.WaitGroup
	for w := range 6 {
		all.Go(func() {
			for i := range int64(300) {
				r := reading(string(rune('a'+w%3)), i*mib, mib)
				r.Query = string(rune('p' + w%2))
				o := p.Observe(r)
				switch i % 50 {
				case 10:
					p.CancelQuery(r.Query)
				case 20:
					p.Add(&Job{Target: r.Target, Range: r.Range, Class: ClassHinted, Query: r.Query})
				}
				tr := p.Begin("u", "b", i%2 == 0)
				tr.Answered(nil, errSlow)
				o.Done(mib, time.Duration(i%3)*time.Millisecond, i%40 == 39)
			}
		})
	}
	all.Wait()
	idle(t, p)
}

// A read that changes nothing does not look for jobs to start.
func TestQuietReadsDoNotPump(t *testing.T) {
	f := &filler{}
	p, _ := newTest(t, f, Budget{Memory: 64 * mib, Jobs: 8})
	p.mu.Lock()
	p.mu.sched.add(&Job{Target: reading("other", 0, mib).Target, Range: byterange.Range{Len: mib}, Class: ClassHinted})
	p.mu.Unlock()
	r := reading("k", 100*mib, mib)
	r.Hint.Access = HintRandom
	p.Observe(r).Done(mib, 0, false)
	p.mu.Lock()
	queued := p.mu.sched.queued
	p.mu.Unlock()
	if queued != 1 {
		t.Errorf("%d jobs wait", queued)
	}
	p.Observe(reading("s", 0, 8*mib)).Done(8*mib, 0, false) // a scan
	idle(t, p)
}
