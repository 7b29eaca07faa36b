package cache

import (
	"errors"
	"fmt"

	"unistore/meta"
)

// errAround: the cache cannot take the bytes, the reader goes on from the upstream by itself. It is always
// wrapped with the cause, which has been counted.
var errAround = errors.New("served around the cache")

// errBypassed: the disk or the database is out of use.
var errBypassed = fmt.Errorf("%w: the cache is bypassed", errAround)

// errTaken: the page that a fill was to start with is there or on its way by now.
var errTaken = errors.New("page is taken")

// claimTries is how often claim makes room and tries again; others may take it in between.
const claimTries = 3

// claim makes f the owner of the pages from f.claimed up to to that nobody has or brings, and reserves
// their space, evicting what is needed at once. With contiguous it stops at the first page
// that is taken (f.end is then the end of the claim); if that is the very first, errTaken. With no room it is
// errAround; it does not wait.
func (c *Cache) claim(f *fill, to int64, contiguous bool) error {
	for range claimTries {
		c.mu.Lock()
		if c.mu.closed {
			c.mu.Unlock()
			return ErrClosed
		}
		if !c.guard.stores() {
			c.mu.Unlock()
			return errBypassed
		}
		if f.v.gone {
			c.mu.Unlock()
			return fmt.Errorf("%w: the version was forgotten", errAround)
		}
		if contiguous {
			to = c.extentLocked(f.v, f.claimed, to)
			if to == f.claimed {
				c.mu.Unlock()
				return errTaken
			}
			f.end, f.limit = to, to
		}
		if grow := c.mu.pinGrowth(f.v, f.claimed, to); grow > 0 && c.mu.pins.hard+grow > c.pinCapLocked() {
			c.mu.Unlock()
			return c.noRoom("the blocks are pinned and pins are at their limit")
		}
		need := c.needLocked(f.v, f.claimed, to)
		room := c.roomLocked()
		if need <= room {
			c.claimLocked(f, to)
			full := c.fullLocked()
			c.mu.Unlock()
			if full {
				c.wakeMaintenance()
			}
			return nil
		}
		victims := c.victimsLocked(need-room, reasonSize)
		c.mu.Unlock()
		if len(victims) == 0 {
			break
		}
		c.removeFiles(victims)
	}
	return c.noRoom("no room")
}

// noRoom counts that pages could not be claimed, and is errAround.
func (c *Cache) noRoom(why string) error {
	err := fmt.Errorf("%w: %s", errAround, why)
	c.survived(kindNoRoom, err)
	return err
}

// roomLocked returns the bytes that may still be reserved.
func (c *Cache) roomLocked() int64 { return c.mu.limit - c.mu.resident - c.mu.reserved }

// fullLocked reports whether maintenance has to evict.
func (c *Cache) fullLocked() bool {
	return float64(c.mu.resident+c.mu.reserved) > c.cfg.HighWatermark*float64(c.mu.limit)
}

// freePageLocked reports whether nobody has or brings page. b and p are what find returned for it.
func (c *Cache) freePageLocked(v *version, b *block, p int, page int64) bool {
	if b != nil && (b.has(p) || b.flight(p) != nil) {
		return false
	}
	return c.promisedLocked(v, page) == nil
}

// flightOf returns who brings page p, or nil.
func (b *block) flight(p int) *fill {
	if b.use == nil || b.use.flight == nil {
		return nil
	}
	return b.use.flight[p]
}

// promisedLocked returns the stream that will claim page, or nil.
func (c *Cache) promisedLocked(v *version, page int64) *fill {
	for _, s := range v.streams {
		if s.claimed <= page && page < s.limit {
			return s
		}
	}
	return nil
}

// extentLocked returns the end of the free pages that follow each other from page on, at most limit.
func (c *Cache) extentLocked(v *version, page, limit int64) int64 {
	for page < limit {
		b, p := c.mu.find(v, page)
		if !c.freePageLocked(v, b, p, page) {
			break
		}
		page++
	}
	return page
}

