package cache

import (
	"context"
	"errors"
	"slices"
	"time"
)

// wait is a fill to wait for, and the channel that its next progress closes.
type wait struct {
	f    *fill
	wake <-chan struct{}
}

// look finds the bytes at pos: a span when they are there, a fill when one brings them, or neither. The
// span's block is acquired.
func (r *Reader) look() (*span, wait, error) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, wait{}, ErrClosed
	}
	page := pageOf(r.pos)
	b, p := c.mu.find(r.v, page)
	there := b != nil && b.has(p)
	var broken *fill
	if !there {
		broken = r.brokenLocked(page)
	}
	r.pruneLocked()
	if broken != nil {
		return nil, wait{broken, closedWake}, nil
	}
	if there {
		c.acquireLocked(b)
		if !r.req.uncounted {
			c.touchLocked(b, r)
		}
		n := b.run(p, int(min(r.endPage-page, checkPages)))
		off := r.pos % (c.math.pages * PageSize)
		s := &span{r: r, b: b, p: p, pages: n, off: off}
		s.n = min(r.end, (page+int64(n))*PageSize) - r.pos
		return s, wait{}, nil
	}
	if s, w := r.edgeLocked(); s != nil || w.f != nil {
		return s, w, nil
	}
	if r.v.gone && !r.req.OnlyCached {
		r.req.NoStore = true // forgotten meanwhile: nothing is kept for it, see dropVersion
		return nil, wait{}, nil
	}
	f := c.promisedLocked(r.v, page)
	if b != nil && b.flight(p) != nil {
		f = b.flight(p)
	}
	if f == nil || r.req.NoStore {
		return nil, wait{}, nil
	}
	r.joinLocked(f)
	return nil, f.waitLocked(), nil
}

// closedWake is the wake of a fill that has ended already.
var closedWake = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// brokenLocked returns a fill that was to bring page to r and has failed before r came to wait for it.
func (r *Reader) brokenLocked(page int64) *fill {
	for _, f := range r.subs {
		if f.done && f.err != nil && f.start <= page && page < f.end && f != r.heeded {
			return f
		}
	}
	return nil
}

// heedLocked makes sure that the failure of f counts once.
func (r *Reader) heedLocked(f *fill) {
	if f.leader == r && (f.head != nil || f.tail != nil) {
		r.heeded = f // stays in subs, for its edges
		return
	}
	if i := slices.Index(r.subs, f); i >= 0 {
		r.subs = slices.Delete(r.subs, i, i+1)
		f.leaveLocked()
	}
}

// waitLocked returns what to wait on for f's next progress.
func (f *fill) waitLocked() wait {
	if f.wake == nil {
		f.wake = make(chan struct{})
	}
	return wait{f, f.wake}
}

// edgeLocked looks for pos in the edges of the stream that this reader has brought.
func (r *Reader) edgeLocked() (*span, wait) {
	for _, f := range r.subs {
		if f.leader != r {
			continue
		}
		for _, e := range [...]*edge{f.head, f.tail} {
			if e == nil || r.pos < e.rng.Off || r.pos >= e.rng.End() {
				continue
			}
			if e.data != nil {
				data := e.data[r.pos-e.rng.Off:]
				return &span{r: r, mem: data[:min(int64(len(data)), r.end-r.pos)], n: min(int64(len(data)), r.end-r.pos)}, wait{}
			}
			if !f.done {
				return nil, f.waitLocked()
			}
		}
	}
	return nil, wait{}
}

// await waits for progress of a fill, and decides what its end means for this reader.
func (r *Reader) await(w wait) error {
	start := time.Now()
	select {
	case <-w.wake:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	r.stalled += time.Since(start)
	r.c.mu.Lock()
	done, err, began := w.f.done, w.f.err, w.f.began
	if done && err != nil {
		r.heedLocked(w.f)
	}
	r.c.mu.Unlock()
	if !done || err == nil {
		return nil
	}
	return r.failed(w.f, err, began)
}

// failed decides after a fill has failed: nil is to look again, and perhaps lead the next one.
func (r *Reader) failed(f *fill, err error, began bool) error {
	switch {
	case errors.Is(err, errAround):
		r.goAround()
		return nil
	case errors.Is(err, errAbandoned):
		return nil
	case errors.Is(err, ErrChanged), errors.Is(err, ErrClosed):
		return err
	case f.leader == r && !began:
		return err // its own request was refused, retries included
	}
	if r.failures++; r.failures >= maxFailures {
		return err
	}
	return nil
}
