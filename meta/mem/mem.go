// Package mem is a meta.Engine in memory, for tests and as the reference for the others.
package mem

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"

	"unistore/meta"
)

// Engine is a meta.Engine that forgets everything at Close.
type Engine struct {
	mu struct {
		sync.RWMutex
		closed bool
		// records never changes a value in place: readers may keep it without the lock.
		records map[string][]byte
	}
}

var _ meta.Engine = (*Engine)(nil)

// New returns an empty Engine.
func New() *Engine {
	e := &Engine{}
	e.mu.records = map[string][]byte{}
	return e
}

// Get returns a copy of the value of key.
func (e *Engine) Get(key []byte) ([]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.closed {
		return nil, meta.ErrClosed
	}
	value, ok := e.mu.records[string(key)]
	if !ok {
		return nil, meta.ErrNotExist
	}
	return append([]byte{}, value...), nil
}

// Apply makes the changes of b; sync makes no difference here.
func (e *Engine) Apply(b *meta.Batch, _ bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return meta.ErrClosed
	}
	for _, op := range b.Ops {
		if op.Delete {
			delete(e.mu.records, string(op.Key))
		} else {
			e.mu.records[string(op.Key)] = append([]byte{}, op.Value...)
		}
	}
	return nil
}

// Scan calls fn for the keys that start with prefix. fn may use e.
func (e *Engine) Scan(prefix, start []byte, fn func(key, value []byte) error) error {
	snapshot, err := e.snapshot(prefix, start)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(snapshot)) {
		if err := fn([]byte(key), bytes.Clone(snapshot[key])); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) snapshot(prefix, start []byte) (map[string][]byte, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.mu.closed {
		return nil, meta.ErrClosed
	}
	found := map[string][]byte{}
	for key, value := range e.mu.records {
		if strings.HasPrefix(key, string(prefix)) && key >= string(start) {
			found[key] = value
		}
	}
	return found, nil
}

// Close drops all records. Calling it again does nothing.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.closed = true
	e.mu.records = nil
	return nil
}
