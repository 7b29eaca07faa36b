// Package meta keeps the gateway's records (objects, blocks, uploads, ...) in an embedded key-value
// store. It is two things: Engine, the small seam over the store (RocksDB, memory, fault injection), and DB,
// the typed records above it with their encodings and format version.
package meta

import "errors"

// The errors of the seam, matched with errors.Is. Any other error is the engine's own failure: the
// caller goes on without the record and counts it.
var (
	ErrNotExist = errors.New("no such record")
	ErrCorrupt  = errors.New("record is corrupt")
	ErrLocked   = errors.New("the database is in use by another process")
	ErrClosed   = errors.New("the database is closed")
)

// Engine is an ordered map of byte strings. Methods are safe for concurrent use.
type Engine interface {
	// Get returns a copy of the value of key, or ErrNotExist.
	Get(key []byte) ([]byte, error)
	// Apply makes all changes of b or none. With sync they survive a power cut; without, only
	// the death of the process. The order of batches is kept: after a crash, if a batch is there, so
	// are all before it.
	Apply(b *Batch, sync bool) error
	// Scan calls fn for each key that starts with prefix, ascending, from the first that is >= start
	// (nil: from the beginning), until fn returns an error, which Scan returns. The slices are valid
	// during the call only. It sees one moment of the map.
	Scan(prefix, start []byte, fn func(key, value []byte) error) error
	Close() error
}

// Batch is a list of changes for Apply. The zero Batch is empty.
type Batch struct {
	Ops []Op
}

// Op is one change of a Batch.
type Op struct {
	Key, Value []byte
	Delete     bool
}

// Put adds a change. The Batch keeps the slices.
func (b *Batch) Put(key, value []byte) { b.Ops = append(b.Ops, Op{Key: key, Value: value}) }

// Delete adds the removal of a key; a key that is not there is no error.
func (b *Batch) Delete(key []byte) { b.Ops = append(b.Ops, Op{Key: key, Delete: true}) }

// Len returns the number of changes.
func (b *Batch) Len() int { return len(b.Ops) }

// Reset empties b for reuse.
func (b *Batch) Reset() { b.Ops = b.Ops[:0] }
