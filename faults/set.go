package faults

import (
	"errors"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Set holds the active faults: at most one of each name and scope (Upstream, Operation, Bucket, Key).
// All methods are safe for concurrent use, and on a nil *Set.
type Set struct {
	onFire func(name string)
	kill   func()

	// active is replaced, never changed: Fire reads it without a lock. nil when no fault is set.
	active atomic.Pointer[table]
	// change serialises the writers of active.
	change sync.Mutex
}

// table maps a name to its faults in the order in which they were first put.
type table map[string][]*entry

// entry is one active fault with its counters.
type entry struct {
	fault Fault
	mu    struct {
		sync.Mutex
		matched, fired int64
		rand           *rand.Rand
	}
}

// Status is an active fault and what became of it so far.
type Status struct {
	Fault
	Matched int64 // times that code in its scope asked
	Fired   int64 // times that it was injected
}

// New returns an empty Set. onFire, when not nil, is called with the name of every fault that fires,
// outside of all locks.
func New(onFire func(name string)) *Set {
	return &Set{onFire: onFire, kill: killSelf}
}

// Fire reports whether a fault of this name is to be injected at sc, and which. Of several faults that
// match, the first that fires (in the order in which they were put) is it, and the later ones
// are not asked. The same faults, seeds and order of calls give the same outcome.
func (s *Set) Fire(name string, sc Scope) (Fault, bool) {
	if s == nil {
		return Fault{}, false
	}
	t := s.active.Load()
	if t == nil {
		return Fault{}, false
	}
	for _, e := range (*t)[name] {
		if e.fault.matches(sc) && e.fires() {
			if s.onFire != nil {
				s.onFire(name)
			}
			return e.fault, true
		}
	}
	return Fault{}, false
}

// Point kills the own process with SIGKILL when a fault process.kill is to fire at sc, whose Operation
// is the name of the point. It does not return then.
func (s *Set) Point(sc Scope) {
	if _, ok := s.Fire(ProcessKill, sc); ok {
		s.kill()
	}
}

// Put makes f active. It takes the place of the fault with the same Name, Upstream, Operation, Bucket
// and Key, whose counters and random sequence end with it. The error says what is wrong with f.
func (s *Set) Put(f Fault) error {
	if s == nil {
		return errors.New("faults are not enabled")
	}
	if err := f.check(); err != nil {
		return err
	}
	e := &entry{fault: f}
	e.mu.rand = rand.New(rand.NewPCG(f.Seed, nameSeed(f.Name)))

	s.change.Lock()
	defer s.change.Unlock()
	t := s.copyLocked()
	list := slices.Clone(t[f.Name])
	same := func(o *entry) bool { return o.fault.scope() == f.scope() }
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = e
	} else {
		list = append(list, e)
	}
	t[f.Name] = list
	s.active.Store(&t)
	return nil
}

// Remove ends every fault of this name and reports whether there was one.
func (s *Set) Remove(name string) bool {
	if s == nil {
		return false
	}
	s.change.Lock()
	defer s.change.Unlock()
	t := s.copyLocked()
	if _, ok := t[name]; !ok {
		return false
	}
	delete(t, name)
	if len(t) == 0 {
		s.active.Store(nil)
	} else {
		s.active.Store(&t)
	}
	return true
}

// Clear ends every fault.
func (s *Set) Clear() {
	if s == nil {
		return
	}
	s.change.Lock()
	defer s.change.Unlock()
	s.active.Store(nil)
}

// List returns the active faults, ordered by name, then by the time they were first put.
func (s *Set) List() []Status {
	if s == nil {
		return nil
	}
	t := s.active.Load()
	if t == nil {
		return nil
	}
	var all []Status
	for _, name := range slices.Sorted(maps.Keys(*t)) {
		for _, e := range (*t)[name] {
			all = append(all, e.status())
		}
	}
	return all
}

// copyLocked returns a table to change; s.change is held.
func (s *Set) copyLocked() table {
	if t := s.active.Load(); t != nil {
		return maps.Clone(*t)
	}
	return table{}
}

// fires counts a match and decides by Skip, Count and Probability.
func (e *entry) fires() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.matched++
	switch f := &e.fault; {
	case e.mu.matched <= f.Skip:
		return false
	case f.Count > 0 && e.mu.fired >= f.Count:
		return false
	case f.Probability > 0 && e.mu.rand.Float64() >= f.Probability:
		return false
	}
	e.mu.fired++
	return true
}

func (e *entry) status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Status{Fault: e.fault, Matched: e.mu.matched, Fired: e.mu.fired}
}

func (f *Fault) scope() Scope {
	return Scope{Upstream: f.Upstream, Operation: f.Operation, Bucket: f.Bucket, Key: f.Key}
}

func (f *Fault) matches(sc Scope) bool {
	return (f.Upstream == "" || f.Upstream == sc.Upstream) &&
		(f.Operation == "" || strings.EqualFold(f.Operation, sc.Operation)) &&
		(f.Bucket == "" || glob(f.Bucket, sc.Bucket)) &&
		(f.Key == "" || glob(f.Key, sc.Key))
}

// nameSeed keeps faults that share a seed from drawing the same numbers.
func nameSeed(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// killSelf ends the process as kill -9 does: nothing deferred runs, nothing is flushed.
func killSelf() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way; nothing may happen in between
}
