package cache

import (
	"math/rand/v2"
	"testing"
)

// TestBlockTable compares a table with a map under random use.
func TestBlockTable(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var table blockTable
	model := map[uint32]*block{}
	for range 20_000 {
		i := uint32(r.IntN(200))
		if r.IntN(4) == 0 {
			i = r.Uint32() >> r.IntN(32)
		}
		if model[i] == nil {
			model[i] = &block{index: i}
			table.put(model[i])
		} else if r.IntN(2) == 0 {
			table.remove(i)
			delete(model, i)
		}
		if got := table.get(i); got != model[i] {
			t.Fatalf("index %d: %v, want %v", i, got, model[i])
		}
		if absent := r.Uint32(); table.get(absent) != model[absent] {
			t.Fatalf("index %d: %v", absent, table.get(absent))
		}
	}
	if table.count != len(model) {
		t.Errorf("%d blocks, want %d", table.count, len(model))
	}
	seen := map[*block]bool{}
	for b := range table.all() {
		if seen[b] || model[b.index] != b {
			t.Errorf("block %d: twice %t", b.index, seen[b])
		}
		seen[b] = true
	}
	if len(seen) != len(model) {
		t.Errorf("all gave %d blocks, want %d", len(seen), len(model))
	}
	for b := table.any(); b != nil; b = table.any() {
		table.remove(b.index)
		delete(model, b.index)
	}
	if table.count != 0 || len(model) != 0 || table.first.blocks != nil || len(table.more) != 0 {
		t.Errorf("not empty: %+v, %d in the model", table, len(model))
	}
}
