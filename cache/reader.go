package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"unistore/byterange"
	"unistore/meta"
)

// maxFailures is how many fills in a row may fail under a reader, without a byte in between, before it
// gives up. The upstream's policy has retried requests already; this is for bodies that break.
const maxFailures = 3

// Reader delivers the bytes of one ReadRequest. It is for one goroutine at a time. Close it.
type Reader struct {
	c      *Cache
	req    ReadRequest
	v      *version
	ctx    context.Context // ends with the request's or with Close
	cancel context.CancelFunc
	result Result
	cause  Cause // of what it fetches

	pos, end int64 // what is still to be delivered
	endPage  int64
	ahead    int64 // pages below need no more looking ahead
	missing  int64 // bytes that were not resident at the start and have not been delivered yet
	miss     int64 // the first page that was not resident at the start
	failures int
	cur      *span  // bytes at pos that are ready; nil when none
	using    *block // whose use by this request is counted
	waited   bool   // the bytes at pos were waited for
	stalled  time.Duration

	pinned []*place // promised to be pinned when what is missing has come
	subs   []*fill  // that the reader keeps alive; its own entries
	heeded *fill    // the stream in subs whose failure was taken in
	around *around  // the reader has left the cache; nil while it has not
	closed bool
}

// Read opens a range of a version. It returns when the first byte is ready to be sent, so that a failure can
// still become a status. ctx covers the whole life of the Reader: when it is done, reading
// fails. Besides the upstream's errors: ErrChanged, ErrNotCached, ErrClosed. req.First is consumed in any case.
func (c *Cache) Read(ctx context.Context, req ReadRequest) (*Reader, error) {
	r := &Reader{
		c: c, req: req, cause: CauseDemand,
		pos: req.Range.Off, end: req.Range.End(), endPage: pagesUpTo(req.Range.End()),
	}
	if err := r.begin(ctx); err != nil {
		req.First.close()
		return nil, err
	}
	if err := r.open(); err != nil {
		r.shut()
		return nil, err
	}
	if !req.uncounted {
		c.meters.read(r.result)
	}
	return r, nil
}

// close ends a response that is not used. f may be nil.
func (f *First) close() {
	if f != nil && f.Body != nil {
		_ = f.Body.Close() // what it would have said does not matter any more
	}
}

// begin checks the request and takes the version.
func (r *Reader) begin(ctx context.Context) error {
	c, req := r.c, &r.req
	whole := byterange.Range{Len: req.Attrs.Size}
	if req.Range.Empty() || req.Range.Off < 0 || !whole.Contains(req.Range) {
		return fmt.Errorf("cache: range %+v is not inside an object of %d bytes", req.Range, req.Attrs.Size)
	}
	if req.First != nil && (!whole.Contains(req.First.Range) || req.First.Body == nil) {
		return fmt.Errorf("cache: response of range %+v for an object of %d bytes", req.First.Range, req.Attrs.Size)
	}
	// Without an ETag nothing says that two fetches bring the same version.
	if req.Attrs.ETag == "" || req.Attrs.Size > c.math.maxObject() {
		req.NoStore = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return ErrClosed
	}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.v = c.mu.acquireVersion(idOf(req.Key, req.Attrs), req.Attrs.Size)
	c.mu.readers++
	return nil
}

// open looks what is resident, puts the response under way to use and gets the first bytes.
func (r *Reader) open() error {
	if r.c.guard.bypassed() {
		return r.bypass()
	}
	r.survey()
	if r.req.OnlyCached && r.result.Source != SourceCache {
		r.req.First.close()
		return ErrNotCached
	}
	if r.req.Pin != nil {
		r.result.Pin = r.pin()
	}
	r.adopt()
	cur, err := r.next()
	r.cur = cur
	if r.around != nil {
		r.result.Source, r.result.Stored, r.result.Collapsed = SourceBypass, false, false
		r.result.Pin.lose(r.missing)
	}
	return err
}

// bypass reads around the cache from the beginning.
func (r *Reader) bypass() (err error) {
	r.result = Result{Source: SourceBypass}
	if r.req.Pin != nil {
		r.result.Pin.Refused = r.req.Range.Len
	}
	r.missing = r.req.Range.Len
	if r.req.OnlyCached {
		r.req.First.close()
		return ErrNotCached
	}
	r.goAroundWith(r.req.First)
	r.cur, err = r.next()
	return err
}

