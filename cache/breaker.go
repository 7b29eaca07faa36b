package cache

import (
	"math/bits"
	"strings"
	"time"
)

// side is a part of the cache that can be out of use; a set of them is a side too.
type side uint8

// The sides.
const (
	sideRead    side = 1 << iota // block files: nothing is served from them, nothing is stored
	sideWrite                    // block files: nothing is stored
	sideRecords                  // the database: nothing is stored

	sideFiles = sideRead | sideWrite
	sideAll   = sideFiles | sideRecords
)

// sideNames are the sides as logs and metrics name them.
var sideNames = map[side]string{sideRead: "read", sideWrite: "write", sideRecords: "records"}

func (s side) String() string {
	var names []string
	for one := sideRead; one <= sideAll; one <<= 1 {
		if s&one != 0 {
			names = append(names, sideNames[one])
		}
	}
	return strings.Join(names, ",")
}

// When the files count as broken. A bad file is dropped when it fails, so failures in a row are of different
// files: of the disk. The second rule catches a disk that works now and then.
const (
	breakInRow = 5
	breakOf64  = 16 // of the last 64 operations of a side
)

// The waits between two probes: as long as a disk needs to come back from a reset at first, then doubling to
// what an operator would not notice.
const (
	firstProbe  = time.Second
	probeGrowth = 64 // the longest wait, in first waits
)

// breaker decides when the cache does without its disk and when it tries again. It is a pure state machine.
type breaker struct {
	first  time.Duration // the first wait for a probe
	off    side
	recent [2]uint64 // outcomes of the last 64 operations, of sideRead and sideWrite; set: failed; bit 0: the last
	wait   time.Duration
	next   time.Time // when to probe; while off
	healed time.Time // when off became empty
}

// ringOf returns the place of sideRead or sideWrite in breaker.recent.
func ringOf(s side) int { return int(s >> 1) }

// outcome takes in how an operation on the files went. It reports whether the side is to be tripped.
func (b *breaker) outcome(s side, failed bool) bool {
	ring := &b.recent[ringOf(s)]
	*ring <<= 1
	if !failed {
		return false
	}
	*ring |= 1
	const row = 1<<breakInRow - 1
	return b.off&s == 0 && (*ring&row == row || bits.OnesCount64(*ring) >= breakOf64)
}

// trip takes sides out of use. It returns those that were in use. One that fails again soon after it was healed
// waits longer: a disk that works for probes only must not cost reads for ever.
func (b *breaker) trip(s side, now time.Time) (fresh side) {
	fresh = s &^ b.off
	if fresh == 0 {
		return 0
	}
	switch soon := now.Add(b.first); {
	case b.off != 0 && soon.Before(b.next):
		b.next = soon
	case b.off == 0:
		if b.wait == 0 || now.Sub(b.healed) > b.first*probeGrowth {
			b.wait = b.first
		}
		b.next = now.Add(b.wait)
	}
	b.off |= s
	return fresh
}

// due reports whether it is time for a probe.
func (b *breaker) due(now time.Time) bool { return b.off != 0 && !now.Before(b.next) }

// probed takes in the outcome of a probe of the sides that were off. Those that were tripped meanwhile stay off.
func (b *breaker) probed(sides side, ok bool, now time.Time) {
	b.wait = min(2*b.wait, b.first*probeGrowth)
	b.next = now.Add(b.wait)
	if !ok {
		return
	}
	b.off &^= sides
	for _, s := range [...]side{sideRead, sideWrite} {
		if sides&s != 0 {
			b.recent[ringOf(s)] = 0
		}
	}
	if b.off == 0 {
		b.healed = now
	}
}
