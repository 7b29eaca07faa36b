package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"unistore/byterange"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errAbandoned ends a fill for which nobody waits any more.
var errAbandoned = errors.New("no reader waits for the fill")

// pageBuf is a buffer for one page, or for a piece of a body around the cache.
type pageBuf [PageSize]byte

var pageBufs = sync.Pool{New: func() any { return new(pageBuf) }}

// fill brings a run of pages by one upstream request. It belongs to the cache: it lives while one reader
// waits, with its own context and goroutine.
//
// A stream is a fill made of a response that was already under way (First). It may be much longer than a run,
// so it claims its pages bit by bit and stays at most some runs ahead of its readers: limit.
type fill struct {
	c      *Cache
	v      *version
	key    Key
	fetch  FetchFunc // nil in a stream
	ctx    context.Context
	cancel context.CancelCauseFunc
	start  int64           // first page
	rng    byterange.Range // what the body delivers; of a stream
	body   io.ReadCloser   // of a stream
	leader *Reader
	cause  Cause
	ended  chan struct{} // closed by finish; nil when nobody waits for it

	// Owned by the goroutine (before it starts, by the reader that makes the fill).
	cur *block  // the block of the page at hand, with claims of f; or nil
	hd  *handle // its file

	// Guarded by Cache.mu.
	end      int64         // page after the last; fixed once claimed
	claimed  int64         // pages below were claimed, where they were free
	limit    int64         // pages below may be claimed; raised by readers
	blocks   []*block      // with claims of f, acquired, not yet reached; ascending
	reserved int64         // bytes of the claims that are not yet written
	waiters  int           // readers; at 0 the fill is cancelled
	wake     chan struct{} // closed at the next progress; nil when nobody waits
	wanted   chan struct{} // closed when the first reader that somebody waits for joins; nil when one is there
	head     *edge         // of a stream: the bytes before the first whole page
	tail     *edge         // of a stream: the bytes after the last whole page
	began    bool          // the upstream has answered
	brought  int64         // bytes that it has stored
	done     bool
	err      error

	more chan struct{} // limit was raised; capacity 1
}

// edge is the part of a stream that fills no page. It goes to the reader that brought the stream only.
type edge struct {
	rng  byterange.Range
	data []byte // nil until it has arrived; then never changed
}

func (c *Cache) newFill(r *Reader, start int64) *fill {
	f := &fill{
		c: c, v: r.v, key: r.req.Key, fetch: r.req.Fetch, leader: r, cause: r.cause,
		start: start, claimed: start, waiters: 1,
		more: make(chan struct{}, 1),
	}
	if f.cause != CauseDemand {
		f.ended = make(chan struct{})
	}
	ctx := context.Background()
	if !r.awaited() {
		f.wanted = make(chan struct{})
		ctx = context.WithValue(ctx, wantedKey{}, (<-chan struct{})(f.wanted))
	}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	return f
}

// launch starts the goroutine of a fill that has claimed pages, after its first block is ready to be
// written: so that a broken disk is known before the upstream is asked.
// On error the claims are undone and nothing runs.
func (c *Cache) launch(f *fill) error {
	c.mu.Lock()
	var refused error
	switch {
	case c.mu.closed:
		refused = ErrClosed
	case !c.guard.stores():
		refused = errBypassed
	}
	if refused != nil {
		c.mu.Unlock()
		c.finish(f, refused)
		return refused
	}
	f.v.refs++
	c.mu.fills[f] = struct{}{}
	c.fills.Add(1)
	if f.body != nil {
		f.v.streams = append(f.v.streams, f)
	}
	c.spaceLocked()
	c.mu.Unlock()
	if err := f.enter(f.start); err != nil {
		c.finish(f, err)
		c.fills.Done()
		return err
	}
	go func() {
		defer c.fills.Done()
		err := f.run()
		if err != nil && f.ctx.Err() != nil {
			err = context.Cause(f.ctx)
		}
		c.finish(f, err)
	}()
	return nil
}

// run moves the body into the cache.
func (f *fill) run() error {
	body, err := f.openBody()
	if err != nil {
		return err
	}
	closeBody := sync.OnceFunc(func() { _ = body.Close() })
	defer closeBody()
	stop := context.AfterFunc(f.ctx, closeBody) // a blocked Read returns
	defer stop()

	f.c.mu.Lock()
	f.began = true
	f.c.mu.Unlock()
	left := f.rng.Len
	if err := f.readEdge(body, f.head, &left); err != nil {
		return err
	}
	buf := pageBufs.Get().(*pageBuf)
	defer pageBufs.Put(buf)
	for page := f.start; page < f.end; page++ {
		if err := f.permit(page); err != nil {
			return err
		}
		data := buf[:pageLen(page, f.v.size)]
		if err := f.read(body, data, &left); err != nil {
			return err
		}
		if err := f.deliver(page, data); err != nil {
			return err
		}
	}
	return f.readEdge(body, f.tail, &left)
}

// openBody gives the body and sets rng to what it delivers.
func (f *fill) openBody() (io.ReadCloser, error) {
	if f.body != nil {
		return f.body, nil
	}
	off := f.start * PageSize
	f.rng = byterange.Range{Off: off, Len: min(f.end*PageSize, f.v.size) - off}
	return f.fetch(f.ctx, f.rng)
}

