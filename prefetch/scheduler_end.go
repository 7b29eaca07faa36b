package prefetch

import (
	"slices"
	"time"

	"unistore/byterange"
	"unistore/cache"
)

// outcome says what a job's end means for its link.
type outcome uint8

const (
	outcomeDone outcome = iota
	outcomeThrottled
	outcomeFailed
)

// done takes in the end of a running job that has fetched n bytes.
func (s *scheduler) done(j *Job, n int64, o outcome, now time.Time) {
	delete(s.running, j)
	j.running = false
	if !j.promoted {
		s.use(j, -1)
	}
	l := s.linkOf(j.Target.link())
	switch o {
	case outcomeThrottled:
		l.throttled(l.running, now)
	case outcomeDone:
		if n > 0 {
			l.succeeded(s.budget.Jobs)
		}
	}
	l.running--
	s.observe(l, j.Target.Key.Upstream, j.Range.Len, now)
	l.move(-j.Range.Len, l.arrived.Load(), now)
	if q := s.queries[j.Query]; q != nil {
		if q.got -= j.Range.Len - n; q.got < 0 {
			q.got = 0
		}
		q.running--
		s.reap(j.Query, q)
	}
}

// observe closes an epoch of l, and tells of a limit that was found.
func (s *scheduler) observe(l *linkState, upstream string, run int64, now time.Time) {
	before := l.limit
	arrived, e := l.arrived.Load(), l.Estimate(now)
	l.measure(arrived, l.running, e, now)
	l.observe(arrived, e, run, now)
	if l.limit != before && s.limited != nil {
		s.limited(upstream, int64(l.limit))
	}
}

func (s *scheduler) reap(name string, q *share) {
	if q.queued == 0 && q.running == 0 {
		delete(s.queries, name)
	}
}

// reached tells that a reader of a version asks for r: jobs under way there are demand from now on and use no budget; jobs that
// only wait and that the read covers are dropped, for the read brings them; others that it comes to wait for the pacer no more. It
// returns how many were promoted, and the dropped ones.
func (s *scheduler) reached(key cache.Key, etag string, r byterange.Range) (promoted int, dropped []*Job) {
	for j := range s.running {
		if !j.promoted && j.Target.Key == key && j.Target.ETag == etag && !j.Range.Intersect(r).Empty() {
			j.promoted = true
			promoted++
			s.use(j, -1)
		}
	}
	for name, q := range s.queries {
		dropped = append(dropped, s.dropOf(name, q, ClassSequential, func(j *Job) bool {
			there := j.Target.Key == key && j.Target.ETag == etag
			j.reached = j.reached || there && !j.Range.Intersect(r).Empty()
			return there && r.Contains(j.Range)
		})...)
	}
	return promoted, dropped
}

// dropOf takes the jobs of one queue that match out of it.
func (s *scheduler) dropOf(name string, q *share, class Class, match func(*Job) bool) (dropped []*Job) {
	q.queues[class] = slices.DeleteFunc(q.queues[class], func(j *Job) bool {
		if !match(j) {
			return false
		}
		j.dropped = true
		dropped = append(dropped, j)
		s.left(q, j)
		return true
	})
	s.reap(name, q)
	return dropped
}

// drop takes the waiting jobs that match out of the queues, and cancels none under way.
func (s *scheduler) drop(match func(*Job) bool) (dropped []*Job) {
	for name, q := range s.queries {
		for class := range classes {
			dropped = append(dropped, s.dropOf(name, q, class, match)...)
		}
	}
	return dropped
}

// matching returns the running jobs that match and that no reader waits for.
func (s *scheduler) matching(match func(*Job) bool) (found []*Job) {
	for j := range s.running {
		if !j.promoted && match(j) {
			found = append(found, j)
		}
	}
	return found
}
