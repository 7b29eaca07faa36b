package cache

import "math"

// climber looks for the share of the window that brings the most hits: it changes it by a step after each
// sample, goes on in that direction while the hit ratio rises and turns back when it falls, with smaller
// and smaller steps. A jump of the ratio means other work: the steps are large again.
type climber struct {
	window       float64 // share of all blocks
	step         float64 // of the next change; its sign is the direction
	hits, misses int     // in this sample
	last         float64 // hit ratio of the sample before; negative when there was none
}

// The numbers are Caffeine's, with two exceptions. It starts with 1 %; a few more cost scans little and help what is
// read again soon. And it samples 10 uses for each block: work changes faster than a large cache is read
// ten times over.
const (
	firstWindow   = 0.05
	minWindow     = 0.01
	maxWindow     = 0.80
	climbStep     = 0.0625
	climbDecay    = 0.98
	climbJump     = 0.05 // change of the hit ratio that means other work
	climbSample   = 4    // uses for each block held
	climbSampleAt = 1024 // and never fewer
)

func newClimber() climber { return climber{window: firstWindow, step: climbStep, last: -1} }

// sample counts a use, and reports whether it has changed window.
func (c *climber) sample(hit bool, held int) bool {
	if hit {
		c.hits++
	} else {
		c.misses++
	}
	if c.hits+c.misses < max(climbSample*held, climbSampleAt) {
		return false
	}
	ratio := float64(c.hits) / float64(c.hits+c.misses)
	c.hits, c.misses = 0, 0
	change := ratio - c.last
	first := c.last < 0
	c.last = ratio
	if first {
		change = 0
	}
	if change < 0 {
		c.step = -c.step
	}
	before := c.window
	c.window = min(max(c.window+c.step, minWindow), maxWindow)
	if math.Abs(change) >= climbJump {
		c.step = math.Copysign(climbStep, c.step)
	} else {
		c.step *= climbDecay
	}
	return c.window != before
}
