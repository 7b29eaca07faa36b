package prefetch

import (
	"testing"
	"time"

	"unistore/byterange"
)

// scanLink is a scan over a simulated link, in steps of 10 ms: a first byte after latency, then at most perConn for each
// request and total for all, in equal shares. The reader takes what is there in order, as fast as it comes.
type scanLink struct {
	latency        time.Duration
	perConn, total float64
	window         int64

	l       linkState
	paced   bool
	now     time.Time
	jobs    []*flying // in order; those that have come stay until the reader has passed them
	issued  int64
	pos     int64
	arrived int64
}

// run lets the scan go on for d and returns bytes a second.
func (s *scanLink) run(d time.Duration) float64 {
	before := s.arrived
	for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(flowStep) {
		for s.issued+flowRun <= s.pos+s.window && (!s.paced || s.l.ready(s.now)) {
			s.l.started(flowRun, s.l.Estimate(s.now), s.now)
			s.jobs = append(s.jobs, &flying{s.now, flowRun})
			s.issued += flowRun
			s.l.running++
		}
		active := 0
		for _, j := range s.jobs {
			if j.left > 0 && s.now.Sub(j.since) >= s.latency {
				active++
			}
		}
		for _, j := range s.jobs {
			if j.left <= 0 || s.now.Sub(j.since) < s.latency {
				continue
			}
			n := min(min(s.perConn, s.total/float64(active))*flowStep.Seconds(), j.left)
			s.arrived += int64(n)
			if j.left -= n; j.left <= 0 {
				s.l.running--
				s.l.FirstByte(s.latency, s.now)
				s.l.Body(flowRun, s.now.Sub(j.since)-s.latency+flowStep, s.now)
			}
		}
		for len(s.jobs) > 0 && s.jobs[0].left <= 0 {
			s.jobs = s.jobs[1:]
			s.pos += flowRun
		}
		s.l.measure(s.arrived, s.l.running, s.l.Estimate(s.now), s.now)
	}
	return float64(s.arrived-before) / d.Seconds()
}

// A scan keeps a link busy whose latency takes most of the window, because its requests end in order: those of a scan that is not
// paced end together, and the link is idle until the next ones answer.
func TestPacedScanKeepsLinkBusy(t *testing.T) {
	var rates [2]float64
	for i, paced := range []bool{false, true} {
		s := &scanLink{latency: 200 * time.Millisecond, perConn: 80e6, total: 400e6, window: 128 * mib, paced: paced, now: epoch}
		s.run(2 * time.Second)
		rates[i] = s.run(10*time.Second) / s.total
	}
	t.Logf("%.3f", rates)
	t.Logf("%.3f", rates)
	t.Logf("%.3f", rates)
	t.Logf("%.3f", rates)
	if rates[1] < .97 || rates[0] > .9 {
		t.Errorf("%.2f of the link, %.2f without a pace: want 0.95 at least, and that this is why", rates[1], rates[0])
	}
	for _, total := range []float64{100e6, 400e6, 10e9} {
		for _, latency := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, time.Second} {
			a := &scanLink{latency: latency, perConn: 80e6, total: total, window: 128 * mib, now: epoch}
			b := &scanLink{latency: latency, perConn: 80e6, total: total, window: 128 * mib, now: epoch, paced: true}
			a.run(2 * time.Second)
			b.run(2 * time.Second)
			if free, paced := a.run(10*time.Second), b.run(10*time.Second); paced < .97*free {
				t.Errorf("%v, %.0f MB/s in all: %.0f MB/s with a pace, %.0f without", latency, total/1e6, paced/1e6, free/1e6)
			}
		}
	}
}

// A link that gets faster is soon used.
func TestPaceFollowsTheLink(t *testing.T) {
	s := &scanLink{latency: 50 * time.Millisecond, perConn: 80e6, total: 100e6, window: 128 * mib, paced: true, now: epoch}
	s.run(5 * time.Second)
	if rate, crowded := s.l.rate(s.l.Estimate(s.now)); !crowded || rate < 100e6 || rate > 1.3*100e6 {
		t.Errorf("%.0f MB/s, crowded %v, of a link of 100 MB/s", rate/1e6, crowded)
	}
	s.total = 800e6
	s.run(5 * time.Second)
	if rate := s.run(time.Second); rate < .9*s.total {
		t.Errorf("%.0f MB/s when the link brings 800", rate/1e6)
	}
}

