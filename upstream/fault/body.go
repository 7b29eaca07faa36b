package fault

import (
	"context"
	"io"

	"unistore/faults"
	"unistore/upstream"
)

// bodyFaults are the faults of one body. The zero value has none.
type bodyFaults struct {
	op      string
	pacers  []*pacer
	reset   cut
	short   cut
	corrupt cut
}

// cut is an offset in a body, if on.
type cut struct {
	on bool
	at int64
}

func (w *wrapper) bodyFaults(op string, loc upstream.Loc) bodyFaults {
	f := bodyFaults{op: op}
	if b, ok := w.fire(faults.UpstreamBandwidth, op, loc); ok {
		if b.Rate > 0 {
			f.pacers = append(f.pacers, &pacer{rate: b.Rate})
		}
		if b.Total > 0 {
			f.pacers = append(f.pacers, w.shared.of(b))
		}
	}
	f.reset = w.cut(faults.UpstreamReset, op, loc)
	f.short = w.cut(faults.UpstreamTruncate, op, loc)
	f.corrupt = w.cut(faults.UpstreamCorrupt, op, loc)
	return f
}

func (w *wrapper) cut(name, op string, loc upstream.Loc) cut {
	f, ok := w.fire(name, op, loc)
	return cut{ok, f.After}
}

func (f *bodyFaults) none() bool {
	return len(f.pacers) == 0 && !f.reset.on && !f.short.on && !f.corrupt.on
}

// body is a body with faults. One goroutine reads.
type body struct {
	faults bodyFaults
	ctx    context.Context // of the request: a Read has none of its own
	src    io.Reader
	at     int64 // bytes delivered
}

func (b *body) Read(p []byte) (int, error) {
	p, err := b.clip(p)
	if err != nil {
		return 0, err
	}
	n, err := b.src.Read(p)
	if c := b.faults.corrupt; c.on && c.at >= b.at && c.at < b.at+int64(n) {
		p[c.at-b.at] ^= 0xff
	}
	b.at += int64(n)
	for _, pc := range b.faults.pacers {
		if n == 0 {
			break
		}
		if werr := pc.take(b.ctx, n); werr != nil {
			return 0, &upstream.Error{Code: upstream.Cancelled, Op: b.faults.op, Err: werr}
		}
	}
	return n, err
}

// clip shortens p to what may pass before the next cut, or says how the body ends here.
func (b *body) clip(p []byte) ([]byte, error) {
	n := len(p)
	for _, pc := range b.faults.pacers {
		n = min(n, pc.piece())
	}
	for _, c := range []struct {
		cut
		err error
	}{{b.faults.reset, reset(b.faults.op)}, {b.faults.short, io.EOF}} {
		if !c.on {
			continue
		}
		if b.at >= c.at && len(p) > 0 {
			return nil, c.err
		}
		n = int(min(int64(n), c.at-b.at))
	}
	return p[:n], nil
}

// stream is the Body of a Stream with faults. Close releases a Read that waits for bandwidth.
type stream struct {
	body
	cancel context.CancelFunc
	closer io.Closer
}

func newStream(ctx context.Context, f bodyFaults, src io.ReadCloser) *stream {
	ctx, cancel := context.WithCancel(ctx)
	return &stream{body: body{faults: f, ctx: ctx, src: src}, cancel: cancel, closer: src}
}

func (s *stream) Close() error {
	s.cancel()
	return s.closer.Close()
}
