package prefetch

import (
	"io"
	"time"
)

// Transfer measures one request to an upstream, for the estimates of its link. A nil Transfer measures nothing.
type Transfer struct {
	p      *Prefetcher
	l      *linkState
	demand bool
	start  time.Time
}

// Begin begins a request to a bucket of an upstream. demand says that a reader waits for it. Answered ends it, or the body
// that it returns.
func (p *Prefetcher) Begin(upstream, bucket string, demand bool) *Transfer {
	if p == nil {
		return nil
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.mu.sched.linkOf(linkKey{upstream, bucket})
	if demand {
		l.demand++
	}
	return &Transfer{p: p, l: l, demand: demand, start: now}
}

// Answered takes in the answer's headers. Without a body the transfer is over and nil is returned; else the
// body to read instead of it.
func (t *Transfer) Answered(body io.ReadCloser, err error) io.ReadCloser {
	if t == nil {
		return body
	}
	now := t.p.cfg.Now()
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	if err == nil && body != nil {
		t.l.FirstByte(now.Sub(t.start), now)
		return &measuredBody{ReadCloser: body, t: t}
	}
	t.endLocked(now)
	return body
}

func (t *Transfer) endLocked(now time.Time) {
	if t.demand {
		t.l.demand--
		t.l.demanded = now
	}
}

// measuredBody is a body whose bandwidth is measured: the time in its Reads only.
type measuredBody struct {
	io.ReadCloser
	t    *Transfer
	n    int64
	took time.Duration
	shut bool
}

// Read implements io.Reader.
func (b *measuredBody) Read(p []byte) (int, error) {
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.took += time.Since(start)
	b.n += int64(n)
	b.t.l.arrived.Add(int64(n))
	if err == io.EOF {
		now := b.t.p.cfg.Now()
		b.t.p.mu.Lock()
		b.t.l.Body(b.n, b.took, now)
		b.t.p.mu.Unlock()
	}
	return n, err
}

// Close implements io.Closer. It may be called while a Read is under way.
func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	b.t.p.mu.Lock()
	defer b.t.p.mu.Unlock()
	if !b.shut {
		b.shut = true
		b.t.endLocked(b.t.p.cfg.Now())
	}
	return err
}
