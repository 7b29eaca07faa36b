package cache

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"unistore/faults"
	"unistore/meta"
	"unistore/meta/fault"
	"unistore/meta/mem"
	"unistore/meta/reopen"
	"unistore/meta/rocks"
)

// immortal is an engine that outlives Close, as a database on disk does.
type immortal struct{ meta.Engine }

func (immortal) Close() error { return nil }

// newEnvOn is newEnv over an engine that is made once the directory and the faults are there. It is closed at the end.
func newEnvOn(t testing.TB, engine func(e *env) meta.Engine, change func(*Config)) *env {
	t.Helper()
	return newEnvIn(t, t.TempDir(), engine, change)
}

func newEnvIn(t testing.TB, dir string, engine func(e *env) meta.Engine, change func(*Config)) *env {
	t.Helper()
	e := &env{t: t, o: newOrigin(), dir: dir, f: faults.New(nil)}
	e.cfg = Config{Size: 32 << 20, BlockSize: blockLen, MaxRun: 1 << 20, Tick: 10 * time.Millisecond, Probe: 20 * time.Millisecond, Stall: time.Minute}
	if change != nil {
		change(&e.cfg)
	}
	e.eng = engine(e)
	t.Cleanup(func() {
		e.close()
		if err := e.eng.Close(); err != nil {
			t.Error(err)
		}
	})
	e.open()
	return e
}

