package cache

import "math/bits"

// sketch estimates how often each block was used of late, up to 16: TinyLFU's (Einziger et al., ACM
// ToS 2017) count-min sketch of 4 bit counters with a doorkeeper in front, a Bloom filter that takes the
// first use, so that what is used once does not wear the counters. After sketchPeriod uses for each
// block in the cache all counters are halved and the doorkeeper is emptied: frequency ages.
//
// It takes 6 to 12 bytes for each block in the cache. Collisions make estimates too high, never too low.
type sketch struct {
	lines []sketchLine
	uses  int // since it aged
}

// sketchLine is all there is of some blocks, so that a use costs two cache misses at most.
type sketchLine struct {
	counters [8]uint64 // 16 each; a block has one in each pair of words
	door     [4]uint64 // a block has two bits
}

const (
	// sketchPeriod is 10 in the paper. What is read in turns has to be counted again before it is
	// forgotten, and tables are often larger than the cache: twice the period takes a loop over ten times
	// the cache from 1 % hits to 8 % of 10 % possible (docs/policies.md).
	sketchPeriod = 20
	// lineBlocks: blocks in the cache for each line at most. So there are 8 counters and 16 bits of the
	// doorkeeper for a block that is there; many more are counted.
	lineBlocks = 16
	// sketchMin keeps small caches from collisions: 12 KiB.
	sketchMin  = 128
	counterMax = 15
)

func (s *sketch) size() int { return len(s.lines) * lineBlocks }

// fit makes the sketch large enough for held blocks.
func (s *sketch) fit(held int) {
	if s.lines == nil {
		s.lines = make([]sketchLine, sketchMin)
	}
	for s.size() < held {
		// The high bits of an id choose its line, so after doubling they choose one of the two copies:
		// nothing is forgotten.
		old := s.lines
		s.lines = make([]sketchLine, 2*len(old))
		for i, l := range old {
			s.lines[2*i], s.lines[2*i+1] = l, l
		}
	}
}

func (s *sketch) line(id uint64) *sketchLine {
	i, _ := bits.Mul64(id, uint64(len(s.lines)))
	return &s.lines[i]
}

// counter returns where the i-th of the four counters of id is.
func (l *sketchLine) counter(id uint64, i int) (word *uint64, shift uint64) {
	h := id >> (5 * i) // 5 low bits each: which of two words, and which of its counters
	return &l.counters[2*i+int(h&1)], h >> 1 & 15 * 4
}

// count returns the smallest of id's counters.
func (l *sketchLine) count(id uint64) uint64 {
	low := uint64(counterMax)
	for i := range 4 {
		w, shift := l.counter(id, i)
		low = min(low, *w>>shift&counterMax)
	}
	return low
}

// bits returns id's bits in the doorkeeper: the words and the masks.
func (l *sketchLine) bits(id uint64) (a, b *uint64, bitA, bitB uint64) {
	a, bitA = &l.door[id>>20&3], 1<<(id>>22&63)
	b, bitB = &l.door[id>>28&3], 1<<(id>>30&63)
	return a, b, bitA, bitB
}

// use counts a use of id, with held blocks in the cache.
func (s *sketch) use(id uint64, held int) {
	if s.uses++; s.uses >= sketchPeriod*held {
		s.age()
	}
	l := s.line(id)
	a, b, bitA, bitB := l.bits(id)
	if *a&bitA == 0 || *b&bitB == 0 {
		*a |= bitA
		*b |= bitB
		return
	}
	// Only the smallest counters are raised ("conservative update"): the others are shared with
	// blocks that are used more.
	low := l.count(id)
	if low == counterMax {
		return
	}
	for i := range 4 {
		if w, shift := l.counter(id, i); *w>>shift&counterMax == low {
			*w += 1 << shift
		}
	}
}

// estimate returns the uses of id, 0..16.
func (s *sketch) estimate(id uint64) int {
	l := s.line(id)
	n := int(l.count(id))
	if a, b, bitA, bitB := l.bits(id); *a&bitA != 0 && *b&bitB != 0 {
		n++
	}
	return n
}

// age halves all counts.
func (s *sketch) age() {
	const low3 = 0x7777777777777777 // what is left of each counter of 4 bits
	for i := range s.lines {
		l := &s.lines[i]
		for j := range l.counters {
			l.counters[j] = l.counters[j] >> 1 & low3
		}
		clear(l.door[:])
	}
	s.uses /= 2
}
