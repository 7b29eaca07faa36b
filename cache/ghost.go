package cache

import "math/bits"

// ghost remembers which blocks were evicted last, by their identity and without them: as many as the cache
// holds. It is a hash table of buckets that forget their oldest. So it is bounded, at 6 to 11 bytes for each block in the
// cache, and approximate: it forgets a few early and takes one in some thousand for another. Both
// cost a block a worse or better place, no more.
type ghost struct {
	buckets [][ghostWays]ghostSlot
	step    int    // evictions in an epoch
	adds    int    // in this epoch
	epoch   uint16 // the current one; wraps
}

// ghostSlot is 4 bytes: a part of the identity and the epoch of the eviction. Zero is empty.
type ghostSlot struct {
	tag, epoch uint16
}

const (
	ghostWays = 8
	// ghostFill: ways of a bucket in use on average at most. Buckets fill unevenly: with 6 of 8 the fullest
	// lose what is nearly forgotten anyway.
	ghostFill = 6
	// ghostEpochs is the resolution of age, for large caches: so many epochs are remembered. A slot is
	// written again long before the counter comes round to it, 65536/256 generations later.
	ghostEpochs = 256
)

func (g *ghost) size() int { return len(g.buckets) * ghostFill }

// find returns id's bucket and tag. The high bits of id choose the bucket, so that after doubling they choose one
// of the two that the bucket has become.
func (g *ghost) find(id uint64) (*[ghostWays]ghostSlot, uint16) {
	i, _ := bits.Mul64(id, uint64(len(g.buckets)))
	return &g.buckets[i], uint16(id) | 1
}

// add remembers id; held is the number of blocks in the cache.
func (g *ghost) add(id uint64, held int) {
	for g.size() < held {
		g.grow()
	}
	if g.adds++; g.adds > g.step {
		g.adds = 1
		g.epoch++
	}
	bucket, tag := g.find(id)
	oldest := &bucket[0]
	for i := range bucket {
		s := &bucket[i]
		if s.tag == 0 || s.tag == tag {
			oldest = s
			break
		}
		if g.epoch-s.epoch > g.epoch-oldest.epoch {
			oldest = s
		}
	}
	*oldest = ghostSlot{tag, g.epoch}
}

// grow doubles the table.
func (g *ghost) grow() {
	old := g.buckets
	g.buckets = make([][ghostWays]ghostSlot, max(1, 2*len(old)))
	for i, bucket := range old {
		g.buckets[2*i], g.buckets[2*i+1] = bucket, bucket
	}
	g.step = max(1, g.size()/ghostEpochs)
}

// take reports whether id is among the last held that were added, and forgets it.
func (g *ghost) take(id uint64, held int) bool {
	if len(g.buckets) == 0 {
		return false
	}
	bucket, tag := g.find(id)
	for i := range bucket {
		if s := &bucket[i]; s.tag == tag && int(g.epoch-s.epoch)*g.step < held {
			*s = ghostSlot{}
			return true
		}
	}
	return false
}
