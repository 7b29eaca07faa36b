package rocks_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"unistore/meta"
	"unistore/meta/enginetest"
	"unistore/meta/rocks"
)

func open(t *testing.T, dir string) *rocks.Engine {
	t.Helper()
	e, err := rocks.Open(rocks.Config{Dir: dir, MemoryLimit: 4 << 20})
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

func put(t *testing.T, e meta.Engine, key, value string) {
	t.Helper()
	var b meta.Batch
	b.Put([]byte(key), []byte(value))
	if err := e.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
}

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) meta.Engine { return open(t, t.TempDir()) })
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "meta") // parents are created
	e := open(t, dir)
	put(t, e, "kept", "1")
	put(t, e, "gone", "1")
	var b meta.Batch
	b.Delete([]byte("gone"))
	if err := e.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	e = open(t, dir)
	if got, err := e.Get([]byte("kept")); err != nil || string(got) != "1" {
		t.Errorf("kept = %q, %v", got, err)
	}
	if _, err := e.Get([]byte("gone")); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}

func TestVersion(t *testing.T) {
	if v := rocks.Version(); !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(v) {
		t.Errorf("Version() = %q", v)
	}
}

func TestDestroy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "meta")
	e := open(t, dir)
	put(t, e, "a", "1")
	if err := rocks.Destroy(dir); !errors.Is(err, meta.ErrLocked) {
		t.Fatalf("Destroy while open = %v", err)
	}
	if _, err := e.Get([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing
		if err := rocks.Destroy(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the directory is still there: %v", err)
		}
	}
}

// TestMemoryIsFreed writes, reads and scans 75 MiB each: a leak of values, iterators or batches would show in the
// size of the process.
func TestMemoryIsFreed(t *testing.T) {
	e := open(t, t.TempDir())
	value := string(bytes.Repeat([]byte("v"), 128<<10))
	round := func(n int) {
		for range n {
			put(t, e, "k", value)
			if _, err := e.Get([]byte("k")); err != nil {
				t.Fatal(err)
			}
			if err := e.Scan(nil, nil, func([]byte, []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	round(150)
	before := resident(t)
	round(600)
	if grown := resident(t) - before; grown > 32<<20 {
		t.Errorf("grew by %d MiB", grown>>20)
	}
}

// resident returns the resident bytes of the process (proc(5), /proc/pid/statm).
func resident(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func BenchmarkGet(b *testing.B) {
	e := benchEngine(b, 10_000)
	for i := 0; b.Loop(); i++ {
		if _, err := e.Get(fmt.Appendf(nil, "b/%08d", i%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	e := benchEngine(b, 0)
	var batch meta.Batch
	for i := 0; b.Loop(); i++ {
		batch.Reset()
		batch.Put(fmt.Appendf(nil, "b/%08d", i), make([]byte, 96))
		if err := e.Apply(&batch, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads a million records, as the start of the gateway does with a full cache.
func BenchmarkScan(b *testing.B) {
	const records = 1_000_000
	e := benchEngine(b, records)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := e.Scan([]byte("b/"), nil, func([]byte, []byte) error { n++; return nil }); err != nil || n != records {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

func benchEngine(b *testing.B, records int) *rocks.Engine {
	b.Helper()
	e, err := rocks.Open(rocks.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	var batch meta.Batch
	for i := range records {
		batch.Put(fmt.Appendf(nil, "b/%08d", i), make([]byte, 96))
		if batch.Len() == 10_000 {
			if err := e.Apply(&batch, false); err != nil {
				b.Fatal(err)
			}
			batch.Reset()
		}
	}
	return e
}
