package prefetch

import (
	"errors"
	"time"

	"unistore/byterange"
	"unistore/cache"
)

// workLocked starts the goroutine of q when there is something to warm.
func (g *Registry) workLocked(q *query) {
	if q.working || g.mu.closed || q.at >= len(q.files) {
		return
	}
	q.working, q.state = true, QueryWarming
	g.work.Go(func() { g.warm(q) })
}

// piece is a part of a file that is fetched by one job.
type piece struct {
	file  *file
	rng   byterange.Range
	tries int // before this one
}

// What is tried again: a piece whose store wants less, or failed for a moment. The governor sets the pace.
const (
	pieceTries = 6
	pieceWait  = 500 * time.Millisecond // times the number of tries
)

// nextLocked takes the next piece of q; not ok: there is none now. The goroutine of q has ended then.
func (q *query) nextLocked() (piece, bool) {
	for q.at < len(q.files) {
		f := q.files[q.at]
		for _, r := range f.ranges {
			if r.End() <= q.from {
				continue
			}
			off := max(r.Off, q.from)
			n := min(r.End()-off, pieceSize-off%pieceSize)
			q.from = off + n
			q.flying += n
			return piece{file: f, rng: byterange.Range{Off: off, Len: n}}, true
		}
		q.at, q.from = q.at+1, 0
	}
	q.working = false
	q.settle()
	return piece{}, false
}

// settle makes q ready when nothing is left to be done.
func (q *query) settle() {
	if !q.working && q.flying == 0 && q.state == QueryWarming {
		q.state = QueryReady
	}
}

// warm hands the pieces of q to the scheduler, a bounded number ahead of what it does.
func (g *Registry) warm(q *query) {
	ahead := make(chan struct{}, piecesAhead)
	for {
		select {
		case ahead <- struct{}{}:
		case <-q.ctx.Done():
			return
		}
		g.mu.Lock()
		p, ok := q.nextLocked()
		left := q.until.Sub(g.cfg.Now())
		g.mu.Unlock()
		if !ok {
			return
		}
		done := func() { <-ahead }
		g.mu.Lock()
		t := p.file.target
		if t == nil && !g.mu.closed {
			g.work.Go(func() { g.lookAgain(q, p, left, done) })
		}
		g.mu.Unlock()
		if t != nil && !g.hand(q, p, left, done) {
			return
		}
	}
}

// lookAgain is hand for a file of which only a listing or a record is known: with its headers, so that its first read has to
// ask for nothing.
func (g *Registry) lookAgain(q *query, p piece, left time.Duration, done func()) {
	t, err := g.cfg.Resolver.Resolve(q.ctx, p.file.bucket, p.file.key)
	if err == nil && (t.ETag != p.file.etag || t.Size != p.file.size) {
		err = rejectVersion
	}
	if err != nil {
		g.over(q, p, JobResult{Err: err})
		done()
		return
	}
	g.mu.Lock()
	p.file.target = &t
	g.mu.Unlock()
	g.hand(q, p, left, done)
}

// hand gives one piece to the scheduler; done is called when it is over. False: q has ended.
func (g *Registry) hand(q *query, p piece, left time.Duration, done func()) bool {
	g.mu.Lock()
	t := *p.file.target
	g.mu.Unlock()
	j := &Job{Target: t, Range: p.rng, Class: q.class, Cause: cache.CauseRegistered, Query: q.name, Deadline: q.deadline}
	if q.pin != cache.PinNone {
		j.Pin = &cache.PinRequest{Query: q.name, Kind: q.pin, TTL: left}
	}
	j.Done = func(r JobResult) {
		if transient(r.Err) && g.again(q, p, done) {
			return
		}
		g.over(q, p, r)
		done()
	}
	for q.ctx.Err() != nil || !g.cfg.Prefetcher.Add(j) {
		select {
		case <-q.ctx.Done():
			g.over(q, p, JobResult{Err: ErrDropped})
			done()
			return false
		case <-time.After(addAgain):
		}
	}
	return true
}

// transient reports whether a later try may do better.
func transient(err error) bool {
	return err != nil && !errors.Is(err, ErrDropped) && !errors.Is(err, cache.ErrChanged) && !errors.Is(err, cache.ErrNotKept)
}

// again hands a piece in once more, later. False: it has been tried enough, or q has ended.
func (g *Registry) again(q *query, p piece, done func()) bool {
	p.tries++
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.tries == pieceTries || g.mu.closed || q.ctx.Err() != nil {
		return false
	}
	left := q.until.Sub(g.cfg.Now())
	g.work.Go(func() {
		select {
		case <-time.After(time.Duration(p.tries) * pieceWait):
			g.hand(q, p, left, done)
		case <-q.ctx.Done():
			g.over(q, p, JobResult{Err: ErrDropped})
			done()
		}
	})
	return true
}

// over takes in the end of a piece.
func (g *Registry) over(q *query, p piece, r JobResult) {
	g.mu.Lock()
	ending := q.ending
	g.mu.Unlock()
	if ending && r.Pin.Bytes > 0 {
		g.cfg.Cache.Unpin(q.name) // it was pinned while the query ended; the name is its own as long as the piece flies
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q.flying -= p.rng.Len
	switch {
	case errors.Is(r.Err, ErrDropped):
		q.errors++
	case r.Err != nil:
		q.fail(p.file, r.Err)
	case r.Pin.Refused > 0:
		q.resident += p.rng.Len
		q.fail(p.file, rejectPinned)
	default:
		q.resident += p.rng.Len
	}
	q.settle()
	g.leaveLocked(q)
}
