package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Causes with which an attempt's context is cancelled by the policy itself.
var (
	errStalled = errors.New("the store stands still")
	errNoSlot  = errors.New("all connections to the store are busy")
)

// attempt is one request to the store: its slot, its context and its clock. end is called at least once;
// only the first call counts.
type attempt struct {
	s      *Store
	op     string
	parent context.Context
	ctx    context.Context // of the request; cancelled by parent, watch or end
	cancel context.CancelCauseFunc
	watch  *time.Timer // cancels ctx with errStalled unless stopped
	start  time.Time
	once   sync.Once
	slot   bool
	behind bool // it has one of the background's too
	// uploads: the time to the answer is mostly that of the caller's body.
	uploads bool
}

// begin waits for a slot and starts the clock.
func (s *Store) begin(ctx context.Context, c call) (*attempt, error) {
	if ctx.Err() != nil {
		return nil, cancelled(ctx, c.op)
	}
	behind := false
	if !c.unslotted {
		var err error
		if behind, err = s.acquireFor(ctx, c.op); err != nil {
			return nil, err
		}
	}
	a := &attempt{s: s, op: c.op, parent: ctx, start: time.Now(), slot: !c.unslotted, behind: behind, uploads: c.limit == 0}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	limit := c.limit
	if limit == 0 {
		limit = s.cfg.IdleTimeout
	}
	a.watch = time.AfterFunc(limit, func() { a.cancel(errStalled) })
	return a, nil
}

// acquireFor takes a slot, of a background call one of the background's before: then behind is true.
func (s *Store) acquireFor(ctx context.Context, op string) (behind bool, err error) {
	class := "demand"
	if wanted, ok := background(ctx); ok {
		if behind, err = s.acquire(ctx, op, s.behind, "background", wanted); err != nil {
			return false, err
		}
		if behind {
			class = "background"
		}
	}
	if _, err = s.acquire(ctx, op, s.slots, class, nil); err != nil {
		if behind {
			<-s.behind
		}
		return false, err
	}
	return behind, nil
}

// acquire takes one of the store's slots, unless wanted is closed first: then taken is false. Waiting longer than
// Timeout for one means that the store, or this process, is overloaded.
func (s *Store) acquire(ctx context.Context, op string, slots chan struct{}, class string, wanted <-chan struct{}) (taken bool, err error) {
	select {
	case slots <- struct{}{}:
		return true, nil
	default:
	}
	if m := s.cfg.Metrics; m != nil {
		m.UpstreamWaits.WithLabelValues(s.name, class).Inc()
	}
	t := time.NewTimer(s.cfg.Timeout)
	defer t.Stop()
	select {
	case slots <- struct{}{}:
		return true, nil
	case <-wanted:
		return false, nil
	case <-ctx.Done():
		return false, cancelled(ctx, op)
	case <-t.C:
		err := &Error{Code: Throttled, Op: op, Err: errNoSlot, Unsent: true}
		s.count(op, err)
		return false, err
	}
}

// answered stops the clock, counts the request and gives err its final form.
func (a *attempt) answered(err error) error {
	a.watch.Stop()
	err = a.settle(err)
	a.s.count(a.op, err)
	if m := a.s.cfg.Metrics; m != nil && !a.uploads {
		m.UpstreamFirstByte.WithLabelValues(a.s.name).Observe(time.Since(a.start).Seconds())
	}
	return err
}

// settle makes err an *Error that tells the caller's cancellation from the policy's own.
func (a *attempt) settle(err error) error {
	if err == nil {
		return nil
	}
	if a.parent.Err() != nil {
		return cancelled(a.parent, a.op)
	}
	if errors.Is(context.Cause(a.ctx), errStalled) {
		return &Error{Code: Unavailable, Op: a.op, Message: fmt.Sprintf("nothing for %v", time.Since(a.start).Round(time.Millisecond)), Err: errStalled}
	}
	if CodeOf(err) == Cancelled { // but nobody cancelled
		return &Error{Code: Unavailable, Op: a.op, Err: errors.New(err.Error())}
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if c, ok := err.(Code); ok {
		return &Error{Code: c, Op: a.op}
	}
	return &Error{Code: CodeOf(err), Op: a.op, Err: err}
}

// end frees the slot and cancels what is left of the request.
func (a *attempt) end(cause error) {
	a.once.Do(func() {
		a.watch.Stop()
		a.cancel(cause)
		if a.slot {
			<-a.s.slots
		}
		if a.behind {
			<-a.s.behind
		}
	})
}

func (s *Store) count(op string, err error) {
	if s.cfg.Metrics == nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = CodeOf(err).Label()
	}
	s.cfg.Metrics.UpstreamRequests.WithLabelValues(s.name, op, outcome).Inc()
}
