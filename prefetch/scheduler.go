package prefetch

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"unistore/byterange"
	"unistore/cache"
	"unistore/object"
)

// Class orders what is fetched when not all can be. Demand is not among them: it does not queue.
type Class uint8

// The classes, the most pressing first.
const (
	ClassDue         Class = iota // registered, and its query is about to read it
	ClassSequential               // a reader is on its way to it
	ClassHinted                   // a client said that it will be read
	ClassRegistered               // registered, to be there in time
	ClassSpeculative              // a guess
	classes
)

// maxQueued bounds the jobs that wait, in all; what is beyond is not taken.
const maxQueued = 4096

// Target is one version of an object and how to fetch it.
type Target struct {
	Key   cache.Key
	ETag  string
	Size  int64
	Fetch cache.FetchFunc
}

func (t Target) attrs() object.Attrs { return object.Attrs{ETag: t.ETag, Size: t.Size} }

// link names the link of t.
func (t Target) link() linkKey { return linkKey{t.Key.Upstream, t.Key.Bucket} }

type linkKey struct{ upstream, bucket string }

// Job is one request to be made ahead of need. Its fields do not change, except those that the scheduler has, and Class.
type Job struct {
	Target   Target
	Range    byterange.Range
	Class    Class // ClassRegistered becomes ClassDue when its Deadline is near
	Cause    cache.Cause
	Query    string            // whose it is: the share is by query
	Deadline time.Time         // by when it is to be there, one for all jobs of a query and class; zero: none
	Stream   *stream           // that wants it; nil of hints and registrations
	Pin      *cache.PinRequest // or nil
	Done     func(JobResult)   // or nil; called without locks, once, unless the job was never taken

	running  bool
	reached  bool // a reader is there and it has not begun
	promoted bool // a reader waits for it: it is demand now
	dropped  bool
	cancel   func()
}

// JobResult is how a job ended.
type JobResult struct {
	Fetched int64 // bytes
	Pin     cache.PinResult
	Err     error // ErrDropped: it never ran, or was cancelled
}

// Budget bounds all that is under way ahead of need.
type Budget struct {
	Memory int64 // bytes in flight
	Jobs   int   // requests
}

// scheduler holds the jobs that wait and those under way, and says which is next. Not safe for concurrent use.
//
// Order: by class; within a class those with a deadline, the earliest first, then the query that has got least, so that one with
// many jobs does not keep others waiting; within a query first come, first served. A job that its link's governor refuses stays,
// and those for other links go before it.
type scheduler struct {
	budget  Budget
	links   map[linkKey]*linkState
	queries map[string]*share
	queued  int
	waiting [classes]map[linkKey]int // of queued, by class and link
	running map[*Job]struct{}
	bytes   int64 // of the running jobs that are not promoted
	count   int   // of them
	low     int64 // of bytes, those of hints and below: at most half of the budget, so that readers' ways find room

	limited func(upstream string, limit int64) // told of limits that were found; or nil
}

// linkState is a link, its governor and what runs on it.
type linkState struct {
	Link
	governor
	pacer
	arrived atomic.Int64 // bytes of bodies, of demand too
	running int          // jobs, promoted ones included
}

// share is one query's queues and what it has got.
type share struct {
	queues  [classes][]*Job
	queued  int
	running int
	got     int64 // bytes granted, counted from the level of those who were there before
}

func newScheduler(b Budget) *scheduler {
	s := &scheduler{budget: b, links: map[linkKey]*linkState{}, queries: map[string]*share{}, running: map[*Job]struct{}{}}
	for class := range s.waiting {
		s.waiting[class] = map[linkKey]int{}
	}
	return s
}

// linkOf returns the state of a link, made when it is new.
func (s *scheduler) linkOf(k linkKey) *linkState {
	l := s.links[k]
	if l == nil {
		if len(s.links) >= maxLinks {
			maps.DeleteFunc(s.links, func(_ linkKey, l *linkState) bool { return l.running == 0 && l.demand == 0 })
		}
		l = &linkState{}
		s.links[k] = l
	}
	return l
}

// add queues a job. It reports false when there are too many.
func (s *scheduler) add(j *Job) bool {
	if s.queued >= maxQueued {
		return false
	}
	q := s.queries[j.Query]
	if q == nil {
		q = &share{got: s.level()}
		s.queries[j.Query] = q
	}
	q.queues[j.Class] = append(q.queues[j.Class], j)
	s.came(q, j)
	return true
}

// came counts a job among what waits; it is in its queue, or will be.
func (s *scheduler) came(q *share, j *Job) {
	q.queued++
	s.queued++
	s.waiting[j.Class][j.Target.link()]++
}

// left takes a job out of what waits; it is in no queue any more.
func (s *scheduler) left(q *share, j *Job) {
	q.queued--
	s.queued--
	waiting, link := s.waiting[j.Class], j.Target.link()
	if waiting[link]--; waiting[link] == 0 {
		delete(waiting, link)
	}
}

