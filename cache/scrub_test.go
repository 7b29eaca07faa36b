package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/faults"
	"unistore/meta"
)

// flip turns one random bit of each of the files around.
func flip(t testing.TB, r *rand.Rand, files []string) {
	t.Helper()
	for _, path := range files {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		at, one := r.Int64N(st.Size()), make([]byte, 1)
		if _, err := f.ReadAt(one, at); err != nil {
			t.Fatal(err)
		}
		one[0] ^= 1 << r.IntN(8)
		if _, err := f.WriteAt(one, at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *env) evictions(why reason) int {
	return int(testutil.ToFloat64(e.m.CacheEvictions.WithLabelValues(string(why))))
}

// TestThousandFlippedBits: a bit of each of 1,000 pages on disk is wrong. No reader sees one, whether the reads find
// them, or Verify, or the scrubber.
func TestThousandFlippedBits(t *testing.T) {
	const pages = 1000
	seed := rand.Uint64()
	t.Log("seed", seed)
	for _, finder := range []string{"reads", "verify", "scrubber"} {
		t.Run(finder, func(t *testing.T) {
			e := newEnv(t, func(c *Config) { c.BlockSize, c.Size = page, 2*pages*page })
			e.o.put("k", pages*page-500)
			e.o.put("good", 50*page)
			e.read("k", 0, pages*page-500)
			e.idle()
			e.close()
			files := e.blockFiles()
			if len(files) != pages {
				t.Fatalf("%d files", len(files))
			}
			flip(t, rand.New(rand.NewPCG(seed, 1)), files)
			if finder == "scrubber" {
				e.cfg.Scrub = 1 << 40
			}
			e.open()
			e.read("good", 0, 50*page)
			switch finder {
			case "reads":
				e.read("k", 0, pages*page-500)
			case "verify":
				calls := 0
				res, err := e.c.Verify(t.Context(), func(done, total, bad int64) {
					if calls++; done > total || bad > pages {
						t.Errorf("progress(%d, %d, %d)", done, total, bad)
					}
				})
				if err != nil || res.Corrupt != pages || res.Blocks < 50 || res.Unreadable != 0 || calls < pages/scrubBatch {
					t.Errorf("%+v, %v; %d calls of progress", res, err, calls)
				}
			}
			eventually(t, "all were found", func() bool { return e.errorCount(kindCorrupt) == pages })
			if n := e.evictions(reasonCorrupt); n != pages {
				t.Errorf("%d evicted as corrupt", n)
			}
			e.idle()
			e.checkDisk()
			e.off(0)
			e.wantFetches(e.fetches())
			e.read("good", 0, 50*page)
			e.wantFetches(0)
			if s := e.c.Stats(); finder != "reads" && s.Blocks != 50 {
				t.Errorf("%d blocks are left, want the good ones", s.Blocks)
			}
			e.read("k", 0, 20*page)
		})
	}
}

func TestVerifyFindsMissingAndShortFiles(t *testing.T) {
	e := newEnv(t, nil)
	const blocks = 10
	e.o.put("k", blocks*blockLen)
	e.read("k", 0, blocks*blockLen)
	e.idle()
	files := e.blockFiles()
	if err := errors.Join(os.Remove(files[3]), os.Truncate(files[5], page+1)); err != nil {
		t.Fatal(err)
	}
	res, err := e.c.Verify(t.Context(), nil)
	if want := (VerifyResult{
		Blocks: blocks - 2, Pages: 4*(blocks-2) + 1, Bytes: (4*(blocks-2) + 1) * page, Corrupt: 1, Unreadable: 1,
	}); err != nil || res != want {
		t.Errorf("%+v, %v; want %+v", res, err, want)
	}
	e.idle()
	e.checkDisk()
	if res, err := e.c.Verify(t.Context(), nil); err != nil || res.bad() != 0 || res.Blocks != blocks-2 {
		t.Errorf("again: %+v, %v", res, err)
	}
	if res := e.read("k", 0, blockLen); !res.Memory {
		t.Errorf("what was verified is checked again: %+v", res)
	}
}

func TestVerifyEnds(t *testing.T) {
	e := newEnvOn(t, onMem, nil)
	const blocks = 100
	e.o.put("k", blocks*blockLen)
	e.read("k", 0, blocks*blockLen)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := e.c.Verify(ctx, func(_, _, _ int64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	e.c.guard.mu.Lock()
	e.c.guard.mu.first = time.Hour
	e.c.guard.mu.Unlock()
	e.c.guard.trip(sideRead, errEngine)
	if _, err := e.c.Verify(t.Context(), nil); !errors.Is(err, ErrBypassed) || !errors.Is(err, errEngine) {
		t.Errorf("bypassed: %v", err)
	}
	e.c.guard.probed(sideAll, true)
	put(t, e.f, faults.Fault{Name: faults.MetaError, Count: 1})
	if _, err := e.c.Verify(t.Context(), nil); err == nil {
		t.Error("a failed database is not reported")
	}
	c := e.c
	e.close()
	if _, err := c.Verify(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestScrubGoesOn: a pass goes on after a restart, and the next waits for a day.
func TestScrubGoesOn(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.BlockSize, c.Size = page, 64<<20 })
	const blocks = 3 * scrubBatch
	e.o.put("k", blocks*page)
	e.read("k", 0, blocks*page)
	e.idle()
	verified := func() (n int) {
		e.c.mu.Lock()
		defer e.c.mu.Unlock()
		for b := range e.c.mu.all() {
			if b.isVerified(0) {
				n++
			}
		}
		return n
	}
	list, err := e.c.db.BlocksFrom(0, blocks)
	if err != nil || len(list) != blocks {
		t.Fatal(len(list), err)
	}
	e.close()
	e.cfg.Scrub = 1 << 40
	place := func(s meta.Scrub) {
		db, err := meta.NewDB(e.eng)
		if err != nil {
			t.Fatal(err)
		}
		var ch meta.Changes
		ch.PutScrub(s)
		if err := db.Write(&ch, false); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now().Add(-time.Minute)
	place(meta.Scrub{Next: list[scrubBatch].FileID, Started: started})
	e.open()
	eventually(t, "the pass ends", func() bool { s, err := e.c.db.Scrub(); return err == nil && s.Next == 0 })
	if n := verified(); n != blocks-scrubBatch {
		t.Errorf("%d blocks were checked, want the last %d", n, blocks-scrubBatch)
	}
	if s, err := e.c.db.Scrub(); err != nil || s.Started.Unix() != started.Unix() {
		t.Errorf("%+v, %v", s, err)
	}
	e.restart() // the next pass is not due
	e.restart()
	if n := verified(); n != 0 {
		t.Errorf("%d blocks were checked again at once", n)
	}
	e.close()
	place(meta.Scrub{Started: time.Now().Add(-scrubEvery)})
	e.open()
	eventually(t, "the next pass", func() bool { return verified() == blocks })
}

// TestPace: the time of a read is what the rate says, the wait can be ended.
func TestPace(t *testing.T) {
	p := &pace{rate: 1 << 20}
	began := time.Now()
	for range 3 {
		if err := p.wait(t.Context(), 20<<10); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 39*time.Millisecond {
		t.Errorf("60 KiB at 1 MiB/s began within %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, p := range []*pace{{}, {rate: 1}, p} {
		_ = p.wait(ctx, 1<<40)
		if err := p.wait(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestScrubDuringUse: the check runs while blocks come and go, and finds nothing wrong.
func TestScrubDuringUse(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Size = 3 << 20 })
	for i := range 8 {
		e.o.put(fmt.Sprint(i), 4*blockLen)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 40 {
			name, off := fmt.Sprint(i%8), int64(i%3)*page
			_, got, err := readAll(e.c, e.request(name, off, 3*blockLen))
			if err != nil || !bytes.Equal(got, e.o.content(name)[off:off+3*blockLen]) {
				t.Errorf("read of %s at %d: %d bytes, %v", name, off, len(got), err)
			}
			if i%7 == 0 {
				e.c.Forget(keyOf(name))
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if res, err := e.c.Verify(t.Context(), nil); err != nil || res.bad() != 0 {
			t.Errorf("%+v, %v", res, err)
		}
	}
	if n := e.errorCount(kindCorrupt) + e.errorCount(kindRead); n != 0 {
		t.Errorf("%d errors", n)
	}
	e.idle()
	e.checkDisk()
}
