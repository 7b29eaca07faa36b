package cache

import (
	"encoding/binary"
	"iter"
)

// policy decides which blocks go first. It is a pure state machine: it does no I/O, reads no clock, counts
// blocks and not bytes, and keeps what it knows of a block in the block (newer, older, seat). The caller
// serialises all calls and does not give back what is in use.
type policy interface {
	// insert takes in a block that the policy does not hold.
	insert(b *block)
	// touch says that a held block was read. again: it is another use of the block, and not more
	// of the use before (see reuse.go); only those count as frequency.
	touch(b *block, again bool)
	// remove lets go of a held block.
	remove(b *block)
	// victims lists all held blocks, the one to go first first. The loop may remove the block it was just
	// given, which is then an eviction, and no other. A block that it leaves keeps its place.
	victims() iter.Seq[*block]
}

// Policies are the names that Config.Policy takes, the default first.
var Policies = []string{"lru", "s3fifo", "tinylfu"}

// newPolicy returns the policy of this name in the configuration, or nil.
func newPolicy(name string) policy {
	switch name {
	case "", "lru":
		return &lru{}
	case "s3fifo":
		return newS3FIFO()
	case "tinylfu":
		return newTinyLFU()
	}
	return nil
}

// identity returns a hash of what b is a block of. It is the same when b is evicted and comes back, when its
// version has another number by then, and after a restart. It is well mixed: any of its bits may be used.
func (b *block) identity() uint64 {
	// The id is a cryptographic hash; only the index has to be mixed in (constants and shifts of
	// splitmix64, Steele et al., OOPSLA 2014).
	x := binary.LittleEndian.Uint64(b.v.id[:8]) + uint64(b.index)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
