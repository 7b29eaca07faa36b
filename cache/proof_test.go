package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"unistore/cache/device"
)

// openFiles returns how many descriptors the process has.
func openFiles(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestRealFullDisk runs the cache and its database on a real file system that is smaller than the cache, which then
// somebody else fills. Without the right to mount one, TestFullDisk and TestBrokenWritesBypass stand for it.
func TestRealFullDisk(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("none", mount, "tmpfs", 0, "size=12m"); err != nil {
		t.Logf("no right to mount a file system (%v)", err)
		return
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	e := newEnvIn(t, filepath.Join(mount, "cache"), onRocks, func(c *Config) { c.Size = 64 << 20 })
	const blocks = 80
	e.o.put("k", blocks*blockLen)
	for i := range int64(blocks) {
		e.read("k", i*blockLen, blockLen)
	}
	resident := e.c.Stats().Resident
	if resident == 0 || resident > 12<<20 {
		t.Errorf("%d bytes on 12 MiB", resident)
	}
	// The rest of the disk is taken.
	filler := filepath.Join(mount, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for chunk := make([]byte, 4096); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for i := range int64(blocks) {
		e.read("k", i*blockLen, blockLen)
	}
	if err := errors.Join(f.Close(), os.Remove(filler)); err != nil {
		t.Fatal(err)
	}
	for i := range int64(blocks) {
		e.read("k", i*blockLen, blockLen)
	}
	e.idle()
	e.checkDisk()
	e.read("k", 0, blockLen)
	if res := e.read("k", 0, blockLen); res.Source != SourceCache {
		t.Errorf("does not work again: %+v", res)
	}
	e.restart()
	e.idle()
	e.checkDisk()
}

// TestNoDescriptors takes all file descriptors of the process.
func TestNoDescriptors(t *testing.T) {
	e := newEnv(t, nil)
	const blocks = 20
	e.o.put("k", blocks*blockLen)
	e.o.put("j", blocks*blockLen)
	e.read("k", 0, blocks*blockLen)
	e.restart()
	e.read("k", 0, 12*blockLen) // twelve open files: the database, in this process too, may take some of what they leave
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(openFiles(t) + 3), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
	defer restore()
	var taken []*os.File
	takeAll := func() {
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				return
			}
			taken = append(taken, f)
		}
	}
	takeAll()
	e.read("k", 0, blocks*blockLen) // by closing idle files
	if n := e.errorCount(kindHandles); n != 0 {
		t.Errorf("%d reads found no descriptor", n)
	}
	e.read("j", 0, blocks*blockLen) // fills have files in use, how many depends on the machine: these may find none
	e.c.handles.reset()
	takeAll()
	for i := range int64(blocks) {
		e.read("k", i*blockLen, blockLen)
		e.read("j", i*blockLen, blockLen)
	}
	if e.errorCount(kindHandles) == 0 {
		t.Error("not counted")
	}
	if n := e.errorCount(kindRead) + e.errorCount(kindWrite); n != 0 || e.c.guard.sides() != 0 {
		t.Errorf("%d errors of the disk, out of use: %q", n, e.c.guard.sides())
	}
	for _, f := range taken {
		_ = f.Close()
	}
	restore()
	e.read("k", 0, blocks*blockLen)
	if res := e.read("k", 0, blocks*blockLen); res.Source != SourceCache {
		t.Errorf("%+v", res)
	}
	e.read("j", 0, blocks*blockLen)
	e.idle()
	e.checkDisk()
}

// TestReadersLeave: 1,000 readers leave in the middle of a body, of which some are hits, some wait, some lead.
func TestReadersLeave(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	e := newEnv(t, func(c *Config) { c.Size = 8 * blockLen })
	const objects, size = 10, 2 * blockLen
	for i := range objects {
		e.o.put(fmt.Sprint(i), size)
	}
	e.read("0", 0, size)
	e.idle()
	e.c.handles.reset()
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	var wg sync.WaitGroup
	limit := make(chan struct{}, 100)
	for i := range 1000 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			leaveInTheMiddle(t, e, r, fmt.Sprint(r.IntN(objects)), size)
		})
	}
	wg.Wait()
	e.idle()
	e.checkDisk()
	e.c.handles.reset()
	eventually(t, "goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	if n := openFiles(t); n > files {
		t.Errorf("%d descriptors, %d before", n, files)
	}
}

