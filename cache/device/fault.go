package device

import (
	"fmt"
	"os"
	"time"

	"unistore/faults"
)

// Fault wraps a Device and fails on purpose: cache.write-error at Create and WriteAt, cache.read-error at Open,
// ReadAt and Source. The operations for a fault's scope are "create", "write", "open" and "read". A fault
// with a delay and no error number is slow only; with after, a read or write fails behind so many bytes.
type Fault struct {
	Device
	set *faults.Set
}

// NewFault returns dev with the faults of set.
func NewFault(dev Device, set *faults.Set) *Fault { return &Fault{dev, set} }

// fire returns the error to inject, or nil, and how many bytes go through before it.
func fire(set *faults.Set, name, op string, sc faults.Scope) (after int64, err error) {
	sc.Operation = op
	f, ok := set.Fire(name, sc)
	if !ok {
		return 0, nil
	}
	if f.Delay > 0 {
		time.Sleep(f.Delay)
		if f.Error == "" {
			return 0, nil
		}
	}
	return f.After, fmt.Errorf("injected: %s: %w", op, f.Errno())
}

// Create fails with cache.write-error.
func (d *Fault) Create(ref Ref) (File, error) {
	if _, err := fire(d.set, faults.CacheWriteError, "create", ref.Scope); err != nil {
		return nil, err
	}
	f, err := d.Device.Create(ref)
	return d.wrap(f, ref, err)
}

// Open fails with cache.read-error.
func (d *Fault) Open(ref Ref) (File, error) {
	if _, err := fire(d.set, faults.CacheReadError, "open", ref.Scope); err != nil {
		return nil, err
	}
	f, err := d.Device.Open(ref)
	return d.wrap(f, ref, err)
}

func (d *Fault) wrap(f File, ref Ref, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{f, d.set, ref.Scope}, nil
}

type faultFile struct {
	File
	set   *faults.Set
	scope faults.Scope
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	after, err := fire(f.set, faults.CacheReadError, "read", f.scope)
	if err == nil {
		return f.File.ReadAt(p, off)
	}
	n, _ := f.File.ReadAt(p[:min(after, int64(len(p)))], off)
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	after, err := fire(f.set, faults.CacheWriteError, "write", f.scope)
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	n, _ := f.File.WriteAt(p[:min(after, int64(len(p)))], off)
	return n, err
}

func (f *faultFile) Source() (*os.File, error) {
	if _, err := fire(f.set, faults.CacheReadError, "read", f.scope); err != nil {
		return nil, err
	}
	return f.File.Source()
}
