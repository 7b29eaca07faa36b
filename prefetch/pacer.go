package prefetch

import "time"

// The pacer's times and steps.
const (
	paceSlot   = 100 * time.Millisecond // the least time over which arrivals tell a rate
	paceSpan   = 10 * time.Second       // for which the best of what was seen counts at least, and twice that at most
	paceCredit = 50 * time.Millisecond  // what was not asked for in the last so much time may be asked for at once; not on a crowded link
	paceGain   = 1.1                    // over what came in the best slot, on a link that is crowded
	paceProbe  = 2                      // the same on one that is not, or is not known to be
	// paceLeast: on such a link it is what so many connections bring, at least; and what fewer requests bring says nothing of the
	// link, for it may be all that was wanted.
	paceLeast = 8
	// crowdedBy: transfers that are so many times slower than one can be share a link that brings no more.
	crowdedBy = 2
)

// pacer spreads the requests ahead of readers over time. Requests that begin together share what the link brings and end
// together: the reader waits for the first nearly as long as for the last, then passes all of them at once and wants as many
// again, while nothing comes. When they begin no faster than the link brings bytes, they end one after the other, in order.
type pacer struct {
	since  time.Time // when the slot began
	from   int64     // all the bytes that had come then
	turned time.Time // when the span began
	peak   best      // bytes a second of slots
	fast   best      // bytes a second of one connection
	next   time.Time // when the next request may begin
}

// best is the greatest value of this span and the one before.
type best struct{ this, last float64 }

func (b *best) value() float64 { return max(b.this, b.last) }

// measure takes in that all the bytes that have ever come are total at now, with running requests under way that are like e.
func (p *pacer) measure(total int64, running int, e Estimate, now time.Time) {
	span := now.Sub(p.since)
	if !p.since.IsZero() && span < paceSlot {
		return
	}
	came := total - p.from
	if !p.since.IsZero() && came > 0 && running >= paceLeast {
		p.peak.this = max(p.peak.this, float64(came)/span.Seconds())
		p.fast.this = max(p.fast.this, e.Fast)
		if now.Sub(p.turned) >= paceSpan {
			p.turned, p.peak, p.fast = now, best{last: p.peak.this}, best{last: p.fast.this}
		}
	}
	p.since, p.from = now, total
}

// rate is how many bytes a second may be asked for, and whether that is what the link can bring.
func (p *pacer) rate(e Estimate) (rate float64, crowded bool) {
	peak, fast := p.peak.value(), max(p.fast.value(), e.Fast)
	if peak > 0 && e.Bandwidth*crowdedBy < fast {
		return peak * paceGain, true
	}
	return max(peak*paceProbe, fast*paceLeast), false
}

// ready reports whether a request may begin at now.
func (p *pacer) ready(now time.Time) bool { return !now.Before(p.next) }

// started takes in that one for n bytes begins.
func (p *pacer) started(n int64, e Estimate, now time.Time) {
	rate, crowded := p.rate(e)
	credit := paceCredit
	if crowded {
		credit = tick
	}
	if least := now.Add(-credit); p.next.Before(least) {
		p.next = least
	}
	p.next = p.next.Add(seconds(float64(n) / rate))
}
