// Package enginetest is the conformance suite of meta.Engine: what every engine and every wrapper must do.
package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
)

// Run tests the engines that open returns: each call gives an empty one. The suite closes them.
func Run(t *testing.T, open func(t *testing.T) meta.Engine) {
	tests := []struct {
		name string
		run  func(t *testing.T, e meta.Engine)
	}{
		{"Get", testGet},
		{"GetCopies", testGetCopies},
		{"ApplyCopies", testApplyCopies},
		{"BatchOrder", testBatchOrder},
		{"EmptyBatch", testEmptyBatch},
		{"OddKeys", testOddKeys},
		{"BigBatch", testBigBatch},
		{"Sizes", testSizes},
		{"ScanRanges", testScanRanges},
		{"ScanStops", testScanStops},
		{"ScanNests", testScanNests},
		{"ScanIsOneMoment", testScanIsOneMoment},
		{"Atomic", testAtomic},
		{"Random", testRandom},
		{"Closed", testClosed},
		{"CloseUnderLoad", testCloseUnderLoad},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, e)
		})
	}
}

// put applies one batch of key, value, key, value, ...
func put(t *testing.T, e meta.Engine, pairs ...string) {
	t.Helper()
	var b meta.Batch
	for pair := range slices.Chunk(pairs, 2) {
		b.Put([]byte(pair[0]), []byte(pair[1]))
	}
	apply(t, e, &b)
}

func apply(t *testing.T, e meta.Engine, b *meta.Batch) {
	t.Helper()
	if err := e.Apply(b, false); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

func wantValue(t *testing.T, e meta.Engine, key, want string) {
	t.Helper()
	got, err := e.Get([]byte(key))
	if err != nil || string(got) != want || got == nil {
		t.Errorf("Get(%q) = %q (nil: %t), %v; want %q", key, got, got == nil, err, want)
	}
}

func wantNone(t *testing.T, e meta.Engine, key string) {
	t.Helper()
	if got, err := e.Get([]byte(key)); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("Get(%q) = %q, %v; want ErrNotExist", key, got, err)
	}
}

// scan returns what Scan delivers as key, value, key, value, ...
func scan(t *testing.T, e meta.Engine, prefix, start []byte) []string {
	t.Helper()
	got := []string{}
	err := e.Scan(prefix, start, func(key, value []byte) error {
		got = append(got, string(key), string(value))
		return nil
	})
	if err != nil {
		t.Fatalf("Scan(%q, %q): %v", prefix, start, err)
	}
	return got
}

func testGet(t *testing.T, e meta.Engine) {
	wantNone(t, e, "a")
	put(t, e, "a", "1", "b", "2")
	wantValue(t, e, "a", "1")
	wantValue(t, e, "b", "2")
	wantNone(t, e, "aa")
	put(t, e, "a", "3")
	wantValue(t, e, "a", "3")

	var b meta.Batch
	b.Delete([]byte("a"))
	b.Delete([]byte("never there"))
	if err := e.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	wantNone(t, e, "a")
	wantValue(t, e, "b", "2")
}

func testGetCopies(t *testing.T, e meta.Engine) {
	put(t, e, "a", "value")
	got, err := e.Get([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantValue(t, e, "a", "value")
}

func testApplyCopies(t *testing.T, e meta.Engine) {
	key, value := []byte("key"), []byte("value")
	var b meta.Batch
	b.Put(key, value)
	apply(t, e, &b)
	clear(key)
	clear(value)
	wantValue(t, e, "key", "value")
}

func testBatchOrder(t *testing.T, e meta.Engine) {
	put(t, e, "a", "old", "b", "old")
	var b meta.Batch
	b.Put([]byte("a"), []byte("new"))
	b.Delete([]byte("a"))
	b.Delete([]byte("b"))
	b.Put([]byte("b"), []byte("1"))
	b.Put([]byte("b"), []byte("2"))
	apply(t, e, &b)
	wantNone(t, e, "a")
	wantValue(t, e, "b", "2")

	b.Reset()
	b.Put([]byte("c"), []byte("3"))
	apply(t, e, &b)
	if got, want := scan(t, e, nil, nil), []string{"b", "2", "c", "3"}; !slices.Equal(got, want) {
		t.Errorf("after a reused batch: %q, want %q", got, want)
	}
}

func testEmptyBatch(t *testing.T, e meta.Engine) {
	for _, sync := range []bool{false, true} {
		if err := e.Apply(&meta.Batch{}, sync); err != nil {
			t.Errorf("Apply of nothing, sync %t: %v", sync, err)
		}
	}
	if got := scan(t, e, nil, nil); len(got) != 0 {
		t.Errorf("holds %q", got)
	}
}

func testOddKeys(t *testing.T, e meta.Engine) {
	// A key starts with the byte of its table in practice; an engine takes any.
	keys := []string{"", "\x00", "\x00\x00", "\x00\xff", "a\x00b", "ü/日本", "\xff", "\xff\xff", string(bytes.Repeat([]byte("k"), 4096))}
	var want []string
	for i, key := range keys {
		value := fmt.Sprint(i)
		if i%2 == 0 {
			value = ""
		}
		put(t, e, key, value)
		want = append(want, key)
	}
	for i, key := range keys {
		if i%2 == 0 {
			wantValue(t, e, key, "")
		} else {
			wantValue(t, e, key, fmt.Sprint(i))
		}
	}
	var got []string
	for pair := range slices.Chunk(scan(t, e, nil, nil), 2) {
		got = append(got, pair[0])
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys by Scan (-want +got):\n%s", diff)
	}
}

func testBigBatch(t *testing.T, e meta.Engine) {
	const records = 50_000
	var b meta.Batch
	for i := range records {
		b.Put(fmt.Appendf(nil, "n/%08d", i), fmt.Appendf(nil, "value %d", i))
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	b.Put([]byte("large"), large)
	apply(t, e, &b)

	n := 0
	err := e.Scan([]byte("n/"), nil, func(key, value []byte) error {
		if string(key) != fmt.Sprintf("n/%08d", n) || string(value) != fmt.Sprintf("value %d", n) {
			return fmt.Errorf("record %d is %q = %q", n, key, value)
		}
		n++
		return nil
	})
	if err != nil || n != records {
		t.Errorf("Scan: %d of %d records, %v", n, records, err)
	}
	if got, err := e.Get([]byte("large")); err != nil || !bytes.Equal(got, large) {
		t.Errorf("large value: %d bytes, %v", len(got), err)
	}
}

// testSizes has values of all magnitudes, so that one scan meets each after each.
func testSizes(t *testing.T, e meta.Engine) {
	sizes := []int{0, 1, 100, 4000, 4096, 5000, 60_000, 1 << 16, 250_000, 1 << 18, 300_000, 1 << 20, 3 << 20}
	sizes = append(sizes, sizes...)
	slices.Reverse(sizes[:len(sizes)/2])
	var b meta.Batch
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, sizes[i]) }
	for i := range sizes {
		b.Put([]byte{byte(i)}, value(i))
	}
	apply(t, e, &b)
	i := 0
	err := e.Scan(nil, nil, func(key, got []byte) error {
		if i == len(sizes) || !bytes.Equal(key, []byte{byte(i)}) || !bytes.Equal(got, value(i)) {
			return fmt.Errorf("record %d is %x with %d bytes", i, key, len(got))
		}
		i++
		return nil
	})
	if err != nil || i != len(sizes) {
		t.Errorf("Scan: %d of %d records, %v", i, len(sizes), err)
	}
}
