package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"unistore/byterange"
	"unistore/meta"
)

// fillObjects learns and reads objects of size bytes under each prefix.
func (e *env) fillObjects(size int, names ...string) {
	e.t.Helper()
	for _, name := range names {
		a := e.o.put(name, size)
		if !e.c.Learn(keyOf(name), e.c.Begin(keyOf(name)), a) {
			e.t.Fatalf("%s was not learned", name)
		}
		e.read(name, 0, int64(size))
	}
}

func TestDropMatching(t *testing.T) {
	const size = 3*page + 100 // a block and 3 pages on disk, the last of 4096 bytes
	const onDisk = 3*page + 4096
	names := []string{"a/1", "a/2", "ab", "b/1"}
	in := func(prefix string) Scope { return Scope{"up", "bucket", prefix} }
	tests := []struct {
		name  string
		scope Scope
		gone  []string
	}{
		{"prefix", in("a/"), []string{"a/1", "a/2"}},
		{"prefix is not a directory", in("a"), []string{"a/1", "a/2", "ab"}},
		{"one key", in("b/1"), []string{"b/1"}},
		{"bucket", in(""), names},
		{"no such prefix", in("c"), nil},
		{"other bucket", Scope{"up", "bucke", "t"}, nil},
		{"other upstream", Scope{"u", "bucket", ""}, nil},
		{"everything", Scope{}, names},
	}
	for _, test := range tests {
		for _, restart := range []bool{false, true} { // from records only, or also from memory
			t.Run(fmt.Sprint(test.name, restart), func(t *testing.T) {
				e := newEnv(t, nil)
				e.fillObjects(size, names...)
				if restart {
					e.restart()
				}
				before := e.c.Begin(keyOf("x"))
				used, err := e.c.Usage(t.Context(), test.scope)
				want := Usage{Objects: len(test.gone), Size: int64(len(test.gone)) * size, Blocks: len(test.gone), Bytes: int64(len(test.gone)) * onDisk}
				if err != nil || used != want {
					t.Errorf("usage %+v, %v; want %+v", used, err, want)
				}
				got, err := e.c.DropMatching(t.Context(), test.scope)
				if err != nil || got != (Dropped{want.Objects, want.Blocks, want.Bytes}) {
					t.Errorf("dropped %+v, %v; want %+v", got, err, want)
				}
				gone := map[string]bool{}
				for _, name := range test.gone {
					gone[name] = true
				}
				for _, name := range names {
					if _, ok := e.c.Stat(keyOf(name)); ok == gone[name] {
						t.Errorf("%s is known: %t", name, ok)
					}
					res := e.read(name, 0, size)
					if hit := res.Source == SourceCache; hit == gone[name] {
						t.Errorf("%s comes from the cache: %t", name, hit)
					}
					if gone[name] && e.c.Learn(keyOf(name), before, e.o.attrs(name)) {
						t.Errorf("%s was learned by a question from before", name)
					}
				}
				e.idle()
				e.checkDisk()
			})
		}
	}
}

