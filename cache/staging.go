package cache

import (
	"context"
	"errors"
	"hash/crc32"

	"unistore/meta"
)

// staging is the blocks of an Intake, on disk and outside the index. One goroutine has it.
type staging struct {
	c      *Cache
	key    Key
	v      *version // of nobody else, until the blocks are published
	next   int64    // page
	blocks []staged // by ascending index
	hd     *handle  // of the last block's file; or nil
}

// staged is a block without users, which is neither in the index nor dead, and the space that is reserved for it.
type staged struct {
	*block
	claim int64 // bytes
	disk  int64 // of claim: written
}

func newStaging(c *Cache, key Key, size int64) staging {
	if size < 0 {
		size = c.math.maxObject() // no page is the last one, until the short one comes
	}
	return staging{c: c, key: key, v: &version{size: size}}
}

// run is the goroutine of in.
func (in *Intake) run() {
	defer in.c.fills.Done()
	why := in.store()
	if why == "" {
		why = in.publish()
	}
	in.leaveFile()
	in.c.discard(&in.staging, in.blocks)
	in.blocks = nil
	in.c.countOutcome(why)
	in.cancel(why)
	in.kept = why == OutcomeKept
	close(in.ended)
	in.drain()
	in.c.mu.Lock()
	defer in.c.mu.Unlock()
	delete(in.c.mu.intakes, in)
}

// store writes pages until there is an Outcome, or all have come.
func (in *Intake) store() Outcome {
	for {
		select {
		case <-in.ctx.Done():
			return in.outcome()
		case page, ok := <-in.pages:
			if in.ctx.Err() != nil {
				if ok {
					in.recycle(page)
				}
				return in.outcome()
			}
			if !ok {
				return ""
			}
			err := in.writePage(page.buf[:page.n])
			in.recycle(page)
			if err != nil {
				return outcomeOf(err)
			}
		}
	}
}

// outcome is why ctx has ended.
func (in *Intake) outcome() Outcome { return outcomeOf(context.Cause(in.ctx)) }

func outcomeOf(err error) Outcome {
	if o, ok := errors.AsType[Outcome](err); ok {
		return o
	}
	return OutcomeBypassed
}

// writePage stores the next page. The error is an Outcome, whose cause has been counted.
func (s *staging) writePage(data []byte) error {
	c := s.c
	i, p := c.math.split(s.next)
	if len(data) < PageSize {
		s.v.size = s.next*PageSize + int64(len(data))
	}
	if p == 0 {
		if err := s.begin(i); err != nil {
			return err
		}
	}
	if _, err := s.hd.WriteAt(data, c.math.offset(s.next)); err != nil {
		c.survived(kindWrite, err)
		return OutcomeDisk
	}
	c.cfg.Faults.Point(s.key.point("write.page-written"))
	b := &s.blocks[len(s.blocks)-1]
	n := diskLen(s.next, s.v.size)
	c.mu.Lock()
	b.use.crc[p] = crc32.Checksum(data, castagnoli)
	b.setValid(p)
	b.disk += n
	c.mu.unseen += n
	c.mu.Unlock()
	s.next++
	return nil
}

// begin makes a new block, whose first page is about to be written: its space, its record, its file.
func (s *staging) begin(index uint32) error {
	c := s.c
	s.leaveFile()
	claim := int64(0)
	for page, end := s.next, s.next+int64(c.math.count(index, s.v.size)); page < end; page++ {
		claim += diskLen(page, s.v.size)
	}
	if err := c.claimStaged(claim); err != nil {
		return err
	}
	b := &block{v: s.v, index: index, fileID: c.fileID.Add(1), use: new(blockUse)}
	s.blocks = append(s.blocks, staged{block: b, claim: claim})
	b.use.io.Lock()
	defer b.use.io.Unlock()
	if err := c.intend(b, b.use, true); err != nil {
		c.survived(kindMeta, err)
		return OutcomeRecords
	}
	c.cfg.Faults.Point(s.key.point("write.intent"))
	hd, err := c.openBlock(s.key, b.fileID, true)
	switch {
	case errors.Is(err, errHandles):
		c.survived(kindHandles, err)
		return OutcomeDisk
	case err != nil:
		c.survived(kindWrite, err)
		return OutcomeDisk
	}
	s.hd = hd
	return nil
}

// leaveFile lets go of the open file.
func (s *staging) leaveFile() {
	if s.hd != nil {
		s.hd.release()
		s.hd = nil
	}
}

// claimStaged reserves n bytes for a block of an intake, evicting what is needed at once. The error is an Outcome; it
// does not wait.
func (c *Cache) claimStaged(n int64) error {
	for range claimTries {
		c.mu.Lock()
		var refused error
		switch {
		case c.mu.closed || !c.guard.stores():
			refused = OutcomeBypassed
		case c.mu.staged+n > c.stagedLimit():
			refused = OutcomeShare
		}
		if refused != nil {
			c.mu.Unlock()
			return refused
		}
		room := c.roomLocked()
		if n <= room {
			c.mu.reserved += n
			c.mu.staged += n
			c.spaceLocked()
			full := c.fullLocked()
			c.mu.Unlock()
			if full {
				c.wakeMaintenance()
			}
			return nil
		}
		victims := c.victimsLocked(n-room, reasonSize)
		c.mu.Unlock()
		if len(victims) == 0 {
			break
		}
		c.removeFiles(victims)
	}
	c.survived(kindNoRoom, errors.New("no room to keep what is written"))
	return OutcomeNoRoom
}

// discard removes blocks that are not published. Their space counts as unpublished until the files are gone, so
// that writes that fail and are tried again for ever can not take more of the cache than their share.
func (s *staging) discard(blocks []staged) {
	c := s.c
	for len(blocks) > 0 {
		n := min(len(blocks), removeBatch)
		claims := int64(0)
		batch := make([]*block, 0, n)
		c.mu.Lock()
		for _, b := range blocks[:n] {
			claims += b.claim
			c.mu.reserved -= b.claim
			c.mu.unseen -= b.disk
			c.mu.resident += c.mu.bytes(b.block)
			b.dead, b.use = true, nil
			batch = append(batch, b.block)
		}
		away := c.guard.bypassed()
		if away {
			c.mu.trash = append(c.mu.trash, batch...) // for when the disk is back
		}
		c.mu.Unlock()
		if !away {
			c.removeFiles(batch)
		}
		c.mu.Lock()
		c.mu.staged -= claims
		c.spaceLocked()
		c.mu.Unlock()
		blocks = blocks[n:]
	}
}

// readyRecord is the record of b as a block of version id, once it is published.
func (s *staging) readyRecord(b *block) meta.Block {
	rec := b.record(meta.BlockReady)
	rec.Pages = b.pages()
	rec.CRC = b.use.crc[:s.c.math.count(b.index, b.v.size)]
	return rec
}
