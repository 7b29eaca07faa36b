// Package fault wraps a Backend and makes it fail on purpose, as the faults of a faults.Set say.
//
// The Scope that it asks with has the upstream's name, the Backend method as Operation ("Open", "Put",
// ...), and bucket and key as the store sees them; a call that has no single key has an empty one.
// What the faults do:
//
//	upstream.latency      waits before the store is asked
//	upstream.error        answers with the Code of an HTTP status, without asking the store
//	upstream.reset        cuts a body after After bytes. A request whose body (if any) ended before that
//	                      is carried out, and its answer lost
//	upstream.truncate     ends a body after After bytes as if it were complete
//	upstream.corrupt      inverts the byte at offset After of a body
//	upstream.bandwidth    slows a body down to Rate, and all bodies of the upstream together to Total
//	upstream.etag-change  gives an object another ETag, from this Stat or Open until it is written again
//
// A body is that of a Stream, a Put or an UploadPart, and After counts from its first byte.
// Which body faults apply is decided when the call begins.
package fault

import (
	"context"
	"syscall"
	"time"

	"unistore/faults"
	"unistore/upstream"
)

// wrapper is the part of every wrapped Backend that does not depend on optional abilities.
type wrapper struct {
	inner    upstream.Backend
	name     string
	set      *faults.Set
	versions versions
	shared   sharedPacers
}

// Wrap returns b with faults of set injected for the upstream called name. The result has exactly the
// optional abilities of b.
func Wrap(b upstream.Backend, name string, set *faults.Set) upstream.Backend {
	w := &wrapper{inner: b, name: name, set: set}
	return compose(w, abilitiesOf(w))
}

// fire asks for a fault of this name at op on loc.
func (w *wrapper) fire(name, op string, loc upstream.Loc) (faults.Fault, bool) {
	return w.set.Fire(name, faults.Scope{Upstream: w.name, Operation: op, Bucket: loc.Bucket, Key: loc.Key})
}

// before injects what happens before the store is asked.
func (w *wrapper) before(ctx context.Context, op string, loc upstream.Loc) error {
	if f, ok := w.fire(faults.UpstreamLatency, op, loc); ok {
		if err := wait(ctx, f.Delay); err != nil {
			return &upstream.Error{Code: upstream.Cancelled, Op: op, Err: err}
		}
	}
	if f, ok := w.fire(faults.UpstreamError, op, loc); ok {
		return &upstream.Error{Code: codeOf(f.Status, op), Op: op, Message: "injected fault"}
	}
	return nil
}

// call runs one request without a body.
func (w *wrapper) call(ctx context.Context, op string, loc upstream.Loc, do func() error) error {
	if err := w.before(ctx, op, loc); err != nil {
		return err
	}
	_, lost := w.fire(faults.UpstreamReset, op, loc)
	err := do()
	if lost {
		return reset(op)
	}
	return err
}

// reset is what a driver returns for a connection that broke.
func reset(op string) error {
	return &upstream.Error{Code: upstream.Unavailable, Op: op, Message: "injected fault", Err: syscall.ECONNRESET}
}

// wait lets d pass, or returns ctx's error.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
