package cache

import (
	"fmt"
	"slices"

	"unistore/faults"
	"unistore/meta"
)

// resync brings index, files and records together after the disk or the database was away and may have lost
// anything: a block stays when its record says what the index says and its file is there, and its pages are
// checked again before they are served; everything else goes. While it runs nothing is stored, as sides are out of
// use. Maintenance calls it. On an error the state is sound, but not all that should go is gone.
func (c *Cache) resync(sides side) error {
	c.cfg.Faults.Point(faults.Scope{Operation: "cache.resync"})
	c.endFills()
	c.handles.reset()
	if err := c.keepIdentity(); err != nil {
		return err
	}
	files, err := c.listFiles()
	if err != nil {
		return err
	}
	kept, strays, err := c.compareRecords(files)
	if err != nil {
		return err
	}
	dropped := c.keepOnly(kept, sides&sideFiles != 0)
	for _, id := range files {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if _, ok := slices.BinarySearch(kept, id); ok {
			continue
		}
		if err := c.dev.Remove(id); err != nil {
			return fmt.Errorf("remove an orphan: %w", err)
		}
	}
	for batch := range slices.Chunk(strays, removeBatch) {
		var ch meta.Changes
		for _, id := range batch {
			ch.DeleteBlock(id)
		}
		if err := c.db.Write(&ch, false); err != nil {
			return fmt.Errorf("delete stray records: %w", err)
		}
	}
	c.cfg.Log.Info().Int("kept", len(kept)).Int("dropped", dropped).Int("files", len(files)).Int("stray_records", len(strays)).
		Msg("index, files and records of the cache were compared")
	return nil
}

// endFills ends all fills, whose readers go on around the cache, and all intakes, and waits for them. None begins
// while a side is out of use.
func (c *Cache) endFills() {
	c.mu.Lock()
	for f := range c.mu.fills {
		f.cancel(errBypassed)
	}
	for in := range c.mu.intakes {
		in.cancel(OutcomeBypassed)
	}
	c.mu.Unlock()
	c.fills.Wait()
}

// keepIdentity writes what a database that has lost everything has to know of this run, and forgets what one that
// has lost something must not tell.
func (c *Cache) keepIdentity() error {
	if err := c.db.KeepFileIDs(c.leaseEnd); err != nil {
		return err
	}
	if err := c.db.PutRun(c.run()); err != nil {
		return err
	}
	return c.objects.discard()
}

// listFiles returns the ids of all files, ascending.
func (c *Cache) listFiles() ([]uint64, error) {
	var files []uint64
	err := c.dev.Walk(func(id uint64) error {
		files = append(files, id)
		return c.ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("list the block files: %w", err)
	}
	slices.Sort(files)
	return files, nil
}

// compareRecords returns the ids of blocks whose record and file are as the index says, ascending, and those of
// records that nobody knows.
func (c *Cache) compareRecords(files []uint64) (kept, strays []uint64, err error) {
	err = c.db.Blocks(func(rec *meta.Block, recErr error) error {
		_, there := slices.BinarySearch(files, rec.FileID)
		c.mu.Lock()
		defer c.mu.Unlock()
		b := c.blockOfLocked(rec)
		switch {
		case recErr == nil && b != nil && there && c.sound(rec) && rec.State == meta.BlockReady && rec.Pages == b.pages():
			kept = append(kept, rec.FileID)
		case recErr != nil || b == nil:
			strays = append(strays, rec.FileID)
		}
		return c.ctx.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("compare the records: %w", err)
	}
	return kept, strays, nil
}

// blockOfLocked returns the block in the index that has rec's file, or nil.
func (c *Cache) blockOfLocked(rec *meta.Block) *block {
	v := c.mu.versions[rec.Object]
	if v == nil {
		return nil
	}
	b := v.blocks.get(rec.Index)
	if b == nil || b.fileID != rec.FileID {
		return nil
	}
	return b
}

// keepOnly drops all blocks but those whose ids are in kept, which is ascending. With again the pages of those are
// to be checked before they are served.
func (c *Cache) keepOnly(kept []uint64, again bool) (dropped int) {
	c.mu.Lock()
	versions := make([]*version, 0, len(c.mu.versions))
	for _, v := range c.mu.versions {
		versions = append(versions, v)
	}
	c.mu.Unlock()
	for _, v := range versions {
		c.mu.Lock()
		var bad []*block
		for b := range v.blocks.all() {
			if _, ok := slices.BinarySearch(kept, b.fileID); !ok {
				bad = append(bad, b)
			} else if again {
				b.unverify()
			}
		}
		for _, b := range bad {
			c.dropLocked(b, reasonError)
		}
		dropped += len(bad)
		c.mu.Unlock()
	}
	return dropped
}
