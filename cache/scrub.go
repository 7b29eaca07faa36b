package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"unistore/cache/device"
	"unistore/meta"
)

const (
	// scrubEvery is from the start of one pass to the start of the next: often enough that a page which has
	// rotted is found before the disk's own redundancy wears off, seldom enough to cost a disk little.
	scrubEvery = 24 * time.Hour
	// scrubBatch is how many records are read at a time, and how often the place is written down.
	scrubBatch = 64
	// scrubRetry is the wait while the cache is bypassed, or after the database has failed.
	scrubRetry = time.Minute
)

// pace spreads work over time.
type pace struct {
	rate int64 // bytes a second; 0: no limit
	next time.Time
}

// wait returns when n more bytes may be read.
func (p *pace) wait(ctx context.Context, n int64) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	start := time.Now()
	if p.next.Before(start) {
		p.next = start
	}
	delay := p.next.Sub(start)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return sleep(ctx, delay)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scrub checks the pages of all blocks again and again, slowly, until Close. A pass that was interrupted by a
// restart goes on where it was.
func (c *Cache) scrub() {
	at, err := c.db.Scrub()
	if err != nil {
		c.absent(err)
	}
	p := &pace{rate: c.cfg.Scrub}
	for c.ctx.Err() == nil {
		if at.Next == 0 {
			if wait := time.Until(at.Started.Add(scrubEvery)); wait > 0 {
				_ = sleep(c.ctx, min(wait, scrubEvery)) // a clock may have been wrong
			}
			at.Started = time.Now()
		}
		var res VerifyResult
		at.Next, err = c.verifyFrom(c.ctx, at.Next, p, &res)
		if c.ctx.Err() != nil {
			return
		}
		var ch meta.Changes
		ch.PutScrub(at)
		if writeErr := c.db.Write(&ch, false); writeErr != nil {
			c.survived(kindMeta, fmt.Errorf("scrub: %w", writeErr))
		}
		if err != nil {
			if !errors.Is(err, ErrBypassed) {
				c.survived(kindMeta, fmt.Errorf("scrub: %w", err))
			}
			_ = sleep(c.ctx, scrubRetry)
		}
	}
}

// ErrBypassed says that the cache is out of use because its disk or database fails.
var ErrBypassed = errors.New("the cache is bypassed")

// VerifyResult counts what Verify has found.
type VerifyResult struct {
	Blocks, Pages, Bytes int64 // checked
	Corrupt              int64 // pages whose bytes are not those that were written
	Unreadable           int64 // blocks whose file is missing or can not be read
	Skipped              int64 // blocks that changed meanwhile: written or dropped
}

// bad is the number of blocks and pages that were not right.
func (v *VerifyResult) bad() int64 { return v.Corrupt + v.Unreadable }

// Verify reads every page of every block and compares it with its checksum, as fast as the disk goes. Blocks that
// are not right are dropped, so that their next read fetches them anew. progress, when not nil, is called now
// and then with the bytes that were checked, about all that there are, and what was found to be
// wrong. Besides ctx's error: ErrBypassed, ErrClosed or the database's, with what was done until then.
func (c *Cache) Verify(ctx context.Context, progress func(done, total, bad int64)) (VerifyResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	var res VerifyResult
	for first := uint64(0); ; {
		if c.ctx.Err() != nil {
			return res, ErrClosed
		}
		next, err := c.verifyFrom(ctx, first, &pace{}, &res)
		if progress != nil {
			c.mu.Lock()
			total := c.mu.resident
			c.mu.Unlock()
			progress(res.Bytes, max(total, res.Bytes), res.bad())
		}
		if err != nil && c.ctx.Err() != nil {
			err = ErrClosed
		}
		if err != nil || next == 0 {
			return res, err
		}
		first = next
	}
}

// verifyFrom checks the next blocks by file id, from first on, and adds to res. It returns the id to go on from, 0
// after the last.
func (c *Cache) verifyFrom(ctx context.Context, first uint64, p *pace, res *VerifyResult) (next uint64, err error) {
	if c.guard.bypassed() {
		return first, fmt.Errorf("%w: %w", ErrBypassed, c.guard.reason())
	}
	list, err := c.db.BlocksFrom(first, scrubBatch)
	if err != nil {
		return first, err
	}
	buf := new(pageBuf) // for seconds, when it is slow: not one of the pool
	for i := range list {
		if err := ctx.Err(); err != nil {
			return list[i].FileID, err
		}
		if err := c.verifyBlock(ctx, &list[i], p, buf, res); err != nil {
			return list[i].FileID, err
		}
	}
	if len(list) < scrubBatch {
		return 0, nil
	}
	return list[len(list)-1].FileID + 1, nil
}

// verifyBlock checks one block by its record. The error is ctx's.
func (c *Cache) verifyBlock(ctx context.Context, rec *meta.Block, p *pace, buf *pageBuf, res *VerifyResult) error {
	c.mu.Lock()
	ok := rec.State == meta.BlockReady && c.sound(rec) && c.blockOfLocked(rec) != nil
	c.mu.Unlock()
	if !ok {
		res.Skipped++
		return nil
	}
	// A file of its own, so that the shared ones stay open for readers. It may be removed meanwhile.
	f, err := c.dev.Open(device.Ref{ID: rec.FileID})
	if err == nil {
		defer func() { _ = f.Close() }() // was only read
		err = c.verifyPages(ctx, f, rec, p, buf, res)
	}
	switch {
	case err == nil:
		res.Blocks++
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case outOfFiles(err):
		c.survived(kindHandles, err)
		res.Skipped++
		return nil
	}
	kind, why, count := kindRead, reasonError, &res.Unreadable
	if errors.Is(err, errBadPage) {
		kind, why, count = kindCorrupt, reasonCorrupt, &res.Corrupt
	}
	if !c.dropRecorded(rec, why) {
		res.Skipped++ // it went by itself
		return nil
	}
	*count++
	c.survived(kind, fmt.Errorf("block file %x: %w", rec.FileID, err))
	return nil
}

// verifyPages reads the pages of rec in f. Pages that are right need no check when they are read next.
func (c *Cache) verifyPages(ctx context.Context, f device.File, rec *meta.Block, p *pace, buf *pageBuf, res *VerifyResult) error {
	for i := range rec.CRC {
		if !rec.Pages.Has(i) {
			continue
		}
		data := buf[:pageLen(c.math.first(rec.Index)+int64(i), rec.Size)]
		if err := p.wait(ctx, int64(len(data))); err != nil {
			return err
		}
		if _, err := f.ReadAt(data, int64(i)*PageSize); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: the file is too short", errBadPage)
		} else if err != nil {
			return err
		}
		if crc32.Checksum(data, castagnoli) != rec.CRC[i] {
			return fmt.Errorf("%w: page %d", errBadPage, i)
		}
		res.Pages++
		res.Bytes += diskLen(c.math.first(rec.Index)+int64(i), rec.Size)
		c.mu.Lock()
		if b := c.blockOfLocked(rec); b != nil && b.has(i) {
			b.setVerified(i)
		}
		c.mu.Unlock()
	}
	return nil
}

// dropRecorded drops the block that rec describes. It reports whether it was still there.
func (c *Cache) dropRecorded(rec *meta.Block, why reason) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.blockOfLocked(rec)
	if b == nil {
		return false
	}
	c.dropLocked(b, why)
	return true
}
