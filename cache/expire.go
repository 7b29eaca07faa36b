package cache

import "unistore/meta"

// expire deletes records of objects without blocks, beyond what memory would hold of them. It runs once,
// beside everything else.
func (o *objects) expire() {
	c := o.c
	kept, limit := 0, o.limit*stripes
	var extra []Key
	err := c.db.Objects(func(k meta.ObjectKey, rec meta.Object, err error) error {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		switch {
		case err != nil:
			extra = append(extra, Key(k))
		case c.hasBlocks(idOf(Key(k), rec.Attrs)):
		case kept < limit:
			kept++
		default:
			extra = append(extra, Key(k))
		}
		return nil
	})
	if err != nil && c.ctx.Err() == nil {
		c.survived(kindMeta, err)
	}
	for _, k := range extra {
		if c.ctx.Err() != nil {
			return
		}
		o.expireOne(k)
	}
}

// expireOne deletes the record of k unless it is in use.
func (o *objects) expireOne(k Key) {
	s := o.stripe(k)
	s.wr.Lock()
	defer s.wr.Unlock()
	s.mu.Lock()
	inMemory := s.mu.known[k] != nil
	s.mu.Unlock()
	if inMemory {
		return
	}
	var ch meta.Changes
	ch.DeleteObject(meta.ObjectKey(k))
	if err := o.c.db.Write(&ch, false); err != nil {
		o.c.survived(kindMeta, err)
	}
}