// onMem is a database in memory that fails as e.f says and can be reopened.
func onMem(e *env) meta.Engine {
	inner := immortal{mem.New()}
	eng, err := reopen.Open(reopen.Config{
		Open:    func() (meta.Engine, error) { return fault.Wrap(inner, e.f), nil },
		Destroy: func() error { inner.Engine = mem.New(); return nil },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return eng
}

// onRocks is a real database in the directory of the cache, as the gateway opens it.
func onRocks(e *env) meta.Engine {
	dir := filepath.Join(e.dir, "meta")
	eng, err := reopen.Open(reopen.Config{
		Open: func() (meta.Engine, error) {
			eng, err := rocks.Open(rocks.Config{Dir: dir, MemoryLimit: 4 << 20})
			if err != nil {
				return nil, err
			}
			return fault.Wrap(eng, e.f), nil
		},
		Destroy: func() error { return rocks.Destroy(dir) },
		Log:     zerolog.Nop(),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return eng
}

// off waits until exactly these sides are out of use, and compares the metric.
func (e *env) off(want side) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("out of use: %q", want), func() bool { return e.c.guard.sides() == want })
	eventually(e.t, "the metric", func() bool {
		for s, name := range sideNames {
			if (testutil.ToFloat64(e.m.CacheBypassed.WithLabelValues(name)) == 1) != (want&s != 0) {
				return false
			}
		}
		return true
	})
}

func TestBrokenReadsBypass(t *testing.T) {
	e := newEnv(t, nil)
	const blocks = 40
	e.o.put("k", blocks*blockLen)
	e.read("k", 0, blocks*blockLen)
	e.restart()
	e.wantFetches(e.fetches())
	put(t, e.f, faults.Fault{Name: faults.CacheReadError})
	for i := range int64(blocks) {
		e.read("k", i*blockLen, blockLen)
	}
	e.off(sideRead)
	if res := e.read("k", 0, blockLen); res.Source != SourceBypass || res.Stored {
		t.Errorf("%+v", res)
	}
	req := e.request("k", 0, blockLen)
	req.First = e.o.first(t, "k", req.Range)
	e.wantFetches(blocks + 1 + 1)
	e.do(req)
	e.wantFetches(0)
	req = e.request("k", 0, blockLen)
	req.OnlyCached = true
	if _, _, err := readAll(e.c, req); !errors.Is(err, ErrNotCached) {
		t.Errorf("only from the cache: %v", err)
	}
	// A probe fails before it works.
	eventually(t, "a probe", func() bool {
		e.c.guard.mu.Lock()
		defer e.c.guard.mu.Unlock()
		return e.c.guard.mu.wait > e.cfg.Probe
	})
	e.f.Clear()
	e.off(0)
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Blocks != blocks-breakInRow {
		t.Errorf("%d blocks left, want all but the %d that failed", s.Blocks, breakInRow)
	}
	e.read("k", 20*blockLen, 20*blockLen)
	e.wantFetches(0)
}

// TestBrokenReadsOfOpenFiles: opening works, reading fails.
func TestBrokenReadsOfOpenFiles(t *testing.T) {
	for _, verified := range []bool{true, false} {
		e := newEnv(t, nil)
		const blocks = 10
		e.o.put("k", blocks*blockLen)
		e.read("k", 0, blocks*blockLen)
		if !verified {
			e.restart()
		}
		put(t, e.f, faults.Fault{Name: faults.CacheReadError, Operation: "read"})
		for i := range int64(blocks) {
			e.read("k", i*blockLen, blockLen)
		}
		e.off(sideRead)
		e.f.Clear()
		e.off(0)
		e.idle()
		e.checkDisk()
		if s := e.c.Stats(); s.Blocks != blocks-breakInRow {
			t.Errorf("verified %t: %d blocks left, want all but the %d that failed", verified, s.Blocks, breakInRow)
		}
	}
}

func TestBrokenWritesBypass(t *testing.T) {
	for _, errno := range []string{"EIO", "ENOSPC", "EROFS"} {
		t.Run(errno, func(t *testing.T) {
			e := newEnv(t, nil)
			const blocks = 10
			e.o.put("old", blocks*blockLen)
			e.read("old", 0, blocks*blockLen)
			e.wantFetches(e.fetches())
			put(t, e.f, faults.Fault{Name: faults.CacheWriteError, Error: errno})
			e.o.put("new", blocks*blockLen)
			for i := range int64(blocks) {
				e.read("new", i*blockLen, blockLen)
			}
			e.off(sideWrite)
			e.wantFetches(blocks)
			if res := e.read("old", 0, blocks*blockLen); res.Source != SourceCache {
				t.Errorf("what is there is not served: %+v", res)
			}
			if res := e.read("new", 0, blockLen); res.Source != SourceBypass {
				t.Errorf("%+v", res)
			}
			e.f.Clear()
			e.off(0)
			e.read("new", 0, blocks*blockLen)
			if res := e.read("new", 0, blocks*blockLen); res.Source != SourceCache {
				t.Errorf("not stored after it was healed: %+v", res)
			}
			e.idle()
			e.checkDisk()
		})
	}
}

// TestDirectoryRemoved removes the files, or everything, under a running cache.
func TestDirectoryRemoved(t *testing.T) {
	tests := []struct {
		name   string
		remove func(dir string) error
	}{
		{"blocks", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "blocks")) }},
		{"blocks moved away", func(dir string) error { return os.Rename(filepath.Join(dir, "blocks"), filepath.Join(dir, "x")) }},
		{"records", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "meta")) }},
		{"everything", os.RemoveAll},
		{"what is in it", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "blocks")), os.RemoveAll(filepath.Join(dir, "meta")),
				os.Remove(filepath.Join(dir, "LOCK")))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEnvOn(t, onRocks, nil)
			const blocks = 10
			e.o.put("k", blocks*blockLen)
			e.read("k", 0, blocks*blockLen)
			if err := test.remove(e.dir); err != nil {
				t.Fatal(err)
			}
			for i := range int64(blocks) {
				e.read("k", i*blockLen, blockLen)
			}
			eventually(t, "noticed and healed", func() bool {
				e.c.guard.mu.Lock()
				defer e.c.guard.mu.Unlock()
				return !e.c.guard.mu.healed.IsZero() && e.c.guard.mu.off == 0
			})
			e.idle()
			e.checkDisk() // nothing of what was there is believed
			e.read("k", 0, blocks*blockLen)
			e.idle()
			e.checkDisk()
			if s := e.c.Stats(); s.Blocks != blocks {
				t.Errorf("works again, with %d blocks", s.Blocks)
			}
			e.wantFetches(e.fetches())
			e.read("k", 0, blocks*blockLen)
			e.restart()
			e.read("k", 0, blocks*blockLen)
			e.wantFetches(0)
			e.idle()
			e.checkDisk()
		})
	}
}

func (e *env) fetches() int {
	n, _ := e.o.counts()
	return n
}

// TestBlocksRemoved: without the files but with the directory every miss is found as it is read.
func TestBlocksRemoved(t *testing.T) {
	e := newEnv(t, nil)
	const blocks = 20
	e.o.put("k", blocks*blockLen)
	e.read("k", 0, blocks*blockLen)
	e.restart()
	for _, path := range e.blockFiles()[:15] {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for i := range int64(blocks) {
			e.read("k", i*blockLen, blockLen)
		}
	}
	e.off(0)
	e.idle()
	e.checkDisk()
}