// level is the least that any query has got: a new one begins there, not at nothing.
func (s *scheduler) level() int64 {
	least := int64(-1)
	for _, q := range s.queries {
		if least < 0 || q.got < least {
			least = q.got
		}
	}
	return max(least, 0)
}

// next takes the job to start now out of the queue, or returns nil.
func (s *scheduler) next(now time.Time) *Job {
	if s.queued == 0 || s.count >= s.budget.Jobs {
		return nil
	}
	s.comeDue(now)
	for class := range classes {
		if j := s.nextOf(class, now); j != nil {
			return j
		}
	}
	return nil
}

// dueBefore is how long before its deadline a registered job goes before readers' ways: what a store of 400 MB/s brings in it
// are 12 GB.
const dueBefore = 30 * time.Second

// comeDue moves the registered jobs whose deadline is near to those that are due.
func (s *scheduler) comeDue(now time.Time) {
	for _, q := range s.queries {
		list := q.queues[ClassRegistered]
		if len(list) == 0 || list[0].Deadline.IsZero() || list[0].Deadline.Sub(now) > dueBefore {
			continue
		}
		for _, j := range list {
			s.left(q, j)
			j.Class = ClassDue
			s.came(q, j)
		}
		q.queues[ClassDue] = append(q.queues[ClassDue], list...)
		q.queues[ClassRegistered] = nil
	}
}

func (s *scheduler) nextOf(class Class, now time.Time) *Job {
	var best *Job
	var owner *share
	asked := s.ask(class)
	for _, q := range s.queries {
		if len(q.queues[class]) == 0 || owner != nil && !before(q.queues[class][0], best, q.got, owner.got) {
			continue
		}
		if j := s.firstOf(q.queues[class], &asked, now); j != nil {
			best, owner = j, q
		}
	}
	if best == nil {
		return nil
	}
	s.unqueue(owner, best)
	s.start(owner, best, now)
	return best
}

// before reports whether a, whose query has got gotA, goes before b of the same class and another query.
func before(a, b *Job, gotA, gotB int64) bool {
	switch {
	case a.Deadline.IsZero() != b.Deadline.IsZero():
		return b.Deadline.IsZero()
	case !a.Deadline.Equal(b.Deadline):
		return a.Deadline.Before(b.Deadline)
	case gotA != gotB:
		return gotA < gotB
	}
	return a.Query < b.Query
}

// asking is one search for a job of one class. A link's governor that refuses one job is not asked about the others: there
// may be thousands.
type asking struct {
	refused map[linkKey]bool
	open    int // jobs that wait for links which have not refused
}

func (s *scheduler) ask(class Class) (a asking) {
	for _, n := range s.waiting[class] {
		a.open += n
	}
	return a
}

// firstOf returns the first job of list, which is of one class, that may start; or nil.
func (s *scheduler) firstOf(list []*Job, a *asking, now time.Time) *Job {
	for _, j := range list {
		if a.open == 0 {
			return nil
		}
		if s.admits(j, a, now) {
			return j
		}
		if j.Class == ClassSequential {
			return nil // in order, or not at all
		}
	}
	return nil
}

func (s *scheduler) admits(j *Job, a *asking, now time.Time) bool {
	if s.count > 0 && s.bytes+j.Range.Len > s.budget.Memory {
		return false
	}
	if j.Class >= ClassHinted && s.low > 0 && s.low+j.Range.Len > s.budget.Memory/2 {
		return false
	}
	link := j.Target.link()
	if a.refused[link] {
		return false
	}
	l := s.linkOf(link)
	if !s.paced(j, l, now) && l.allows(j.Class, j.Range.Len, l.running, now) {
		return true
	}
	if a.refused == nil {
		a.refused = map[linkKey]bool{}
	}
	a.refused[link] = true
	a.open -= s.waiting[j.Class][link]
	return false
}

// paced reports whether j has to wait for the pacer of l, or for those that do.
func (s *scheduler) paced(j *Job, l *linkState, now time.Time) bool {
	if j.Class < ClassSequential || j.reached || l.ready(now) {
		return false
	}
	return j.Class == ClassSequential || s.waiting[ClassSequential][j.Target.link()] > 0
}

func (s *scheduler) unqueue(q *share, j *Job) {
	list := q.queues[j.Class]
	q.queues[j.Class] = slices.Delete(list, slices.Index(list, j), slices.Index(list, j)+1)
	s.left(q, j)
}

func (s *scheduler) start(q *share, j *Job, now time.Time) {
	j.running = true
	s.running[j] = struct{}{}
	q.got += j.Range.Len
	q.running++
	s.use(j, 1)
	l := s.linkOf(j.Target.link())
	l.running++
	l.move(j.Range.Len, l.arrived.Load(), now)
	if j.Class == ClassSequential {
		l.started(j.Range.Len, l.Estimate(now), now)
	}
}

// use adds a job to what is under way (by 1), or takes it out (by -1).
func (s *scheduler) use(j *Job, by int) {
	s.count += by
	s.bytes += int64(by) * j.Range.Len
	if j.Class >= ClassHinted {
		s.low += int64(by) * j.Range.Len
	}
}
