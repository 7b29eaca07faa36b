package cache

import (
	"container/heap"
	"math"
	"slices"
	"testing"
)

// never is the position of a read that does not come.
const never = math.MaxInt

// optimal returns the hits of Belady's algorithm, which no policy can exceed: the block whose next read is
// furthest goes.
func optimal(reads []uint32, capacity int) int {
	next := make([]int, len(reads)) // of the same block
	seen := make(map[uint32]int)
	for i := len(reads) - 1; i >= 0; i-- {
		next[i] = never
		if n, ok := seen[reads[i]]; ok {
			next[i] = n
		}
		seen[reads[i]] = i
	}
	cached := make(map[uint32]int) // block -> its next read
	var order furthest             // also outdated entries
	hits := 0
	for i, id := range reads {
		if _, ok := cached[id]; ok {
			hits++
		} else if len(cached) == capacity {
			for {
				top := heap.Pop(&order).(upcoming)
				if at, ok := cached[top.id]; ok && at == top.at {
					delete(cached, top.id)
					break
				}
			}
		}
		cached[id] = next[i]
		heap.Push(&order, upcoming{next[i], id})
	}
	return hits
}

type upcoming struct {
	at int
	id uint32
}

// furthest is a heap with the furthest read on top.
type furthest []upcoming

func (f furthest) Len() int           { return len(f) }
func (f furthest) Less(i, j int) bool { return f[i].at > f[j].at }
func (f furthest) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *furthest) Push(x any)        { *f = append(*f, x.(upcoming)) }
func (f *furthest) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

// The optimum of short traces, against all that can be done.
func TestOptimal(t *testing.T) {
	tests := []struct {
		reads    []uint32
		capacity int
		want     int
	}{
		{nil, 1, 0},
		{[]uint32{0, 0, 0}, 1, 2},
		{[]uint32{0, 1, 0, 1}, 1, 0},
		{[]uint32{0, 1, 0, 1}, 2, 2},
		{[]uint32{0, 1, 2, 0, 1, 2, 0, 1, 2}, 2, 3}, // of a loop of n, c-1 in n-1
		{[]uint32{0, 1, 2, 3, 0, 1, 4, 0, 1, 2, 3, 4}, 3, 5},
	}
	for _, test := range tests {
		if got := optimal(test.reads, test.capacity); got != test.want {
			t.Errorf("%v with %d: %d hits, want %d", test.reads, test.capacity, got, test.want)
		}
		if got := bestHits(test.reads, nil, test.capacity); got != test.want {
			t.Errorf("%v with %d: %d hits by trying all, want %d", test.reads, test.capacity, got, test.want)
		}
	}
}

// bestHits tries all ways to evict.
func bestHits(reads, cached []uint32, capacity int) int {
	if len(reads) == 0 {
		return 0
	}
	if slices.Contains(cached, reads[0]) {
		return 1 + bestHits(reads[1:], cached, capacity)
	}
	if len(cached) < capacity {
		return bestHits(reads[1:], append(slices.Clone(cached), reads[0]), capacity)
	}
	best := 0
	for i := range cached {
		other := slices.Clone(cached)
		other[i] = reads[0]
		best = max(best, bestHits(reads[1:], other, capacity))
	}
	return best
}
