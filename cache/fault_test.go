package cache

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
	"unistore/meta/mem"
)

func TestDeviceRefusesWrites(t *testing.T) {
	for _, op := range []string{"create", "write"} {
		for _, errno := range []string{"ENOSPC", "EIO"} {
			for _, first := range []bool{false, true} {
				t.Run(op+" "+errno, func(t *testing.T) {
					e := newEnv(t, nil)
					e.o.put("k", 3*blockLen)
					put(t, e.f, faults.Fault{Name: faults.CacheWriteError, Operation: op, Error: errno})
					for range 2 {
						req := e.request("k", 10, 2*blockLen)
						if first {
							req.First = e.o.first(t, "k", req.Range)
						}
						res := e.do(req)
						if op == "create" && (res.Source != SourceBypass || res.Stored) {
							t.Errorf("%+v", res)
						}
					}
					if op == "create" {
						e.wantFetches(2) // known before the upstream is asked
					}
					if e.errorCount(kindWrite) == 0 {
						t.Error("not counted")
					}
					e.idle()
					e.checkDisk()
					e.f.Clear()
					e.read("k", 0, 3*blockLen)
					e.read("k", 0, 3*blockLen)
					e.idle()
					e.checkDisk()
				})
			}
		}
	}
}

func TestFaultsMatchTheObject(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("a", page)
	e.o.put("b", page)
	put(t, e.f, faults.Fault{Name: faults.CacheWriteError, Bucket: "bucket", Key: "b"})
	if res := e.read("a", 0, page); res.Source != SourceFill {
		t.Errorf("a: %+v", res)
	}
	e.read("b", 0, page)
	if e.errorCount(kindWrite) != 1 {
		t.Errorf("%d write errors", e.errorCount(kindWrite))
	}
}

func TestWriteFailsInTheMiddle(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	put(t, e.f, faults.Fault{Name: faults.CacheWriteError, Operation: "write", Skip: 6, Count: 1})
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
	e.read("k", 0, 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
}

func TestDeviceFailsReads(t *testing.T) {
	for _, op := range []string{"open", "read"} {
		t.Run(op, func(t *testing.T) {
			e := newEnv(t, nil)
			e.o.put("k", 2*blockLen)
			e.read("k", 0, 2*blockLen)
			e.restart()
			put(t, e.f, faults.Fault{Name: faults.CacheReadError, Operation: op, Skip: 1, Count: 1})
			e.read("k", 0, 2*blockLen)
			e.read("k", 0, 2*blockLen)
			if e.errorCount(kindRead) != 1 {
				t.Errorf("%d read errors", e.errorCount(kindRead))
			}
			e.f.Clear()
			e.read("k", 0, 2*blockLen)
			if res := e.read("k", 0, 2*blockLen); res.Source != SourceCache {
				t.Errorf("not cached again: %+v", res)
			}
			e.idle()
			e.checkDisk()
		})
	}
}

func TestReadErrorInVerifiedBlock(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 2*blockLen)
	e.read("k", 0, 2*blockLen)
	put(t, e.f, faults.Fault{Name: faults.CacheReadError, Operation: "read", Count: 1})
	e.read("k", 0, 2*blockLen) // by sendfile
	put(t, e.f, faults.Fault{Name: faults.CacheReadError, Operation: "read", Count: 1})
	e.read("k", blockLen, 100) // through memory
	if e.errorCount(kindRead) != 2 {
		t.Errorf("%d read errors", e.errorCount(kindRead))
	}
	e.idle()
	e.checkDisk()
}

// blockFiles returns the paths of all block files.
func (e *env) blockFiles() []string {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.dir, "blocks", "*", "*", "*"))
	if err != nil {
		e.t.Fatal(err)
	}
	return files
}

func TestBitRot(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 4*blockLen+10)
	e.read("k", 0, 4*blockLen+10)
	e.close()
	for i, path := range e.blockFiles() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[(i*50_000+77)%len(data)] ^= 1 << (i % 8)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.open()
	e.wantFetches(1 + 1)
	e.read("k", 0, 4*blockLen+10)
	if n := e.errorCount(kindCorrupt); n != 5 {
		t.Errorf("%d corrupt pages found, want 5", n)
	}
	if res := e.read("k", 0, 4*blockLen+10); res.Source != SourceCache {
		t.Errorf("%+v", res)
	}
	e.idle()
	e.checkDisk()
}

func TestTruncatedAndMissingFiles(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.close()
	files := e.blockFiles()
	if err := os.Truncate(files[0], page+5); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.read("k", 0, 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.read("k", 0, 3*blockLen)
	if e.errorCount(kindCorrupt) != 1 || e.errorCount(kindRead) != 1 {
		t.Errorf("corrupt %d, read %d", e.errorCount(kindCorrupt), e.errorCount(kindRead))
	}
	e.idle()
	e.checkDisk()
}

func TestInjectedCorruption(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 2*blockLen)
	e.read("k", 0, 2*blockLen)
	put(t, e.f, faults.Fault{Name: faults.CacheCorruptPage, Count: 2})
	e.read("k", 0, 2*blockLen)
	if n := e.errorCount(kindCorrupt); n != 2 {
		t.Errorf("%d", n)
	}
	e.idle()
	e.checkDisk()
}

