// Package rocks keeps meta's records in RocksDB: one column family, one write-ahead log, keys in byte order.
package rocks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/linxGnu/grocksdb"

	"unistore/meta"
)

// Engine is a meta.Engine. Calls after Close fail with meta.ErrClosed; Close waits for those under way.
type Engine struct {
	db   *grocksdb.DB
	set  *settings
	lock *os.File

	// failed: a write was refused. RocksDB then aborts the process when asked to flush the log (an assertion in
	// WritableFileWriter::AssertFalseAndGetStatusForPrevError), so it is not asked again.
	failed atomic.Bool

	// calls counts what uses db. It is only raised under mu while closed is false.
	calls sync.WaitGroup
	mu    struct {
		sync.Mutex
		closed bool
	}
	closing  sync.Once
	closeErr error
}

var _ meta.Prober = (*Engine)(nil)

// enter must be matched by calls.Done unless it fails. It takes no lock for the length of the
// call: the function that Scan calls may use the Engine while Close waits.
func (e *Engine) enter() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.closed {
		return meta.ErrClosed
	}
	e.calls.Add(1)
	return nil
}

// Get returns a copy of the value of key.
func (e *Engine) Get(key []byte) ([]byte, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.calls.Done()
	value, err := e.db.GetPinned(e.set.read, key)
	if err != nil {
		return nil, wrap("get", err)
	}
	if !value.Exists() {
		return nil, meta.ErrNotExist
	}
	defer value.Destroy()
	data := value.Data()
	return append(make([]byte, 0, len(data)), data...), nil
}

// Apply makes the changes of b. An empty b with sync makes what was applied before durable.
func (e *Engine) Apply(b *meta.Batch, sync bool) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.Done()
	if b.Len() == 0 {
		if !sync {
			return nil
		}
		return e.flush()
	}
	batch := grocksdb.NewWriteBatch()
	defer batch.Destroy()
	for _, op := range b.Ops {
		if op.Delete {
			batch.Delete(op.Key)
		} else {
			batch.Put(op.Key, op.Value)
		}
	}
	opts := e.set.write
	if sync {
		opts = e.set.writeNow
	}
	err := e.db.Write(opts, batch)
	if err != nil {
		e.failed.Store(true)
	}
	return wrap("write", err)
}

// errFailed: what is in the log can not be made durable.
var errFailed = errors.New("rocks: not synced: an earlier write has failed")

// flush makes the log durable.
func (e *Engine) flush() error {
	if e.failed.Load() {
		return errFailed
	}
	err := e.db.FlushWAL(true)
	if err != nil {
		e.failed.Store(true)
	}
	return wrap("sync", err)
}

// Scan calls fn for the keys that start with prefix. fn may use e, but not close it.
func (e *Engine) Scan(prefix, start []byte, fn func(key, value []byte) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.Done()

	opts := grocksdb.NewDefaultReadOptions()
	defer opts.Destroy()
	opts.SetFillCache(false)
	if bound := upperBound(prefix); bound != nil {
		// RocksDB keeps the pointer until the iterator is closed.
		var pin runtime.Pinner
		pin.Pin(&bound[0])
		defer pin.Unpin()
		opts.SetIterateUpperBound(bound)
	}
	// An iterator sees the database as it was at its creation.
	it := e.db.NewIterator(opts)
	defer it.Close()
	seek(it, prefix, start)
	if err := walk(it, fn); err != nil {
		return err
	}
	return wrap("scan", it.Err())
}

func seek(it *grocksdb.Iterator, prefix, start []byte) {
	from := start
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	if len(from) == 0 {
		it.SeekToFirst()
		return
	}
	it.Seek(from)
}

// upperBound returns the least key above all that start with prefix, nil if there is none.
func upperBound(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			bound := bytes.Clone(prefix[:i+1])
			bound[i]++
			return bound
		}
	}
	return nil
}

// Alive reports when the directory was removed or replaced: RocksDB goes on writing into deleted files.
func (e *Engine) Alive() error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.Done()
	held, err := e.lock.Stat()
	if err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	is, err := os.Stat(e.lock.Name())
	if err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	if !os.SameFile(held, is) {
		return fmt.Errorf("rocks: %s was replaced", e.lock.Name())
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(e.lock.Name()), "CURRENT")); err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	return nil
}

// Close makes everything applied durable and closes the database. Calling it again returns the same.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.mu.Lock()
		e.mu.closed = true
		e.mu.Unlock()
		e.calls.Wait()

		e.closeErr = e.flush()
		e.db.Close()
		e.set.destroy()
		if err := e.lock.Close(); err != nil && e.closeErr == nil {
			e.closeErr = fmt.Errorf("rocks: close: %w", err)
		}
	})
	return e.closeErr
}

// wrap turns a status of RocksDB into an error of the seam; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	if strings.HasPrefix(err.Error(), "Corruption") {
		return fmt.Errorf("rocks: %s: %w: %w", what, meta.ErrCorrupt, err)
	}
	return fmt.Errorf("rocks: %s: %w", what, err)
}
