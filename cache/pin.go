package cache

import (
	"cmp"
	"slices"
	"time"

	"unistore/byterange"
	"unistore/meta"
)

// PinKind says how firmly a block is held.
type PinKind uint8

// The kinds, by firmness.
const (
	PinNone PinKind = iota
	PinSoft         // evicted when nothing else is left to evict
	PinHard         // never evicted
)

// String returns the kind as the headers name it.
func (k PinKind) String() string {
	switch k {
	case PinSoft:
		return "soft"
	case PinHard:
		return "hard"
	}
	return "none"
}

// The times of leases.
const (
	DefaultPinTTL = 10 * time.Minute // when none is asked for
	MaxPinTTL     = 24 * time.Hour
	// leaseSlack is how far the record of a lease may be behind: after a crash it may end so much earlier.
	leaseSlack = time.Second
)

// The bounds of what pins may cost.
const (
	maxLeases = 10_000 // queries with pins at a time
	// maxPinBlocks is how many blocks, the first ones, a read pins at most.
	maxPinBlocks = 1 << 14
	// pinStep is how many blocks are pinned, released or looked at under one hold of the lock.
	pinStep = 512
)

// PinRequest pins the blocks that a read reads: those that are there, and those that it brings. Query, which is never
// looked into, names the lease that holds them.
type PinRequest struct {
	Query string
	Kind  PinKind       // PinSoft or PinHard; a block that the query holds hard stays so
	TTL   time.Duration // of the whole lease, from now on, unless it ends later already; see DefaultPinTTL, MaxPinTTL
}

// PinResult says what became of a PinRequest. Bytes and Refused count bytes of the range read.
type PinResult struct {
	Kind    PinKind // of Bytes; PinNone when there are none
	Bytes   int64   // pinned: there, or promised to be pinned when the read brings them
	Refused int64   // not pinned: beyond a limit, or not kept in the cache
	Until   time.Time
}

// lose says that n bytes of the range are not going to be kept.
func (p *PinResult) lose(n int64) {
	n = min(n, p.Bytes)
	p.Bytes -= n
	p.Refused += n
	if p.Bytes == 0 {
		p.Kind, p.Until = PinNone, time.Time{}
	}
}

// PinState is a moment's view of one query's pins.
type PinState struct {
	Query                  string
	Until                  time.Time
	SoftBlocks, HardBlocks int   // as this query holds them
	SoftBytes, HardBytes   int64 // of them, on disk
}

func clampTTL(ttl time.Duration) time.Duration {
	return min(cmp.Or(max(ttl, 0), DefaultPinTTL), MaxPinTTL)
}

// pinCapLocked returns what hard pins may be charged in all now. When ReserveFree lowers the limit below what is
// pinned, pins that were granted stay, none is added, and reads that find no room go around the
// cache until leases end.
func (c *Cache) pinCapLocked() int64 { return int64(c.cfg.PinLimit * float64(c.mu.limit)) }

// pin pins what r reads, in steps: of a range of more than pinStep blocks the first may be granted and the next
// refused.
func (r *Reader) pin() PinResult {
	c, req := r.c, r.req.Pin
	res := PinResult{Refused: r.req.Range.Len}
	if req.Kind != PinSoft && req.Kind != PinHard {
		return res
	}
	start := c.cfg.Now()
	c.releaseExpired(req.Query, start)
	first, _ := c.math.split(pageOf(r.pos))
	last, _ := c.math.split(r.endPage - 1)
	n := min(int64(last)-int64(first)+1, maxPinBlocks)
	for done := int64(0); done < n; done += pinStep {
		from := first + uint32(done)
		c.mu.Lock()
		granted := r.pinLocked(from, from+uint32(min(pinStep, n-done)), start, &res)
		c.spaceLocked()
		c.mu.Unlock()
		if !granted {
			break
		}
	}
	c.writePins()
	if res.Bytes > 0 {
		res.Kind = req.Kind
	}
	res.Refused -= res.Bytes
	return res
}

