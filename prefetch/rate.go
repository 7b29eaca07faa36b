package prefetch

import "time"

const (
	// rateSpan is the least time over which a rate is measured: reads are too short for the clock.
	rateSpan = 20 * time.Millisecond
	// rateGain is the weight of a new measurement.
	rateGain = 0.25
	// rateIdle is the longest pause between two reads that is the consumer's work. A longer one begins the measurement anew.
	rateIdle = 10 * time.Second
	// leastActive is the part of a time span that counts as the consumer's own at least: overlapping waits
	// of several connections can not be told apart.
	leastActive = 1.0 / 50
)

// Rate is how fast one stream would consume if it never waited for us. The zero Rate knows nothing.
type Rate struct {
	since   time.Time
	bytes   int64
	blocked time.Duration
	value   float64
}

// Add takes in the end of a read at now: n bytes were delivered, and readers were blocked on us for blocked of it.
// at most readers read side by side.
func (r *Rate) Add(n int64, blocked time.Duration, readers int, now time.Time) {
	if r.since.IsZero() || now.Sub(r.since) > rateIdle {
		*r = Rate{since: now.Add(-blocked), value: r.value}
	}
	r.bytes += n
	r.blocked += blocked / time.Duration(max(readers, 1))
	span := now.Sub(r.since)
	if span < rateSpan {
		return
	}
	active := max(span-r.blocked, time.Duration(float64(span)*leastActive))
	v := float64(r.bytes) / active.Seconds()
	if r.value == 0 {
		r.value = v
	} else {
		r.value += rateGain * (v - r.value)
	}
	*r = Rate{since: now, value: r.value}
}

// Value returns bytes a second, or 0 while it is not known.
func (r *Rate) Value() float64 { return r.value }
