package cache

import "iter"

// policy decides which blocks go first. It is a pure state machine: it does no I/O, knows no sizes and
// keeps its links in the blocks (newer, older). The caller serialises all calls and does not
// give back what is in use.
type policy interface {
	// insert takes in a block that the policy does not hold.
	insert(b *block)
	// touch says that a held block was read.
	touch(b *block)
	// remove lets go of a held block.
	remove(b *block)
	// victims lists the held blocks, the one to go first first. The loop may remove
	// the block it was just given, and no other.
	victims() iter.Seq[*block]
}

// newPolicy returns the policy of this name in the configuration, or nil.
func newPolicy(name string) policy {
	switch name {
	case "", "lru":
		return &lru{}
	}
	return nil
}