// pinLocked pins the blocks [from, to), all or none, and adds to res.
func (r *Reader) pinLocked(from, to uint32, start time.Time, res *PinResult) bool {
	c, req := r.c, r.req.Pin
	if r.v.gone || c.mu.closed {
		return false
	}
	var grow, bytes int64
	missing := 0
	for i := from; i < to; i++ {
		k := placeKey{r.v, i}
		b := r.v.blocks.get(i)
		if b == nil && r.req.NoStore {
			continue
		}
		if b == nil {
			missing++
		}
		if req.Kind == PinHard {
			grow += c.mu.growthOf(k, b, r.pagesOf(k, b))
		}
		bytes += r.bytesIn(k, b)
	}
	l := c.mu.pins.leases[req.Query]
	switch {
	case bytes == 0:
		return true
	case grow > 0 && c.mu.pins.hard+grow > c.pinCapLocked(),
		c.mu.pins.waiting+missing > max(pinStep, int(c.cfg.Size/c.cfg.BlockSize)),
		l == nil && len(c.mu.pins.leases) >= maxLeases:
		return false
	}
	until := start.Add(clampTTL(req.TTL))
	if l == nil {
		l = c.mu.newLease(req.Query, until)
	}
	c.mu.extend(l, until)
	for i := from; i < to; i++ {
		r.pinBlockLocked(l, placeKey{r.v, i})
	}
	res.Bytes += bytes
	res.Until = l.until
	return true
}

// pinBlockLocked makes l hold one block, or its place until r is closed.
func (r *Reader) pinBlockLocked(l *lease, k placeKey) {
	c := r.c
	b := k.v.blocks.get(k.index)
	if b == nil && r.req.NoStore {
		return
	}
	p := c.mu.placeOf(k)
	c.mu.hold(l, p, r.req.Pin.Kind)
	pages := r.pagesOf(k, b)
	if pages.Count() == 0 {
		return
	}
	if r.req.Pin.Kind != PinHard {
		pages = meta.Pages{} // only a hard pin has paid for them, if the place is hard
	}
	c.mu.promise(p, &pages)
	r.pinned = append(r.pinned, p)
}

// growthOf returns what a hard pin on k, which is b's place, and the promise of pages would add to pins.hard.
func (x *index) growthOf(k placeKey, b *block, pages meta.Pages) int64 {
	p := x.pins.places[k]
	if p == nil {
		p = &place{placeKey: k, b: b}
	}
	set := x.chargedPages(p)
	for i, w := range pages {
		set[i] |= w
	}
	return x.setBytes(k, &set) - p.charge
}

// pagesOf returns the pages of k that r will bring.
func (r *Reader) pagesOf(k placeKey, b *block) meta.Pages {
	var set meta.Pages
	if r.req.NoStore {
		return set
	}
	start := r.c.math.first(k.index)
	from := max(pageOf(r.pos), start)
	to := min(r.endPage, start+r.c.math.pages)
	for p := from - start; p < to-start; p++ {
		if b == nil || !b.has(int(p)) {
			set.Set(int(p))
		}
	}
	return set
}

// bytesIn returns how many bytes of r's range a pin on k holds.
func (r *Reader) bytesIn(k placeKey, b *block) int64 {
	if r.req.NoStore {
		return r.c.mu.residentOf(b, r.req.Range)
	}
	unit := r.c.math.pages * PageSize
	return r.req.Range.Intersect(byterange.Range{Off: int64(k.index) * unit, Len: unit}).Len
}

// unpin ends the promises to r: what has not arrived is not pinned.
func (r *Reader) unpin() {
	c := r.c
	for batch := range slices.Chunk(r.pinned, pinStep) {
		c.mu.Lock()
		for _, p := range batch {
			c.mu.leavePlace(p)
		}
		c.spaceLocked()
		c.mu.Unlock()
	}
	r.pinned = nil
}

