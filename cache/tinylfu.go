package cache

import "iter"

// tinylfu is W-TinyLFU (Einziger, Friedman, Manes: "TinyLFU", ACM ToS 2017), with the window's size
// found by hill climbing ("Adaptive software cache management", Middleware 2018).
//
//	insert -> window --- used more than --> probation -- used again --> protected
//	            |        probation's oldest      |  ^                       |
//	            '-- not --> out                  v  '------- too many ------'
//	                                            out
//
// All three are LRU queues. A block that leaves the window has to beat, in uses counted by
// the sketch, the one which would go for it. What is read once loses, and so a scan passes through the
// window and leaves the rest alone. A large window makes it LRU, which is better for some loads: the climber
// makes it larger as long as that helps.
//
// Until the cache has been full once nothing has to go and nobody has to prove anything: the
// window overflows into probation.
type tinylfu struct {
	window, probation, protected queue
	sketch                       sketch
	climber                      climber
	full                         int // blocks held when one went for room the last time; 0 never
	owed                         int // blocks that the window, made smaller, still has to give probation
}

// The seats.
const (
	inWindow uint8 = iota
	inProbation
	inProtected
)

const (
	// protectedShare of the blocks that are not in the window (80 %, as in the paper).
	protectedShare = 0.8
	// owedStep is how many blocks move at once when the window was made smaller, so that no read waits
	// for thousands.
	owedStep = 4
)

func newTinyLFU() *tinylfu { return &tinylfu{climber: newClimber()} }

func (t *tinylfu) held() int { return t.window.len + t.probation.len + t.protected.len }

// windowSize is how many blocks the window should have.
func (t *tinylfu) windowSize() int { return max(1, int(t.climber.window*float64(t.held()))) }

func (t *tinylfu) insert(b *block) {
	t.sketch.fit(t.held() + 1)
	t.sketch.use(b.identity(), t.held()+1)
	t.put(b, inWindow)
	t.sample(false)
	for t.held() <= t.full || t.full == 0 {
		if t.window.len <= t.windowSize() {
			break
		}
		t.move(t.window.oldest, inProbation)
	}
}

func (t *tinylfu) touch(b *block, again bool) {
	if again {
		t.sketch.use(b.identity(), t.held())
		t.sample(true)
	}
	switch q := b.seat(); {
	case q == inProbation && again:
		t.move(b, inProtected)
		if limit := protectedShare * float64(t.held()-t.window.len); float64(t.protected.len) > limit {
			t.move(t.protected.oldest, inProbation)
		}
	default:
		t.queue(q).renew(b)
	}
}

func (t *tinylfu) remove(b *block) { t.queue(b.seat()).remove(b) }

func (t *tinylfu) queue(q uint8) *queue {
	switch q {
	case inProbation:
		return &t.probation
	case inProtected:
		return &t.protected
	}
	return &t.window
}

func (t *tinylfu) put(b *block, q uint8) {
	b.setSeat(q)
	t.queue(q).push(b)
}

func (t *tinylfu) move(b *block, q uint8) {
	t.remove(b)
	t.put(b, q)
}

// sample tells the climber of a use, and moves some of what the window owes.
func (t *tinylfu) sample(hit bool) {
	before := t.windowSize()
	if t.full > 0 && t.climber.sample(hit, t.held()) {
		t.owed = max(0, before-t.windowSize())
	}
	for range min(t.owed, owedStep) {
		if t.owed--; t.window.len > 1 {
			t.move(t.window.oldest, inProbation)
		}
	}
}

func (t *tinylfu) victims() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		defer func() { t.full = max(1, t.held()) }()
		c := cursors{t.window.oldest, t.probation.oldest, t.protected.oldest}
		for {
			b := t.next(&c)
			if b == nil || !yield(b) {
				return
			}
		}
	}
}

// cursors are the oldest block of each queue which a loop over victims has not been given.
type cursors struct {
	window, probation, protected *block
}

// next returns the block that goes next, or nil after the last. The oldest of a full window (which is about to get
// another) has to go to probation or away: the one with fewer uses goes.
func (t *tinylfu) next(c *cursors) *block {
	from := &c.probation
	if *from == nil {
		from = &c.protected
	}
	switch {
	case *from == nil:
		from = &c.window
	case c.window == nil || t.window.len < t.windowSize():
	case t.sketch.estimate(c.window.identity()) > t.sketch.estimate((*from).identity()):
		b := c.window
		c.window = b.newer
		t.move(b, inProbation)
		if c.probation == nil {
			c.probation = b
		}
	default:
		from = &c.window
	}
	b := *from
	if b != nil {
		*from = b.newer
	}
	return b
}
