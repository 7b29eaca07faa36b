package prefetch

import "time"

// The governor's times and steps.
const (
	epochSpan  = 400 * time.Millisecond // the least time between two comparisons
	freezeSpan = 10 * time.Second       // for which a limit that was found stays before the next probe
	pauseSpan  = time.Second            // without speculation after a 503
	politeSpan = 250 * time.Millisecond // after a demand fill, in which others' work stays small
)

const (
	// grownBy and gainedBy: bytes in flight that grew by more than the first while throughput did not grow by the second have
	// found the link's limit.
	grownBy  = 1.25
	gainedBy = 1.05
	// probeBy widens a limit that is old.
	probeBy = 1.5
	// lostBy: a limit that brings less than so much of what it brought when the store answered faster is none.
	lostBy = 0.9
	// politeJobs is how many requests that nobody waits for may be under way on a link while somebody waits for it.
	politeJobs = 4
	// governedFloor is what a link may always have in flight: bytes.
	governedFloor = 4 << 20
	// startJobs is the limit of requests to go on with after the first 503, when fewer are under way.
	startJobs = 1
)

// governor keeps prefetch from overrunning one link. A slow link gets more in flight, for it is latency that has to be
// covered; a saturated one must not, for there more in flight is only more waiting. The two are told apart by
// throughput: each epoch is compared with the one before, and growth that brought nothing is taken back.
type governor struct {
	limit    float64 // bytes in flight at most; 0: none was found
	frozen   time.Time
	brought  float64 // bytes a second that came with so many in flight
	waited   float64 // seconds until the first byte came then
	jobs     float64 // requests at most; 0: no 503 was seen
	paused   time.Time
	demand   int // fills that readers wait for
	demanded time.Time

	// The current epoch, and what the last one that counted was like.
	begun     time.Time
	arrived   int64   // all bytes that had come when it began
	area      float64 // bytes in flight times seconds
	moved     time.Time
	inflight  int64 // bytes of the jobs under way
	refRate   float64
	refFlight float64
	doubts    int  // epochs in a row that grew and gained nothing
	reached   bool // the limit was in the way in this epoch
}

// move notes that inflight changes by n at now. arrived is all the bytes that have ever come over the link.
func (g *governor) move(n, arrived int64, now time.Time) {
	if !g.moved.IsZero() {
		g.area += float64(g.inflight) * now.Sub(g.moved).Seconds()
	}
	if g.inflight == 0 && now.Sub(g.moved) >= epochSpan { // an idle link says nothing: the epoch begins here
		g.begun, g.area, g.arrived = now, 0, arrived
	}
	g.moved = now
	g.inflight += n
}

// observe closes the epoch when it is long enough: requests of run bytes take e.
func (g *governor) observe(arrived int64, e Estimate, run int64, now time.Time) {
	if g.inflight == 0 {
		return
	}
	g.move(0, arrived, now)
	span := now.Sub(g.begun)
	if g.begun.IsZero() || span < max(epochSpan, 2*e.Late()) {
		return
	}
	rate, flight := float64(arrived-g.arrived)/span.Seconds(), g.area/span.Seconds()
	g.begun, g.arrived, g.area = now, arrived, 0
	g.compare(rate, flight, 3*rate*e.Late().Seconds()+(rate/e.Fast+4)*float64(run), e.FirstByte.Seconds(), now)
}

// compare decides what an epoch means in which flight bytes were in flight on average and rate bytes a second came. With least
// in flight the link is never idle. first is how many seconds the first byte of an answer takes.
func (g *governor) compare(rate, flight, least, first float64, now time.Time) {
	grew := flight > g.refFlight*grownBy
	switch {
	case g.refRate == 0, flight < g.refFlight/grownBy:
		g.refRate, g.refFlight, g.doubts = rate, flight, 0
	case grew && rate >= g.refRate*gainedBy:
		g.refRate, g.refFlight, g.doubts = rate, flight, 0
	case grew:
		// What is in flight since a moment ago could not have come yet: one such epoch proves nothing.
		if g.doubts++; g.doubts < 2 {
			break
		}
		g.doubts = 0
		if g.limit == 0 {
			g.refFlight = least // the ramp may have been steep, or its beginning lucky
		}
		g.limit = max(g.refFlight, governedFloor)
		g.refFlight = g.limit
		g.frozen, g.brought, g.waited = now.Add(freezeSpan), rate, first
	default:
		g.doubts = 0
		g.refRate += (rate - g.refRate) / 4
	}
	if g.reached && rate < g.brought*lostBy && first > g.waited*grownBy {
		g.limit, g.refRate, g.refFlight, g.doubts = 0, rate, flight, 0
	}
	if g.limit > 0 && g.reached && g.doubts == 0 && !now.Before(g.frozen) {
		g.limit *= probeBy // perhaps there is room by now; the next epochs will tell
	}
	g.reached = false
}

// saturated reports whether a limit was found and is being kept.
func (g *governor) saturated(now time.Time) bool { return g.limit > 0 && now.Before(g.frozen) }

// throttled takes in a 503 for a request while jobs were under way.
func (g *governor) throttled(jobs int, now time.Time) {
	if g.jobs == 0 || g.jobs > float64(jobs) {
		g.jobs = float64(jobs)
	}
	if !now.Before(g.paused) { // one halving for one storm of answers
		g.jobs = max(g.jobs/2, startJobs)
	}
	g.paused = now.Add(pauseSpan)
}

// succeeded takes in an answer: one more request for every jobs answers.
func (g *governor) succeeded(ceiling int) {
	if g.jobs == 0 {
		return
	}
	if g.jobs += 1 / g.jobs; g.jobs >= float64(ceiling) {
		g.jobs = 0
	}
}

// allows reports whether a request of class for n bytes may start at now, with jobs under way on the link.
func (g *governor) allows(class Class, n int64, jobs int, now time.Time) bool {
	if now.Before(g.paused) && class >= ClassHinted {
		return false
	}
	if g.jobs > 0 && float64(jobs+1) > g.jobs && jobs > 0 {
		return false
	}
	if g.limit > 0 && jobs > 0 && float64(g.inflight+n) > g.limit {
		g.reached = true
		return false
	}
	return class == ClassSequential || !g.busy(now) || jobs < politeJobs
}

// busy reports whether somebody waits for the link, or just did.
func (g *governor) busy(now time.Time) bool { return g.demand > 0 || now.Sub(g.demanded) < politeSpan }