func leaveInTheMiddle(t *testing.T, e *env, r *rand.Rand, name string, size int64) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req := e.request(name, r.Int64N(size/2), size/2)
	rd, err := e.c.Read(ctx, req)
	if err != nil {
		t.Error(err)
		return
	}
	var out bytes.Buffer
	n := r.Int64N(req.Range.Len)
	if _, err := io.CopyN(&out, rd, n); err != nil && n > 0 {
		t.Errorf("%s: %v", name, err)
	}
	if want := e.o.content(name)[req.Range.Off:]; !bytes.Equal(out.Bytes(), want[:out.Len()]) {
		t.Errorf("%s: wrong bytes", name)
	}
	if r.IntN(2) == 0 {
		cancel() // the client goes before its reader is closed
	}
	if err := rd.Close(); err != nil {
		t.Error(err)
	}
}

// TestRocksDeletedWhileStopped deletes the database, and damages it in several ways: the cache starts empty, serves
// at once, and the orphans go meanwhile.
func TestRocksDeletedWhileStopped(t *testing.T) {
	damage := map[string]func(dir string) error{
		"deleted":       os.RemoveAll,
		"CURRENT":       func(dir string) error { return os.Remove(filepath.Join(dir, "CURRENT")) },
		"empty CURRENT": func(dir string) error { return os.Truncate(filepath.Join(dir, "CURRENT"), 0) },
		"MANIFEST": func(dir string) error {
			list, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			for _, path := range list {
				err = errors.Join(err, os.Truncate(path, 10))
			}
			return err
		},
		"log": func(dir string) error {
			list, err := filepath.Glob(filepath.Join(dir, "*.log"))
			for _, path := range list {
				err = errors.Join(err, os.Truncate(path, 0))
			}
			return err
		},
	}
	for name, change := range damage {
		t.Run(name, func(t *testing.T) {
			e := newEnvOn(t, onRocks, nil)
			const blocks = 20
			e.o.put("k", blocks*blockLen)
			e.read("k", 0, blocks*blockLen)
			e.close()
			if err := e.eng.Close(); err != nil {
				t.Fatal(err)
			}
			if err := change(filepath.Join(e.dir, "meta")); err != nil {
				t.Fatal(err)
			}
			e.eng = onRocks(e)
			e.open()
			for i := range int64(blocks) {
				e.read("k", i*blockLen, blockLen)
			}
			e.wantFetches(e.fetches())
			eventually(t, "the orphans are gone", func() bool { return len(e.blockFiles()) == e.c.Stats().Blocks })
			e.idle()
			e.checkDisk()
			e.read("k", 0, blocks*blockLen)
			e.wantFetches(0)
		})
	}
}

// refusing is a device that removes nothing while it is on.
type refusing struct {
	device.Device
	mu sync.Mutex
	on bool
}

func (d *refusing) set(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = on
}

func (d *refusing) Remove(id uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.on && id != probeID {
		return syscall.EROFS
	}
	return d.Device.Remove(id)
}

// TestNothingCanBeRemoved: what can not be removed stays counted, the limit is kept, and the index is not emptied
// in vain.
func TestNothingCanBeRemoved(t *testing.T) {
	dev := &refusing{Device: new(device.Mem)}
	e := newEnv(t, func(c *Config) { c.Size, c.Device = 16*blockLen, dev })
	e.o.put("k", 64*blockLen)
	e.read("k", 0, 16*blockLen)
	dev.set(true)
	for i := range int64(64) {
		e.read("k", i*blockLen, blockLen)
		if s := e.c.Stats(); s.Resident+s.Reserved > s.Capacity {
			t.Fatalf("%+v", s)
		}
	}
	if s := e.c.Stats(); s.Blocks == 0 || e.errorCount(kindRemove) == 0 {
		t.Errorf("%d blocks left, %d errors", s.Blocks, e.errorCount(kindRemove))
	}
	dev.set(false)
	eventually(t, "removed", func() bool { return e.c.retry.empty() && e.c.guard.sides() == 0 })
	e.read("k", 40*blockLen, 4*blockLen)
	e.read("k", 40*blockLen, 4*blockLen)
	e.idle()
	var files int64
	if err := dev.Walk(func(uint64) error { files++; return nil }); err != nil || files != int64(e.c.Stats().Blocks) {
		t.Errorf("%d files, %d blocks, %v", files, e.c.Stats().Blocks, err)
	}
}