// TestTakenByAnother: a directory that was removed and is another process's by now is not used.
func TestTakenByAnother(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", blockLen)
	if err := os.RemoveAll(e.dir); err != nil {
		t.Fatal(err)
	}
	other, err := lockDir(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	e.off(sideFiles)
	eventually(t, "a probe", func() bool {
		e.c.guard.mu.Lock()
		defer e.c.guard.mu.Unlock()
		return e.c.guard.mu.wait > e.cfg.Probe
	})
	e.read("k", 0, blockLen)
	e.off(sideFiles)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	e.off(0)
	e.read("k", 0, blockLen)
	e.idle()
	e.checkDisk()
}

func TestBrokenRecords(t *testing.T) {
	for name, engine := range map[string]func(*env) meta.Engine{"mem": onMem, "rocks": onRocks} {
		t.Run(name, func(t *testing.T) {
			e := newEnvOn(t, engine, nil)
			const blocks = 10
			a := e.o.put("old", blocks*blockLen)
			e.c.Learn(keyOf("old"), e.c.Begin(keyOf("old")), a)
			e.read("old", 0, blocks*blockLen)
			e.restart() // nothing is verified
			e.read("old", 0, 3*blockLen)
			put(t, e.f, faults.Fault{Name: faults.MetaError, Error: "ENOSPC"})
			e.o.put("new", blocks*blockLen)
			for i := range int64(blocks) {
				e.read("new", i*blockLen, blockLen)
				e.read("old", i*blockLen, blockLen)
			}
			e.off(sideRecords)
			if e.errorCount(kindMeta) == 0 {
				t.Error("not counted")
			}
			e.wantFetches(e.fetches())
			if res := e.read("old", 0, 3*blockLen); res.Source != SourceCache {
				t.Errorf("what was verified needs no records: %+v", res)
			}
			e.c.Forget(keyOf("old"))
			e.f.Clear()
			e.off(0)
			e.idle()
			e.checkDisk()
			if got, ok := e.c.Stat(keyOf("old")); ok {
				t.Errorf("a forgotten object came back: %+v", got)
			}
			e.read("new", 0, blocks*blockLen)
			e.restart()
			if got, ok := e.c.Stat(keyOf("old")); ok {
				t.Errorf("a forgotten object came back: %+v", got)
			}
			e.wantFetches(e.fetches())
			e.read("new", 0, blocks*blockLen)
			e.wantFetches(0)
			e.idle()
			e.checkDisk()
		})
	}
}

// TestRecordsFailForOneRead: blocks whose checksums can not be read now are kept.
func TestRecordsFailForOneRead(t *testing.T) {
	e := newEnvOn(t, onMem, nil)
	e.o.put("k", 2*blockLen)
	e.read("k", 0, 2*blockLen)
	e.restart()
	e.wantFetches(1)
	put(t, e.f, faults.Fault{Name: faults.MetaError, Operation: fault.Get, Count: 1})
	if res := e.read("k", 0, 2*blockLen); res.Source != SourceBypass {
		t.Errorf("%+v", res)
	}
	if res := e.read("k", 0, 2*blockLen); res.Source != SourceCache {
		t.Errorf("%+v", res)
	}
	e.off(0)
	e.wantFetches(1)
}

// TestForgottenOverACrash: the database refuses to forget, and the process dies.
func TestForgottenOverACrash(t *testing.T) {
	for _, closed := range []bool{false, true} {
		e := newEnvOn(t, onMem, func(c *Config) { c.Tick = 1 << 40 })
		old := e.o.put("k", blockLen)
		e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), old)
		e.read("k", 0, blockLen)
		put(t, e.f, faults.Fault{Name: faults.MetaError})
		e.c.Forget(keyOf("k"))
		if _, ok := e.c.Stat(keyOf("k")); ok {
			t.Error("not forgotten")
		}
		if closed {
			_ = e.c.Close()
			e.c = nil
		} else {
			e.crash()
		}
		e.f.Clear()
		e.cfg.Tick = 10 * time.Millisecond
		e.open()
		if got, ok := e.c.Stat(keyOf("k")); ok {
			t.Errorf("closed %t: a forgotten object came back: %+v", closed, got)
		}
		e.idle()
		eventually(t, "sure again", func() bool {
			_, err := os.Stat(filepath.Join(e.dir, suspectName))
			return errors.Is(err, os.ErrNotExist)
		})
		e.checkDisk()
	}
}

