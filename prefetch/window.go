package prefetch

import "time"

// The bounds of what is fetched by one request and ahead of one reader, in bytes.
const (
	minRun    = 1 << 20
	maxRun    = 16 << 20
	minWindow = 2 << 20
	// windowRuns is how many requests a full window has at least: the fewer there are, the more each one's first byte
	// is waited for.
	windowRuns = 32
)

// The ramp: a window is at most so many times what the reader has read in sequence. What a reader that stops costs is
// bounded by it.
const (
	rampFirst = 4  // after a single read
	rampNext  = 16 // after more
)

// RunSize is how many bytes one request asks for, a multiple of unit: so many that its first byte is a tenth of its
// time (the formula of Arrow with a utilisation of 0.9), and few enough that a window has windowRuns of them.
func RunSize(e Estimate, maxWindow, unit int64) int64 {
	bdp := e.FirstByte.Seconds() * e.Bandwidth
	run := min(max(int64(9*bdp), minRun), maxRun, max(maxWindow/windowRuns, minRun))
	return max(run/unit*unit, unit)
}

// Window is how far ahead of one reader bytes are fetched. The zero Window has not seen a stall.
type Window struct {
	starve float64   // times the target; below 1: no stall has been seen lately
	until  time.Time // stalls before it are of the same cause as the last one that counted
	round  int64     // bytes whose delivery without a stall takes something off starve
	smooth int64     // bytes delivered since the last stall or decay
}

// Pace is what a Window is made of.
type Pace struct {
	Rate      float64 // of the consumer, bytes a second; 0: not known
	Link      Estimate
	Run       int64 // bytes of one request
	Max       int64 // bytes
	Saturated bool  // more requests bring no more bytes
}

// Target is the window that just keeps up: the consumer's rate times the time a request takes nearly always, and one request more.
func (p Pace) Target() int64 {
	if p.Rate == 0 {
		return p.Max
	}
	t := p.Link.Late() + p.Link.Transfer(p.Run)
	return int64(min(p.Rate*t.Seconds(), float64(p.Max))) + p.Run
}

// Size returns the window for a reader that has read seen bytes in sequence by reads requests.
func (w *Window) Size(p Pace, seen int64, reads int) int64 {
	ramp := int64(rampNext)
	if reads < 2 {
		ramp = rampFirst
	}
	size := max(int64(float64(p.Target())*max(w.starve, 1)), minWindow)
	return min(size, p.Max, max(seen*ramp, minWindow))
}

// Stalled says that the consumer had to wait at now although all of the window was under way. It doubles, but for one round trip
// only once, since a wider window helps no sooner; and not when the link is saturated, where it would only make everybody wait
// longer. A window that is the largest already stays the target's, so that it follows the rate when that is known better.
func (w *Window) Stalled(p Pace, now time.Time) {
	w.smooth = 0
	if p.Saturated || now.Before(w.until) {
		return
	}
	w.until = now.Add(p.Link.Late() + p.Link.Transfer(p.Run))
	target := float64(max(p.Target(), 1))
	w.starve = max(min(2*max(w.starve, 1), float64(p.Max)/target), 1)
	w.round = int64(target * w.starve)
}

// Delivered says that n bytes came without a stall. Each window of them takes an eighth off what stalls have added.
func (w *Window) Delivered(n int64) {
	w.smooth += n
	if w.starve > 1 && w.smooth >= w.round {
		w.smooth = 0
		w.starve = w.starve * 7 / 8
	}
}

// Strides returns how many steps of len bytes each are to be fetched ahead of a reader that takes them at rate bytes a
// second.
func (p Pace) Strides(length int64) int {
	if length <= 0 {
		return 0
	}
	n := int64(maxStrides)
	if p.Rate > 0 {
		t := p.Link.Late() + p.Link.Transfer(length)
		n = int64(p.Rate*t.Seconds())/length + 1
	}
	return int(min(n, maxStrides, max(p.Max/length, 1)))
}

// maxStrides bounds how many strides are fetched ahead.
const maxStrides = 16

// stallFloor is the wait from which a read counts as stalled: less is the cache's own work.
const stallFloor = 2 * time.Millisecond
