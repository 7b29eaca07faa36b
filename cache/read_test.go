package cache

import (
	"fmt"
	"testing"
	"time"

	"unistore/byterange"
)

func TestColdThenWarm(t *testing.T) {
	sizes := []int{1, page - 1, page, page + 1, blockLen - 1, blockLen, blockLen + 1, 3*blockLen + 5000}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			e := newEnv(t, nil)
			e.o.put("k", size)
			n := int64(size)
			if res := e.read("k", 0, n); res.Source != SourceFill || !res.Stored || res.Partial {
				t.Errorf("cold: %+v", res)
			}
			e.wantFetches(1)
			if res := e.read("k", 0, n); res.Source != SourceCache || !res.Memory {
				t.Errorf("warm: %+v", res)
			}
			if n > 10 {
				e.read("k", n-7, 7)
				e.read("k", 3, n-5)
			}
			e.wantFetches(0)
			e.idle()
			e.checkDisk()
			e.restart()
			if res := e.read("k", 0, n); res.Source != SourceCache || res.Memory {
				t.Errorf("after the restart: %+v", res)
			}
			if res := e.read("k", 0, n); !res.Memory {
				t.Errorf("after verification: %+v", res)
			}
			e.wantFetches(0)
			e.idle()
			e.checkDisk()
		})
	}
}

func TestFirstIsTheOnlyRequest(t *testing.T) {
	const size = 5*blockLen + 5000
	tests := []struct {
		name       string
		first, ask byterange.Range
	}{
		{"whole object", byterange.Range{Len: size}, byterange.Range{Len: size}},
		{"aligned", byterange.Range{Off: page, Len: 3 * page}, byterange.Range{Off: page + 5, Len: 2*page + 9}},
		{"suffix", byterange.Range{Off: size - 100_000, Len: 100_000}, byterange.Range{Off: size - 100_000, Len: 100_000}},
		{"small suffix", byterange.Range{Off: size - 8, Len: 8}, byterange.Range{Off: size - 8, Len: 8}},
		{"unaligned on both sides", byterange.Range{Off: 10, Len: 3 * page}, byterange.Range{Off: 10, Len: 3 * page}},
		{"inside a page", byterange.Range{Off: 10, Len: 100}, byterange.Range{Off: 10, Len: 100}},
		{"across an edge", byterange.Range{Off: page - 10, Len: 20}, byterange.Range{Off: page - 10, Len: 20}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, nil)
			e.o.put("k", size)
			req := e.request("k", test.ask.Off, test.ask.Len)
			req.First = e.o.first(t, "k", test.first)
			e.do(req)
			e.wantFetches(1)
			whole, end := wholePages(test.first, size)
			if end > whole {
				off := whole * page
				e.read("k", off, min(end*page, size)-off)
				e.wantFetches(0)
			}
			e.read("k", 0, size)
			e.idle()
			e.checkDisk()
		})
	}
}

// A reader tells how far it has come, cold and warm, and ends at the end.
func TestPassed(t *testing.T) {
	const size = 4*blockLen + 5000
	e := newEnv(t, nil)
	e.o.put("k", size)
	for range 2 {
		at, told := int64(10), 0
		req := e.request("k", at, size-10)
		req.Passed = func(pos int64, stalled time.Duration) {
			if pos <= at || pos > size || stalled < 0 {
				t.Errorf("%d after %d", pos, at)
			}
			at = pos
			told++
		}
		e.do(req)
		if at != size || told < 4 {
			t.Errorf("told %d times, the last time of %d", told, at)
		}
	}
	e.idle()
}
