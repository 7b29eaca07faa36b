package prefetch

import (
	"slices"
	"time"
)

// The sliding window of a link's estimates.
const (
	sampleAge  = 10 * time.Second // older samples do not count, except the last minSamples
	maxSamples = 128
	minSamples = 8
)

// bandwidthFloor is the least transfer that tells a bandwidth (bytes): below it, the start of a connection's
// life is most of what is measured.
const bandwidthFloor = 1 << 20

// What is assumed of a link until it was measured.
const (
	assumedFirstByte = 100 * time.Millisecond
	assumedBandwidth = 64e6 // bytes a second of one connection: 50 to 90 MB/s are usual for S3
)

// Link is what is known of one link. The zero Link knows nothing. Not safe for concurrent use.
type Link struct {
	firstByte samples // seconds
	bandwidth samples // bytes a second

	last      Estimate // as of lastAt, when there were lastAdded samples
	lastAt    time.Time
	lastAdded int
}

// The estimate is asked for with every read, and costs a sort: it is good for estimateAge, once there are so many samples that
// another one hardly matters.
const (
	estimateAge  = 20 * time.Millisecond
	estimateFull = 64
)

// Estimate is a moment's view of a Link.
type Estimate struct {
	FirstByte time.Duration // mean time to the first byte
	Deviation time.Duration // mean distance from it
	P50, P95  time.Duration
	P99       time.Duration
	Bandwidth float64 // bytes a second of one connection: of four transfers, three are faster
	Fast      float64 // the same of the fastest in twenty: what a connection can do
}

// Late is a time within which a first byte comes nearly always: the mean and four deviations. In-order readers wait for the
// slowest of several requests, so that the mean is far too little.
func (e Estimate) Late() time.Duration { return e.FirstByte + 4*e.Deviation }

// Transfer is the time that n bytes take on one connection.
func (e Estimate) Transfer(n int64) time.Duration {
	return time.Duration(float64(n) / e.Bandwidth * float64(time.Second))
}

// FirstByte adds the time to the first byte of one answer.
func (l *Link) FirstByte(d time.Duration, now time.Time) {
	if d >= 0 {
		l.firstByte.add(d.Seconds(), now)
	}
}

// Body adds the transfer of a body of n bytes that took d from its first byte, without the time in which nobody read.
func (l *Link) Body(n int64, d time.Duration, now time.Time) {
	if n >= bandwidthFloor && d > 0 {
		l.bandwidth.add(float64(n)/d.Seconds(), now)
	}
}

// Estimate returns what the window says at now.
func (l *Link) Estimate(now time.Time) Estimate {
	added := l.firstByte.added + l.bandwidth.added
	if age := now.Sub(l.lastAt); age >= 0 && age < estimateAge && (added == l.lastAdded || added > estimateFull) {
		return l.last
	}
	l.last, l.lastAt, l.lastAdded = l.estimate(now), now, added
	return l.last
}

func (l *Link) estimate(now time.Time) Estimate {
	e := Estimate{FirstByte: assumedFirstByte, P50: assumedFirstByte, P95: assumedFirstByte, P99: assumedFirstByte, Bandwidth: assumedBandwidth, Fast: assumedBandwidth}
	if v := l.firstByte.within(now); len(v) > 0 {
		mean := mean(v)
		e.FirstByte = seconds(mean)
		dev := 0.0
		for _, x := range v {
			dev += max(x-mean, mean-x)
		}
		e.Deviation = seconds(dev / float64(len(v)))
		slices.Sort(v)
		e.P50, e.P95, e.P99 = seconds(rank(v, .50)), seconds(rank(v, .95)), seconds(rank(v, .99))
	}
	if v := l.bandwidth.within(now); len(v) > 0 {
		slices.Sort(v)
		e.Bandwidth, e.Fast = rank(v, .25), rank(v, .95)
	}
	return e
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// rank returns the value at share p of the sorted v, which is not empty (nearest rank).
func rank(v []float64, p float64) float64 {
	i := int(p*float64(len(v))+0.999999) - 1
	return v[min(max(i, 0), len(v)-1)]
}

// samples are the last measurements of one kind, oldest first.
type samples struct {
	list  []sample
	added int // in all
}

type sample struct {
	value float64
	at    time.Time
}

func (s *samples) add(v float64, now time.Time) {
	s.added++
	if len(s.list) == maxSamples {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, sample{v, now})
}

// within returns the values that count at now, in a slice of their own.
func (s *samples) within(now time.Time) []float64 {
	v := make([]float64, 0, len(s.list))
	for i, x := range s.list {
		if len(s.list)-i <= minSamples || now.Sub(x.at) <= sampleAge {
			v = append(v, x.value)
		}
	}
	return v
}
