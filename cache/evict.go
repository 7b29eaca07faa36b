package cache

import (
	"time"

	"unistore/faults"
	"unistore/meta"
)

// The pace of maintenance.
const (
	removeBatch = 64               // blocks removed by one pair of database writes
	usedEvery   = 10 * time.Second // between two write-backs of recency
	usedBatch   = 1024             // records of recency in one write
)

func now() uint32 { return uint32(time.Now().Unix()) }

// wakeMaintenance makes maintain run soon. It never blocks.
func (c *Cache) wakeMaintenance() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// maintain ends expired leases, removes dead blocks, keeps the cache below its watermarks and the disk above its
// reserve, writes recency back, and takes care of a disk or database that fails, until Close.
func (c *Cache) maintain() {
	tick := time.NewTicker(c.cfg.Tick)
	defer tick.Stop()
	written := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.kick:
		case <-tick.C:
			c.watch()
			if !c.guard.bypassed() {
				c.retryRecords()
				c.settle()
			}
			if time.Since(written) >= usedEvery {
				c.writeUsed()
				written = time.Now()
			}
		}
		c.expirePins()
		c.discardEnded()
		if c.guard.bypassed() {
			continue // files can not be removed, or are gone: see resync
		}
		c.emptyTrash()
		c.measureDisk()
		c.evict()
	}
}

// measureDisk lowers the limit when the disk has less to give than Size, beyond ReserveFree, and raises it
// again.
func (c *Cache) measureDisk() {
	free, err := c.dev.Free()
	if err != nil {
		c.survived(kindRead, err)
		return
	}
	free = min(free, c.cfg.Size+c.cfg.ReserveFree) // more makes no difference
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.limit = min(c.cfg.Size, max(0, c.mu.resident+c.mu.unseen+free-c.cfg.ReserveFree))
}

// evict brings the cache to the low watermark when it is above the high one. On a full disk of which nothing is to
// be left free, only fills evict, what they need: others may have filled it. It stops when files can not be
// removed, and does nothing while some wait for it: evicting more would free nothing.
func (c *Cache) evict() {
	if c.retry.pending() {
		return
	}
	c.mu.Lock()
	why, limit := reasonSize, c.cfg.Size
	if c.mu.limit < limit && c.cfg.ReserveFree > 0 {
		why, limit = reasonReserve, c.mu.limit
	}
	high := int64(c.cfg.HighWatermark * float64(limit))
	low := int64(c.cfg.LowWatermark * float64(limit))
	excess := c.mu.resident + c.mu.reserved - low
	if c.mu.resident+c.mu.reserved <= high {
		excess = 0
	}
	c.mu.Unlock()
	for excess > 0 && c.ctx.Err() == nil {
		c.mu.Lock()
		victims := c.victimsLocked(excess, why)
		for _, b := range victims {
			excess -= c.mu.bytes(b)
		}
		c.mu.Unlock()
		if len(victims) == 0 || c.removeFiles(victims) > 0 {
			return
		}
	}
}

// victimsLocked takes unused blocks of together at least need bytes out of the index, if there are so
// many, in the order of index.victims, at most removeBatch. The caller removes their files.
func (c *Cache) victimsLocked(need int64, why reason) []*block {
	var victims []*block
	for b := range c.mu.victims() {
		if b.refs > 0 {
			continue
		}
		victims = append(victims, b)
		need -= c.mu.bytes(b)
		b.dead = true
		c.mu.remove(b)
		c.meters.m.CacheEvictions.WithLabelValues(string(why)).Inc()
		if need <= 0 || len(victims) == removeBatch {
			break
		}
	}
	return victims
}

// emptyTrash removes the dead blocks that have no user any more.
func (c *Cache) emptyTrash() {
	for {
		c.mu.Lock()
		n := min(len(c.mu.trash), removeBatch)
		batch := c.mu.trash[:n:n]
		c.mu.trash = c.mu.trash[n:]
		if len(c.mu.trash) == 0 {
			c.mu.trash = nil
		}
		c.mu.Unlock()
		if n == 0 {
			return
		}
		c.removeFiles(batch)
	}
}

// removeFiles removes dead blocks without users: first their records say that the files do not count,
// then the files go, then the records. Only then their space is free. What can not be removed now stays
// counted and is tried again; removeFiles returns how many that are.
func (c *Cache) removeFiles(blocks []*block) (failed int) {
	var intent, forget meta.Changes
	c.mu.Lock()
	for _, b := range blocks {
		if b.onDisk {
			rec := b.record(meta.BlockFilling)
			intent.PutBlock(&rec)
		}
	}
	c.mu.Unlock()
	if err := c.db.Write(&intent, false); err != nil {
		c.survived(kindMeta, err) // the files still have to go: the limit is hard
	}
	c.cfg.Faults.Point(faults.Scope{Operation: "cache.remove"})
	var removed int64
	for _, b := range blocks {
		if b.onDisk {
			c.handles.drop(b.fileID)
			if err := c.dev.Remove(b.fileID); err != nil {
				c.survived(kindRemove, err)
				c.retry.addBlock(b)
				failed++
				continue
			}
			forget.DeleteBlock(b.fileID)
		}
		c.mu.Lock()
		removed += c.mu.bytes(b)
		c.mu.Unlock()
	}
	c.cfg.Faults.Point(faults.Scope{Operation: "cache.removed"})
	if err := c.db.Write(&forget, false); err != nil {
		c.survived(kindMeta, err)
		c.retry.addChanges(forget)
		c.suspect()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.resident -= removed
	c.spaceLocked()
	return failed
}

// touchLocked says that r reads b now.
func (c *Cache) touchLocked(b *block, r *Reader) {
	t := now()
	if b.marks&markPrefetched != 0 {
		c.usedLocked(b)
	}
	c.mu.touch(b, r.usesAgainLocked(b, t))
	b.used = t
	if b.marks&markUsed == 0 {
		b.marks |= markUsed
		c.mu.dirty = append(c.mu.dirty, b)
	}
}

// writeUsed writes recency back. A failure loses it, no more.
func (c *Cache) writeUsed() {
	c.mu.Lock()
	dirty := c.mu.dirty
	c.mu.dirty = nil
	c.mu.Unlock()
	for len(dirty) > 0 {
		var ch meta.Changes
		n := min(len(dirty), usedBatch)
		c.mu.Lock()
		for _, b := range dirty[:n] {
			b.marks &^= markUsed
			if !b.dead {
				ch.PutUsed(b.fileID, b.used)
			}
		}
		c.mu.Unlock()
		dirty = dirty[n:]
		if err := c.db.Write(&ch, false); err != nil {
			c.survived(kindMeta, err)
		}
	}
}
