package cache

import (
	"errors"
	"fmt"
	"io/fs"

	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
)

// prepare records that pages are going to be written to b and opens its file. Both are nil when b is
// dead by now. An error is errAround; b is dropped then, unless only file handles are short.
func (c *Cache) prepare(key Key, b *block) (*handle, error) {
	c.mu.Lock()
	dead, u := b.dead, b.use
	c.mu.Unlock()
	if dead {
		return nil, nil
	}
	u.io.Lock()
	defer u.io.Unlock()
	c.mu.Lock()
	fresh := !b.onDisk
	c.mu.Unlock()
	if !u.open {
		if err := c.intend(b, u, fresh); err != nil {
			c.survived(kindMeta, err)
			c.drop(b, reasonError)
			return nil, fmt.Errorf("%w: %w", errAround, err)
		}
	}
	c.cfg.Faults.Point(key.point("cache.intent"))
	hd, err := c.openBlock(key, b.fileID, fresh)
	switch {
	case errors.Is(err, errHandles):
		c.survived(kindHandles, err)
	case err != nil:
		c.survived(kindWrite, err)
		c.drop(b, reasonError)
	default:
		return hd, nil
	}
	if fresh {
		c.drop(b, reasonError) // a record without a file
	}
	return nil, fmt.Errorf("%w: %w", errAround, err)
}

// openBlock opens the file of a block whose intent is recorded. A fresh one is made.
func (c *Cache) openBlock(key Key, fileID uint64, fresh bool) (*handle, error) {
	ref := device.Ref{ID: fileID, Scope: key.scope()}
	hd, err := c.handles.get(ref, fresh)
	if fresh && errors.Is(err, fs.ErrExist) {
		// An orphan that a lost database has left and the sweep has not reached.
		if err = c.dev.Remove(fileID); err == nil {
			hd, err = c.handles.get(ref, true)
		}
	}
	return hd, err
}

// intend writes the record that b is being filled. The caller holds u.io.
func (c *Cache) intend(b *block, u *blockUse, fresh bool) error {
	crc := make([]uint32, c.math.count(b.index, b.v.size))
	if !fresh {
		rec, err := c.db.Block(b.fileID)
		if err != nil {
			return err
		}
		if rec.State != meta.BlockReady || rec.Object != b.v.id || rec.Index != b.index || len(rec.CRC) != len(crc) {
			return meta.ErrCorrupt
		}
		crc = rec.CRC
	}
	var ch meta.Changes
	c.mu.Lock()
	rec := b.record(meta.BlockFilling)
	b.onDisk = true // from here on there may be a record
	c.mu.Unlock()
	ch.PutBlock(&rec)
	if err := c.db.Write(&ch, false); err != nil {
		return err
	}
	u.open = true
	c.mu.Lock()
	u.crc = crc
	c.mu.Unlock()
	return nil
}

// commit records the valid pages of b, if no page is on its way to it. The caller has b acquired.
func (c *Cache) commit(b *block) {
	c.mu.Lock()
	u := b.use
	c.mu.Unlock()
	u.io.Lock()
	defer u.io.Unlock()
	c.mu.Lock()
	if b.dead || u.flying > 0 || !u.open || b.count() == 0 {
		c.mu.Unlock()
		return
	}
	rec := b.record(meta.BlockReady)
	rec.Pages = b.pages()
	rec.CRC = append(rec.CRC, u.crc...)
	c.mu.Unlock()
	c.cfg.Faults.Point(faults.Scope{Operation: "cache.commit"})
	var ch meta.Changes
	ch.PutBlock(&rec)
	if err := c.db.Write(&ch, false); err != nil {
		c.survived(kindMeta, err)
		c.drop(b, reasonError)
		return
	}
	c.cfg.Faults.Point(faults.Scope{Operation: "cache.committed"})
	u.open = false
}

// record needs Cache.mu.
func (b *block) record(state meta.BlockState) meta.Block {
	return meta.Block{
		FileID: b.fileID, Object: b.v.id, Index: b.index, Size: b.v.size,
		State: state, Origin: b.origin(),
	}
}
