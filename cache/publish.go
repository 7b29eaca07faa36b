package cache

import (
	"slices"

	"unistore/meta"
)

// publish makes the blocks of in, all of which are written, those of the version that the upstream has committed.
// What is left in in.blocks is not published. When it returns anything but OutcomeKept, the version is not what is
// known of the object; blocks that are in the index by then go, unless others have learned the same version.
func (in *Intake) publish() Outcome {
	c := in.c
	in.leaveFile()
	if !in.w.aloneSince(in.forgets) {
		return OutcomeContended
	}
	c.cfg.Faults.Point(in.key.point("write.publish"))
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return OutcomeBypassed
	}
	v := c.mu.acquireVersion(idOf(in.key, in.attrs), in.total)
	for _, b := range in.blocks {
		b.v = v
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.mu.releaseVersion(v)
	}()
	if !in.recordReady() {
		return OutcomeRecords
	}
	c.cfg.Faults.Point(in.key.point("write.recorded"))
	in.show(v)
	if !c.enter(in) {
		c.dropVersion(v.id, reasonForget)
		return OutcomeContended
	}
	c.cfg.Faults.Point(in.key.point("write.published"))
	return OutcomeKept
}

// recordReady writes the records that the blocks hold what they hold.
func (in *Intake) recordReady() bool {
	for batch := range slices.Chunk(in.blocks, removeBatch) {
		var ch meta.Changes
		for _, b := range batch {
			rec := in.readyRecord(b.block)
			ch.PutBlock(&rec)
		}
		if err := in.c.db.Write(&ch, false); err != nil {
			in.c.survived(kindMeta, err)
			return false
		}
	}
	return true
}

// show moves the blocks into the index. Those that are there already, brought by readers of the same version, or
// whose pins would exceed their limit, stay in in.blocks; so do all when the version was forgotten meanwhile.
func (in *Intake) show(v *version) {
	c := in.c
	var spare []staged
	for batch := range slices.Chunk(in.blocks, dropStep) {
		c.mu.Lock()
		for _, b := range batch {
			if c.mu.closed || v.gone || v.blocks.get(b.index) != nil || !c.pinsAllowLocked(v, b.index) {
				spare = append(spare, b)
				continue
			}
			n := c.mu.bytes(b.block)
			c.mu.reserved -= b.claim
			c.mu.staged -= b.claim
			c.mu.unseen -= b.disk
			c.mu.resident += n
			b.used, b.use = now(), nil
			c.mu.add(b.block)
		}
		c.spaceLocked()
		c.mu.Unlock()
	}
	in.blocks = spare
}

// pinsAllowLocked reports whether a whole block at index of v is within what may be pinned.
func (c *Cache) pinsAllowLocked(v *version, index uint32) bool {
	first := c.math.first(index)
	grow := c.mu.pinGrowth(v, first, first+int64(c.math.count(index, v.size)))
	return grow == 0 || c.mu.pins.hard+grow <= c.pinCapLocked()
}

// enter makes the version of in what is known of its object, in place of what was, as Forget does. It returns
// false, and does nothing, when another write or a Forget has come between.
func (c *Cache) enter(in *Intake) bool {
	k, s := in.key, in.w.s
	s.wr.Lock()
	defer s.wr.Unlock()
	before, ok := c.Stat(k)
	s.mu.Lock()
	if !in.w.aloneSinceLocked(in.forgets) || in.ctx.Err() != nil {
		s.mu.Unlock()
		return false
	}
	token := Token(c.objects.clock.Add(1))
	s.mu.forgotten = token
	kn := &known{key: k, token: token, entry: Entry{Attrs: in.attrs, Checked: in.when}}
	if old := s.mu.known[k]; old != nil {
		kn.stored = old.stored
		if old.elem != nil {
			s.mu.used.Remove(old.elem)
		}
	}
	evicted := c.objects.addLocked(s, kn)
	s.mu.Unlock()
	c.saveObject(s, kn, true, evicted)
	if ok && !sameVersion(before.Attrs, in.attrs) {
		c.dropVersion(idOf(k, before.Attrs), reasonForget)
	}
	return true
}
