package prefetch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"unistore/columns"
)

func TestBudgeted(t *testing.T) {
	b := newBudgeted[string, int](3, 100)
	at := func(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }
	b.put("a", 1, 40, at(1))
	b.put("b", 2, 40, at(2))
	b.get("a", at(3))
	if gone := b.put("c", 3, 40, at(4)); !slices.Equal(gone, []string{"b"}) || b.bytes != 80 {
		t.Errorf("gone %v, %d bytes", gone, b.bytes)
	}
	if gone := b.put("a", 4, 60, at(5)); gone != nil || b.bytes != 100 {
		t.Errorf("in place: gone %v, %d bytes", gone, b.bytes)
	}
	if gone := b.put("d", 5, 101, at(6)); !slices.Equal(gone, []string{"c", "a"}) || b.bytes != 101 {
		t.Errorf("a large one: gone %v, %d bytes", gone, b.bytes)
	}
	for i := range 4 {
		b.put(fmt.Sprint(i), i, 0, at(7+i))
	}
	if len(b.entries) != 3 || b.bytes != 0 {
		t.Errorf("%d entries, %d bytes", len(b.entries), b.bytes)
	}
}

func TestMergedKeys(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		var known []string
		want := map[string]bool{}
		for range 5 {
			var page []string
			for range r.IntN(20) {
				page = append(page, fmt.Sprint(r.IntN(40)))
			}
			slices.Sort(page)
			for _, key := range page {
				if len(want) < 30 {
					want[key] = true
				}
			}
			known = mergedKeys(known, page, 30)
			if !slices.IsSorted(known) || len(known) != len(want) || slices.ContainsFunc(known, func(k string) bool { return !want[k] }) {
				t.Fatalf("seed %d: %v of %v", seed, known, want)
			}
		}
	}
}

// Long keys and large layouts go when their bytes are too many, and readers of what went hold none.
func TestColumnarIsBoundedInBytes(t *testing.T) {
	p, _ := newTest(t, &filler{}, Budget{Memory: 64 * mib, Jobs: 8})
	long := strings.Repeat("k", 900)
	for d := range 100 {
		var keys []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprintf("%d/%s%d.parquet", d, long, i))
		}
		p.Listed("u", "b", keys)
	}
	l := grid(1000, 100)
	for i := range 100 {
		target := reading(fmt.Sprint(i), 0, 1).Target
		p.mu.Lock()
		p.keepLayoutLocked(versionKey{target.Key, target.ETag}, l, epoch.Add(time.Duration(i)*time.Second))
		s := p.streamLocked(Read{Target: target, Query: "q"}, epoch)
		s.file = newColumnFile("a.parquet", l)
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.mu.columnar; c.dirs.bytes > dirBytes || c.layouts.bytes > layoutBytes || len(c.dirs.entries) < 10 || len(c.layouts.entries) < 10 {
		t.Errorf("%d bytes of %d directories, %d of %d layouts", c.dirs.bytes, len(c.dirs.entries), c.layouts.bytes, len(c.layouts.entries))
	}
	held := 0
	for _, s := range p.mu.streams {
		if s.file.layout != nil {
			held++
		}
	}
	if held != len(p.mu.columnar.layouts.entries) {
		t.Errorf("readers hold %d layouts", held)
	}
}

// Long footers wait for the memory of those that are being read.
func TestLongFootersWait(t *testing.T) {
	f := &tails{length: columns.MaxFooter}
	p, _ := newTest(t, &f.filler, Budget{Memory: 64 * mib, Jobs: 8})
	p.cfg.Cache = f
	if !p.tails.TryAcquire(tailBytes) {
		t.Fatal("held")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	target := reading("a/1.parquet", 0, 1).Target
	if p.loadLayout(ctx, target); !slices.Equal(f.asked, []int64{firstTail}) {
		t.Errorf("fetched %v", f.asked)
	}
	p.tails.Release(tailBytes)
	if p.loadLayout(t.Context(), target); !slices.Equal(f.asked, []int64{firstTail, columns.MaxFooter}) {
		t.Errorf("fetched %v", f.asked)
	}
	if !p.tails.TryAcquire(tailBytes) {
		t.Error("not given back")
	}
	p.tails.Release(tailBytes)
}
