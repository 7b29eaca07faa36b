package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// formatVersion is the version of every encoding in this package. A change that an older binary cannot
// read raises it.
const formatVersion = 1

// ErrVersion is returned by NewDB for a database that a newer binary has written: this one can not
// read it and does not touch it.
var ErrVersion = errors.New("the database was written by a newer version")

// The keys start with one letter for the kind of record; "m" has a second one and is for leases, pins, uploads and
// jobs.
const (
	keyFormat  = "f"  // the format version
	keyRun     = "r"  // the Run record
	keyLease   = "s"  // the first file id that was never leased
	prefixObj  = "o/" // objects, by ObjectKey
	prefixBlk  = "b/" // blocks, by file id
	prefixUsed = "u/" // when blocks were last used, by file id

	prefixLease = "ml/" // leases, by their number
	prefixPin   = "mp/" // pins, by lease, version and leaf

	prefixQuery      = "mq/" // registered queries, by name
	prefixQueryFiles = "mr/" // their files, by the query's name, a zero byte and a number

	prefixUpload     = "mu/" // uploads, by their number
	prefixUploadPart = "mv/" // parts of uploads, by the upload's number and their own
)

// DB is the typed records over an Engine, which it does not own. Safe for concurrent use; the order of
// writes to one record is the caller's.
type DB struct {
	e Engine
}

// NewDB checks the format version of the database behind e. A newer one is ErrVersion; an older or
// an unreadable one is emptied.
func NewDB(e Engine) (*DB, error) {
	d := &DB{e: e}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *DB) prepare() error {
	raw, err := d.e.Get([]byte(keyFormat))
	switch {
	case err == nil && len(raw) == 4 && binary.BigEndian.Uint32(raw) == formatVersion:
		return nil
	case err == nil && len(raw) == 4 && binary.BigEndian.Uint32(raw) > formatVersion:
		return fmt.Errorf("%w: its format is %d, this binary reads %d",
			ErrVersion, binary.BigEndian.Uint32(raw), formatVersion)
	case err != nil && !errors.Is(err, ErrNotExist):
		return fmt.Errorf("read the format version: %w", err)
	}
	if err := d.discard(nil); err != nil {
		return fmt.Errorf("discard an older format: %w", err)
	}
	var b Batch
	b.Put([]byte(keyFormat), binary.BigEndian.AppendUint32(nil, formatVersion))
	if err := d.e.Apply(&b, true); err != nil {
		return fmt.Errorf("write the format version: %w", err)
	}
	return nil
}

// errStop ends a Scan early.
var errStop = errors.New("stop")

// discardBatch bounds the memory of one step of discard.
const discardBatch = 10_000

// discard removes every record whose key starts with prefix.
func (d *DB) discard(prefix []byte) error {
	for {
		var b Batch
		err := d.e.Scan(prefix, nil, func(key, _ []byte) error {
			b.Delete(append([]byte(nil), key...))
			if b.Len() == discardBatch {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			return err
		}
		if b.Len() == 0 {
			return nil
		}
		if err := d.e.Apply(&b, false); err != nil {
			return err
		}
	}
}

// DiscardBlocks removes every block record, with its recency.
func (d *DB) DiscardBlocks() error {
	if err := d.discard([]byte(prefixBlk)); err != nil {
		return err
	}
	return d.discard([]byte(prefixUsed))
}

// DiscardObjects removes every object record.
func (d *DB) DiscardObjects() error { return d.discard([]byte(prefixObj)) }

// LeaseFileIDs returns the first of n file ids (n is positive) that were never given out. The lease is durable
// before it returns, so no id is used twice, not even after a power cut. A new database begins at random, so that
// its ids are hardly those of files that a lost one has left.
func (d *DB) LeaseFileIDs(n uint64) (first uint64, err error) {
	raw, err := d.e.Get([]byte(keyLease))
	switch {
	case errors.Is(err, ErrNotExist):
		first = rand.Uint64() >> 1 / n * n
	case err != nil:
		return 0, fmt.Errorf("read the file id lease: %w", err)
	case len(raw) != 8:
		return 0, fmt.Errorf("read the file id lease: %w", ErrCorrupt)
	default:
		first = binary.BigEndian.Uint64(raw)
	}
	if first > first+n {
		return 0, fmt.Errorf("file ids are used up: %w", ErrCorrupt)
	}
	var b Batch
	b.Put([]byte(keyLease), binary.BigEndian.AppendUint64(nil, first+n))
	if err := d.e.Apply(&b, true); err != nil {
		return 0, fmt.Errorf("write the file id lease: %w", err)
	}
	return first, nil
}

// Run is how the last user of the cache directory left it.
type Run struct {
	Clean     bool   // it closed the cache
	BootID    string // of the machine while it ran; empty when not known
	BlockSize int64  // in bytes
}

// Run returns the Run record, or ErrNotExist, or ErrCorrupt.
func (d *DB) Run() (Run, error) {
	raw, err := d.e.Get([]byte(keyRun))
	if err != nil {
		return Run{}, err
	}
	r := open(raw)
	run := Run{Clean: r.byte() == 1, BlockSize: r.int(), BootID: r.string()}
	return run, r.end()
}

// PutRun writes the Run record; it is durable when PutRun returns.
func (d *DB) PutRun(run Run) error {
	var w writer
	w.byte(boolByte(run.Clean))
	w.int(run.BlockSize)
	w.string(run.BootID)
	var b Batch
	b.Put([]byte(keyRun), w.seal())
	return d.e.Apply(&b, true)
}

// Changes is a list of changes that Write makes together. The zero Changes is empty.
type Changes struct {
	b Batch
}

// Len returns the number of changes.
func (c *Changes) Len() int { return c.b.Len() }

// Sync makes what was written before it survive a power cut. Unlike Write with sync it lets other writers go on
// meanwhile: RocksDB makes those wait who queue behind a write that is synced (BenchmarkSync of meta/rocks).
func (d *DB) Sync() error { return d.e.Apply(&Batch{}, true) }

// Write makes all changes of c or none; sync as in Engine.Apply.
func (d *DB) Write(c *Changes, sync bool) error {
	if c.b.Len() == 0 {
		return nil
	}
	return d.e.Apply(&c.b, sync)
}
