package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBroken says that the engine is out of order until it has been reopened.
var ErrBroken = errors.New("the database is out of order")

// Prober is an Engine that can tell that the place of its files is gone although its calls still succeed, as
// they do while deleted files are open.
type Prober interface {
	Engine
	// Alive returns nil, or why the engine must be opened again.
	Alive() error
}

// Reviver is an Engine that can be opened again under its users (package reopen).
type Reviver interface {
	Engine
	// Broken returns why the engine has to be reopened, or nil.
	Broken() error
	// Reopen closes the engine and opens it again, empty when it is damaged or gone. Calls meanwhile fail with
	// ErrBroken. What was applied without sync may be lost: from then on its users know more than it does.
	Reopen() error
	// Reset is Reopen with nothing kept.
	Reset() error
}

// Broken returns why the database has to be reopened, or nil. Calls may fail before it says so: only a failure
// that stays counts.
func (d *DB) Broken() error {
	if r, ok := d.e.(Reviver); ok {
		return r.Broken()
	}
	return nil
}

// Reopen is Reviver.Reopen, after which the format version is checked as by NewDB. errors.ErrUnsupported when the
// engine can not.
func (d *DB) Reopen() error { return d.revive(Reviver.Reopen) }

// Reset is Reviver.Reset. errors.ErrUnsupported when the engine can not.
func (d *DB) Reset() error { return d.revive(Reviver.Reset) }

func (d *DB) revive(how func(Reviver) error) error {
	r, ok := d.e.(Reviver)
	if !ok {
		return fmt.Errorf("reopen the database: %w", errors.ErrUnsupported)
	}
	if err := how(r); err != nil {
		return err
	}
	return d.prepare()
}

// KeepFileIDs makes sure that LeaseFileIDs never gives out an id below end, which a database that was replaced by
// an empty one does not know. It is durable when KeepFileIDs returns.
func (d *DB) KeepFileIDs(end uint64) error {
	raw, err := d.e.Get([]byte(keyLease))
	switch {
	case err == nil && len(raw) == 8 && binary.BigEndian.Uint64(raw) >= end:
		return nil
	case err != nil && !errors.Is(err, ErrNotExist):
		return fmt.Errorf("read the file id lease: %w", err)
	}
	var b Batch
	b.Put([]byte(keyLease), binary.BigEndian.AppendUint64(nil, end))
	if err := d.e.Apply(&b, true); err != nil {
		return fmt.Errorf("write the file id lease: %w", err)
	}
	return nil
}
