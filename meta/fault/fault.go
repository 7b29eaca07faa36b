// Package fault wraps a meta.Engine so that it fails on purpose.
package fault

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"unistore/faults"
	"unistore/meta"
)

// ErrInjected matches every error that a fault made. The error number of the fault matches too.
var ErrInjected = errors.New("injected")

// The operations of the scope in which meta.error is asked for, and of process.kill with "meta." before them.
const (
	Get     = "get"
	Apply   = "apply"   // before the batch is applied
	Applied = "applied" // after: the batch is there, its caller sees a failure
	Scan    = "scan"    // before the first key
	Next    = "next"    // before each key
)

// Engine is a meta.Engine in front of another. Without a fault it does what that one does.
type Engine struct {
	inner meta.Engine
	set   *faults.Set

	closing sync.Once
	closed  chan struct{} // ends delays
}

var _ meta.Prober = (*Engine)(nil)

// Wrap returns inner with the faults of set, which may be nil. A fault with a delay and no error number
// is slow only; with both it fails after the delay. The Engine closes inner.
func Wrap(inner meta.Engine, set *faults.Set) *Engine {
	return &Engine{inner: inner, set: set, closed: make(chan struct{})}
}

// Get returns a copy of the value of key.
func (e *Engine) Get(key []byte) ([]byte, error) {
	if err := e.at(Get); err != nil {
		return nil, err
	}
	return e.inner.Get(key)
}

// Apply makes the changes of b.
func (e *Engine) Apply(b *meta.Batch, sync bool) error {
	if err := e.at(Apply); err != nil {
		return err
	}
	if err := e.inner.Apply(b, sync); err != nil {
		return err
	}
	return e.at(Applied)
}

// Scan calls fn for the keys that start with prefix.
func (e *Engine) Scan(prefix, start []byte, fn func(key, value []byte) error) error {
	if err := e.at(Scan); err != nil {
		return err
	}
	return e.inner.Scan(prefix, start, func(key, value []byte) error {
		if err := e.at(Next); err != nil {
			return err
		}
		return fn(key, value)
	})
}

// Alive asks the engine behind.
func (e *Engine) Alive() error {
	if p, ok := e.inner.(meta.Prober); ok {
		return p.Alive()
	}
	return nil
}

// Close closes the engine behind and ends delays.
func (e *Engine) Close() error {
	e.closing.Do(func() { close(e.closed) })
	return e.inner.Close()
}

// at is the point op: it may kill the process, wait, or return the error to fail with.
func (e *Engine) at(op string) error {
	if e.set == nil {
		return nil
	}
	e.set.Point(faults.Scope{Operation: "meta." + op})
	f, ok := e.set.Fire(faults.MetaError, faults.Scope{Operation: op})
	if !ok {
		return nil
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-e.closed:
		}
		if f.Error == "" {
			return nil
		}
	}
	return fmt.Errorf("meta: %s: %w: %w", op, ErrInjected, f.Errno())
}
