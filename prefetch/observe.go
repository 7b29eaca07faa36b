package prefetch

import (
	"context"
	"sync"
	"time"

	"unistore/byterange"
)

// Read is what a Prefetcher is told of a read.
type Read struct {
	Target Target
	Range  byterange.Range
	Open   bool   // the client named no end
	Query  string // who reads, for shares and streams
	Hint   Hint
	// Columns: the object is one of columns, whose begin is not the begin of a scan.
	Columns bool
	// Sibling finds the object at an upstream's key beside the one that is read. nil: nothing is fetched beside it.
	Sibling func(ctx context.Context, key string) (Target, error)
	// Quiet: the read is observed, and nothing is fetched ahead of it: its query has registered what it needs.
	Quiet bool
}

// A read of more than longRead bytes, or one without an end, is taken for what the client takes of it: the detector sees it
// as reads of longStep bytes.
const (
	longRead = 32 << 20
	longStep = 4 << 20
)

// Observation is one read under way.
type Observation struct {
	p    *Prefetcher
	s    *stream
	read Read
	once sync.Once

	// Of a long read, and the reader's own.
	long   bool
	told   int64         // the detector has seen what is before
	waited time.Duration // for that
}

// Observe takes in a read that is about to begin. It never blocks. Done ends it.
func (p *Prefetcher) Observe(r Read) *Observation {
	if p == nil || r.Range.Empty() || r.Target.ETag == "" {
		return nil
	}
	now := p.cfg.Now()
	o := &Observation{p: p, read: r, long: r.Open || r.Range.Len > longRead, told: r.Range.Off}
	p.mu.Lock()
	if p.mu.closed {
		p.mu.Unlock()
		return nil
	}
	s := p.streamLocked(r, now)
	o.s = s
	s.readers++
	s.most = max(s.most, s.readers)
	if r.Columns {
		s.detector.Columnar()
	}
	s.detector.Hint(r.Hint)
	s.maxWin = max(s.maxWin, r.Hint.Window)
	wants := s.detector.Read(Access{Off: r.Range.Off, Len: r.Range.Len, Open: o.long, At: now}, p.planLocked(s, now))
	if IsColumnar(r.Target.Key.Key) && r.Hint.Access != HintRandom && r.Hint.Access != HintOnce {
		if chunks, ok := p.columnsLocked(s, r, now); ok {
			wants = append(clip(wants, s.file.layout, r.Range), chunks...)
		}
	}
	tell := p.wantLocked(o, r.Range, wants, now)
	p.mu.Unlock()
	tell()
	return o
}

// wantLocked queues what is wanted ahead of a reader that comes to at. What it returns is to be called without locks.
func (p *Prefetcher) wantLocked(o *Observation, at byterange.Range, wants []Want, now time.Time) (tell func()) {
	r := &o.read
	promoted, dropped := p.mu.sched.reached(r.Target.Key, r.Target.ETag, at)
	changed := promoted > 0 || len(dropped) > 0
	if !r.Quiet {
		for _, w := range wants {
			job := &Job{Target: r.Target, Range: w.Range, Class: ClassSequential, Cause: w.Cause, Query: r.Query, Stream: o.s}
			changed = p.mu.sched.add(job) || changed
		}
	}
	if changed { // else what waits goes on waiting, and most reads change nothing
		p.pumpLocked(now)
	}
	return func() {
		p.cfg.Metrics.PrefetchPromoted.Add(float64(promoted))
		p.tell(dropped)
	}
}

// Watch returns what is to be told how far the client has taken the read, and how long that has waited for us in all; or nil when
// that is of no use. It is for the goroutine that calls Done.
func (o *Observation) Watch() func(pos int64, waited time.Duration) {
	if o == nil || !o.long || o.read.Hint.Access == HintRandom || o.read.Hint.Access == HintOnce {
		return nil
	}
	return o.passed
}

// passed takes in that a long read has come to pos. Nothing behind its end is wanted for it.
func (o *Observation) passed(pos int64, waited time.Duration) {
	if pos-o.told < longStep {
		return
	}
	p, s, end := o.p, o.s, o.read.Range.End()
	now := p.cfg.Now()
	p.mu.Lock()
	if p.mu.closed {
		p.mu.Unlock()
		return
	}
	s.used = now
	p.tookLocked(s, pos-o.told, waited-o.waited, now)
	wants := s.detector.Read(Access{Off: o.told, Len: pos - o.told, At: now}, p.planLocked(s, now))
	o.told, o.waited = pos, waited
	kept := wants[:0]
	for _, w := range wants {
		if w.Range.Len = min(w.Range.Len, end-w.Range.Off); w.Range.Len > 0 {
			kept = append(kept, w)
		}
	}
	tell := p.wantLocked(o, byterange.Range{Off: pos, Len: min(longStep, end-pos)}, kept, now)
	p.mu.Unlock()
	tell()
}

// tookLocked takes in that n bytes were delivered to a reader of s, who was blocked on us for waited.
func (p *Prefetcher) tookLocked(s *stream, n int64, waited time.Duration, now time.Time) {
	s.rate.Add(n, waited, s.most, now)
	if waited >= stallFloor {
		s.window.Stalled(p.paceLocked(s, now), now)
	} else {
		s.window.Delivered(n)
	}
}

// Done ends the observation: sent bytes have left, the reader was blocked on us for waited, and left says that the client
// went away before the end. o may be nil; only the first call counts.
func (o *Observation) Done(sent int64, waited time.Duration, left bool) {
	if o == nil {
		return
	}
	o.once.Do(func() { o.done(sent, waited, left) })
}

func (o *Observation) done(sent int64, waited time.Duration, left bool) {
	p, s := o.p, o.s
	now := p.cfg.Now()
	n := max(o.read.Range.Off+sent-o.told, 0)
	p.mu.Lock()
	s.readers--
	p.tookLocked(s, n, waited-o.waited, now)
	if s.readers == 0 {
		s.most = 1
	}
	if o.long {
		s.detector.Took(o.told, n)
	}
	var dropped []*Job
	ahead := !o.long || o.told > o.read.Range.Off
	if left && ahead && s.readers == 0 {
		dropped = p.cancelLocked(func(j *Job) bool { return j.Stream == s })
	}
	p.mu.Unlock()
	p.tell(dropped)
}
