package reopen_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"unistore/faults"
	"unistore/meta"
	"unistore/meta/enginetest"
	"unistore/meta/fault"
	"unistore/meta/mem"
	"unistore/meta/reopen"
	"unistore/meta/rocks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func inMemory() reopen.Config {
	return reopen.Config{
		Open:    func() (meta.Engine, error) { return mem.New(), nil },
		Destroy: func() error { return nil },
	}
}

func onDisk(dir string, set *faults.Set) reopen.Config {
	return reopen.Config{
		Open: func() (meta.Engine, error) {
			e, err := rocks.Open(rocks.Config{Dir: dir})
			if err != nil {
				return nil, err
			}
			return fault.Wrap(e, set), nil
		},
		Destroy: func() error { return rocks.Destroy(dir) },
		Log:     zerolog.Nop(),
	}
}

func open(t *testing.T, cfg reopen.Config) *reopen.Engine {
	t.Helper()
	e, err := reopen.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func put(e meta.Engine, key, value string) error {
	var b meta.Batch
	b.Put([]byte(key), []byte(value))
	return e.Apply(&b, false)
}

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) meta.Engine { return open(t, inMemory()) })
}

func TestBroken(t *testing.T) {
	get := func(e meta.Engine) error { _, err := e.Get([]byte("k")); return err }
	scan := func(e meta.Engine) error {
		return e.Scan(nil, nil, func(_, _ []byte) error { return nil })
	}
	write := func(e meta.Engine) error { return put(e, "k", "v") }
	tests := []struct {
		op   string
		call func(meta.Engine) error
	}{{fault.Get, get}, {fault.Scan, scan}, {fault.Apply, write}, {fault.Applied, write}}
	for _, test := range tests {
		t.Run(test.op, func(t *testing.T) {
			set := faults.New(nil)
			cfg := inMemory()
			cfg.Open = func() (meta.Engine, error) { return fault.Wrap(mem.New(), set), nil }
			e := open(t, cfg)
			if err := put(e, "k", "v"); err != nil {
				t.Fatal(err)
			}
			fail := func(n int) {
				if err := set.Put(faults.Fault{Name: faults.MetaError, Operation: test.op, Error: "ENOSPC", Count: int64(n)}); err != nil {
					t.Fatal(err)
				}
				for range n {
					if err := test.call(e); !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("%v", err)
					}
				}
			}
			fail(2)
			if err := test.call(e); err != nil {
				t.Fatal(err)
			}
			fail(2) // not in a row with the two before
			if err := e.Broken(); err != nil {
				t.Errorf("broken already: %v", err)
			}
			fail(3)
			if err := e.Broken(); !errors.Is(err, meta.ErrBroken) || !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Broken = %v", err)
			}
			if err := e.Reopen(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(e.Broken(), test.call(e)); err != nil && !errors.Is(err, meta.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}

func TestNoFailures(t *testing.T) {
	e := open(t, inMemory())
	stop := errors.New("stop")
	if err := put(e, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := e.Get([]byte("absent")); !errors.Is(err, meta.ErrNotExist) {
			t.Fatal(err)
		}
		if err := e.Scan(nil, nil, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if err := e.Broken(); err != nil {
		t.Error(err)
	}
}

// TestReopenFails: until it can be opened again every call says so, and Close works.
func TestReopenFails(t *testing.T) {
	cfg := inMemory()
	var refuse error
	cfg.Open = func() (meta.Engine, error) {
		if refuse != nil {
			return nil, refuse
		}
		return mem.New(), nil
	}
	e := open(t, cfg)
	refuse = syscall.EIO
	if err := e.Reopen(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Reopen = %v", err)
	}
	if err := put(e, "k", "v"); !errors.Is(err, meta.ErrBroken) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Apply = %v", err)
	}
	if err := e.Broken(); !errors.Is(err, meta.ErrBroken) {
		t.Errorf("Broken = %v", err)
	}
	refuse = nil
	if err := e.Reopen(); err != nil {
		t.Error(err)
	}
	if err := put(e, "k", "v"); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(e.Reopen(), put(e, "k", "v")); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	e := open(t, onDisk(dir, nil))
	if err := put(e, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "CURRENT"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e = open(t, onDisk(dir, nil))
	if _, err := e.Get([]byte("k")); !errors.Is(err, meta.ErrNotExist) {
		t.Error(err)
	}
	if err := put(e, "k", "v"); err != nil {
		t.Error(err)
	}
	if err := e.Reopen(); err != nil {
		t.Fatal(err)
	}
	if v, err := e.Get([]byte("k")); err != nil || string(v) != "v" {
		t.Errorf("after Reopen: %q, %v", v, err)
	}
	if err := e.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get([]byte("k")); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("after Reset: %v", err)
	}
}

func TestDirectoryDeleted(t *testing.T) {
	for _, what := range []string{"", "CURRENT"} {
		dir := filepath.Join(t.TempDir(), "db")
		e := open(t, onDisk(dir, nil))
		if err := put(e, "k", "v"); err != nil {
			t.Fatal(err)
		}
		if err := e.Broken(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, what)); err != nil {
			t.Fatal(err)
		}
		if err := e.Broken(); err == nil {
			t.Errorf("%q deleted, and nothing is wrong", what)
		}
		if err := e.Reopen(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.Broken(), put(e, "k", "v")); err != nil {
			t.Error(err)
		}
	}
}

// TestUnderLoad: calls during a Reopen work or fail with ErrBroken.
func TestUnderLoad(t *testing.T) {
	e := open(t, onDisk(t.TempDir(), nil))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := fmt.Sprint(i)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, getErr := e.Get([]byte(key))
				scanErr := e.Scan(nil, nil, func(_, _ []byte) error { return nil })
				for _, err := range []error{put(e, key, fmt.Sprint(n)), getErr, scanErr} {
					if err != nil && !errors.Is(err, meta.ErrBroken) && !errors.Is(err, meta.ErrNotExist) {
						t.Errorf("%v", err)
					}
				}
			}
		})
	}
	for range 10 {
		if err := e.Reopen(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := e.Broken(); err != nil {
		t.Error(err)
	}
}

// TestFullDisk fills a real file system. Without the right to mount one, injected failures stand for it.
func TestFullDisk(t *testing.T) {
	dir, set := t.TempDir(), faults.New(nil)
	mounted := unix.Mount("none", dir, "tmpfs", 0, "size=8m") == nil
	if mounted {
		t.Cleanup(func() {
			if err := unix.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
	} else {
		t.Log("no right to mount a file system: failures are injected")
		if err := set.Put(faults.Fault{Name: faults.MetaError, Operation: fault.Apply, Error: "ENOSPC", Skip: 10}); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, onDisk(filepath.Join(dir, "db"), set))
	value := make([]byte, 100<<10)
	written := 0
	for ; written < 200; written++ {
		if put(e, fmt.Sprint(written), string(value)) != nil {
			break
		}
	}
	if written == 200 {
		t.Fatal("the disk never was full")
	}
	for range 5 {
		_ = put(e, "more", string(value)) // until it stays broken
	}
	if err := e.Broken(); err == nil {
		t.Fatal("not broken")
	}
	if mounted {
		if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
	}
	set.Clear()
	if err := e.Reopen(); err != nil {
		t.Fatal(err)
	}
	for i := range written {
		if v, err := e.Get(fmt.Append(nil, i)); err != nil || len(v) != len(value) {
			t.Errorf("record %d of %d: %d bytes, %v", i, written, len(v), err)
		}
	}
	if err := errors.Join(put(e, "more", string(value)), e.Broken()); err != nil {
		t.Error(err)
	}
}