func TestPacerRates(t *testing.T) {
	e := Estimate{FirstByte: 200 * time.Millisecond, Bandwidth: 80e6, Fast: 80e6}
	var p pacer
	now := epoch
	if rate, crowded := p.rate(e); rate != paceLeast*80e6 || crowded {
		t.Errorf("of an unknown link: %v, %v", rate, crowded)
	}
	n := 0
	for ; p.ready(now); n++ {
		p.started(4e6, e, now)
	}
	if n != 9 { // 50 ms at 640 MB/s are 8 requests
		t.Errorf("%d requests at once", n)
	}
	slow := e
	slow.Bandwidth = 20e6
	total := int64(0)
	come := func(bytes int64, running int, e Estimate) {
		now = now.Add(paceSlot)
		total += bytes
		p.measure(total, running, e, now)
	}
	come(0, 2, e)
	come(2e6, 2, slow)
	if rate, crowded := p.rate(slow); rate != paceLeast*80e6 || crowded {
		t.Errorf("of two requests: %v, %v", rate, crowded)
	}
	come(40e6, 32, e)
	if rate, crowded := p.rate(slow); rate < 439e6 || rate > 441e6 || !crowded {
		t.Errorf("of a crowded link: %v, %v", rate, crowded)
	}
	if rate, crowded := p.rate(e); rate < 799e6 || rate > 801e6 || crowded {
		t.Errorf("of one that is not: %v, %v", rate, crowded)
	}
	now = now.Add(time.Hour) // nothing is learned from silence
	come(0, 0, slow)
	if _, crowded := p.rate(slow); !crowded {
		t.Error("an idle link is forgotten")
	}
	for range 2 * paceSpan / paceSlot {
		come(10e6, 32, slow)
	}
	come(10e6, 32, slow)
	if rate, _ := p.rate(slow); rate < 109e6 || rate > 111e6 {
		t.Errorf("%v long after the link got slower", rate)
	}
}

// Ways of readers are paced, and nothing of a lower class goes before them meanwhile; what is due is not, nor what a reader has come to.
func TestSchedulerPaces(t *testing.T) {
	s := newScheduler(Budget{Memory: 1 << 30, Jobs: 64})
	add := func(class Class, off int64) *Job {
		j := &Job{Query: "q", Class: class, Range: byterange.Range{Off: off, Len: 8 * mib}}
		j.Target.Key.Bucket, j.Target.ETag = "b", "e"
		s.add(j)
		return j
	}
	for i := range int64(16) {
		add(ClassSequential, 8*mib*i)
	}
	hint := add(ClassHinted, 1<<40)
	begun := int64(0)
	for j := s.next(epoch); j != nil; j = s.next(epoch) {
		if j == hint {
			t.Fatal("a hint goes before a reader's way")
		}
		begun++
	}
	if begun < 2 || begun > 8 {
		t.Fatalf("%d requests began at once", begun)
	}
	due := add(ClassDue, 2<<40)
	if got := s.next(epoch); got != due {
		t.Errorf("what is due waits: %+v", got)
	}
	if _, dropped := s.reached(due.Target.Key, "e", byterange.Range{Off: 8 * mib * begun, Len: mib}); len(dropped) != 0 {
		t.Error("dropped although the reader does not bring all of it")
	}
	if got := s.next(epoch); got == nil || got.Range.Off != 8*mib*begun {
		t.Errorf("a reader is there, and it waits: %+v", got)
	}
	if got := s.next(epoch); got != nil {
		t.Errorf("began: %+v", got)
	}
	if got := s.next(epoch.Add(tick * 4)); got == nil || got.Class != ClassSequential {
		t.Errorf("later: %+v", got)
	}
	for now := epoch; s.queued > 0; now = now.Add(tick) {
		if now.Sub(epoch) > time.Second {
			t.Fatalf("%d jobs never begin", s.queued)
		}
		for s.next(now) != nil {
		}
	}
}
