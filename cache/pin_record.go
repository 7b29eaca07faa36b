package cache

import (
	"fmt"
	"math/bits"
	"slices"

	"unistore/meta"
)

// pinBatch is how many records of pins are made under one hold of the lock and written together.
const pinBatch = 32

// writePins makes the records those of what pins and leases are now. What fails waits for the next time.
func (c *Cache) writePins() {
	c.mu.Lock()
	clean := len(c.mu.pins.dirtyLeases) == 0 && len(c.mu.pins.dirtyLeaves) == 0
	c.mu.Unlock()
	if clean {
		return
	}
	c.pinIO.Lock()
	defer c.pinIO.Unlock()
	for {
		var ch meta.Changes
		c.mu.Lock()
		leases := take(c.mu.pins.dirtyLeases, pinBatch)
		for _, l := range leases {
			if l.ended {
				ch.DeleteLease(l.id)
			} else {
				ch.PutLease(&meta.Lease{ID: l.id, Query: l.query, Until: l.until})
			}
		}
		leaves := take(c.mu.pins.dirtyLeaves, pinBatch)
		for _, leaf := range leaves {
			if set := c.mu.pinSet(leaf); !leaf.lease.ended {
				ch.PutPins(&set)
			}
		}
		c.mu.Unlock()
		if len(leases)+len(leaves) == 0 {
			return
		}
		if err := c.db.Write(&ch, false); err != nil {
			c.survived(kindMeta, fmt.Errorf("pins: %w", err))
			c.mu.Lock()
			putBack(c.mu.pins.dirtyLeases, leases)
			putBack(c.mu.pins.dirtyLeaves, leaves)
			c.mu.Unlock()
			return
		}
	}
}

// take takes at most n members out of a set.
func take[K comparable](set map[K]struct{}, n int) []K {
	var out []K
	for k := range set {
		if len(out) == n {
			break
		}
		out = append(out, k)
		delete(set, k)
	}
	return out
}

func putBack[K comparable](set map[K]struct{}, members []K) {
	for _, k := range members {
		set[k] = struct{}{}
	}
}

// pinSet returns what a lease holds of a leaf.
func (x *index) pinSet(leaf pinLeaf) meta.PinSet {
	set := meta.PinSet{Lease: leaf.lease.id, Object: leaf.version, Leaf: leaf.leaf}
	v := x.versions[leaf.version]
	for i := uint32(0); i < meta.PinLeaf && v != nil; i++ {
		p := x.pins.places[placeKey{v, leaf.leaf*meta.PinLeaf + i}]
		if p == nil {
			continue
		}
		h := slices.IndexFunc(p.holds, func(h hold) bool { return h.lease == leaf.lease })
		switch {
		case h < 0:
		case p.holds[h].kind == PinHard:
			set.Hard |= 1 << i
		default:
			set.Soft |= 1 << i
		}
	}
	return set
}

// discardEnded removes the pins of leases that have ended, after their own records. One that fails is left to
// the next start.
func (c *Cache) discardEnded() {
	c.writePins()
	c.pinIO.Lock()
	defer c.pinIO.Unlock()
	c.mu.Lock()
	ended := c.mu.pins.ended
	c.mu.pins.ended = nil
	c.mu.Unlock()
	for _, id := range ended {
		if err := c.db.DiscardPinsOf(id); err != nil {
			c.survived(kindMeta, fmt.Errorf("pins: %w", err))
		}
	}
}

// loadPins gives the blocks of the index the pins of the leases that have not expired, and removes the records of the
// others. No other goroutine runs yet. Pins of blocks that are gone are dropped; hard ones beyond the limit, which may
// be lower than in the last run, become soft, those of the oldest leases last.
func (c *Cache) loadPins() error {
	leases, err := c.loadLeases()
	if err != nil {
		return fmt.Errorf("cache: load the leases: %w", err)
	}
	var ch meta.Changes
	softened := 0
	c.mu.Lock()
	err = c.db.Pins(func(rec meta.PinSet, err error) error {
		if err != nil {
			c.survived(kindMeta, fmt.Errorf("pins of lease %d: %w", rec.Lease, err))
		}
		l := leases[rec.Lease]
		if l == nil || err != nil {
			c.mu.pins.lastID = max(c.mu.pins.lastID, rec.Lease)
			ch.PutPins(&meta.PinSet{Lease: rec.Lease, Object: rec.Object, Leaf: rec.Leaf})
			return nil
		}
		softened += c.loadSetLocked(l, &rec)
		leaf := pinLeaf{l, rec.Object, rec.Leaf}
		if c.mu.pinSet(leaf) == rec {
			delete(c.mu.pins.dirtyLeaves, leaf)
		} else {
			c.mu.pins.dirtyLeaves[leaf] = struct{}{}
		}
		return nil
	})
	for _, l := range leases {
		if len(l.places) == 0 {
			c.mu.end(l)
		}
	}
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("cache: load the pins: %w", err)
	}
	if err := c.db.Write(&ch, false); err != nil {
		c.survived(kindMeta, err) // they mean nothing at the next start either
	}
	if softened > 0 {
		c.cfg.Log.Warn().Int("blocks", softened).Msg("hard pins are beyond the limit: they have become soft")
	}
	c.discardEnded()
	return nil
}

// loadSetLocked makes l hold the blocks of rec that are there, and returns how many hard ones became soft.
func (c *Cache) loadSetLocked(l *lease, rec *meta.PinSet) (softened int) {
	v := c.mu.versions[rec.Object]
	for rest := rec.Soft | rec.Hard; rest != 0 && v != nil; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		k := placeKey{v, rec.Leaf*meta.PinLeaf + uint32(i)}
		b := v.blocks.get(k.index)
		if b == nil {
			continue
		}
		kind := PinSoft
		if rec.Hard>>i&1 != 0 {
			if c.mu.pins.hard+c.mu.growthOf(k, b, meta.Pages{}) <= c.pinCapLocked() {
				kind = PinHard
			} else {
				softened++
			}
		}
		c.mu.hold(l, c.mu.placeOf(k), kind)
	}
	return softened
}

// loadLeases makes the leases that have not expired, and returns them by their numbers.
func (c *Cache) loadLeases() (map[uint64]*lease, error) {
	leases := make(map[uint64]*lease)
	at := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.db.Leases(func(rec meta.Lease, err error) error {
		c.mu.pins.lastID = max(c.mu.pins.lastID, rec.ID)
		if err != nil {
			c.survived(kindMeta, fmt.Errorf("lease %d: %w", rec.ID, err))
		}
		l := &lease{
			id: rec.ID, query: rec.Query, until: rec.Until, saved: rec.Until,
			places: make(map[*place]struct{}),
		}
		if err != nil || !rec.Until.After(at) {
			c.mu.end(l)
			return nil
		}
		if old := c.mu.pins.leases[l.query]; old != nil { // its record was to be removed: one lease a query
			c.mu.end(old)
			delete(leases, old.id)
		}
		leases[l.id], c.mu.pins.leases[l.query] = l, l
		return nil
	})
	return leases, err
}
