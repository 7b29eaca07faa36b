package upstream

import (
	"testing"
	"time"
)

func TestRetryPolicy(t *testing.T) {
	p := retryPolicy{extra: 2, base: 100 * time.Millisecond, ceiling: time.Second}
	tests := []struct {
		name   string
		class  retryClass
		tries  int
		f      failure
		jitter float64
		wait   time.Duration
		again  bool
	}{
		{name: "first failure of a safe call", tries: 1, f: failure{code: Unavailable}, jitter: .5, wait: 50 * time.Millisecond, again: true},
		{name: "second waits up to twice as long", tries: 2, f: failure{code: Unavailable}, jitter: .5, wait: 100 * time.Millisecond, again: true},
		{name: "jitter reaches down to zero", tries: 2, f: failure{code: Unavailable}, again: true},
		{name: "third is the end", tries: 3, f: failure{code: Unavailable}},
		{name: "throttled waits longer", tries: 1, f: failure{code: Throttled}, jitter: .5, wait: 200 * time.Millisecond, again: true},
		{name: "the store's own delay comes first", tries: 1, f: failure{code: Throttled, retryAfter: time.Second}, jitter: .5, wait: 1200 * time.Millisecond, again: true},
		{name: "too long a delay is the caller's to wait", tries: 1, f: failure{code: Throttled, retryAfter: 2 * time.Second}},
		{name: "unacted: the store may have acted", class: retryUnacted, tries: 1, f: failure{code: Unavailable}},
		{name: "unacted: nothing was sent", class: retryUnacted, tries: 1, f: failure{code: Unavailable, unsent: true}, again: true},
		{name: "unacted: refused for load", class: retryUnacted, tries: 1, f: failure{code: Throttled}, again: true},
		{name: "a consumed body cannot be sent again", class: retryUnacted, tries: 1, f: failure{code: Throttled, consumed: true}},
		{name: "a consumed body, unsent", class: retrySafe, tries: 1, f: failure{code: Unavailable, unsent: true, consumed: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wait, again := p.next(tt.class, tt.tries, tt.f, tt.jitter)
			if wait != tt.wait || again != tt.again {
				t.Errorf("next = %v, %v; want %v, %v", wait, again, tt.wait, tt.again)
			}
		})
	}
}

func TestRetryPolicyOnlyTransientCodes(t *testing.T) {
	p := retryPolicy{extra: 2, base: time.Millisecond, ceiling: time.Second}
	for _, c := range Codes() {
		_, again := p.next(retrySafe, 1, failure{code: c, unsent: true}, 0)
		if want := c == Unavailable || c == Throttled || c == Corrupted || c == BadDigest; again != want {
			t.Errorf("%v: again = %v, want %v", c, again, want)
		}
	}
	for _, c := range []Code{Corrupted, BadDigest} {
		if _, again := p.next(retryUnacted, 1, failure{code: c}, 0); again {
			t.Errorf("%v: a call that acts is repeated", c)
		}
	}
}

func TestRetryPolicyCeiling(t *testing.T) {
	p := retryPolicy{extra: 100, base: time.Second, ceiling: 3 * time.Second}
	for tries := 1; tries <= 100; tries++ {
		if wait, _ := p.next(retrySafe, tries, failure{code: Unavailable}, .999); wait > p.ceiling {
			t.Fatalf("try %d waits %v", tries, wait)
		}
	}
}

func TestRetryBudget(t *testing.T) {
	b := newRetryBudget()
	spent := 0
	for b.spend() {
		spent++
	}
	if spent != budgetMax {
		t.Errorf("a dead store gets %d retries, want %d", spent, budgetMax)
	}
	for range 5 { // budgetEarned each
		b.earn()
	}
	if !b.spend() || b.spend() {
		t.Error("five successes earn exactly one retry")
	}
	for range 1000 {
		b.earn()
	}
	for spent = 0; b.spend(); spent++ {
	}
	if spent != budgetMax {
		t.Errorf("the budget grows to %d, want at most %d", spent, budgetMax)
	}
}
