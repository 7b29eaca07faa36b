package cache

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestGhost(t *testing.T) {
	const held = 5000
	r := rand.New(rand.NewPCG(1, 2))
	var g ghost
	var added []uint64
	for range 4 * held {
		id := r.Uint64()
		added = append(added, id)
		g.add(id, held)
	}
	if slots := len(g.buckets) * ghostWays; slots > 2*held*ghostWays/ghostFill+ghostWays {
		t.Errorf("%d slots for %d blocks", slots, held)
	}
	count := func(ids []uint64) (n int) {
		for _, id := range ids {
			copied := ghost{slices.Clone(g.buckets), g.step, g.adds, g.epoch}
			if copied.take(id, held) {
				n++
			}
		}
		return n
	}
	// The youngest are all there, but for the few whose bucket was overfull; the older are not.
	if n := count(added[len(added)-held/2:][:200]); n < 195 {
		t.Errorf("%d of 200 are remembered", n)
	}
	if n := count(added[len(added)-held-2*g.step-200:][:200]); n > 2 {
		t.Errorf("%d of 200 are remembered too long", n)
	}
	var strangers []uint64
	for range 200 {
		strangers = append(strangers, r.Uint64())
	}
	if n := count(strangers); n > 2 {
		t.Errorf("%d of 200 are taken for others", n)
	}
	last := added[len(added)-1]
	if !g.take(last, held) || g.take(last, held) {
		t.Error("taken not once")
	}
}

// A table that doubles forgets nothing, and the counter of epochs may wrap.
func TestGhostGrowsAndWraps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var g ghost
	g.epoch = ^uint16(0) - 5
	for held := 1; held < 3000; held++ {
		id := r.Uint64()
		g.add(id, held)
		if held%100 == 99 && !g.take(id, held) {
			t.Fatalf("forgotten at once with %d blocks", held)
		}
	}
	id := r.Uint64()
	g.add(id, 3000)
	g.add(r.Uint64(), 3*3000) // doubles
	if !g.take(id, 3*3000) {
		t.Error("forgotten by doubling")
	}
	if g.take(id, 3*3000) {
		t.Error("taken twice")
	}
}

func TestSketch(t *testing.T) {
	const held = 4000
	r := rand.New(rand.NewPCG(5, 6))
	var s sketch
	s.fit(held)
	uses := map[uint64]int{}
	for range held {
		id := r.Uint64()
		uses[id] = 1 + r.IntN(8)
		for range uses[id] {
			s.use(id, held)
		}
	}
	right := 0
	for id, n := range uses {
		switch got := s.estimate(id); {
		case got < n:
			t.Fatalf("%d uses, estimate %d: too low", n, got)
		case got == n:
			right++
		}
	}
	if right < held*9/10 {
		t.Errorf("%d of %d estimates are right", right, held)
	}
	for range 100 {
		if got := s.estimate(r.Uint64()); got > 3 {
			t.Errorf("estimate %d of what was never used", got)
		}
	}
}

func TestSketchGrowsAndAges(t *testing.T) {
	var s sketch
	s.fit(1)
	ids := []uint64{1 << 60, 0xdeadbeef, ^uint64(0), 12345 << 30}
	const held = 1000
	for i, id := range ids {
		for range 4 * (i + 1) {
			s.use(id, held)
		}
	}
	for _, size := range []int{1, 3000, 100_000} {
		s.fit(size)
		if s.size() < size || s.size() > max(2*size, sketchMin*lineBlocks) {
			t.Errorf("made for %d, want %d", s.size(), size)
		}
		for i, id := range ids {
			if got, want := s.estimate(id), 4*(i+1); got != want {
				t.Errorf("estimate %d, want %d, with room for %d", got, want, size)
			}
		}
	}
	for range 100 {
		s.use(ids[0], held) // stays at the top
	}
	if got := s.estimate(ids[0]); got != counterMax+1 {
		t.Errorf("estimate %d, want %d", got, counterMax+1)
	}
	before := s.estimate(ids[3])
	s.uses = sketchPeriod*held - 2
	s.use(ids[0], held)
	if got := s.estimate(ids[3]); got != before {
		t.Errorf("estimate %d, was %d: aged early", got, before)
	}
	s.use(ids[0], held)
	if got := s.estimate(ids[3]); got != (before-1)/2 || s.uses != sketchPeriod*held/2 {
		t.Errorf("estimate %d after ageing, was %d; %d uses", got, before, s.uses)
	}
}

// The climber finds the best window of a made up world, also when the world changes.
func TestClimber(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const held = 1000
	c := newClimber()
	climb := func(best float64) {
		t.Helper()
		for range 60 * climbSample * held {
			off := c.window - best
			c.sample(r.Float64() < 0.8-off*off, held)
			if c.window < minWindow || c.window > maxWindow {
				t.Fatalf("window %v", c.window)
			}
		}
	}
	climb(0.6)
	if c.window < 0.4 {
		t.Errorf("window %v, best is 0.6", c.window)
	}
	climb(0.05)
	if c.window > 0.4 {
		t.Errorf("window %v, best is 0.05", c.window)
	}
}

// Identities of blocks that are near differ in all of their bits: parts of them choose places.
func TestIdentity(t *testing.T) {
	seen := map[uint64]bool{}
	var ones [64]int
	const n = 4096
	for i := range n {
		b := &block{v: &version{id: versionID{byte(i >> 10)}}, index: uint32(i & 1023)}
		id := b.identity()
		if seen[id] {
			t.Fatal("two are the same")
		}
		seen[id] = true
		for bit := range ones {
			ones[bit] += int(id >> bit & 1)
		}
	}
	for bit, c := range ones {
		if c < n*2/5 || c > n*3/5 {
			t.Errorf("bit %d is set in %d of %d", bit, c, n)
		}
	}
}