// Unpin releases all pins of a query. It reports whether there was a lease.
func (c *Cache) Unpin(query string) bool {
	start := c.cfg.Now()
	c.mu.Lock()
	l := c.mu.pins.leases[query]
	if l == nil {
		c.mu.Unlock()
		return false
	}
	alive := l.until.After(start)
	c.mu.end(l)
	c.mu.Unlock()
	c.release(l)
	c.writePins()
	c.wakeMaintenance() // for the rest of the records, and for room
	return alive
}

// release ends the holds of a lease that has ended.
func (c *Cache) release(l *lease) {
	c.mu.Lock()
	n := 0
	for p := range l.places {
		c.mu.unhold(l, p)
		if n++; n%pinStep == 0 {
			c.mu.Unlock()
			c.mu.Lock()
		}
	}
	c.spaceLocked()
	c.mu.Unlock()
}

// releaseExpired releases the pins of a query whose lease has expired and was not collected yet.
func (c *Cache) releaseExpired(query string, at time.Time) {
	c.mu.Lock()
	l := c.mu.pins.leases[query]
	if l == nil || l.until.After(at) {
		c.mu.Unlock()
		return
	}
	c.mu.end(l)
	c.mu.Unlock()
	c.release(l)
}

// expirePins releases every lease that has expired.
func (c *Cache) expirePins() {
	at := c.cfg.Now()
	var expired []*lease
	c.mu.Lock()
	for _, l := range c.mu.pins.leases {
		if !l.until.After(at) {
			expired = append(expired, l)
		}
	}
	for _, l := range expired {
		c.mu.end(l)
	}
	c.mu.Unlock()
	for _, l := range expired {
		c.release(l)
	}
}

// Renew makes the lease of a query end ttl (bounded as in PinRequest) from now, unless it ends later already, and
// returns when. Not ok: the query has no pins, or its lease has expired.
func (c *Cache) Renew(query string, ttl time.Duration) (until time.Time, ok bool) {
	start := c.cfg.Now()
	c.mu.Lock()
	l := c.mu.pins.leases[query]
	if l == nil || !l.until.After(start) {
		c.mu.Unlock()
		return time.Time{}, false
	}
	c.mu.extend(l, start.Add(clampTTL(ttl)))
	until = l.until
	c.mu.Unlock()
	c.writePins()
	return until, true
}

// Pins returns what the queries hold, ordered by their names. It costs a look at every pinned block.
func (c *Cache) Pins() []PinState {
	at := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	leases := make([]*lease, 0, len(c.mu.pins.leases))
	for _, l := range c.mu.pins.leases {
		if l.until.After(at) {
			leases = append(leases, l)
		}
	}
	slices.SortFunc(leases, func(a, b *lease) int { return cmp.Compare(a.query, b.query) })
	states := make([]PinState, 0, len(leases))
	for _, l := range leases {
		states = append(states, c.stateLocked(l))
	}
	return states
}

// PinsOf returns what one query holds. Not ok: it has no pins, or its lease has expired.
func (c *Cache) PinsOf(query string) (PinState, bool) {
	at := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.mu.pins.leases[query]
	if l == nil || !l.until.After(at) {
		return PinState{}, false
	}
	return c.stateLocked(l), true
}

// stateLocked gives the lock up in between.
func (c *Cache) stateLocked(l *lease) PinState {
	s := PinState{Query: l.query, Until: l.until}
	n := 0
	for p := range l.places {
		i := slices.IndexFunc(p.holds, func(h hold) bool { return h.lease == l })
		switch {
		case p.b == nil:
		case p.holds[i].kind == PinHard:
			s.HardBlocks++
			s.HardBytes += c.mu.bytes(p.b)
		default:
			s.SoftBlocks++
			s.SoftBytes += c.mu.bytes(p.b)
		}
		if n++; n%pinStep == 0 {
			c.mu.Unlock()
			c.mu.Lock()
		}
	}
	return s
}
