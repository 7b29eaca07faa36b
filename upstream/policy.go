package upstream

import (
	"sync"
	"time"
)

// retryClass says which repeats of a call can do no harm.
type retryClass uint8

const (
	// retrySafe calls are idempotent: any transient failure may be followed by a repeat.
	retrySafe retryClass = iota
	// retryUnacted calls are not: they are repeated only when the store surely did not act on the
	// first one, because it never reached the store or was refused for load.
	retryUnacted
)

// failure is what the policy needs to know of a failed attempt.
type failure struct {
	code       Code
	unsent     bool          // Error.Unsent
	consumed   bool          // bytes of the request's body are gone
	retryAfter time.Duration // Error.RetryAfter
}

// retryPolicy decides what follows a failed attempt. It is a value without state; the budget that
// bounds all retries of a store together is beside it.
type retryPolicy struct {
	extra int // attempts after the first
	// base and ceiling bound the wait before attempt n to [0, min(ceiling, base*2^n)): full jitter,
	// so that clients that failed together do not come back together.
	base, ceiling time.Duration
}

// The waits sit on the path of a reader that has its own timeout of seconds and retries too, so
// they are short: two retries end within twice the ceiling.
const (
	retryBase    = 50 * time.Millisecond
	retryCeiling = 2 * time.Second
	// throttledFactor stretches the base after Throttled: the store asked for less.
	throttledFactor = 4
)

// next returns how long to wait before another attempt, and whether to make one, after tries
// attempts (at least 1) of which the last ended in f. jitter is uniform in [0, 1).
func (p retryPolicy) next(class retryClass, tries int, f failure, jitter float64) (wait time.Duration, again bool) {
	if tries > p.extra || f.consumed || !p.harmless(class, f) {
		return 0, false
	}
	base := p.base
	if f.code == Throttled {
		base *= throttledFactor
	}
	if f.retryAfter > p.ceiling {
		return 0, false // the caller is told sooner than the store would serve us
	}
	bound := p.ceiling
	if shift := tries - 1; shift < 16 {
		bound = min(bound, base<<shift)
	}
	return f.retryAfter + time.Duration(jitter*float64(bound)), true
}

func (p retryPolicy) harmless(class retryClass, f failure) bool {
	switch f.code {
	case Throttled:
		return true
	case Unavailable:
		return class == retrySafe || f.unsent
	case Corrupted, BadDigest: // of a part in memory: sent again, it replaces the bad one
		return class == retrySafe
	default:
		return false
	}
}

// A store's budget holds at most budgetMax retries; each success earns budgetEarned of one. A dead
// store so gets budgetMax extra requests, and one with every tenth request failing all it needs.
const (
	budgetMax    = 20
	budgetEarned = 0.2
)

// retryBudget bounds the retries of one store by its successes.
type retryBudget struct {
	mu struct {
		sync.Mutex
		tokens float64
	}
}

func newRetryBudget() *retryBudget {
	b := &retryBudget{}
	b.mu.tokens = budgetMax
	return b
}

// spend takes one retry; false means that there is none left.
func (b *retryBudget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.tokens < 1 {
		return false
	}
	b.mu.tokens--
	return true
}

// earn is called for every success.
func (b *retryBudget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.tokens = min(b.mu.tokens+budgetEarned, budgetMax)
}
