package device_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"unistore/cache/device"
	"unistore/cache/device/devicetest"
	"unistore/faults"
)

func newDir(t *testing.T) device.Device {
	t.Helper()
	d, err := device.NewDir(filepath.Join(t.TempDir(), "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDir(t *testing.T) { devicetest.Run(t, newDir) }

func TestMem(t *testing.T) {
	devicetest.Run(t, func(*testing.T) device.Device { return new(device.Mem) })
}

func TestFaultWithoutFaults(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) device.Device { return device.NewFault(newDir(t), faults.New(nil)) })
	devicetest.Run(t, func(t *testing.T) device.Device { return device.NewFault(newDir(t), nil) })
}

func TestPlace(t *testing.T) {
	root := t.TempDir()
	d, err := device.NewDir(root)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create(device.Ref{ID: 0x0123456789abcdef})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := os.Stat(filepath.Join(root, "ab", "cd", "0123456789abcdef")); err != nil {
		t.Error(err)
	}
	// Strangers are not block files.
	for _, name := range []string{"readme", "ab/cd/0123456789abcdee.tmp", "ab/0123456789abcdee", "ab/cd/0123456789ABCDEF", "ab/cd/1"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if err := d.Walk(func(uint64) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d files, %v", n, err)
	}
}

func TestMemCapacity(t *testing.T) {
	d := &device.Mem{Capacity: 8192}
	f, err := d.Create(device.Ref{ID: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt(make([]byte, 10_000), 0); n != 8192 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WriteAt = %d, %v", n, err)
	}
	if free, _ := d.Free(); free != 0 {
		t.Errorf("%d free", free)
	}
	if err := d.Remove(1); err != nil {
		t.Fatal(err)
	}
	if free, _ := d.Free(); free != 8192 {
		t.Errorf("%d free", free)
	}
}

func TestFaults(t *testing.T) {
	ref := device.Ref{ID: 1, Scope: faults.Scope{Bucket: "b", Key: "k"}}
	tests := []struct {
		fault faults.Fault
		want  map[string]error
	}{
		{faults.Fault{Name: faults.CacheWriteError, Error: "ENOSPC"},
			map[string]error{"create": syscall.ENOSPC, "write": syscall.ENOSPC}},
		{faults.Fault{Name: faults.CacheWriteError, Operation: "write"}, map[string]error{"write": syscall.EIO}},
		{faults.Fault{Name: faults.CacheReadError},
			map[string]error{"open": syscall.EIO, "read": syscall.EIO, "source": syscall.EIO}},
		{faults.Fault{Name: faults.CacheReadError, Operation: "open", Key: "k"}, map[string]error{"open": syscall.EIO}},
		{faults.Fault{Name: faults.CacheReadError, Key: "another"}, nil},
	}
	for _, test := range tests {
		set := faults.New(nil)
		d := device.NewFault(new(device.Mem), set)
		f, err := d.Create(ref)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("data"), 0); err != nil {
			t.Fatal(err)
		}
		if err := set.Put(test.fault); err != nil {
			t.Fatal(err)
		}
		got := map[string]error{}
		_, got["open"] = d.Open(ref)
		_, got["read"] = f.ReadAt(make([]byte, 4), 0)
		_, got["source"] = f.Source()
		_, got["write"] = f.WriteAt([]byte("data"), 0)
		other := ref
		other.ID = 2
		_, got["create"] = d.Create(other)
		for op, err := range got {
			if want := test.want[op]; want == nil && err != nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%+v: %s = %v, want %v", test.fault, op, err, want)
			}
		}
	}
}

func TestPartialWrites(t *testing.T) {
	ref, set := device.Ref{ID: 1}, faults.New(nil)
	d := device.NewFault(new(device.Mem), set)
	f, err := d.Create(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{faults.CacheWriteError, faults.CacheReadError} {
		if err := set.Put(faults.Fault{Name: name, After: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := f.WriteAt([]byte("bytes"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt = %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 5), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("ReadAt = %d, %v", n, err)
	}
	set.Clear()
	if err := set.Put(faults.Fault{Name: faults.CacheReadError, Delay: 1}); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(make([]byte, 3), 0); n != 3 || err != nil {
		t.Errorf("slow ReadAt = %d, %v", n, err)
	}
}

// TestRevive removes and replaces a directory under its Device.
func TestRevive(t *testing.T) {
	root := filepath.Join(t.TempDir(), "cache", "blocks")
	d, err := device.NewDir(root)
	if err != nil {
		t.Fatal(err)
	}
	works := func() error {
		f, err := d.Create(device.Ref{ID: 1})
		if err != nil {
			return err
		}
		return errors.Join(f.Close(), d.Remove(1))
	}
	file := func() error { return os.WriteFile(root, nil, 0o600) }
	other := filepath.Join(t.TempDir(), "other") // while root is there, so that it has another inode
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name    string
		do      func() error
		revives bool
	}{
		{"removed", func() error { return nil }, true},
		{"its parent removed", func() error { return os.Remove(filepath.Dir(root)) }, true},
		{"replaced", func() error { return os.Rename(other, root) }, true},
		{"a file", file, false},
	}
	for _, step := range steps {
		if err := errors.Join(d.Check(), works()); err != nil {
			t.Fatalf("before %s: %v", step.name, err)
		}
		if err := errors.Join(os.RemoveAll(root), step.do()); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); !errors.Is(err, device.ErrGone) {
			t.Errorf("%s: Check = %v", step.name, err)
		}
		if err := works(); step.name != "replaced" && err == nil {
			t.Errorf("%s: Create makes the root again", step.name)
		}
		if err := d.Revive(); (err == nil) != step.revives {
			t.Errorf("%s: Revive = %v", step.name, err)
		}
	}
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Revive(), d.Check(), works()); err != nil {
		t.Error(err)
	}
}

// TestUnmounted: the directory is not made again on the file system below.
func TestUnmounted(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no right to mount a file system (%v): nothing to unmount", err)
		return
	}
	d, err := device.NewDir(filepath.Join(mount, "blocks"))
	if err := errors.Join(err, unix.Unmount(mount, 0)); err != nil {
		t.Fatal(err)
	}
	if err := d.Revive(); !errors.Is(err, device.ErrGone) {
		t.Errorf("Revive = %v", err)
	}
	if _, err := os.Stat(filepath.Join(mount, "blocks")); err == nil {
		t.Error("made on the file system below")
	}
	if err := unix.Mount("none", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(mount, 0)
	if err := os.Mkdir(filepath.Join(mount, "blocks"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Revive(), d.Check()); err != nil {
		t.Error(err)
	}
}