// read fills data from body. With the body's last bytes it also reads its end, where an upstream may still
// report that the bytes were wrong.
func (f *fill) read(body io.Reader, data []byte, left *int64) error {
	if _, err := io.ReadFull(body, data); err != nil {
		return endedEarly(err)
	}
	f.c.meters.fills[f.cause].Add(float64(len(data)))
	*left -= int64(len(data))
	if *left == 0 {
		return atEnd(body)
	}
	return nil
}

// endedEarly makes a premature end of a body an error that says so.
func endedEarly(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the upstream's body ended early: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// atEnd reads on after the last byte of a body.
func atEnd(body io.Reader) error {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	switch {
	case n > 0:
		return errors.New("the upstream's body is longer than promised")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

func (f *fill) readEdge(body io.Reader, e *edge, left *int64) error {
	if e == nil {
		return nil
	}
	data := make([]byte, e.rng.Len)
	if err := f.read(body, data, left); err != nil {
		return err
	}
	f.c.mu.Lock()
	e.data = data
	f.wakeLocked()
	f.c.mu.Unlock()
	return nil
}

// permit claims more pages when page is beyond the claim, and waits for readers to come nearer when page
// is at the limit.
func (f *fill) permit(page int64) error {
	c := f.c
	for {
		c.mu.Lock()
		claimed := f.claimed
		to := min(f.limit, f.end, claimed+c.runPages)
		c.mu.Unlock()
		switch {
		case page < claimed:
			return nil
		case to > claimed:
			if err := c.claim(f, to, false); err != nil {
				return err
			}
			return nil
		}
		select {
		case <-f.more:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// deliver stores a page that f has claimed, and drops the bytes of another's.
func (f *fill) deliver(page int64, data []byte) error {
	c := f.c
	if err := f.enter(page); err != nil {
		return err
	}
	b := f.cur
	_, p := c.math.split(page)
	c.mu.Lock()
	mine := b != nil && !b.dead && b.flight(p) == f
	c.mu.Unlock()
	if !mine {
		f.progress()
		return nil
	}
	if _, err := f.hd.WriteAt(data, c.math.offset(page)); err != nil {
		c.survived(kindWrite, err)
		err = fmt.Errorf("%w: %w", errAround, err)
		c.mu.Lock()
		f.done, f.err = true, err // before the drop wakes readers, who would start the next fill
		c.dropLocked(b, reasonError)
		c.mu.Unlock()
		c.wakeMaintenance()
		return err
	}
	c.cfg.Faults.Point(f.key.point("cache.page-written"))
	sum := crc32.Checksum(data, castagnoli)
	c.mu.Lock()
	last := false
	if !b.dead && b.flight(p) == f {
		n := diskLen(page, f.v.size)
		c.unclaimLocked(b, p)
		b.use.crc[p] = sum
		c.mu.setValid(b, p)
		c.mu.resident += n
		f.brought += n
		if f.cause != CauseDemand {
			c.meters.prefetch.issued.Add(float64(n))
			if b.marks&markPrefetched == 0 {
				c.meters.prefetch.used.Add(float64(n))
			}
		}
		c.spaceLocked()
		last = b.use.flying == 0
	}
	f.wakeLocked()
	c.mu.Unlock()
	if last {
		c.commit(b)
	}
	return nil
}

// progress wakes the waiters after a page that is not f's.
func (f *fill) progress() {
	f.c.mu.Lock()
	f.wakeLocked()
	f.c.mu.Unlock()
}

func (f *fill) wakeLocked() {
	if f.wake != nil {
		close(f.wake)
		f.wake = nil
	}
}

// enter makes the block of page current and its file open, and leaves the one before.
func (f *fill) enter(page int64) error {
	c := f.c
	i, _ := c.math.split(page)
	c.mu.Lock()
	var next *block
	if len(f.blocks) > 0 && f.blocks[0].index == i {
		next, f.blocks = f.blocks[0], f.blocks[1:]
	}
	c.mu.Unlock()
	if next == nil && f.cur != nil && f.cur.index == i {
		return nil
	}
	f.leave()
	if next == nil {
		return nil
	}
	f.cur = next
	hd, err := c.prepare(f.key, next)
	f.hd = hd
	return err
}

// leave gives the current block back.
func (f *fill) leave() {
	if f.hd != nil {
		f.hd.release()
		f.hd = nil
	}
	if f.cur != nil {
		f.c.mu.Lock()
		f.c.releaseLocked(f.cur)
		f.c.mu.Unlock()
		f.cur = nil
	}
}

// finish ends a fill: what it has claimed and not brought is free again.
func (c *Cache) finish(f *fill, err error) {
	c.mu.Lock()
	held := f.blocks
	if f.cur != nil {
		held = append(held, f.cur)
	}
	f.blocks = nil
	for _, b := range held {
		if b.use.flying == 0 {
			continue
		}
		for p, owner := range b.use.flight {
			if owner == f {
				c.unclaimLocked(b, p)
			}
		}
	}
	f.done, f.err = true, err
	f.wakeLocked()
	if f.ended != nil {
		close(f.ended)
	}
	f.v.streams = slices.DeleteFunc(f.v.streams, func(s *fill) bool { return s == f })
	c.mu.Unlock()

	if f.hd != nil {
		f.hd.release()
	}
	for _, b := range held {
		c.commit(b)
	}
	c.mu.Lock()
	for _, b := range held {
		c.releaseLocked(b)
	}
	if _, launched := c.mu.fills[f]; launched {
		delete(c.mu.fills, f)
		c.mu.releaseVersion(f.v)
	}
	c.spaceLocked()
	c.mu.Unlock()
	f.cancel(nil)
}