// surveyLimit is how many blocks of the range survey looks at: beyond it, it supposes that
// they are missing.
const surveyLimit = 1 << 14

// surveyStep is how many blocks it looks at under one hold of the lock.
const surveyStep = 512

// survey fills result, ahead and missing by what the index says now.
func (r *Reader) survey() {
	c := r.c
	res := Result{Memory: true, Pinned: true, Prefetched: true, Stored: !r.req.NoStore && !r.req.OnlyCached}
	first := int64(-1) // the first missing page
	resident := int64(0)
	index, _ := c.math.split(pageOf(r.pos))
	c.mu.Lock()
	for n := 1; n <= surveyLimit && c.math.first(index) < r.endPage; n++ {
		from := max(pageOf(r.pos), c.math.first(index))
		to := min(r.endPage, c.math.first(index)+c.math.pages)
		b, p := c.mu.find(r.v, from)
		res.Pinned = res.Pinned && b != nil && b.pinned() != PinNone
		res.Prefetched = res.Prefetched && b != nil && b.origin() == meta.OriginPrefetch
		for page := from; page < to && b != nil; page, p = page+1, p+1 {
			if !b.has(p) {
				continue
			}
			resident += min(r.end, (page+1)*PageSize) - max(r.pos, page*PageSize)
			res.Memory = res.Memory && b.isVerified(p)
		}
		if first < 0 {
			if b == nil {
				first = from
			} else if _, p := c.math.split(from); from+int64(b.run(p, int(to-from))) < to {
				first = from + int64(b.run(p, int(to-from)))
			}
			if first >= 0 {
				res.Collapsed = b != nil && b.flight(int(first-c.math.first(index))) != nil || c.promisedLocked(r.v, first) != nil
			}
		}
		if first >= 0 && r.v.blocks.count == 0 {
			break
		}
		index++
		if n%surveyStep == 0 {
			c.mu.Unlock()
			c.mu.Lock()
		}
	}
	c.mu.Unlock()
	if first < 0 {
		first = min(c.math.first(index), r.endPage) // as far as survey got
	}
	r.missing = r.end - r.pos - resident
	r.ahead, r.miss = r.endPage, first
	if r.missing > 0 {
		res.Source, res.Memory, res.Pinned, res.Prefetched = SourceFill, false, false, false
		res.Partial = resident > 0
		r.ahead = first
	} else {
		res.Stored = false
	}
	r.result = res
}

// Stalled returns how long the reader has waited for fills so far. Like reading, it is for one goroutine at a time.
func (r *Reader) Stalled() time.Duration { return r.stalled }

// Delivered returns how many bytes have been read so far.
func (r *Reader) Delivered() int64 { return r.pos - r.req.Range.Off }

// Result says what was known when the first byte was ready.
func (r *Reader) Result() Result { return r.result }

// next returns bytes at pos, waiting for them as long as it takes. Its errors are final: nothing more
// is to be sent.
func (r *Reader) next() (*span, error) {
	for {
		if r.closed {
			return nil, errReaderClosed
		}
		if err := r.ctx.Err(); err != nil {
			return nil, context.Cause(r.ctx)
		}
		if r.around == nil && r.c.guard.bypassed() && !r.req.OnlyCached {
			r.goAround()
		}
		if r.around != nil {
			return r.nextAround()
		}
		s, wait, err := r.look()
		if err != nil {
			return nil, err
		}
		switch {
		case s != nil:
			r.lookAhead()
			ok, err := r.secure(s)
			if err != nil {
				return nil, err
			}
			if ok {
				return s, nil
			}
		case wait.f != nil:
			r.waited = true
			if err := r.await(wait); err != nil {
				return nil, err
			}
		case r.req.OnlyCached:
			return nil, ErrNotCached
		case r.req.NoStore:
			r.goAround()
		default:
			r.waited = true
			if err := r.lead(); err != nil {
				return nil, err
			}
		}
	}
}

// errReaderClosed is for use after Close.
var errReaderClosed = errors.New("cache: read of a closed Reader")
