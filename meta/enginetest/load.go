package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
)

// testAtomic has writers that keep a group of keys equal in each batch; nobody may see a group half changed.
func testAtomic(t *testing.T, e meta.Engine) {
	const writers, rounds, width = 4, 100, 8
	group := func(w int) []byte { return fmt.Appendf(nil, "g%d/", w) }
	write := func(w, round int) error {
		var b meta.Batch
		for i := range width {
			b.Put(fmt.Appendf(nil, "g%d/%d", w, i), fmt.Appendf(nil, "%d", round))
		}
		return e.Apply(&b, round%50 == 0)
	}
	read := func(w int) error {
		var first []byte
		n := 0
		err := e.Scan(group(w), nil, func(_, value []byte) error {
			if n == 0 {
				first = bytes.Clone(value)
			}
			n++
			if !bytes.Equal(first, value) {
				return fmt.Errorf("group %d holds %q and %q", w, first, value)
			}
			return nil
		})
		if err == nil && n != width {
			err = fmt.Errorf("group %d has %d keys, want %d", w, n, width)
		}
		return err
	}
	for w := range writers {
		if err := write(w, 0); err != nil {
			t.Fatal(err)
		}
	}
	var workers sync.WaitGroup
	for w := range writers {
		workers.Go(func() {
			for round := range rounds {
				if err := write(w, round); err != nil {
					t.Error(err)
					return
				}
			}
		})
		workers.Go(func() {
			for range rounds {
				if err := read(w); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// testRandom compares random operations with a map.
func testRandom(t *testing.T, e meta.Engine) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	model := map[string]string{}
	for step := range 3000 {
		switch rnd.IntN(4) {
		case 0, 1:
			b := randomBatch(rnd)
			if err := e.Apply(b, rnd.IntN(50) == 0); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			for _, op := range b.Ops {
				if op.Delete {
					delete(model, string(op.Key))
				} else {
					model[string(op.Key)] = string(op.Value)
				}
			}
		case 2:
			key := randomKey(rnd)
			want, ok := model[string(key)]
			got, err := e.Get(key)
			if ok && (err != nil || string(got) != want) || !ok && !errors.Is(err, meta.ErrNotExist) {
				t.Fatalf("step %d: Get(%q) = %q, %v; want %q, there: %t", step, key, got, err, want, ok)
			}
		case 3:
			prefix, start := randomKey(rnd), randomKey(rnd)
			if rnd.IntN(2) == 0 {
				start = nil
			}
			if diff := cmp.Diff(modelScan(model, prefix, start), scan(t, e, prefix, start)); diff != "" {
				t.Fatalf("step %d: Scan(%q, %q) (-want +got):\n%s", step, prefix, start, diff)
			}
		}
	}
}

// randomKey draws from few and short keys, so that they meet and are prefixes of each other.
func randomKey(rnd *rand.Rand) []byte {
	const alphabet = "\x00ab/\xfe\xff"
	key := make([]byte, rnd.IntN(4))
	for i := range key {
		key[i] = alphabet[rnd.IntN(len(alphabet))]
	}
	return key
}

func randomBatch(rnd *rand.Rand) *meta.Batch {
	var b meta.Batch
	for range rnd.IntN(12) {
		if rnd.IntN(3) == 0 {
			b.Delete(randomKey(rnd))
		} else {
			b.Put(randomKey(rnd), bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(200)))
		}
	}
	return &b
}

func modelScan(model map[string]string, prefix, start []byte) []string {
	want := []string{}
	for _, key := range slices.Sorted(maps.Keys(model)) {
		if bytes.HasPrefix([]byte(key), prefix) && key >= string(start) {
			want = append(want, key, model[key])
		}
	}
	return want
}

func testClosed(t *testing.T, e meta.Engine) {
	put(t, e, "a", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get([]byte("a")); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("Get = %v", err)
	}
	var b meta.Batch
	for _, sync := range []bool{false, true} {
		if err := e.Apply(&b, sync); !errors.Is(err, meta.ErrClosed) {
			t.Errorf("Apply of nothing, sync %t = %v", sync, err)
		}
	}
	b.Put([]byte("a"), []byte("2"))
	if err := e.Apply(&b, false); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("Apply = %v", err)
	}
	err := e.Scan(nil, nil, func([]byte, []byte) error { return errors.New("was called") })
	if !errors.Is(err, meta.ErrClosed) {
		t.Errorf("Scan = %v", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

// testCloseUnderLoad closes while others work: each call is either done or refused.
func testCloseUnderLoad(t *testing.T, e meta.Engine) {
	for i := range 100 {
		put(t, e, fmt.Sprintf("k%03d", i), "v")
	}
	var workers sync.WaitGroup
	var calls atomic.Int64
	warm := make(chan struct{})
	work := func(call func() error) {
		workers.Go(func() {
			for {
				err := call()
				if errors.Is(err, meta.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if calls.Add(1) == 200 {
					close(warm)
				}
			}
		})
	}
	for range 3 {
		work(func() error { _, err := e.Get([]byte("k050")); return err })
		work(func() error {
			var b meta.Batch
			b.Put([]byte("x"), []byte("y"))
			return e.Apply(&b, false)
		})
		work(func() error {
			n := 0
			err := e.Scan([]byte("k"), nil, func([]byte, []byte) error { n++; return nil })
			if err == nil && n != 100 {
				return fmt.Errorf("a scan during Close saw %d of 100 records", n)
			}
			return err
		})
	}
	<-warm
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	workers.Wait()
}
