package cache

import (
	"context"
	"errors"

	"unistore/byterange"
)

// joinLocked makes the reader a waiter of f until it leaves, and lets a stream go on to where the reader
// needs it.
func (r *Reader) joinLocked(f *fill) {
	for _, have := range r.subs {
		if have == f {
			return
		}
	}
	f.waiters++
	r.subs = append(r.subs, f)
	r.raiseLocked(f)
	if f.wanted != nil && r.awaited() {
		close(f.wanted)
		f.wanted = nil
	}
}

// awaited reports whether somebody waits for what r reads.
func (r *Reader) awaited() bool { return r.cause == CauseDemand && !r.req.uncounted }

type wantedKey struct{}

// Wanted returns what is closed when a reader joins the fill that ctx belongs to. nil: it was made for one, or ctx is
// that of no fill.
func Wanted(ctx context.Context) <-chan struct{} {
	wanted, _ := ctx.Value(wantedKey{}).(<-chan struct{})
	return wanted
}

// raiseLocked lets f run ahead of the reader.
func (r *Reader) raiseLocked(f *fill) {
	f.raiseLocked(pageOf(r.pos) + r.c.aheadPages)
}

func (f *fill) raiseLocked(limit int64) {
	limit = min(limit, f.end)
	if limit <= f.limit {
		return
	}
	f.limit = limit
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// leaveLocked ends a wait. Nobody left: the fill is cancelled; what it has brought stays.
func (f *fill) leaveLocked() {
	if f.waiters--; f.waiters == 0 && !f.done {
		f.cancel(errAbandoned)
	}
}

// pruneLocked leaves the fills that have nothing more for the reader.
func (r *Reader) pruneLocked() {
	kept := r.subs[:0]
	for _, f := range r.subs {
		end := f.end * PageSize
		if f.leader == r && f.tail != nil {
			end = f.tail.rng.End()
		}
		switch {
		case f.done && (f.leader != r || f.head == nil && f.tail == nil), end <= r.pos:
			f.leaveLocked()
		default:
			r.raiseLocked(f)
			kept = append(kept, f)
		}
	}
	clear(r.subs[len(kept):])
	r.subs = kept
}

// leaveAll leaves every fill.
func (r *Reader) leaveAll() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for _, f := range r.subs {
		f.leaveLocked()
	}
	r.subs = nil
}

// adopt makes a stream of the response that is already under way, if it brings a page that is not there or
// on its way. It is closed otherwise, or kept for a read around the cache.
func (r *Reader) adopt() {
	first := r.req.First
	if first == nil {
		return
	}
	if r.result.Source == SourceCache || !r.req.NoStore && !r.wants(first.Range) {
		first.close()
		return
	}
	from, end := wholePages(first.Range, r.req.Attrs.Size)
	if r.req.NoStore || end <= from {
		r.goAroundWith(first)
		return
	}
	f := r.c.newFill(r, from)
	f.fetch, f.body, f.rng, f.end = nil, first.Body, first.Range, end
	f.limit = min(end, max(from, pageOf(r.pos))+r.c.aheadPages)
	f.head = edgeOf(first.Range.Off, min(from*PageSize, first.Range.End()))
	f.tail = edgeOf(min(end*PageSize, first.Range.End()), first.Range.End())
	err := r.c.claim(f, min(f.limit, from+r.c.runPages), false)
	if err == nil {
		err = r.c.launch(f)
	}
	if err != nil {
		f.cancel(err)
		r.goAroundWith(first)
		return
	}
	r.subs = append(r.subs, f)
	r.ahead = max(r.ahead, from)
}

// edgeOf returns the edge [off, end), or nil when it is empty.
func edgeOf(off, end int64) *edge {
	if end <= off {
		return nil
	}
	return &edge{rng: byterange.Range{Off: off, Len: end - off}}
}

// wants reports whether a response of rng has a page for this reader that nobody has or brings.
func (r *Reader) wants(rng byterange.Range) bool {
	c := r.c
	rng = rng.Intersect(r.req.Range)
	c.mu.Lock()
	defer c.mu.Unlock()
	for page := pageOf(rng.Off); page*PageSize < rng.End(); page++ {
		if b, p := c.mu.find(r.v, page); c.freePageLocked(r.v, b, p, page) {
			return true
		}
	}
	return false
}

// lead starts the fill for the page at pos and what is missing after it.
func (r *Reader) lead() error {
	from := pageOf(r.pos)
	err := r.start(from, min(r.endPage, from+r.c.runPages))
	switch {
	case err == nil:
		r.lookAhead()
	case errors.Is(err, errTaken):
		return nil
	case errors.Is(err, errAround):
		r.goAround()
		return nil
	}
	return err
}

// start starts a fill of the free pages from from on, before to, and joins it.
func (r *Reader) start(from, to int64) error {
	f := r.c.newFill(r, from)
	err := r.c.claim(f, to, true)
	if err == nil {
		end := f.end
		if err = r.c.launch(f); err == nil {
			r.subs = append(r.subs, f)
			r.ahead = max(r.ahead, end)
			return nil
		}
	}
	f.cancel(err)
	return err
}

// lookAhead starts the fills of the next missing runs, as many as a reader may have under way and as far as it
// may look. It never fails: what it could not start the reader will ask for when it gets there.
func (r *Reader) lookAhead() {
	if r.ahead >= r.endPage || r.req.NoStore || r.req.OnlyCached {
		return
	}
	for {
		from, to, ok := r.nextRun()
		if !ok {
			return
		}
		if err := r.start(from, to); err != nil && !errors.Is(err, errTaken) {
			return
		}
	}
}

// nextRun returns the next run to look ahead to, if there is one now. A run that the window cuts
// waits until it is whole: no small requests.
func (r *Reader) nextRun() (from, to int64, ok bool) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r.pruneLocked()
	if r.v.gone || c.mu.closed || len(r.subs) >= max(1, c.cfg.Ahead) {
		return 0, 0, false
	}
	page := pageOf(r.pos)
	r.ahead = max(r.ahead, page)
	window := min(r.endPage, page+c.aheadPages)
	for ; r.ahead < window; r.ahead++ {
		b, p := c.mu.find(r.v, r.ahead)
		if !c.freePageLocked(r.v, b, p, r.ahead) || r.inEdgeLocked(r.ahead) || r.extendLocked(r.ahead) {
			continue
		}
		to := c.extentLocked(r.v, r.ahead, min(r.endPage, r.ahead+c.runPages))
		if to > window {
			return 0, 0, false
		}
		return r.ahead, to, true
	}
	return 0, 0, false
}

// inEdgeLocked reports whether what the reader needs of page comes in an edge of its own stream.
func (r *Reader) inEdgeLocked(page int64) bool {
	off := max(r.pos, page*PageSize)
	need := byterange.Range{Off: off, Len: min(r.end, (page+1)*PageSize) - off}
	for _, f := range r.subs {
		if f.leader != r || f.done && f.err != nil {
			continue
		}
		if f.head != nil && f.head.rng.Contains(need) || f.tail != nil && f.tail.rng.Contains(need) {
			return true
		}
	}
	return false
}

// extendLocked lets a stream that comes by page bring it.
func (r *Reader) extendLocked(page int64) bool {
	for _, s := range r.v.streams {
		if s.limit <= page && page < min(s.end, s.limit+r.c.runPages) && s.claimed <= page {
			s.raiseLocked(page + 1)
			return true
		}
	}
	return false
}
