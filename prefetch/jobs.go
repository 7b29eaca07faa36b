package prefetch

import (
	"context"
	"errors"
	"time"

	"unistore/cache"
)

// tick is how often it is looked whether jobs that wait may begin.
const tick = 10 * time.Millisecond

// Add queues a job of a hint or a registration. False: there are too many, or the Prefetcher is closed; Done is not
// called then.
func (p *Prefetcher) Add(j *Job) bool {
	if p == nil {
		return false
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed || !p.mu.sched.add(j) {
		return false
	}
	p.pumpLocked(now)
	return true
}

// maxSmall bounds the calls of Go that run side by side.
const maxSmall = 64

// Go runs fn beside the requests, with a context that ends with the Prefetcher. When too many run, fn does not. It does
// not wait.
func (p *Prefetcher) Go(fn func(ctx context.Context)) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goLocked(fn)
}

// goLocked is Go; it reports whether fn runs.
func (p *Prefetcher) goLocked(fn func(ctx context.Context)) bool {
	if p.mu.closed || p.mu.small == maxSmall {
		return false
	}
	p.mu.small++
	p.jobs.Go(func() {
		fn(p.ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.small--
	})
	return true
}

// CancelQuery drops what is queued for a query and cancels what is under way and nobody waits for.
func (p *Prefetcher) CancelQuery(query string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	dropped := p.cancelLocked(func(j *Job) bool { return j.Query == query })
	p.mu.Unlock()
	p.tell(dropped)
}

func (p *Prefetcher) cancelLocked(match func(*Job) bool) []*Job {
	dropped := p.mu.sched.drop(match)
	for _, j := range p.mu.sched.matching(match) {
		j.dropped = true
		j.cancel()
	}
	return dropped
}

// tell ends jobs that never ran.
func (p *Prefetcher) tell(dropped []*Job) {
	for _, j := range dropped {
		p.cfg.Metrics.PrefetchBytes.WithLabelValues("cancelled").Add(float64(j.Range.Len))
		if j.Done != nil {
			j.Done(JobResult{Err: ErrDropped})
		}
	}
}

// pumpLocked starts what may start. While something waits that nothing under way will wake, a ticker looks again.
func (p *Prefetcher) pumpLocked(now time.Time) {
	if p.mu.closed {
		return
	}
	for j := p.mu.sched.next(now); j != nil; j = p.mu.sched.next(now) {
		ctx, cancel := context.WithCancel(p.ctx)
		j.cancel = cancel
		p.jobs.Go(func() { p.run(ctx, j) })
	}
	p.queued.Set(float64(p.mu.sched.queued))
	p.running.Set(float64(len(p.mu.sched.running)))
	if p.mu.sched.queued > 0 && !p.mu.ticking {
		p.mu.ticking = true
		p.jobs.Go(p.ticker)
	}
}

// ticker pumps until nothing waits.
func (p *Prefetcher) ticker() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		now := p.cfg.Now()
		p.mu.Lock()
		for k, l := range p.mu.sched.links {
			if l.running > 0 {
				p.mu.sched.observe(l, k.upstream, RunSize(l.Estimate(now), p.cfg.MaxWindow, p.cfg.Unit), now)
			}
		}
		p.pumpLocked(now)
		if p.mu.sched.queued == 0 {
			p.mu.ticking = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
	}
}

// run carries out one job.
func (p *Prefetcher) run(ctx context.Context, j *Job) {
	res, err := p.cfg.Cache.Prefetch(ctx, cache.PrefetchRequest{
		Key: j.Target.Key, Attrs: j.Target.attrs(), Range: j.Range, Fetch: j.Target.Fetch, Cause: j.Cause, Pin: j.Pin,
	})
	o := outcomeDone
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case p.cfg.Throttled(err):
		o = outcomeThrottled
	default:
		o = outcomeFailed
	}
	now := p.cfg.Now()
	p.mu.Lock()
	j.cancel()
	p.mu.sched.done(j, res.Fetched, o, now)
	dropped := j.dropped
	p.pumpLocked(now)
	p.mu.Unlock()
	if dropped || errors.Is(err, context.Canceled) {
		p.cfg.Metrics.PrefetchBytes.WithLabelValues("cancelled").Add(float64(max(j.Range.Len-res.Fetched, 0)))
		err = ErrDropped
	} else if err != nil {
		p.cfg.Log.Debug().Err(err).Msg("a prefetch failed; nobody waits for it")
	}
	if j.Done != nil {
		j.Done(JobResult{Fetched: res.Fetched, Pin: res.Pin, Err: err})
	}
}