func TestDirectoryDisappears(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 2*blockLen)
	e.read("k", 0, blockLen)
	if err := os.RemoveAll(filepath.Join(e.dir, "blocks")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "blocks"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.read("k", 0, 2*blockLen)
	e.read("k", 0, 2*blockLen)
	e.off(sideFiles)
	e.read("k", 0, 2*blockLen)
	if err := os.Remove(filepath.Join(e.dir, "blocks")); err != nil {
		t.Fatal(err)
	}
	e.off(0)
	e.read("k", 0, 2*blockLen)
	e.idle()
	e.checkDisk()
}

// failing wraps an engine; while on, every call that changes or reads something fails.
type failing struct {
	meta.Engine
	on atomic.Bool
}

var errEngine = errors.New("engine is broken")

func (f *failing) Get(key []byte) ([]byte, error) {
	if f.on.Load() {
		return nil, errEngine
	}
	return f.Engine.Get(key)
}

func (f *failing) Apply(b *meta.Batch, sync bool) error {
	if f.on.Load() {
		return errEngine
	}
	return f.Engine.Apply(b, sync)
}

func TestDatabaseFails(t *testing.T) {
	eng := &failing{Engine: mem.New()}
	e := &env{t: t, o: newOrigin(), dir: t.TempDir(), eng: eng, f: faults.New(nil)}
	e.cfg = Config{Size: 8 << 20, BlockSize: blockLen, Tick: 1 << 40} // maintenance by hand
	e.open()
	t.Cleanup(e.close)
	old := e.o.put("k", 2*blockLen)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), old)
	e.read("k", 0, blockLen)

	eng.on.Store(true)
	if res := e.read("k", 0, blockLen); res.Source != SourceCache {
		t.Errorf("what is cached and verified does not need the database: %+v", res)
	}
	if res := e.read("k", blockLen, blockLen); res.Source != SourceBypass {
		t.Errorf("nothing new is cached: %+v", res)
	}
	e.c.Forget(keyOf("k"))
	if _, ok := e.c.Stat(keyOf("k")); ok {
		t.Error("a forgotten object came back from its record")
	}
	fresh := e.o.put("k", 100)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), fresh)
	if got, ok := e.c.Stat(keyOf("k")); !ok || got.Attrs.ETag != fresh.ETag {
		t.Errorf("%+v, %t", got, ok)
	}
	if e.errorCount(kindMeta) == 0 {
		t.Error("not counted")
	}
	eng.on.Store(false)
	e.c.retryRecords()
	e.read("k", 0, 100)
	e.c.emptyTrash()
	e.c.retryRecords()
	e.idle()
	e.restart()
	if got, ok := e.c.Stat(keyOf("k")); ok && got.Attrs.ETag != fresh.ETag {
		t.Errorf("the old version came back: %+v", got)
	}
	e.idle()
	e.checkDisk()
}

func TestNoRoomIsServedAround(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Size = 2 * blockLen })
	e.o.put("a", 4*blockLen)
	e.o.put("b", 4*blockLen)
	// Two readers hold both blocks that fit.
	var held []*Reader
	for i := range int64(2) {
		r, err := e.c.Read(t.Context(), e.request("a", i*blockLen, blockLen))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		held = append(held, r)
		if i == 0 {
			eventually(t, "one page", func() bool { return e.c.Stats().Resident > 0 })
		}
	}
	e.c.mu.Lock()
	e.c.mu.reserved += e.c.roomLocked() // and the rest is somebody else's
	e.c.mu.Unlock()
	for range 3 {
		e.read("b", 0, blockLen)
	}
	for _, r := range held {
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
	}
	e.c.mu.Lock()
	e.c.mu.reserved = 0
	e.c.mu.Unlock()
}

func TestNoHandlesIsServedAround(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Handles = 1 })
	e.o.put("a", page)
	e.o.put("b", page)
	e.read("a", 0, page)
	r, err := e.c.Read(t.Context(), e.request("a", 0, page))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if res := e.read("b", 0, page); res.Source != SourceBypass {
		t.Errorf("%+v", res)
	}
	if e.errorCount(kindHandles) == 0 {
		t.Error("not counted")
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, e.o.content("a")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.Close()
	if res := e.read("b", 0, page); res.Source != SourceFill {
		t.Errorf("%+v", res)
	}
}

// TestFullDisk is a cache on a disk smaller than it: it turns over all the same.
func TestFullDisk(t *testing.T) {
	dev := &device.Mem{Capacity: 8 * blockLen}
	e := newEnv(t, func(c *Config) { c.Device, c.MaxRun = dev, blockLen })
	e.o.put("k", 32*blockLen)
	for i := range int64(32) {
		e.read("k", i*blockLen, blockLen)
	}
	e.wantFetches(32)
	e.read("k", 31*blockLen, blockLen)
	e.wantFetches(0)
	if s := e.c.Stats(); s.Resident > dev.Capacity || s.Resident < dev.Capacity/2 {
		t.Errorf("%d bytes on a disk of %d", s.Resident, dev.Capacity)
	}
	e.idle()
}

func TestReserveFree(t *testing.T) {
	dev := &device.Mem{Capacity: 8 * blockLen}
	e := newEnv(t, func(c *Config) { c.Device, c.ReserveFree = dev, 4*blockLen })
	e.o.put("k", 16*blockLen)
	for i := range int64(16) {
		e.read("k", i*blockLen, blockLen)
		free, err := dev.Free()
		if err != nil || free < 4*blockLen {
			t.Fatalf("%d bytes are free, %v", free, err)
		}
	}
	e.idle()
}
