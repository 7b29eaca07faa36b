// Package reopen is a meta.Engine that can be opened again under its users. RocksDB refuses all writes after a
// failure in the background, such as a full disk, until it is closed and opened (its wiki: Background Error
// Handling).
package reopen

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rs/zerolog"

	"unistore/meta"
)

// brokenAfter is how many calls in a row must fail before the engine counts as broken: a single failure may
// pass, RocksDB's after a failed write do not.
const brokenAfter = 3

// Config says how the engine behind is made. Open and Destroy are required.
type Config struct {
	// Open opens or creates the database; meta.ErrCorrupt when what is there can not be opened.
	Open func() (meta.Engine, error)
	// Destroy removes the database, which is closed.
	Destroy func() error
	Log     zerolog.Logger
}

// Engine is a meta.Reviver. Reopening is for its user to start, when it is ready for a database that has lost
// something.
type Engine struct {
	cfg Config
	// failures in a row, by direction. Not exact when calls run side by side; it need not be.
	reads, writes atomic.Int32

	reviving sync.Mutex // held by Reopen, Reset, Close
	mu       struct {
		sync.RWMutex
		e      meta.Engine // nil while there is none
		cause  error       // the last failure
		closed bool
	}
}

var _ meta.Reviver = (*Engine)(nil)

// Open opens the database. One that is damaged is logged and replaced by an empty one.
func Open(cfg Config) (*Engine, error) {
	r := &Engine{cfg: cfg}
	e, err := r.open()
	if err != nil {
		return nil, err
	}
	r.mu.e = e
	return r, nil
}

func (r *Engine) open() (meta.Engine, error) {
	e, err := r.cfg.Open()
	if !errors.Is(err, meta.ErrCorrupt) {
		return e, err
	}
	r.cfg.Log.Error().Err(err).Msg("the records are damaged: starting without any")
	if err := r.cfg.Destroy(); err != nil {
		return nil, err
	}
	return r.cfg.Open()
}

// current returns the engine of the moment.
func (r *Engine) current() (meta.Engine, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.mu.closed:
		return nil, meta.ErrClosed
	case r.mu.e == nil:
		return nil, fmt.Errorf("%w: %w", meta.ErrBroken, r.mu.cause)
	}
	return r.mu.e, nil
}

// note counts the outcome of a call on e and returns its error as the user is to see it.
func (r *Engine) note(e meta.Engine, failures *atomic.Int32, err error) error {
	if err == nil {
		if failures.Load() != 0 {
			failures.Store(0)
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.e != e { // closed under the call
		if errors.Is(err, meta.ErrClosed) && !r.mu.closed {
			return fmt.Errorf("%w: it is being reopened", meta.ErrBroken)
		}
		return err
	}
	failures.Add(1)
	r.mu.cause = err
	return err
}

// Get returns a copy of the value of key. A record that is damaged says nothing of the rest.
func (r *Engine) Get(key []byte) ([]byte, error) {
	e, err := r.current()
	if err != nil {
		return nil, err
	}
	value, err := e.Get(key)
	if errors.Is(err, meta.ErrNotExist) || errors.Is(err, meta.ErrCorrupt) {
		return nil, err
	}
	return value, r.note(e, &r.reads, err)
}

// Apply makes the changes of b.
func (r *Engine) Apply(b *meta.Batch, sync bool) error {
	e, err := r.current()
	if err != nil {
		return err
	}
	return r.note(e, &r.writes, e.Apply(b, sync))
}

// Scan calls fn for the keys that start with prefix.
func (r *Engine) Scan(prefix, start []byte, fn func(key, value []byte) error) error {
	e, err := r.current()
	if err != nil {
		return err
	}
	var stopped error // by fn, which is no failure
	err = e.Scan(prefix, start, func(key, value []byte) error {
		stopped = fn(key, value)
		return stopped
	})
	if stopped != nil || errors.Is(err, meta.ErrCorrupt) {
		return err
	}
	return r.note(e, &r.reads, err)
}

// Broken says that calls keep failing, or that the files are gone.
func (r *Engine) Broken() error {
	e, err := r.current()
	if err != nil {
		return err
	}
	if r.reads.Load() >= brokenAfter || r.writes.Load() >= brokenAfter {
		r.mu.RLock()
		defer r.mu.RUnlock()
		return fmt.Errorf("%w: %w", meta.ErrBroken, r.mu.cause)
	}
	if p, ok := e.(meta.Prober); ok {
		return p.Alive()
	}
	return nil
}

// Reopen closes and opens the engine. One whose writes fail because it is damaged is replaced by an empty one:
// opening looks at little of it and would not see.
func (r *Engine) Reopen() error { return r.revive(false) }

// Reset replaces the engine by an empty one.
func (r *Engine) Reset() error { return r.revive(true) }

func (r *Engine) revive(empty bool) error {
	r.reviving.Lock()
	defer r.reviving.Unlock()
	r.mu.Lock()
	if r.mu.closed {
		r.mu.Unlock()
		return meta.ErrClosed
	}
	old := r.mu.e
	r.mu.e = nil
	empty = empty || r.writes.Load() >= brokenAfter && errors.Is(r.mu.cause, meta.ErrCorrupt)
	if r.mu.cause == nil {
		r.mu.cause = errors.New("it is being reopened")
	}
	r.mu.Unlock()
	if old != nil {
		if err := old.Close(); err != nil {
			r.cfg.Log.Warn().Err(err).Msg("closing the broken records")
		}
	}
	e, err := r.replace(empty)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.cause = err
	if err != nil {
		return fmt.Errorf("reopen the database: %w", err)
	}
	r.mu.e = e
	r.reads.Store(0)
	r.writes.Store(0)
	return nil
}

func (r *Engine) replace(empty bool) (meta.Engine, error) {
	if empty {
		if err := r.cfg.Destroy(); err != nil {
			return nil, err
		}
	}
	return r.open()
}

// Close closes the engine behind. Calling it again does nothing.
func (r *Engine) Close() error {
	r.reviving.Lock()
	defer r.reviving.Unlock()
	r.mu.Lock()
	e := r.mu.e
	r.mu.e, r.mu.closed = nil, true
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.Close()
}
