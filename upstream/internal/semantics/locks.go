package semantics

import (
	"context"
	"sync"
)

// Locks are mutexes by name, each there only while somebody wants it.
type Locks struct {
	mu struct {
		sync.Mutex
		held map[string]*held
	}
}

type held struct {
	free  chan struct{} // holds one token while nobody has the lock
	users int           // holder and waiters; guarded by Locks.mu
}

// NewLocks returns locks that nobody holds.
func NewLocks() *Locks {
	l := &Locks{}
	l.mu.held = map[string]*held{}
	return l
}

// Lock waits for the lock of name or the end of ctx. unlock must be called once.
func (l *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	h := l.mu.held[name]
	if h == nil {
		h = &held{free: make(chan struct{}, 1)}
		h.free <- struct{}{}
		l.mu.held[name] = h
	}
	h.users++
	l.mu.Unlock()
	select {
	case <-h.free:
		return func() { h.free <- struct{}{}; l.leave(name, h) }, nil
	case <-ctx.Done():
		l.leave(name, h)
		return nil, ctx.Err()
	}
}

func (l *Locks) leave(name string, h *held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(l.mu.held, name)
	}
}
