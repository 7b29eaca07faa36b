package upstream

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/metrics"
)

// Defaults of StoreConfig.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultIdleTimeout    = 60 * time.Second
	DefaultRetries        = 2
	DefaultMaxConnections = 256
)

// slowFactor stretches Timeout for calls whose work grows with the object: Complete, Copy, and the answer
// to a Put after its last byte. S3 may take minutes for them.
const slowFactor = 10

// StoreConfig sets up a Store. Zero fields take the defaults.
type StoreConfig struct {
	Metrics *metrics.Metrics
	Log     zerolog.Logger
	// Timeout is how long the store may take to the first byte of an answer, and how long a call
	// may wait for one of the MaxConnections.
	Timeout time.Duration
	// IdleTimeout is how long a body may stand still because of the store. Time in which the caller does
	// not read, or does not deliver, does not count.
	IdleTimeout time.Duration
	// Retries is the number of extra attempts of one call; negative is none, 0 the default.
	Retries int
	// MaxConnections bounds the calls under way; an open Stream is one until it is closed.
	MaxConnections int
	// OpaqueETags: the store's ETags look like MD5 sums and are none.
	OpaqueETags bool
}

func (c StoreConfig) withDefaults() StoreConfig {
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.Retries == 0 {
		c.Retries = DefaultRetries
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	return c
}

// Store is one configured upstream: a Backend and the policy around it. Its methods have the
// contracts of Backend, Bucketer, Multiparter, Copier and BatchDeleter, and beyond them:
//
//   - every error is an *Error; Cancelled means that the caller's ctx ended, and only that;
//   - calls that can be repeated without harm are, a bounded number of times;
//   - an answer that does not fit the question is an error: a Stream whose range or version is not the
//     one asked for, a body of another length, a checksum or MD5 that is not that of the bytes sent;
//   - abilities the Backend lacks are replaced (copies, batch deletes) or are Unsupported.
//
// A Store is safe for concurrent use.
type Store struct {
	name    string
	backend Backend
	cfg     StoreConfig
	policy  retryPolicy
	budget  *retryBudget
	slots   chan struct{} // one element a call under way
	behind  chan struct{} // one element a background call under way, or waiting for a slot
	trust   trust

	// Optional abilities of backend, nil when it lacks them.
	bucketer    Bucketer
	multiparter Multiparter
	copier      Copier
	batcher     BatchDeleter

	in, out prometheus.Counter // body bytes; never nil

	// Replaced by tests.
	jitter func() float64
	sleep  func(context.Context, time.Duration) error
}

// NewStore puts the policy around b, which the Store owns from then on. name labels metrics.
func NewStore(name string, b Backend, cfg StoreConfig) *Store {
	cfg = cfg.withDefaults()
	s := &Store{
		name:    name,
		backend: b,
		cfg:     cfg,
		policy:  retryPolicy{extra: max(cfg.Retries, 0), base: retryBase, ceiling: retryCeiling},
		budget:  newRetryBudget(),
		slots:   make(chan struct{}, cfg.MaxConnections),
		behind:  make(chan struct{}, backgroundSlots(cfg.MaxConnections)),
		jitter:  rand.Float64,
		sleep:   sleep,
		in:      bodyBytes(cfg.Metrics, name, "in"),
		out:     bodyBytes(cfg.Metrics, name, "out"),
	}
	s.trust.opaqueETags = cfg.OpaqueETags
	s.trust.driver, _ = b.(BodyVerifier)
	s.bucketer, _ = b.(Bucketer)
	s.multiparter, _ = b.(Multiparter)
	s.copier, _ = b.(Copier)
	s.batcher, _ = b.(BatchDeleter)
	return s
}

func bodyBytes(m *metrics.Metrics, name, direction string) prometheus.Counter {
	if m == nil {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "unregistered"})
	}
	return m.UpstreamBytes.WithLabelValues(name, direction)
}

// Name is the upstream's name in the configuration.
func (s *Store) Name() string { return s.name }

// Limits are facts about the store.
func (s *Store) Limits() Limits { return s.backend.Limits() }

// Close frees what the Backend holds. No method is called during or after it, and every Stream
// has been closed.
func (s *Store) Close() error { return s.backend.Close() }

// call describes one operation to the policy.
type call struct {
	op    string // the Backend method: Error.Op and the metric label
	class retryClass
	// limit is how long the answer may take; 0 leaves it to whoever moves the body.
	limit time.Duration
	// holds: a success keeps its attempt, to be ended by whoever got the Stream.
	holds bool
	// unslotted: the call runs under the slot of another one that waits for it.
	unslotted bool
	// consumed, when not nil, reports whether the request's body has been touched.
	consumed func() bool
}

func (s *Store) read(op string) call { return call{op: op, limit: s.cfg.Timeout} }

func (s *Store) once(op string) call {
	return call{op: op, class: retryUnacted, limit: s.cfg.Timeout}
}

func (s *Store) slow(op string) call {
	return call{op: op, class: retryUnacted, limit: slowFactor * s.cfg.Timeout}
}

// do runs fn until it succeeds or the policy gives up.
func do[T any](ctx context.Context, s *Store, c call, fn func(*attempt) (T, error)) (T, error) {
	for tries := 1; ; tries++ {
		v, err := try(ctx, s, c, fn)
		if err == nil {
			s.budget.earn()
			return v, nil
		}
		f := failureOf(err)
		f.consumed = c.consumed != nil && c.consumed()
		wait, again := s.policy.next(c.class, tries, f, s.jitter())
		if !again || errors.Is(err, errNoSlot) || !s.budget.spend() {
			return v, err
		}
		s.cfg.Log.Debug().Str("upstream", s.name).Str("operation", c.op).Int("try", tries).
			Str("code", f.code.Label()).Dur("wait", wait).Msg("repeating an upstream request")
		if s.sleep(ctx, wait) != nil {
			return v, cancelled(ctx, c.op)
		}
		if m := s.cfg.Metrics; m != nil {
			m.UpstreamRetries.WithLabelValues(s.name, c.op).Inc()
		}
	}
}

func try[T any](ctx context.Context, s *Store, c call, fn func(*attempt) (T, error)) (T, error) {
	var none T
	a, err := s.begin(ctx, c)
	if err != nil {
		return none, err
	}
	v, err := fn(a)
	if err = a.answered(err); err != nil {
		a.end(nil)
		return none, err
	}
	if !c.holds {
		a.end(nil)
	}
	return v, nil
}

func failureOf(err error) failure {
	f := failure{code: CodeOf(err)}
	if e, ok := errors.AsType[*Error](err); ok {
		f.unsent, f.retryAfter = e.Unsent, e.RetryAfter
	}
	return f
}

// sleep waits for d or for ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func cancelled(ctx context.Context, op string) error {
	return &Error{Code: Cancelled, Op: op, Err: ctx.Err()}
}

func unsupported(op string) error { return &Error{Code: Unsupported, Op: op} }