func TestDropMatchingBeyondABatch(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.MaxObjects = 256 })
	const n = scanBatch*2 + 17
	for i := range n {
		k := keyOf(fmt.Sprintf("k%06d", i))
		e.c.Learn(k, e.c.Begin(k), attrs("a", true))
	}
	records := 0
	count := func(meta.ObjectKey, meta.Object, error) error { records++; return nil }
	if err := e.c.db.Objects(count); err != nil {
		t.Fatal(err)
	}
	got, err := e.c.DropMatching(t.Context(), Scope{"up", "bucket", "k"})
	if err != nil || got.Objects != records {
		t.Errorf("dropped %+v, %v; there were %d records", got, err, records)
	}
	records = 0
	if err := e.c.db.Objects(count); err != nil || records != 0 {
		t.Errorf("%d records are left, %v", records, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), attrs("a", true))
	if _, err := e.c.DropMatching(ctx, Scope{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := e.c.Usage(ctx, Scope{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// What no object names (a read that lost against a write has brought it) goes with everything, and a reader in
// the midst of it still gets its bytes.
func TestDropEverything(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("nameless", 5*page)
	e.read("nameless", 0, 2*page)
	r, err := e.c.Read(t.Context(), e.request("nameless", 0, 5*page))
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.c.DropMatching(t.Context(), Scope{})
	if err != nil || got.Objects != 0 || got.Blocks == 0 {
		t.Errorf("dropped %+v, %v", got, err)
	}
	buf := make([]byte, 5*page)
	n := 0
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	if want := e.o.content("nameless"); err != nil || string(buf) != string(want) {
		t.Errorf("%d bytes, %v; right %t", n, err, string(buf) == string(want))
	}
	r.Close()
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Resident != 0 || s.Blocks != 0 {
		t.Errorf("left: %+v", s)
	}
}

// Listings of unknown objects neither write records nor push out what reads have learned.
func TestListingsOfUnknownObjects(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.MaxObjects = 4 * stripes })
	for i := range 2 * stripes {
		k := keyOf(fmt.Sprintf("read/%d", i))
		e.c.Learn(k, e.c.Begin(k), attrs("a", true))
	}
	known := 0
	for i := range 2 * stripes {
		k := keyOf(fmt.Sprintf("read/%d", i))
		if _, ok := e.c.objects.stripe(k).mu.known[k]; ok {
			known++
		}
	}
	token := e.c.Begin(Key{})
	for i := range 1000 {
		if !e.c.Learn(keyOf(fmt.Sprintf("listed/%d", i)), token, attrs("a", false)) {
			t.Fatal("not learned")
		}
	}
	still := 0
	for i := range 2 * stripes {
		k := keyOf(fmt.Sprintf("read/%d", i))
		if _, ok := e.c.objects.stripe(k).mu.known[k]; ok {
			still++
		}
	}
	if still != known {
		t.Errorf("%d of %d objects were pushed out of memory by a listing", known-still, known)
	}
	if n := e.c.objects.len(); n > 4*stripes {
		t.Errorf("%d objects in memory", n)
	}
	err := e.c.db.Objects(func(k meta.ObjectKey, _ meta.Object, _ error) error {
		if k.Key[:4] != "read" {
			t.Errorf("a record of %s", k.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A reserve that is larger than the cache takes nothing from it while the disk has more than both.
func TestAReserveLargerThanTheCache(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Size, c.ReserveFree = 8*blockLen, 64*blockLen })
	e.o.put("k", blockLen)
	e.read("k", 0, blockLen)
	if res := e.read("k", 0, blockLen); res.Source != SourceCache {
		t.Errorf("%+v; the limit is %d", res, e.c.mu.limit)
	}
}

func TestUsageWhileChanging(t *testing.T) {
	e := newEnv(t, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			name := fmt.Sprint(rnd.IntN(5))
			a := e.o.put(name, 1+rnd.IntN(3*page))
			e.c.Learn(keyOf(name), e.c.Begin(keyOf(name)), a)
			req := ReadRequest{Key: keyOf(name), Attrs: a, Range: byterange.Range{Len: a.Size}, Fetch: e.o.fetch(name, a.ETag)}
			if _, _, err := readAll(e.c, req); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if u, err := e.c.Usage(t.Context(), Scope{}); err != nil || u.Bytes < 0 || u.Objects > 5 {
			t.Errorf("usage %+v, %v", u, err)
		}
		if _, err := e.c.DropMatching(t.Context(), Scope{"up", "bucket", "3"}); err != nil {
			t.Error(err)
		}
	}
	e.idle()
	e.checkDisk()
}

func BenchmarkLearnListed(b *testing.B) {
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%t", known), func(b *testing.B) {
			e := newEnv(b, nil)
			keys := make([]Key, 1000)
			for i := range keys {
				keys[i] = keyOf(fmt.Sprintf("warehouse/table/part=%d/file-%d.parquet", i%10, i))
				if known {
					e.c.Learn(keys[i], e.c.Begin(Key{}), attrs("a", true))
				}
			}
			a := attrs("a", false)
			b.ResetTimer()
			for i := range b.N {
				e.c.Learn(keys[i%len(keys)], e.c.Begin(Key{}), a)
			}
		})
	}
}
