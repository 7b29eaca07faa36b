package prefetch

import (
	"slices"
	"time"

	"unistore/cache"
)

// Status is a moment's view of a query.
type Status struct {
	Name                            string
	State                           QueryState
	Files                           int
	Total, Resident, Pinned, Flying int64
	Errors                          int
	Failures                        []Failure
	Until                           time.Time
	Deadline                        time.Time // zero: none
	Priority                        Class
	Pin                             cache.PinKind
	Credentials                     bool
}

// Lookup returns the query that temporary credentials were made for.
func (g *Registry) Lookup(accessKey string) (m Minted, name string, until time.Time, ok bool) {
	if g == nil {
		return Minted{}, "", time.Time{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.mu.minted[accessKey]
	if q == nil {
		return Minted{}, "", time.Time{}, false
	}
	return q.minted, q.name, q.until, true
}

// Ready reports whether all that a query has registered is there, so that nothing has to be guessed for it.
func (g *Registry) Ready(name string) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.mu.queries[name]
	return q != nil && !q.ending && q.state == QueryReady && len(q.files) > 0 && q.errors == 0
}

// Status returns the state of a query, also for some time after its end. ErrNoQuery.
func (g *Registry) Status(name string) (Status, error) {
	g.mu.Lock()
	q := g.mu.queries[name]
	for _, e := range g.mu.ended {
		if q == nil && e.name == name {
			q = e
		}
	}
	if q == nil {
		g.mu.Unlock()
		return Status{}, ErrNoQuery
	}
	s := q.status()
	g.mu.Unlock()
	g.pinned(&s)
	return s, nil
}

// List returns the queries that are alive, by name.
func (g *Registry) List() []Status {
	g.mu.Lock()
	list := make([]Status, 0, len(g.mu.queries))
	for _, q := range g.mu.queries {
		if !q.discarded {
			list = append(list, q.status())
		}
	}
	g.mu.Unlock()
	slices.SortFunc(list, func(a, b Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for i := range list {
		g.pinned(&list[i])
	}
	return list
}

func (g *Registry) pinned(s *Status) {
	if p, ok := g.cfg.Cache.PinsOf(s.Name); ok {
		s.Pinned = p.SoftBytes + p.HardBytes
	}
}

func (q *query) status() Status {
	return Status{
		Name: q.name, State: q.state, Files: len(q.files), Total: q.total, Resident: q.resident, Flying: q.flying, Errors: q.errors,
		Failures: slices.Clone(q.failures), Until: q.until, Deadline: q.deadline, Priority: q.class, Pin: q.pin, Credentials: q.minted.AccessKey != "",
	}
}
