package prefetch

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1_000_000, 0)

func TestLinkEstimates(t *testing.T) {
	var l Link
	if e := l.Estimate(epoch.Add(-time.Hour)); e.FirstByte != assumedFirstByte || e.Bandwidth != assumedBandwidth || e.Deviation != 0 {
		t.Errorf("of nothing: %+v", e)
	}
	for i := range 100 { // 1..100 ms
		l.FirstByte(time.Duration(i+1)*time.Millisecond, epoch)
	}
	e := l.Estimate(epoch)
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if d := got - want; d < -10*time.Microsecond || d > 10*time.Microsecond {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	near("mean", e.FirstByte, 50500*time.Microsecond)
	near("deviation", e.Deviation, 25*time.Millisecond)
	near("late", e.Late(), 150500*time.Microsecond)
	near("p50", e.P50, 50*time.Millisecond)
	near("p95", e.P95, 95*time.Millisecond)
	near("p99", e.P99, 99*time.Millisecond)

	for i := range 20 {
		l.FirstByte(10*time.Millisecond, epoch.Add(sampleAge+time.Duration(i+1)*time.Millisecond))
	}
	near("after the window has slid", l.Estimate(epoch.Add(sampleAge+time.Second)).FirstByte, 10*time.Millisecond)
	near("the last samples do not age", l.Estimate(epoch.Add(time.Hour)).FirstByte, 10*time.Millisecond)

	l.Body(bandwidthFloor-1, time.Millisecond, epoch)
	if got := l.Estimate(epoch).Bandwidth; got != assumedBandwidth {
		t.Errorf("a small body told a bandwidth: %v", got)
	}
	for _, ms := range []int{10, 20, 40, 80} { // of 4 MB
		l.Body(4e6, time.Duration(ms)*time.Millisecond, epoch)
	}
	if got := l.Estimate(epoch.Add(time.Minute)).Bandwidth; got != 50e6 {
		t.Errorf("bandwidth %v, want the slowest quarter: 50e6", got)
	}
}

func TestRateLeavesWaitsOut(t *testing.T) {
	var r Rate
	now := epoch
	for range 50 { // 1 MB in 100 ms, of which 90 ms were our fault
		now = now.Add(100 * time.Millisecond)
		r.Add(1e6, 90*time.Millisecond, 1, now)
	}
	if got := r.Value(); got < 95e6 || got > 105e6 {
		t.Errorf("rate %v, want about 100e6", got)
	}
	var side Rate // two readers, each waiting half of the time
	now = epoch
	for range 50 {
		now = now.Add(50 * time.Millisecond)
		side.Add(1e6, 50*time.Millisecond, 2, now)
	}
	if got := side.Value(); got < 35e6 || got > 45e6 {
		t.Errorf("two readers: rate %v, want about 40e6", got)
	}
	before := r.Value()
	r.Add(1, 0, 1, now.Add(time.Hour))
	if r.Value() != before {
		t.Errorf("a pause changed the rate from %v to %v", before, r.Value())
	}
}

func TestRunSize(t *testing.T) {
	tests := []struct {
		ttfb time.Duration
		bps  float64
		max  int64
		want int64
	}{
		{200 * time.Millisecond, 80e6, 1 << 30, 16 * mib}, // Arrow's formula would say 144 MB
		{200 * time.Millisecond, 80e6, 128 * mib, 4 * mib},
		{2 * time.Millisecond, 400e6, 1 << 30, 6 * mib},
		{100 * time.Microsecond, 80e6, 128 * mib, mib},
		{time.Second, 80e6, 4 * mib, mib},
	}
	for _, test := range tests {
		if got := RunSize(Estimate{FirstByte: test.ttfb, Bandwidth: test.bps}, test.max, mib); got != test.want {
			t.Errorf("%v at %v: %d, want %d", test.ttfb, test.bps, got, test.want)
		}
	}
}

func TestWindow(t *testing.T) {
	link := Estimate{FirstByte: 100 * time.Millisecond, Deviation: 25 * time.Millisecond, Bandwidth: 80e6}
	pace := Pace{Rate: 100e6, Link: link, Run: 8e6, Max: 128 * mib}
	var w Window
	// 100 MB/s x (200 ms + 100 ms) + 8 MB.
	if got := w.Size(pace, 1<<40, 9); got != 38e6 {
		t.Errorf("window %d, want 38e6", got)
	}
	slow := pace
	slow.Link.FirstByte = 200 * time.Millisecond
	if got := w.Size(slow, 1<<40, 9); got != 48e6 {
		t.Errorf("a slower store's window: %d, want 48e6", got)
	}
	if got := w.Size(pace, mib, 1); got != 4*mib {
		t.Errorf("after one read of 1 MiB: %d", got)
	}
	if got := w.Size(Pace{Link: link, Run: mib, Max: 64 * mib}, 1<<40, 2); got != 64*mib {
		t.Errorf("of a consumer that was never measured: %d", got)
	}
	full := pace
	full.Saturated = true
	w.Stalled(full, epoch)
	if got := w.Size(pace, 1<<40, 9); got != 38e6 {
		t.Errorf("a stall on a saturated link widened the window to %d", got)
	}
	w.Stalled(pace, epoch)
	w.Stalled(pace, epoch.Add(299*time.Millisecond)) // of the same round trip
	if got := w.Size(pace, 1<<40, 9); got != 76e6 {
		t.Errorf("after a stall: %d, want 76e6", got)
	}
	if slower := (Pace{Rate: 50e6, Link: link, Run: 8e6, Max: 128 * mib}); w.Size(slower, 1<<40, 9) != 46e6 {
		t.Errorf("after a stall, of a consumer that is slower: %d, want 46e6", w.Size(slower, 1<<40, 9))
	}
	for i := range time.Duration(5) {
		w.Stalled(pace, epoch.Add((i+1)*time.Second))
	}
	if got := w.Size(pace, 1<<40, 9); got != 128*mib {
		t.Errorf("after many stalls: %d", got)
	}
	for range 1000 {
		w.Delivered(16 * mib)
	}
	if got := w.Size(pace, 1<<40, 9); got != 38e6 {
		t.Errorf("long after the stalls: %d", got)
	}
	w.Stalled(Pace{Link: link, Run: 8e6, Max: 128 * mib}, epoch.Add(time.Minute)) // it was the largest
	if got := w.Size(pace, 1<<40, 9); got != 38e6 {
		t.Errorf("after a stall before the rate was known: %d", got)
	}
	if got := pace.Strides(mib); got < 3 || got > maxStrides {
		t.Errorf("%d strides", got)
	}
}

// flow is a link simulated in steps of 10 ms: jobs of one size, a first byte after latency, then at most perConn
// for each and total for all.
type flow struct {
	g              governor
	latency        time.Duration
	perConn, total float64
	jobs           []*flying
	arrived        int64
	now            time.Time
}

type flying struct {
	since time.Time
	left  float64
}

const (
	flowRun  = 4 << 20
	flowStep = 10 * time.Millisecond
)

// run lets a scan with a window of want bytes go on for d and returns bytes a second and bytes in flight, on average.
func (f *flow) run(d time.Duration, want int64) (rate float64, flight int64) {
	start, before, area := f.now, f.arrived, 0.0
	e := Estimate{FirstByte: f.latency, Bandwidth: f.perConn, Fast: f.perConn}
	for f.now.Sub(start) < d {
		for f.g.inflight+flowRun <= want && f.g.allows(ClassSequential, flowRun, len(f.jobs), f.now) {
			f.g.move(flowRun, f.arrived, f.now)
			f.jobs = append(f.jobs, &flying{f.now, flowRun})
		}
		f.now = f.now.Add(flowStep)
		area += float64(f.g.inflight) * flowStep.Seconds()
		active := 0
		for _, j := range f.jobs {
			if f.now.Sub(j.since) > f.latency {
				active++
			}
		}
		kept := f.jobs[:0]
		for _, j := range f.jobs {
			if f.now.Sub(j.since) > f.latency {
				n := min(f.perConn, f.total/float64(active)) * flowStep.Seconds()
				f.arrived += int64(min(n, j.left))
				j.left -= n
			}
			if j.left > 0 {
				kept = append(kept, j)
				continue
			}
			f.g.observe(f.arrived, e, flowRun, f.now)
			f.g.move(-flowRun, f.arrived, f.now)
		}
		f.jobs = kept
		f.g.observe(f.arrived, e, flowRun, f.now)
	}
	return float64(f.arrived-before) / d.Seconds(), int64(area / d.Seconds())
}

func TestGovernorTellsLatencyFromSaturation(t *testing.T) {
	for _, test := range []struct {
		latency           time.Duration
		perConn, total    float64
		least             float64 // of the throughput that the window allows
		flightLow, flyMax int64
	}{
		// The window is the limit: nothing may be taken back.
		{10 * time.Millisecond, 80e6, math.Inf(1), .85, 100 * mib, 128 * mib},
		{200 * time.Millisecond, 80e6, math.Inf(1), .9, 100 * mib, 128 * mib},
		{time.Second, 80e6, math.Inf(1), .9, 100 * mib, 128 * mib},
		// The link is: what is in flight settles far below the window, and costs no throughput.
		{20 * time.Millisecond, 80e6, 50e6, .9, 4 * mib, 48 * mib},
		{50 * time.Millisecond, 80e6, 50e6, .9, 4 * mib, 48 * mib},
		{200 * time.Millisecond, 80e6, 50e6, .8, 4 * mib, 64 * mib},
	} {
		f := &flow{latency: test.latency, perConn: test.perConn, total: test.total, now: epoch}
		for window := 4 * mib; window < 128*mib; window *= 2 {
			f.run(2*test.latency+100*time.Millisecond, window) // the ramp
		}
		f.run(5*time.Second, 128*mib)
		rate, flight := f.run(8*time.Second, 128*mib)
		perJob := test.latency.Seconds() + flowRun/test.perConn
		possible := min(test.total, float64(128*mib)/perJob)
		if rate < test.least*possible || flight < test.flightLow || flight > test.flyMax {
			t.Errorf("%v, %.0f MB/s in all: %.0f of %.0f MB/s with %d MiB in flight",
				test.latency, test.total/1e6, rate/1e6, possible/1e6, flight/mib)
		}
	}
}

// When the link gets faster, the limit goes.
func TestGovernorProbes(t *testing.T) {
	f := &flow{latency: 50 * time.Millisecond, perConn: 80e6, total: 50e6, now: epoch}
	for window := 4 * mib; window <= 128*mib; window *= 2 {
		f.run(300*time.Millisecond, window)
	}
	f.run(8*time.Second, 128*mib)
	if f.g.limit == 0 || !f.g.saturated(f.now) {
		t.Fatalf("no limit was found: %+v", f.g)
	}
	f.total = 800e6
	f.run(freezeSpan+10*time.Second, 128*mib)
	if rate, _ := f.run(2*time.Second, 128*mib); rate < 400e6 {
		t.Errorf("%.0f MB/s long after the link got faster", rate/1e6)
	}
}

// When the store answers later than it did when a limit was found, that limit is not kept until it is old.
func TestGovernorFollowsLatency(t *testing.T) {
	f := &flow{latency: 20 * time.Millisecond, perConn: 80e6, total: 400e6, now: epoch}
	for window := 4 * mib; window <= 128*mib; window *= 2 {
		f.run(300*time.Millisecond, window)
	}
	f.run(3*time.Second, 128*mib)
	if f.g.limit == 0 || f.g.limit > float64(90*mib) || !f.g.saturated(f.now.Add(5*time.Second)) {
		t.Fatalf("no limit was found: %+v", f.g)
	}
	f.latency = 250 * time.Millisecond
	f.run(2500*time.Millisecond, 128*mib)
	if _, flight := f.run(time.Second, 128*mib); flight < 100*mib {
		t.Errorf("%d MiB in flight", flight/mib)
	}
}

func TestGovernorBacksOff(t *testing.T) {
	var g governor
	now := epoch
	if !g.allows(ClassSpeculative, mib, 63, now) {
		t.Error("refused without reason")
	}
	for range 64 { // one storm
		g.throttled(64, now)
	}
	if g.jobs != 32 {
		t.Errorf("limit %v after a storm with 64 under way, want half", g.jobs)
	}
	if g.allows(ClassSequential, mib, 32, now) || !g.allows(ClassSequential, mib, 31, now) {
		t.Error("the limit is not kept")
	}
	if g.allows(ClassHinted, mib, 0, now) || g.allows(ClassSpeculative, mib, 0, now) {
		t.Error("speculation goes on")
	}
	now = now.Add(pauseSpan)
	if !g.allows(ClassSpeculative, mib, 0, now) {
		t.Error("speculation does not come back")
	}
	g.throttled(32, now)
	if g.jobs != 16 {
		t.Errorf("limit %v after a second storm", g.jobs)
	}
	answers := 0
	for g.jobs > 0 && answers < 100_000 {
		g.succeeded(64)
		answers++
	}
	// From 16 to 64 by one for each round of as many answers: about (64^2-16^2)/2.
	if answers < 1500 || answers > 2500 {
		t.Errorf("recovered after %d answers", answers)
	}
	for range 100 {
		now = now.Add(pauseSpan)
		g.throttled(1, now)
	}
	if !g.allows(ClassSequential, mib, 0, now) {
		t.Error("a link that throttles is never tried again")
	}
}

func TestGovernorIsPoliteToDemand(t *testing.T) {
	g := governor{demand: 1}
	if g.allows(ClassRegistered, mib, politeJobs, epoch) {
		t.Error("a warm-up crowds a reader")
	}
	if !g.allows(ClassRegistered, mib, politeJobs-1, epoch) || !g.allows(ClassSequential, mib, politeJobs, epoch) {
		t.Error("too polite")
	}
	g = governor{demanded: epoch}
	if g.allows(ClassRegistered, mib, politeJobs, epoch.Add(politeSpan/2)) || !g.allows(ClassRegistered, mib, politeJobs, epoch.Add(politeSpan)) {
		t.Error("the span after a reader's fill is wrong")
	}
}

func TestSchedulerOrder(t *testing.T) {
	s := newScheduler(Budget{Memory: 8 * mib, Jobs: 3})
	add := func(query string, class Class, n int64) *Job {
		j := &Job{Query: query, Class: class}
		j.Target.Key.Bucket = "b"
		j.Range.Len = n
		s.add(j)
		return j
	}
	spec := add("a", ClassSpeculative, mib)
	reg := add("a", ClassRegistered, mib)
	hint := add("a", ClassHinted, mib)
	seqA1, seqA2 := add("a", ClassSequential, mib), add("a", ClassSequential, mib)
	seqB := add("b", ClassSequential, mib)
	due := add("b", ClassDue, mib)
	next := func(want *Job) {
		t.Helper()
		if got := s.next(epoch); got != want {
			t.Errorf("next is %+v, want %+v", got, want)
		}
	}
	next(due)
	next(seqA1) // b has got something
	next(seqA2) // equal; a is as good as b
	_ = seqB
	next(nil) // three jobs
	s.done(due, mib, outcomeDone, epoch)
	next(seqB)
	for _, j := range []*Job{seqA1, seqA2, seqB} {
		s.done(j, mib, outcomeDone, epoch)
	}
	next(hint)
	next(reg)
	next(spec)
	for _, j := range []*Job{hint, reg, spec} {
		s.done(j, mib, outcomeDone, epoch)
	}
	if len(s.queries) != 0 || s.bytes != 0 || s.count != 0 || s.queued != 0 {
		t.Errorf("left: %+v", s)
	}
}

// A link that has refused a class is not asked about the rest of it; the jobs of other links are found behind it.
func TestSchedulerAsksOnce(t *testing.T) {
	s := newScheduler(Budget{Memory: 1 << 40, Jobs: 100})
	add := func(bucket string, n int64) *Job {
		j := &Job{Class: ClassHinted}
		j.Target.Key.Bucket = bucket
		j.Range.Len = n
		s.add(j)
		return j
	}
	first := add("full", mib)
	if s.next(epoch) != first {
		t.Fatal("the first does not start")
	}
	l := s.linkOf(linkKey{bucket: "full"})
	l.limit = float64(4 * mib)
	big := add("full", 8*mib)
	for range 100 {
		add("full", 1) // would be let through
	}
	other := add("free", mib)
	a := s.ask(ClassHinted)
	if got := s.firstOf(s.queries[""].queues[ClassHinted], &a, epoch); got != other || a.open != 1 || !a.refused[big.Target.link()] {
		t.Errorf("found %+v, %+v", got, a)
	}
	if got := s.next(epoch); got != other {
		t.Errorf("next is %+v", got)
	}
	if got := s.next(epoch); got != nil {
		t.Errorf("of a link that refuses: %+v", got)
	}
}

// Of one class the earliest deadline goes first, then who has none; what is registered is due when its deadline is near.
func TestSchedulerDeadlines(t *testing.T) {
	s := newScheduler(Budget{Memory: 64 * mib, Jobs: 1})
	add := func(query string, class Class, in time.Duration) *Job {
		j := &Job{Query: query, Class: class}
		if in != 0 {
			j.Deadline = epoch.Add(in)
		}
		j.Range.Len = mib
		s.add(j)
		return j
	}
	none := add("a", ClassRegistered, 0)
	late, later := add("b", ClassRegistered, time.Hour), add("b", ClassRegistered, time.Hour)
	soon := add("c", ClassRegistered, 10*time.Minute)
	guess := add("d", ClassSpeculative, time.Second)
	way := add("e", ClassSequential, 0)
	urgent := add("f", ClassDue, 0)
	next := func(now time.Time, want *Job) {
		t.Helper()
		got := s.next(now)
		if got != want {
			t.Errorf("next is %+v, want %+v", got, want)
		}
		if got != nil {
			s.done(got, mib, outcomeDone, now)
		}
	}
	next(epoch.Add(10*time.Minute-dueBefore-1), urgent)
	next(epoch.Add(10*time.Minute-dueBefore), soon) // due, and before the reader's way
	next(epoch.Add(10*time.Minute), way)
	next(epoch.Add(11*time.Minute), late)
	next(epoch.Add(2*time.Hour), later) // overdue
	next(epoch.Add(2*time.Hour), none)
	next(epoch.Add(2*time.Hour), guess) // a deadline makes no other class more pressing
	if len(s.queries) != 0 || s.queued != 0 || s.low != 0 || s.bytes != 0 {
		t.Errorf("left: %+v", s)
	}
}

// Random adds, starts, ends, drops and reached jobs: the budgets hold, the sums are right, promoted jobs cost nothing, and nothing
// is left in the end.
func TestSchedulerModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		budget := Budget{Memory: (4 + r.Int64N(60)) * mib, Jobs: 1 + r.IntN(16)}
		s := newScheduler(budget)
		var running []*Job
		now := epoch
		ended := map[*Job]int{}
		all := 0
		check := func() {
			t.Helper()
			bytes, count, queued, low, lows := int64(0), 0, 0, int64(0), 0
			for _, j := range running {
				if !j.promoted {
					bytes += j.Range.Len
					count++
					if j.Class >= ClassHinted {
						low += j.Range.Len
						lows++
					}
				}
			}
			waiting := 0
			for _, q := range s.queries {
				for _, list := range q.queues {
					queued += len(list)
				}
			}
			for class := range classes {
				waiting += s.ask(class).open
			}
			if waiting != queued {
				t.Fatalf("seed %d: %d queued, %d by link", seed, queued, waiting)
			}
			if low != s.low || lows > 1 && low > budget.Memory/2 {
				t.Fatalf("seed %d: %d bytes of hints and below, the scheduler says %d, at most half of %d", seed, low, s.low, budget.Memory)
			}
			if bytes != s.bytes || count != s.count || queued != s.queued || count > budget.Jobs || count > 1 && bytes > budget.Memory {
				t.Fatalf("seed %d: %d bytes in %d jobs, %d queued; the scheduler says %d in %d, %d", seed, bytes, count, queued, s.bytes, s.count, s.queued)
			}
		}
		for range 500 {
			now = now.Add(time.Duration(r.IntN(50)) * time.Millisecond)
			switch r.IntN(5) {
			case 0, 1:
				j := &Job{Query: string(rune('a' + r.IntN(4))), Class: Class(r.IntN(int(classes)))}
				j.Target.Key.Key, j.Target.Key.Bucket = string(rune('k'+r.IntN(3))), string(rune('x'+r.IntN(2)))
				j.Range.Off, j.Range.Len = r.Int64N(100)*mib, 1+r.Int64N(8*mib)
				if j.Query > "b" {
					j.Deadline = epoch.Add(time.Duration(j.Query[0]-'b') * 35 * time.Second)
				}
				if s.add(j) {
					all++
				}
			case 2:
				if j := s.next(now); j != nil {
					j.cancel = func() {}
					running = append(running, j)
				}
			case 3:
				if len(running) > 0 {
					i := r.IntN(len(running))
					j := running[i]
					running = append(running[:i], running[i+1:]...)
					s.done(j, r.Int64N(j.Range.Len+1), outcome(r.IntN(3)), now)
					ended[j]++
				}
			case 4:
				j := &Job{}
				j.Target.Key.Key, j.Target.Key.Bucket = string(rune('k'+r.IntN(3))), string(rune('x'+r.IntN(2)))
				j.Range.Off, j.Range.Len = r.Int64N(100)*mib, 20*mib
				_, dropped := s.reached(j.Target.Key, "", j.Range)
				for _, d := range dropped {
					ended[d]++
				}
				if r.IntN(20) == 0 {
					for _, d := range s.drop(func(j *Job) bool { return j.Query == "a" }) {
						ended[d]++
					}
				}
			}
			check()
		}
		for step := 0; len(running) > 0 || s.queued > 0; step++ {
			now = now.Add(time.Second)
			for j := s.next(now); j != nil; j = s.next(now) {
				running = append(running, j)
			}
			for _, j := range running {
				s.done(j, j.Range.Len, outcomeDone, now)
				ended[j]++
			}
			running = nil
			if step > 10_000 {
				t.Fatalf("seed %d: %d jobs never start", seed, s.queued)
			}
		}
		if len(ended) != all || len(s.queries) != 0 || s.bytes != 0 || s.count != 0 {
			t.Fatalf("seed %d: %d of %d jobs ended; left: %d queries, %d bytes, %d jobs", seed, len(ended), all, len(s.queries), s.bytes, s.count)
		}
		for j, n := range ended {
			if n != 1 {
				t.Fatalf("seed %d: %+v ended %d times", seed, j, n)
			}
		}
	}
}

// A query with very many jobs does not keep another one waiting.
func TestSchedulerIsFair(t *testing.T) {
	s := newScheduler(Budget{Memory: 1 << 40, Jobs: 1})
	add := func(query string, n int) {
		for range n {
			j := &Job{Query: query, Class: ClassHinted}
			j.Range.Len = mib
			s.add(j)
		}
	}
	add("big", 1000)
	got := map[string]int{}
	for i := range 400 {
		if i == 100 {
			add("small", 100)
		}
		j := s.next(epoch)
		got[j.Query]++
		s.done(j, mib, outcomeDone, epoch)
		if i == 299 && got["small"] < 95 {
			t.Errorf("200 turns after it came, the second query has had %d", got["small"])
		}
	}
}
