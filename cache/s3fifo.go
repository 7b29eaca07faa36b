package cache

import "iter"

// s3fifo is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): three FIFO
// queues and no move on a hit.
//
//	insert -> small ---- used again ----> main -- not used again --> out
//	            |                          ^  \_ used again: once more round
//	            '-- not --> out, ghost ----' inserted again
//
// What is read once passes through small, a tenth of the cache, and leaves main alone. ghost remembers what
// small let go of, by identity: coming back soon proves it to be used more than once.
//
// Nothing moves before something has to go: victims does all the work.
type s3fifo struct {
	small, main queue
	ghost       ghost
	maxHits     uint8  // counted for a block at most
	proof       uint8  // hits that take a block from small to main
	offered     *block // by victims, and not yet known whether it goes
}

// inMain is the bit of a seat that says main; the others are the block's uses, 0..3.
const inMain uint8 = 1

func hitsOf(b *block) uint8 { return b.seat() >> 1 }

// smallShare: one block in so many is in small (the paper's 10 %).
const smallShare = 10

// newS3FIFO returns the variant with one bit per block. Its author finds that better than two for
// caches of blocks behind another cache, which is where UniStore is; docs/policies.md finds no difference.
func newS3FIFO() *s3fifo { return &s3fifo{maxHits: 1, proof: 1} }

func (s *s3fifo) insert(b *block) {
	if s.ghost.take(b.identity(), s.held()) {
		s.toMain(b, 0)
		return
	}
	b.setSeat(0)
	s.small.push(b)
}

func (s *s3fifo) held() int { return s.small.len + s.main.len }

func (s *s3fifo) toMain(b *block, hits uint8) {
	b.setSeat(inMain | hits<<1)
	s.main.push(b)
}

func (s *s3fifo) touch(b *block, again bool) {
	if again && hitsOf(b) < s.maxHits {
		b.setSeat(b.seat() + 1<<1)
	}
}

func (s *s3fifo) remove(b *block) {
	if b.seat()&inMain != 0 {
		s.main.remove(b)
		return
	}
	if b == s.offered {
		s.ghost.add(b.identity(), s.held())
	}
	s.small.remove(b)
}

func (s *s3fifo) victims() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		defer func() { s.offered = nil }()
		// What is older than these was offered and stays.
		small, main := s.small.oldest, s.main.oldest
		for small != nil || main != nil {
			fromSmall := small != nil && (main == nil || s.small.len*smallShare > s.held())
			var b *block
			if fromSmall {
				b, small = small, small.newer
			} else {
				b, main = main, main.newer
			}
			if s.keep(b, fromSmall) {
				if main == nil {
					main = b
				}
				continue
			}
			s.offered = b
			if !yield(b) {
				return
			}
		}
	}
}

// keep makes b the newest of main if it was used enough, and takes its uses for that.
func (s *s3fifo) keep(b *block, fromSmall bool) bool {
	hits := hitsOf(b)
	switch {
	case fromSmall && hits >= s.proof:
		s.small.remove(b)
		s.toMain(b, 0)
	case !fromSmall && hits > 0:
		s.main.remove(b)
		s.toMain(b, hits-1)
	default:
		return false
	}
	return true
}
