package cache

import (
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"unistore/meta"
)

// load fills the index from the database and removes what was being filled or removed when the last run
// ended. Nobody else uses the index yet.
func (c *Cache) load() error {
	var found foundBlocks
	var used usedRecords
	var group errgroup.Group
	group.Go(func() (err error) {
		used, err = c.readUsed()
		return err
	})
	group.Go(func() (err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		found, err = c.readBlocksLocked()
		return err
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("cache: load the index: %w", err)
	}
	var ch meta.Changes
	for _, id := range found.unreadable {
		c.survived(kindMeta, fmt.Errorf("record of block file %x: %w", id, meta.ErrCorrupt))
		if err := c.dev.Remove(id); err != nil {
			c.survived(kindRemove, err)
			continue
		}
		ch.DeleteBlock(id)
	}
	for _, id := range setUsed(found.blocks, used) {
		ch.DeleteBlock(id)
	}
	if err := c.db.Write(&ch, false); err != nil {
		return fmt.Errorf("cache: clean up: %w", err)
	}
	c.order(found.blocks)
	if err := c.loadPins(); err != nil {
		return err
	}
	for batch := range slices.Chunk(found.dead, removeBatch) {
		c.removeFiles(batch)
	}
	c.mu.Lock()
	c.spaceLocked()
	c.mu.Unlock()
	return nil
}

// foundBlocks is what the records say.
type foundBlocks struct {
	blocks     []*block // by ascending file id; those that are dead are in dead too
	dead       []*block
	unreadable []uint64
}

// readBlocksLocked reads all block records. The blocks that count are in the index, but the policy does not
// know them yet.
func (c *Cache) readBlocksLocked() (found foundBlocks, err error) {
	var last *version // neighbours in time are mostly of one version
	err = c.db.Blocks(func(rec *meta.Block, err error) error {
		if err == nil && !c.sound(rec) {
			err = meta.ErrCorrupt
		}
		if err != nil {
			found.unreadable = append(found.unreadable, rec.FileID)
			return nil
		}
		if last == nil || last.id != rec.Object {
			if last != nil {
				c.mu.releaseVersion(last)
			}
			last = c.mu.acquireVersion(rec.Object, rec.Size)
		}
		b := &block{v: last, index: rec.Index, fileID: rec.FileID, onDisk: true}
		b.setOrigin(rec.Origin)
		if rec.State != meta.BlockReady || rec.Pages.Count() == 0 {
			// What such a file takes is not known. It goes before anything is written.
			b.dead = true
			found.dead = append(found.dead, b)
			return nil
		}
		b.setPages(&rec.Pages)
		// Of two records of one block the later is the newer file.
		if old := last.blocks.get(b.index); old != nil {
			old.dead = true
			last.blocks.remove(b.index)
			c.mu.count--
			found.dead = append(found.dead, old)
		}
		c.mu.place(b)
		c.mu.resident += c.mu.bytes(b)
		found.blocks = append(found.blocks, b)
		return nil
	})
	if last != nil {
		c.mu.releaseVersion(last)
	}
	return found, err
}

// sound reports whether a record fits the geometry.
func (c *Cache) sound(rec *meta.Block) bool {
	if rec.Size <= 0 || rec.Size > c.math.maxObject() || c.math.first(rec.Index) >= pagesUpTo(rec.Size) {
		return false
	}
	return rec.State != meta.BlockReady || len(rec.CRC) == c.math.count(rec.Index, rec.Size)
}

// usedRecords is the recency of blocks by ascending file id.
type usedRecords struct {
	ids  []uint64
	when []uint32
}

func (c *Cache) readUsed() (u usedRecords, err error) {
	err = c.db.Used(func(id uint64, used uint32) error {
		u.ids = append(u.ids, id)
		u.when = append(u.when, used)
		return nil
	})
	return u, err
}

// setUsed gives the blocks, which are by ascending file id, their recency and returns the ids that have one
// and no block.
func setUsed(blocks []*block, u usedRecords) (stray []uint64) {
	i := 0
	for n, id := range u.ids {
		for i < len(blocks) && blocks[i].fileID < id {
			i++
		}
		if i < len(blocks) && blocks[i].fileID == id && !blocks[i].dead {
			blocks[i].used = u.when[n]
			blocks[i].setOrigin(meta.OriginDemand) // it was read
		} else {
			stray = append(stray, id)
		}
	}
	return stray
}

// order hands the living of blocks, which are by ascending file id, to the policy in the order of their use; those
// that were never used go by age.
func (c *Cache) order(blocks []*block) {
	keys := make([]uint64, 0, len(blocks)) // when used, place in blocks: sorts faster than what it stands for
	for i, b := range blocks {
		if !b.dead {
			keys = append(keys, uint64(b.used)<<32|uint64(uint32(i)))
		}
	}
	slices.Sort(keys)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.mu.policy.insert(blocks[uint32(k)])
	}
}
