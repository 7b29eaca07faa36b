package cache

import (
	"fmt"
	"time"

	"unistore/meta"
)

const (
	pinBatch = 1024 // changes of pins in one write
	// maxPinQueue bounds what waits for a database that fails. What does not fit is lost: after a crash a pin
	// may be missing, or hold until its lease ends.
	maxPinQueue = 1 << 18
)

// writePins writes the changes of pins and leases, in their order. What fails waits for the next time.
func (c *Cache) writePins() {
	c.mu.Lock()
	none := len(c.mu.pins.queue) == 0 && len(c.mu.pins.ended) == 0
	c.mu.Unlock()
	if none {
		return
	}
	c.pinIO.Lock()
	defer c.pinIO.Unlock()
	for {
		c.mu.Lock()
		n := min(len(c.mu.pins.queue), pinBatch)
		batch := c.mu.pins.queue[:n:n]
		if c.mu.pins.queue = c.mu.pins.queue[n:]; len(c.mu.pins.queue) == 0 {
			c.mu.pins.queue = nil
		}
		c.mu.Unlock()
		if n == 0 {
			return
		}
		var ch meta.Changes
		for i := range batch {
			batch[i].add(&ch)
		}
		if err := c.db.Write(&ch, false); err != nil {
			c.survived(kindMeta, fmt.Errorf("pins: %w", err))
			c.mu.Lock()
			queue := append(batch, c.mu.pins.queue...)
			c.mu.pins.queue = queue[max(0, len(queue)-maxPinQueue):]
			c.mu.Unlock()
			return
		}
	}
}

func (p *pinChange) add(ch *meta.Changes) {
	switch {
	case p.lease != nil && p.remove:
		ch.DeleteLease(p.lease.ID)
	case p.lease != nil:
		ch.PutLease(p.lease)
	case p.remove:
		ch.DeletePin(&p.pin)
	default:
		ch.PutPin(&p.pin)
	}
}

// discardEnded removes the pins of leases whose own records are gone already. One that fails is left to the
// next start.
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

// loadPins gives the blocks of the index the pins of the leases that have not expired. No other goroutine
// runs yet. Pins of blocks that are gone are dropped; hard ones beyond the limit, which may be lower than in the
// last run, become soft, those of the oldest leases last.
func (c *Cache) loadPins() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	leases, err := c.readLeasesLocked(c.cfg.Now())
	if err != nil {
		return fmt.Errorf("cache: load the leases: %w", err)
	}
	softened := 0
	err = c.db.Pins(func(rec meta.Pin, err error) error {
		if err != nil {
			c.survived(kindMeta, fmt.Errorf("pin of lease %d: %w", rec.Lease, err))
		}
		l, v := leases[rec.Lease], c.mu.versions[rec.Object]
		var b *block
		if err == nil && l != nil && v != nil {
			b = v.blocks.get(rec.Index)
		}
		if b == nil {
			c.mu.pins.lastID = max(c.mu.pins.lastID, rec.Lease)
			c.mu.pins.queue = append(c.mu.pins.queue, pinChange{pin: rec, remove: true})
			return nil
		}
		k, kind := placeKey{v, rec.Index}, PinKind(rec.Kind)
		if kind == PinHard && c.mu.pins.hard+c.mu.growthOf(k, b, meta.Pages{}) > c.pinCapLocked() {
			kind = PinSoft
			softened++
		}
		queued := len(c.mu.pins.queue)
		c.mu.hold(l, c.mu.placeOf(k), kind)
		if kind == PinKind(rec.Kind) {
			c.mu.pins.queue = c.mu.pins.queue[:queued] // as it is recorded
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cache: load the pins: %w", err)
	}
	for _, l := range leases {
		if len(l.places) == 0 {
			c.mu.end(l)
		}
	}
	c.mu.pins.ended = nil // their pins are queued one by one
	if softened > 0 {
		c.cfg.Log.Warn().Int("blocks", softened).Msg("hard pins are beyond the limit: they have become soft")
	}
	return nil
}

// readLeasesLocked returns the leases that have not expired, by their numbers.
func (c *Cache) readLeasesLocked(at time.Time) (map[uint64]*lease, error) {
	leases := make(map[uint64]*lease)
	err := c.db.Leases(func(rec meta.Lease, err error) error {
		c.mu.pins.lastID = max(c.mu.pins.lastID, rec.ID)
		if err != nil {
			c.survived(kindMeta, fmt.Errorf("lease %d: %w", rec.ID, err))
		}
		if old := c.mu.pins.leases[rec.Query]; err == nil && old != nil {
			c.mu.end(old) // its record was to be removed: one lease a query
			delete(leases, old.id)
		}
		if err != nil || !rec.Until.After(at) {
			c.mu.pins.queue = append(c.mu.pins.queue, pinChange{lease: &meta.Lease{ID: rec.ID}, remove: true})
			return nil
		}
		l := &lease{
			id: rec.ID, query: rec.Query, until: rec.Until, saved: rec.Until,
			places: make(map[*place]struct{}),
		}
		leases[l.id], c.mu.pins.leases[l.query] = l, l
		return nil
	})
	return leases, err
}
