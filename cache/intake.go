package cache

import (
	"context"
	"errors"
	"io"
	"time"

	"unistore/object"
)

// The bounds of memory (pages of 64 KiB).
const (
	queuedPages = 512  // of all intakes, on their way to the disk
	intakeQueue = 64   // of one
	maxIntakes  = 1024 // intakes, each of which may have a page that is not full
)

// stallShare is the part of its time (1/stallShare) that a write may wait for the disk, besides Config.Stall.
const stallShare = 20

// Intake keeps the bytes of a body that passes on its way to the upstream, to publish them as resident blocks of the
// version that the write makes. Until then they are invisible, can not be evicted and count as reserved. It never
// fails the write, and hardly slows it: it gives up when the disk is slower than the upstream, when room, memory or its
// share of the cache are used up, or when anything breaks, and removes what it has.
//
// One goroutine of its own stores the bytes and publishes or removes them; the cache waits for that one in Close. The
// methods are for one caller at a time, who ends with Publish or Drop. All of them may be called on nil, which keeps
// nothing.
type Intake struct {
	c      *Cache
	w      *Writing
	ctx    context.Context
	cancel context.CancelCauseFunc // with an Outcome; the first wins
	pages  chan intakePage         // full pages, and then the last; closed by Publish
	ended  chan struct{}           // closed when the goroutine has left
	kept   bool                    // set before that

	// Of the caller, and of the goroutine when pages is closed.
	page    *pageBuf // that is being filled; or nil
	used    int      // bytes of it
	size    int64    // of the body; -1 when not known
	total   int64    // bytes that have passed
	whole   bool     // the body has ended as it should
	when    time.Time
	forgets int
	attrs   object.Attrs
	began   time.Time
	waited  time.Duration

	staging // of the goroutine
}

type intakePage struct {
	buf *pageBuf
	n   int
}

// Intake begins to keep the body of the write w, of size bytes or, when that is not known, -1. It returns nil
// when that has no prospect; the reason is counted.
func (c *Cache) Intake(w *Writing, size int64) *Intake {
	in := &Intake{
		c: c, w: w, size: size, pages: make(chan intakePage, intakeQueue), ended: make(chan struct{}),
		began: time.Now(), staging: newStaging(c, w.key, size),
	}
	in.ctx, in.cancel = context.WithCancelCause(c.ctx)
	if why := c.admit(in); why != "" {
		in.cancel(why)
		c.countOutcome(why)
		return nil
	}
	go in.run()
	return in
}

// admit registers in, unless there is a reason against it.
func (c *Cache) admit(in *Intake) (why Outcome) {
	if !in.w.aloneSince(in.w.forgets()) {
		return OutcomeContended
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.mu.closed || !c.guard.stores():
		return OutcomeBypassed
	case in.size > c.math.maxObject() || in.size > c.stagedLimit()-c.mu.staged:
		return OutcomeShare
	case len(c.mu.intakes) >= maxIntakes:
		return OutcomeBusy
	}
	c.mu.intakes[in] = struct{}{}
	c.fills.Add(1)
	return ""
}

// stagedLimit is what unpublished blocks may take (bytes).
func (c *Cache) stagedLimit() int64 { return int64(c.cfg.Unpublished * float64(c.cfg.Size)) }

// Tee returns body with everything that is read of it kept. An error of body drops what was kept.
func (in *Intake) Tee(body io.Reader) io.Reader {
	if in == nil {
		return body
	}
	return &teeBody{body, in}
}

type teeBody struct {
	io.Reader
	in *Intake
}

func (t *teeBody) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.in.write(p[:n])
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		t.in.end()
	default:
		t.in.Drop(OutcomeFailed)
	}
	return n, err
}

// over reports whether nothing is kept any more.
func (in *Intake) over() bool { return in.whole || in.ctx.Err() != nil }

