package fault

import (
	"context"
	"sync"
	"time"

	"unistore/faults"
)

// catchUp is how much lateness a pacer makes up for: timers fire late, and without it every late wake-up
// would lower the rate.
const catchUp = 10 * time.Millisecond

// step is the time that one read of a paced body may take: bodies flow evenly, in small pieces.
const step = 20 * time.Millisecond

// pacer lets rate bytes a second pass. It is safe for concurrent use.
type pacer struct {
	rate int64 // positive
	mu   struct {
		sync.Mutex
		free time.Time // when the bytes taken so far have passed
	}
}

// take returns when n more bytes have passed, or with ctx's error.
func (p *pacer) take(ctx context.Context, n int) error {
	now := time.Now()
	p.mu.Lock()
	if now.Sub(p.mu.free) > catchUp {
		p.mu.free = now
	}
	p.mu.free = p.mu.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	until := p.mu.free
	p.mu.Unlock()
	return wait(ctx, until.Sub(now))
}

// piece is the number of bytes to pass at once.
func (p *pacer) piece() int {
	return int(max(p.rate*int64(step)/int64(time.Second), 1))
}

// sharedPacers are those of faults with a Total, one for all bodies under a fault.
type sharedPacers struct {
	mu struct {
		sync.Mutex
		byFault map[faults.Fault]*pacer
	}
}

func (s *sharedPacers) of(f faults.Fault) *pacer {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.mu.byFault[f]
	if !ok {
		if s.mu.byFault == nil {
			s.mu.byFault = map[faults.Fault]*pacer{}
		}
		p = &pacer{rate: f.Total}
		s.mu.byFault[f] = p
	}
	return p
}
