package prefetch

import (
	"context"
	"slices"
	"time"
)

// nameWait is how long a registration waits for the name of a query that ends: its requests are cancelled, but one that a
// reader waits for goes on.
const nameWait = 10 * time.Second

// Release ends a query: its pins, its credentials, what is queued for it, and its record, durably. Releasing it again does
// nothing. ErrNoQuery; any other error: the record is still there, and a restart would bring the query back. It is tried
// again then, by the next Release too.
func (g *Registry) Release(name string) error {
	g.mu.Lock()
	q := g.mu.queries[name]
	known := q != nil || slices.ContainsFunc(g.mu.ended, func(q *query) bool { return q.name == name })
	g.mu.Unlock()
	switch {
	case q != nil:
		return g.end(q, QueryReleased)
	case known:
		return nil
	}
	return ErrNoQuery
}

// end ends a query. When it is called again, it does what is left to be done.
//
// The name stays taken until the record is gone and no piece is queued or runs, since pins, jobs and records go by name:
// what is left of the query must not meet a new one of its name.
func (g *Registry) end(q *query, state QueryState) error {
	g.write.Lock() // one call at a time, and none when the name is another's
	defer g.write.Unlock()
	g.mu.Lock()
	if g.mu.queries[q.name] != q || q.discarded {
		g.mu.Unlock()
		return nil
	}
	first := !q.ending
	if first {
		q.ending, q.state, q.last = true, QueryEnding, state
		delete(g.mu.minted, q.minted.AccessKey)
		g.freeLocked(q, len(q.files))
		q.files = nil
	}
	g.mu.Unlock()
	q.cancel()
	g.cfg.Prefetcher.CancelQuery(q.name)
	g.cfg.Cache.Unpin(q.name)
	if err := g.discardLocked(q.name); err != nil {
		if first {
			g.cfg.Log.Warn().Err(err).Msg("the record of a query that ends can not be removed; it is tried every second")
		}
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q.discarded, q.state, q.endedAt = true, q.last, g.cfg.Now()
	g.leaveLocked(q)
	return nil
}

// leaveLocked gives up the name of q when nothing of it is left.
func (g *Registry) leaveLocked(q *query) {
	if !q.discarded || q.flying > 0 || g.mu.queries[q.name] != q {
		return
	}
	delete(g.mu.queries, q.name)
	g.mu.ended = append(g.mu.ended, q)
	if len(g.mu.ended) > maxKept {
		g.mu.ended = slices.Delete(g.mu.ended, 0, 1)
	}
	close(q.over)
}

// awaitEnd waits for the name of a query that ends. It is no error when it is not free in time.
func (g *Registry) awaitEnd(ctx context.Context, name string) {
	g.mu.Lock()
	q := g.mu.queries[name]
	ending := q != nil && q.ending
	g.mu.Unlock()
	if !ending {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nameWait)
	defer cancel()
	select {
	case <-q.over:
	case <-ctx.Done():
	case <-g.ctx.Done():
	}
}

// reserve takes room for up to n files of q, and returns for how many there is; why says what there is no more room in.
func (g *Registry) reserve(q *query, n int) (got int, why Rejection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room, why := g.roomLocked(q)
	got = min(n, room)
	q.slots += got
	g.mu.slots += got
	return got, why
}

// roomLocked returns for how many more files of q there is room, and what bounds it.
func (g *Registry) roomLocked(q *query) (int, Rejection) {
	own, all := max(g.limits.query-q.slots, 0), max(g.limits.all-g.mu.slots, 0)
	if own <= all {
		return own, rejectMany
	}
	return all, rejectFull
}

// full reports whether there is no room for another file of q, and why.
func (g *Registry) full(q *query) (bool, Rejection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room, why := g.roomLocked(q)
	return room == 0, why
}

// free gives back room that was reserved.
func (g *Registry) free(q *query, n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.freeLocked(q, n)
}

func (g *Registry) freeLocked(q *query, n int) {
	q.slots -= n
	g.mu.slots -= n
}

// expire ends queries whose time is over.
func (g *Registry) expire() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-t.C:
		}
		now := g.cfg.Now()
		var over []*query
		states := map[QueryState]int{}
		g.mu.Lock()
		for _, q := range g.mu.queries {
			switch {
			case q.discarded:
			case q.ending, !q.until.After(now):
				over = append(over, q)
			default:
				states[q.state]++
			}
		}
		g.mu.ended = slices.DeleteFunc(g.mu.ended, func(q *query) bool { return now.Sub(q.endedAt) > keptFor })
		g.mu.Unlock()
		for _, state := range []QueryState{QueryWarming, QueryReady} {
			g.cfg.Metrics.Queries.WithLabelValues(string(state)).Set(float64(states[state]))
		}
		for _, q := range over {
			_ = g.end(q, QueryExpired) // it is tried again; the log has it
		}
	}
}
