package prefetch

import (
	"testing"
	"time"

	"unistore/byterange"
)

// long is a read of n bytes from off on; open: the client named no end.
func long(off, n int64, open bool) Read {
	r := reading("k", off, n)
	r.Open = open
	return r
}

// What a client takes of a long read is read ahead of, once, up to the read's end and no further.
func TestLongReadIsFetchedAhead(t *testing.T) {
	for _, open := range []bool{true, false} {
		f := &filler{}
		p, _ := newTest(t, f, Budget{Memory: 256 * mib, Jobs: 64})
		const off, n = 100 * mib, 90 * mib
		r := long(off, n, open)
		if open { // to the end of the object
			r.Target.Size = off + n
		}
		o := p.Observe(r)
		passed := o.Watch()
		for pos := off + mib; pos <= off+n; pos += mib {
			passed(pos, 0)
			eventually(t, "nothing waits", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.mu.sched.queued == 0
			})
			if asked, _ := f.counts(); pos < off+longStep && asked != 0 {
				t.Error("fetched before the client has taken anything")
			}
		}
		o.Done(n, 0, false)
		idle(t, p)
		end := int64(0)
		for i, r := range f.ranges() {
			if i > 0 && r.Off != end {
				t.Fatalf("open %v: %+v follows the byte %d", open, r, end)
			}
			end = r.End()
		}
		if end != off+n {
			t.Errorf("open %v: fetched up to %d of %d", open, end, off+n)
		}
	}
}

func TestClientThatLeavesLongReadEndsItsJobs(t *testing.T) {
	f := &filler{gate: make(chan struct{})}
	p, _ := newTest(t, f, Budget{Memory: 64 * mib, Jobs: 8})
	o := p.Observe(long(0, 1<<30, true))
	o.Watch()(longStep, time.Second)
	eventually(t, "jobs", func() bool { n, _ := f.counts(); return n > 2 })
	o.Done(longStep, time.Second, true)
	idle(t, p)
	if asked, ended := f.counts(); asked != ended {
		t.Errorf("%d asked, %d ended", asked, ended)
	}
	wanted := int64(0)
	for _, r := range f.ranges() {
		wanted = max(wanted, r.End())
	}
	if wanted > longStep+64*mib {
		t.Errorf("asked up to %d", wanted)
	}
}

// The next open read goes on where the client has left the one before.
func TestLongReadMovesTheCursor(t *testing.T) {
	f := &filler{}
	p, _ := newTest(t, f, Budget{Memory: 256 * mib, Jobs: 64})
	o := p.Observe(long(0, 1<<30, true))
	o.Watch()(6*mib, 0)
	o.Done(7*mib, 0, true)
	idle(t, p)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.mu.streams {
		if c := s.detector.cursors; len(c) != 1 || c[0].pos != 7*mib {
			t.Errorf("%d cursors, the first at %d", len(c), c[0].pos)
		}
	}
}

func TestWatchesLongReadsOnly(t *testing.T) {
	p, _ := newTest(t, &filler{}, Budget{Memory: 256 * mib, Jobs: 64})
	once := long(0, 1<<30, true)
	once.Hint.Access = HintOnce
	var none *Observation
	for name, o := range map[string]*Observation{"nothing": none, "a short read": p.Observe(reading("k", 0, 8*mib)), "one of a kind": p.Observe(once)} {
		if o.Watch() != nil {
			t.Errorf("%s is watched", name)
		}
		o.Done(0, 0, true)
	}
	o := p.Observe(Read{Target: once.Target, Range: byterange.Range{Len: longRead + 1}, Query: "q"})
	if o.Watch() == nil {
		t.Error("a long read is not watched")
	}
	o.Done(0, 0, true)
	idle(t, p)
}