// TestDamagedWhileOpen damages tables of RocksDB that opening does not look at.
func TestDamagedWhileOpen(t *testing.T) {
	e := newEnvOn(t, onRocks, nil)
	for i := range 5 {
		name := fmt.Sprint(i)
		e.o.put(name, 5*blockLen)
		e.read(name, 0, 5*blockLen)
	}
	e.close()
	for range 3 { // each start writes the log of the last into a table
		if err := e.eng.(*reopen.Engine).Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.eng.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(e.dir, "meta", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, path := range tables {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(data)/2; i += 100 { // blocks of records come first
			data[i] ^= 0x10
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As the gateway does.
	e.eng = onRocks(e)
	if _, err := meta.NewDB(e.eng); errors.Is(err, meta.ErrCorrupt) {
		if err := e.eng.(*reopen.Engine).Reset(); err != nil {
			t.Fatal(err)
		}
	}
	e.open()
	for i := range 5 {
		e.read(fmt.Sprint(i), 0, 5*blockLen)
	}
	eventually(t, "the orphans are gone", func() bool { return len(e.blockFiles()) == e.c.Stats().Blocks })
	e.idle()
	e.checkDisk()
	e.restart()
	e.wantFetches(e.fetches())
	e.read("3", 0, 5*blockLen)
	e.wantFetches(0)
}

// TestOlderFormat: it goes with its files.
func TestOlderFormat(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.close()
	var b meta.Batch
	b.Put([]byte("f"), []byte{0, 0, 0, 0})
	if err := e.eng.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	e.open()
	eventually(t, "the old files are gone", func() bool { return len(e.blockFiles()) == 0 })
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
	e.close()
	b.Reset()
	b.Put([]byte("f"), []byte{0, 0, 1, 0})
	if err := e.eng.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if _, err := meta.NewDB(e.eng); !errors.Is(err, meta.ErrVersion) {
		t.Errorf("a newer format: %v", err)
	}
	if n := len(e.blockFiles()); n != 3 {
		t.Errorf("%d files: a newer format was touched", n)
	}
	e.eng = mem.New()
	e.open()
}

// TestFileCutUnderSendfile: the rest of the body comes from the upstream, nothing is cut.
func TestFileCutUnderSendfile(t *testing.T) {
	e := newEnv(t, nil)
	const size = 4 * blockLen
	e.o.put("k", size)
	e.read("k", 0, size)
	if err := os.Truncate(e.blockFiles()[2], page+100); err != nil {
		t.Fatal(err)
	}
	server, client := pipe(t)
	got := make(chan []byte, 1)
	go func() {
		data := make([]byte, size)
		_, err := io.ReadFull(client, data)
		if err != nil {
			t.Error(err)
		}
		got <- data
	}()
	r, err := e.c.Read(t.Context(), e.request("k", 0, size))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w := bufio.NewWriterSize(server, 4096)
	if n, err := r.WriteTo(w); n != size || err != nil {
		t.Fatalf("WriteTo = %d, %v", n, err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if data := <-got; !bytes.Equal(data, e.o.content("k")) {
		t.Errorf("wrong bytes at %d", diff(data, e.o.content("k")))
	}
	if file, _ := server.Sent(); file == 0 {
		t.Error("no sendfile")
	}
	r.Close()
	e.idle()
	e.checkDisk()
	if e.c.Stats().Blocks != 3 || e.errorCount(kindRead) != 1 {
		t.Errorf("%d blocks, %d read errors", e.c.Stats().Blocks, e.errorCount(kindRead))
	}
}

// TestBreakerUnderLoad breaks and heals everything again and again under readers.
func TestBreakerUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	e := newEnvOn(t, onMem, func(c *Config) { c.Size, c.Probe = 4<<20, time.Millisecond })
	const blocks = 30
	e.o.put("k", blocks*blockLen)
	stop := make(chan struct{})
	done := make(chan struct{})
	for i := range 4 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				off := r.Int64N(blocks * blockLen)
				n := 1 + r.Int64N(min(5*blockLen, blocks*blockLen-off))
				_, got, err := readAll(e.c, e.request("k", off, n))
				if want := e.o.content("k")[off : off+n]; err != nil || !bytes.Equal(got, want) {
					t.Errorf("read of %d at %d: %d bytes, %v", n, off, len(got), err)
				}
			}
		}()
	}
	r := rand.New(rand.NewPCG(seed, 99))
	for range 30 {
		e.c.guard.trip(side(1+r.IntN(int(sideAll))), errEngine)
		eventually(t, "healed", func() bool { return e.c.guard.sides() == 0 })
	}
	close(stop)
	for range 4 {
		<-done
	}
	e.idle()
	e.checkDisk()
}
