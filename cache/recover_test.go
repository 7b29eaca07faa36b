package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"unistore/meta"
	"unistore/meta/mem"
)

func TestSecondOpenIsRefused(t *testing.T) {
	e := newEnv(t, nil)
	db, err := meta.NewDB(mem.New())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Open(Config{Dir: e.dir, DB: db}); !errors.Is(err, ErrInUse) {
		t.Errorf("Open = %v, %v", c, err)
	}
	if _, err := db.Run(); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("the refused one has touched its database: %v", err)
	}
	e.close()
	e.open()
}

// crash ends the cache without Close: its goroutines stop, nothing is written.
func (e *env) crash() {
	e.t.Helper()
	c := e.c
	c.mu.Lock()
	c.mu.closed = true
	for f := range c.mu.fills {
		f.cancel(ErrClosed)
	}
	c.mu.Unlock()
	c.fills.Wait()
	c.cancel()
	c.bg.Wait()
	c.handles.close()
	if err := c.lock.Close(); err != nil {
		e.t.Error(err)
	}
	e.c = nil
}

func TestCrashKeepsWhatIsReady(t *testing.T) {
	e := newEnv(t, nil)
	a := e.o.put("k", 3*blockLen)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a)
	e.read("k", 0, 3*blockLen)
	e.wantFetches(1)
	e.crash()
	e.open()
	if got, ok := e.c.Stat(keyOf("k")); !ok || got.Attrs.ETag != a.ETag {
		t.Errorf("%+v, %t", got, ok)
	}
	e.read("k", 0, 3*blockLen)
	e.wantFetches(0)
	e.idle()
	e.checkDisk()
}

func TestFillingRecordsAreSwept(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	e.read("k", 0, 3*blockLen)
	files := e.blockFiles()
	// As a crash leaves it: block 0 got an intent for more pages, block 1 was being removed and its file is
	// gone, a new file was created and another was only intended.
	var ch meta.Changes
	n := 0
	var half uint64
	err := e.c.db.Blocks(func(b *meta.Block, err error) error {
		rec := *b
		rec.CRC = append([]uint32(nil), b.CRC...)
		rec.State = meta.BlockFilling
		if n < 2 {
			ch.PutBlock(&rec)
		}
		if n == 0 {
			for i := range uint64(2) {
				extra := rec
				extra.FileID += 100 + i
				ch.PutBlock(&extra)
				half = extra.FileID
			}
		}
		n++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e.crash()
	if err := must(meta.NewDB(e.eng))(t).Write(&ch, true); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0][:len(files[0])-2]+fmt.Sprintf("%02x", half&0xff), []byte("half a page"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Blocks != 1 || s.Resident != blockLen {
		t.Errorf("%+v", s)
	}
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestLostDatabase(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.close()
	e.eng = mem.New()
	stranger := filepath.Join(e.dir, "blocks", "00", "00", "readme")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.open()
	eventually(t, "no orphans", func() bool {
		return len(e.blockFiles()) == 1 && e.blockFiles()[0] == stranger
	})
	if err := os.Remove(stranger); err != nil {
		t.Fatal(err)
	}
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
}

func TestPowerCut(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.BootID = "first" })
	a := e.o.put("k", 3*blockLen)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a)
	e.read("k", 0, 3*blockLen)
	files := e.blockFiles()
	e.crash()
	// A record without its file, a file without its record.
	if err := os.Rename(files[0], files[0][:len(files[0])-16]+fmt.Sprintf("%016x", 77)); err != nil {
		t.Fatal(err)
	}
	e.cfg.BootID = "second"
	e.open()
	if _, ok := e.c.Stat(keyOf("k")); ok {
		t.Error("metadata from before a power cut is believed")
	}
	eventually(t, "files and records agree", func() bool {
		return len(e.blockFiles()) == 2 && e.c.Stats().Blocks == 2
	})
	e.idle()
	e.checkDisk()
	e.read("k", 0, 3*blockLen)
	e.wantFetches(2)
}

func TestChangedBlockSize(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 3*blockLen)
	e.read("k", 0, 3*blockLen)
	e.close()
	e.cfg.BlockSize = 1 << 20
	e.open()
	eventually(t, "the old files are gone", func() bool { return len(e.blockFiles()) == 0 })
	e.read("k", 0, 3*blockLen)
	e.idle()
	e.checkDisk()
}

func TestCorruptRecordIsAbsent(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 2*blockLen)
	e.read("k", 0, 2*blockLen)
	e.close()
	var b meta.Batch
	err := e.eng.Scan([]byte("b/"), nil, func(k, v []byte) error {
		bad := append([]byte(nil), v...)
		bad[len(bad)/2] ^= 4
		if b.Len() == 0 {
			b.Put(append([]byte(nil), k...), bad)
		}
		return nil
	})
	if err != nil || e.eng.Apply(&b, true) != nil {
		t.Fatal(err)
	}
	e.open()
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Blocks != 1 {
		t.Errorf("%+v", s)
	}
	e.read("k", 0, 2*blockLen)
}

func TestEvictionOrderSurvivesRestart(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Size = 16 * blockLen; c.HighWatermark, c.LowWatermark = 1, 1 })
	for i := range 16 {
		e.o.put(fmt.Sprint(i), blockLen)
		e.read(fmt.Sprint(i), 0, blockLen)
	}
	e.c.mu.Lock()
	for b := range e.c.mu.all() {
		b.used -= uint32(100 - b.fileID&0xff)
	}
	e.c.mu.Unlock()
	e.read("0", 0, blockLen) // now the newest
	e.restart()
	e.o.put("new", blockLen)
	e.read("new", 0, blockLen)
	e.wantFetches(17)
	e.read("0", 0, blockLen)
	e.read("2", 0, blockLen)
	e.wantFetches(0)
	e.read("1", 0, blockLen) // was the oldest
	e.wantFetches(1)
}

func TestCloseWithReaders(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 4*blockLen)
	gates := e.gated()
	ch := e.openAsync(e.request("k", 0, 4*blockLen))
	g := gates.get(0)
	g.allow <- page
	got := <-ch
	if got.err != nil {
		t.Fatal(got.err)
	}
	waiting := e.openAsync(e.request("k", 2*blockLen, 10))
	e.waiters(2)
	e.close()
	if w := <-waiting; !errors.Is(w.err, ErrClosed) {
		t.Errorf("waiting reader: %v", w.err)
	}
	buf := make([]byte, 2*page)
	n, err := got.r.Read(buf)
	if n != page || err != nil {
		t.Errorf("what was ready: %d, %v", n, err)
	}
	if _, err := got.r.Read(buf); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	got.r.Close()
	if _, err := got.r.Read(buf); err == nil {
		t.Error("a closed Reader reads")
	}
	e.open()
	e.o.hook = nil
	e.idle()
	e.checkDisk()
	e.read("k", 0, 4*blockLen)
}
