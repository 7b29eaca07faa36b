// Package device is the seam to the disk that holds block files: a small interface, the driver over a
// directory (File), one in memory (Mem) and a wrapper that injects failures (Fault). devicetest is
// the suite that all of them pass.
package device

import (
	"errors"
	"io"
	"math"
	"os"

	"unistore/faults"
)

// Ref names a block file and, for the injection of faults, the object it belongs to.
type Ref struct {
	ID    uint64
	Scope faults.Scope
}

// Device keeps block files by id. Methods are safe for concurrent use. A missing file matches fs.ErrNotExist,
// an existing one fs.ErrExist, a full device syscall.ENOSPC; any other error is the device's failure.
type Device interface {
	// Create makes a file that must not exist.
	Create(ref Ref) (File, error)
	// Open opens an existing file for reading and writing.
	Open(ref Ref) (File, error)
	// Remove deletes a file; open Files stay usable. A missing one is no error.
	Remove(id uint64) error
	// Walk calls fn with the id of every file, in no order, until it returns an error, which Walk
	// returns. It reads the whole directory tree: not for the normal path.
	Walk(fn func(id uint64) error) error
	// Free returns the bytes that the device could still take.
	Free() (int64, error)
}

// ErrGone says that the directory of the block files was removed, replaced or unmounted.
var ErrGone = errors.New("the directory of the block files is gone")

// Reviver is a Device whose files are in a place that can go away and come back.
type Reviver interface {
	Device
	// Check fails with ErrGone when the place is not the one that the device uses. It is cheap.
	Check() error
	// Revive makes the device use the place as it is now. A place that was only removed is made again; not one
	// whose file system is not there: the files would land on another. Then the error is ErrGone.
	Revive() error
}

// File is an open block file; offsets never written read as zeros or are past the end.
type File interface {
	// ReadAt reads len(p) bytes or returns an error; io.EOF past the end.
	io.ReaderAt
	// WriteAt writes len(p) bytes or returns an error.
	io.WriterAt
	// Source returns what sendfile can send from, or nil when the driver has none. An error stands for
	// one that ReadAt would return. The *os.File belongs to the File.
	Source() (*os.File, error)
	// Allocated returns the bytes that the file takes on the device.
	Allocated() (int64, error)
	Close() error
}

// unlimited is what a device without a limit has free.
const unlimited = math.MaxInt64
