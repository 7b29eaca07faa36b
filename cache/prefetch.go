package cache

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/byterange"
	"unistore/object"
)

// Cause says why bytes are fetched from an upstream; it labels metrics.
type Cause string

// The causes. All but the first are ahead of a reader.
const (
	CauseDemand     Cause = "demand"
	CauseSequential Cause = "sequential"
	CauseStrided    Cause = "strided"
	CauseColumnar   Cause = "columnar"
	CauseHint       Cause = "hint"
	CauseRegistered Cause = "registered"
)

var causes = [...]Cause{CauseDemand, CauseSequential, CauseStrided, CauseColumnar, CauseHint, CauseRegistered}

// ErrNotKept says that the cache keeps nothing of the version now, so that there is no use in fetching it ahead.
var ErrNotKept = errors.New("the cache can not keep it")

// PrefetchRequest asks for bytes of one version to be there before they are read.
type PrefetchRequest struct {
	Key   Key
	Attrs object.Attrs    // the version: Size and ETag
	Range byterange.Range // not empty, inside the object
	Fetch FetchFunc
	Cause Cause       // not CauseDemand
	Pin   *PinRequest // as in ReadRequest
}

// PrefetchResult says what became of a PrefetchRequest, whole or not.
type PrefetchResult struct {
	Fetched int64 // bytes that it has brought into the cache
	Pin     PinResult
}

// Prefetch brings what is missing of a range and is not on its way into the cache, run after run, and returns
// when that is there. Its fills are like those of readers: a reader joins them, and they end with ctx unless one has. With
// a pin it also waits for what others bring. It never makes a reader wait: no room is ErrNotKept.
func (c *Cache) Prefetch(ctx context.Context, req PrefetchRequest) (PrefetchResult, error) {
	var res PrefetchResult
	r := &Reader{
		c: c, cause: req.Cause,
		req: ReadRequest{Key: req.Key, Attrs: req.Attrs, Range: req.Range, Fetch: req.Fetch, Pin: req.Pin},
		pos: req.Range.Off, end: req.Range.End(), endPage: pagesUpTo(req.Range.End()),
	}
	if err := r.begin(ctx); err != nil {
		return res, err
	}
	defer r.shut()
	if r.req.NoStore || c.guard.bypassed() {
		return res, ErrNotKept
	}
	if req.Pin != nil {
		res.Pin = r.pin()
	}
	var err error
	if res.Fetched, err = r.bring(); err == nil && req.Pin != nil {
		err = r.awaitOthers()
	}
	if errors.Is(err, errAround) {
		err = fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return res, err
}

// Fetched is Prefetch, and returns the bytes of the range, which is short enough for memory. It counts as no read.
func (c *Cache) Fetched(ctx context.Context, req PrefetchRequest) ([]byte, error) {
	if _, err := c.Prefetch(ctx, req); err != nil {
		return nil, err
	}
	r, err := c.Read(ctx, ReadRequest{Key: req.Key, Attrs: req.Attrs, Range: req.Range, Fetch: req.Fetch, uncounted: true})
	if err != nil {
		return nil, err
	}
	defer r.shut()
	data := make([]byte, req.Range.Len)
	_, err = io.ReadFull(r, data)
	return data, err
}

// bring fetches the missing runs of r one after the other and returns the bytes that came.
func (r *Reader) bring() (fetched int64, err error) {
	c := r.c
	for page := pageOf(r.pos); page < r.endPage; {
		c.mu.Lock()
		for page < r.endPage && c.extentLocked(r.v, page, page+1) == page {
			page++
		}
		c.mu.Unlock()
		if page == r.endPage {
			break
		}
		err := r.start(page, min(r.endPage, page+c.runPages))
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return fetched, err
		}
		n, end, err := r.ended(r.subs[len(r.subs)-1])
		fetched += n
		if err != nil {
			return fetched, err
		}
		page = end
	}
	return fetched, nil
}

// ended waits for the end of a fill that r has started, leaves it, and returns what it has brought and the page after its last.
func (r *Reader) ended(f *fill) (brought, end int64, err error) {
	select {
	case <-f.ended:
	case <-r.ctx.Done():
		err = context.Cause(r.ctx)
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if err == nil {
		err = f.err
	}
	f.leaveLocked()
	r.subs = r.subs[:len(r.subs)-1]
	return f.brought, f.end, err
}

// awaitOthers waits for the pages of r that others bring. What they do not bring stays missing.
func (r *Reader) awaitOthers() error {
	c := r.c
	for page := pageOf(r.pos); page < r.endPage; page++ {
		c.mu.Lock()
		b, p := c.mu.find(r.v, page)
		if b == nil || b.flight(p) == nil {
			c.mu.Unlock()
			continue
		}
		f := b.flight(p)
		r.joinLocked(f)
		w := f.waitLocked()
		c.mu.Unlock()
		select {
		case <-w.wake:
			page-- // look again
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	return nil
}

// prefetchMeters count what is fetched ahead: issued once it has come; used with the first read of its block, as far as
// that is there; wasted with the end of a block that nobody has read. What comes into a block that has been read counts as used.
type prefetchMeters struct {
	issued, used, wasted prometheus.Counter
}

// usedLocked counts the first read of a block that was fetched ahead, and makes it like any other.
func (c *Cache) usedLocked(b *block) {
	c.meters.prefetch.used.Add(float64(c.mu.bytes(b)))
	if b.pinned() != PinNone { // else the policy does
		b.marks &^= markPrefetched
	}
}
