package cache

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"unistore/cache/device"
)

// guard is the breaker as the rest of the cache uses it.
type guard struct {
	off     atomic.Uint32 // breaker.off
	noisy   [2]atomic.Bool
	tripped func(fresh side, cause error) // called without a lock
	mu      struct {
		sync.Mutex
		breaker
		cause error // of the last trip
		// resync: index, files and records may disagree.
		resync bool
	}
}

func newGuard(first time.Duration, tripped func(side, error)) *guard {
	g := &guard{tripped: tripped}
	g.mu.first = first
	return g
}

// sides returns what is out of use.
func (g *guard) sides() side { return side(g.off.Load()) }

// bypassed reports whether nothing may be served from the files.
func (g *guard) bypassed() bool { return g.sides()&sideRead != 0 }

// stores reports whether something may be stored.
func (g *guard) stores() bool { return g.sides() == 0 }

// worked says that an operation has succeeded. Without failures before it costs one load.
func (g *guard) worked(s side) {
	if !g.noisy[ringOf(s)].Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.outcome(s, false)
	g.noisy[ringOf(s)].Store(g.mu.recent[ringOf(s)] != 0)
}

// failed says that an operation on the files has failed.
func (g *guard) failed(s side, err error) {
	g.mu.Lock()
	g.noisy[ringOf(s)].Store(true)
	trip := g.mu.outcome(s, true)
	g.mu.Unlock()
	if trip {
		g.trip(s, err)
	}
}

// note sorts the outcome of an operation on the files.
func (g *guard) note(s side, err error) {
	switch {
	case err == nil, errors.Is(err, io.EOF): // a file that is too short: the checksums' concern
		g.worked(s)
	case errors.Is(err, fs.ErrExist), outOfFiles(err): // not the disk's doing
	default:
		g.failed(s, err)
	}
}

// trip takes sides out of use until a probe of them works.
func (g *guard) trip(s side, cause error) {
	g.mu.Lock()
	fresh := g.mu.trip(s, time.Now())
	if fresh != 0 {
		g.mu.cause = cause
		g.mu.resync = g.mu.resync || fresh&(sideRead|sideRecords) != 0
	}
	g.off.Store(uint32(g.mu.off))
	g.mu.Unlock()
	if fresh != 0 {
		g.tripped(fresh, cause)
	}
}

// probe returns the sides to probe now, none when it is not time, and whether index, files and records have to be
// brought together.
func (g *guard) probe() (s side, resync bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.mu.due(time.Now()) {
		return 0, false
	}
	return g.mu.off, g.mu.resync
}

// probed takes in how the probe of sides went, and returns what is off still.
func (g *guard) probed(s side, ok bool) side {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.probed(s, ok, time.Now())
	if g.mu.off == 0 {
		g.mu.resync = false
	}
	g.off.Store(uint32(g.mu.off))
	return g.mu.off
}

// reason returns why the cache was taken out of use.
func (g *guard) reason() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.cause
}

// outOfFiles reports whether err says that the process or the system has no file descriptor left.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// watched is a Device whose outcomes the guard sees. Only reads and writes of bytes count as successes: names are
// served from memory by a file system whose disk is full or broken.
type watched struct {
	device.Device
	g *guard
}

func (d watched) Create(ref device.Ref) (device.File, error) {
	f, err := d.Device.Create(ref)
	return d.wrap(f, sideWrite, err)
}

func (d watched) Open(ref device.Ref) (device.File, error) {
	f, err := d.Device.Open(ref)
	return d.wrap(f, sideRead, err)
}

func (d watched) wrap(f device.File, s side, err error) (device.File, error) {
	if err != nil {
		d.g.note(s, err)
		return nil, err
	}
	return watchedFile{f, d.g}, nil
}

func (d watched) Remove(id uint64) error {
	err := d.Device.Remove(id)
	if err != nil {
		d.g.note(sideWrite, err)
	}
	return err
}

type watchedFile struct {
	device.File
	g *guard
}

func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.g.note(sideRead, err)
	return n, err
}

func (f watchedFile) Source() (*os.File, error) {
	src, err := f.File.Source()
	if err != nil {
		f.g.note(sideRead, err)
	}
	return src, err
}

func (f watchedFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.g.note(sideWrite, err)
	return n, err
}