// needLocked returns the space of the pages in [from, to) that nobody has or brings.
func (c *Cache) needLocked(v *version, from, to int64) int64 {
	need := int64(0)
	for page := from; page < to; page++ {
		if b, p := c.mu.find(v, page); b == nil || !b.has(p) && b.flight(p) == nil {
			need += diskLen(page, v.size)
		}
	}
	return need
}

// claimLocked makes f the owner of the pages that needLocked has counted. A block that f is already in the midst
// of is listed again: it may have been committed, and needs another intent.
func (c *Cache) claimLocked(f *fill, to int64) {
	var last *block
	before := len(f.blocks)
	for page := f.claimed; page < to; page++ {
		b, p := c.mu.find(f.v, page)
		if b != nil && (b.has(p) || b.flight(p) != nil) {
			continue
		}
		if b == nil {
			b = c.newBlockLocked(f, page)
		}
		if b != last {
			c.acquireLocked(b)
			f.blocks = append(f.blocks, b)
			last = b
		}
		if b.use == nil {
			b.use = new(blockUse)
		}
		if b.use.flight == nil {
			b.use.flight = make([]*fill, c.math.count(b.index, f.v.size))
		}
		b.use.flight[p] = f
		b.use.flying++
		f.reserved += diskLen(page, f.v.size)
		c.mu.reserved += diskLen(page, f.v.size)
	}
	f.claimed = to
	for _, b := range f.blocks[before:] {
		c.mu.claimed(b)
	}
	c.spaceLocked()
}

func (c *Cache) newBlockLocked(f *fill, page int64) *block {
	i, _ := c.math.split(page)
	b := &block{v: f.v, index: i, fileID: c.fileID.Add(1), used: now()}
	if f.cause != CauseDemand {
		b.setOrigin(meta.OriginPrefetch)
	}
	c.mu.add(b)
	return b
}

// acquireLocked keeps b's file until releaseLocked.
func (c *Cache) acquireLocked(b *block) { b.refs++ }

// releaseLocked gives b back. A dead block goes with its last user, so does one without a page.
func (c *Cache) releaseLocked(b *block) {
	b.refs--
	if b.refs > 0 {
		return
	}
	if !b.dead && b.count() == 0 {
		c.dropLocked(b, reasonEmpty)
		return
	}
	b.use = nil
	if b.marks&markUnsettled != 0 {
		c.mu.resettle(b)
	}
	if b.dead {
		c.trashLocked(b)
	}
}

// dropLocked takes b out of the index. Its file goes with the last user. Pages on their way to it have no owner
// from now on: who waits for them looks again.
func (c *Cache) dropLocked(b *block, why reason) {
	if b.dead {
		return
	}
	b.dead = true
	if b.marks&markPrefetched != 0 {
		c.meters.prefetch.wasted.Add(float64(c.mu.bytes(b)))
	}
	c.mu.remove(b)
	if why != reasonEmpty {
		c.meters.m.CacheEvictions.WithLabelValues(string(why)).Inc()
	}
	if b.use != nil && b.use.flying > 0 {
		for p, f := range b.use.flight {
			if f != nil {
				c.unclaimLocked(b, p)
				f.wakeLocked()
			}
		}
	}
	if b.refs == 0 {
		b.use = nil
		c.trashLocked(b)
	}
}

// unclaimLocked ends the claim on page p of b and releases its reservation.
func (c *Cache) unclaimLocked(b *block, p int) {
	f := b.use.flight[p]
	b.use.flight[p] = nil
	b.use.flying--
	n := diskLen(c.math.first(b.index)+int64(p), b.v.size)
	f.reserved -= n
	c.mu.reserved -= n
}

// drop is dropLocked for callers without the lock.
func (c *Cache) drop(b *block, why reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(b, why)
}

// trashLocked hands a dead block without users to maintenance, which removes its file.
func (c *Cache) trashLocked(b *block) {
	c.mu.trash = append(c.mu.trash, b)
	c.wakeMaintenance()
}
