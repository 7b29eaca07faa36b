package cache

import (
	"iter"
	"math/bits"
	"slices"
)

// blockTable holds the blocks of a version by their index. Indexes that are near share a leaf, which costs 8 bytes a
// block when it is full; a block that is alone in its leaf costs about 100. The zero blockTable is empty.
type blockTable struct {
	count int
	first leaf             // indexes below leafBlocks: all there is of most objects
	more  map[uint32]*leaf // the others, by index / leafBlocks
}

// leafBlocks is how many indexes a leaf covers: the bits of leaf.set.
const leafBlocks = 64

// leaf is a set of indexes and their blocks, in ascending order.
type leaf struct {
	set    uint64
	blocks []*block
}

func (t *blockTable) leaf(i uint32) *leaf {
	if i < leafBlocks {
		return &t.first
	}
	return t.more[i/leafBlocks]
}

// place returns whether index i is in the leaf, and where in blocks it is or would be.
func (l *leaf) place(i uint32) (there bool, at int) {
	bit := uint64(1) << (i % leafBlocks)
	return l.set&bit != 0, bits.OnesCount64(l.set & (bit - 1))
}

// get returns the block at index i, or nil.
func (t *blockTable) get(i uint32) *block {
	l := t.leaf(i)
	if l == nil {
		return nil
	}
	there, at := l.place(i)
	if !there {
		return nil
	}
	return l.blocks[at]
}

// put adds b; there must be none at its index.
func (t *blockTable) put(b *block) {
	l := t.leaf(b.index)
	if l == nil {
		if t.more == nil {
			t.more = make(map[uint32]*leaf)
		}
		l = new(leaf)
		t.more[b.index/leafBlocks] = l
	}
	_, at := l.place(b.index)
	l.blocks = slices.Insert(l.blocks, at, b)
	l.set |= 1 << (b.index % leafBlocks)
	t.count++
}

// remove takes out the block at index i, which must be there.
func (t *blockTable) remove(i uint32) {
	l := t.leaf(i)
	_, at := l.place(i)
	l.blocks = slices.Delete(l.blocks, at, at+1)
	l.set &^= 1 << (i % leafBlocks)
	t.count--
	if l.set != 0 {
		return
	}
	l.blocks = nil
	if i >= leafBlocks {
		delete(t.more, i/leafBlocks)
	}
}

// any returns one of the blocks, or nil.
func (t *blockTable) any() *block {
	for b := range t.all() {
		return b
	}
	return nil
}

// all returns the blocks in no order. The loop must not change the table.
func (t *blockTable) all() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		for _, b := range t.first.blocks {
			if !yield(b) {
				return
			}
		}
		for _, l := range t.more {
			for _, b := range l.blocks {
				if !yield(b) {
					return
				}
			}
		}
	}
}