// write takes in the next bytes of the body, which stay the caller's.
func (in *Intake) write(p []byte) {
	for len(p) > 0 && !in.over() {
		if in.size >= 0 && in.total+int64(len(p)) > in.size {
			in.Drop(OutcomeMismatch)
			return
		}
		if in.page == nil {
			in.page = pageBufs.Get().(*pageBuf)
		}
		n := copy(in.page[in.used:], p)
		p = p[n:]
		in.used += n
		in.total += int64(n)
		if in.used == PageSize {
			in.flush()
		}
	}
}

// end takes note that the body is whole. The upstream can not have committed before, since the body's end is what it
// waits for: so what is learned about the object from here on may be newer than this write.
func (in *Intake) end() {
	if in.over() {
		return
	}
	if in.used > 0 {
		in.flush()
	}
	in.whole = in.size < 0 || in.total == in.size
	in.when = in.c.cfg.Now()
	in.forgets = in.w.forgets()
	if !in.whole {
		in.Drop(OutcomeMismatch)
	}
}

// flush hands the page to the goroutine.
func (in *Intake) flush() {
	page := intakePage{in.page, in.used}
	in.page, in.used = nil, 0
	if !await(in, in.c.queued, struct{}{}) {
		pageBufs.Put(page.buf)
		return
	}
	if !await(in, in.pages, page) {
		<-in.c.queued
		pageBufs.Put(page.buf)
		return
	}
	select {
	case <-in.ended: // it may have left before the page came
		in.drain()
	default:
	}
}

// drain takes back pages that nobody stores.
func (in *Intake) drain() {
	for {
		select {
		case page, ok := <-in.pages:
			if !ok {
				return
			}
			in.recycle(page)
		default:
			return
		}
	}
}

func (in *Intake) recycle(page intakePage) {
	pageBufs.Put(page.buf)
	<-in.c.queued
}

// await sends v, and waits for that as long as the write has patience. It reports whether v was sent; in is over
// otherwise.
func await[T any](in *Intake, to chan<- T, v T) bool {
	select {
	case <-in.ctx.Done():
		return false
	case to <- v:
		return true
	default:
	}
	start := time.Now()
	timer := time.NewTimer(in.patience(start))
	defer timer.Stop()
	defer func() { in.waited += time.Since(start) }()
	select {
	case <-in.ctx.Done():
		return false
	case to <- v:
		return true
	case <-timer.C:
		in.Drop(OutcomeSlow)
		return false
	}
}

// patience is how long the write may still wait for the disk.
func (in *Intake) patience(now time.Time) time.Duration {
	return in.c.cfg.Stall + now.Sub(in.began)/stallShare - in.waited
}

// Publish makes the bytes the resident blocks of the version attrs, the upstream's answer to the write, and that
// version what is known of the object, as Forget and then Learn would; attrs need not have headers. It returns false
// when it does not: then the caller has to Forget the object, as after any write. The version counts as confirmed when
// the body ended, which is before the upstream has committed. Publish waits for the disk no longer than the write has
// patience.
func (in *Intake) Publish(attrs object.Attrs) bool {
	if in == nil {
		return false
	}
	if !in.whole || attrs.ETag == "" || attrs.Size != in.total {
		in.Drop(OutcomeMismatch)
		return false
	}
	in.attrs = attrs
	close(in.pages)
	timer := time.NewTimer(in.patience(time.Now()))
	defer timer.Stop()
	select {
	case <-in.ended:
		return in.kept
	case <-timer.C:
		// It may still be published, before the caller's Forget, or not, after it.
		in.cancel(OutcomeSlow)
		return false
	}
}

// Drop ends the intake because of why, unless it has ended before. It does not wait for the disk.
func (in *Intake) Drop(why Outcome) {
	if in == nil {
		return
	}
	in.cancel(why)
	if in.page != nil {
		pageBufs.Put(in.page)
		in.page, in.used = nil, 0
	}
}
