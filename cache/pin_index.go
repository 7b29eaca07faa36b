package cache

import (
	"iter"
	"slices"
	"time"

	"unistore/meta"
)

// pins is the state of all leases: which query holds which blocks, how firmly and until when. It is a pure state machine
// inside the index: no I/O, no clock. What differs from the database it remembers (pin_record.go).
//
//	lease (a query) --holds soft|hard--> place (a block of a version) --is in--> block
//
// A pin holds a place and not a file: what a reader has pinned and not yet fetched is a place without a block,
// kept while that reader is open. A block takes the firmest kind of its place's holds; one without any is in
// the policy's hands, soft ones are in the list index.soft, hard ones in neither.
//
// Hard pins are charged by page, before the pages are there: what a hard place has, has coming and
// has promised to a reader who is open. So pins.hard is never less than what hard pinned blocks
// take on disk, and a page that would take it above the limit is refused before it is fetched (pinGrowth).
//
// Guarded by Cache.mu. A place costs about 150 bytes, a block without pins none.
type pins struct {
	leases  map[string]*lease // by query
	places  map[placeKey]*place
	hard    int64 // bytes charged
	blocks  [PinHard + 1]int
	waiting int    // places without a block
	lastID  uint64 // of a lease

	// What is not in the database as it is here.
	dirtyLeases map[*lease]struct{}
	dirtyLeaves map[pinLeaf]struct{}
	ended       []uint64 // leases whose pins are still to be removed
}

// lease is what one query holds. Its places are those in which it has a hold.
type lease struct {
	id     uint64
	query  string
	until  time.Time
	saved  time.Time // until, in the database
	places map[*place]struct{}
	ended  bool // released or expired: its records go together
}

type placeKey struct {
	v     *version
	index uint32
}

// place is one pinned block, or the place where it will be. It has a hold at least.
type place struct {
	placeKey
	b       *block      // nil: not there
	holds   []hold      // in the order they came
	charge  int64       // in pins.hard; 0 unless hard
	want    *meta.Pages // that open readers bring and have paid for; nil for none
	readers int         // who bring what is missing
}

type hold struct {
	lease *lease
	kind  PinKind
}

// pinLeaf names what one record holds: by the version's id, which outlives the version.
type pinLeaf struct {
	lease   *lease
	version versionID
	leaf    uint32
}

func newPins() pins {
	return pins{
		leases: make(map[string]*lease), places: make(map[placeKey]*place),
		dirtyLeases: make(map[*lease]struct{}), dirtyLeaves: make(map[pinLeaf]struct{}),
	}
}

func (p *place) kind() PinKind {
	kind := PinNone
	for _, h := range p.holds {
		kind = max(kind, h.kind)
	}
	return kind
}

// enlist gives b to the list that its pins put it in.
func (x *index) enlist(b *block) {
	switch b.pinned() {
	case PinNone:
		x.policy.insert(b)
	case PinSoft:
		x.soft.insert(b)
	}
}

// delist takes b out of that list.
func (x *index) delist(b *block) {
	switch b.pinned() {
	case PinNone:
		x.policy.remove(b)
	case PinSoft:
		x.soft.remove(b)
	}
}

// touch says that b was read; again as in policy.touch.
func (x *index) touch(b *block, again bool) {
	switch b.pinned() {
	case PinNone:
		x.policy.touch(b, again)
	case PinSoft:
		x.soft.touch(b, again)
	}
	b.marks &^= markPrefetched
}

// victims lists the blocks that may go, the first first: those of the policy, then soft pinned ones by their use. As
// in policy.victims the loop may remove what it was given.
func (x *index) victims() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		for b := range x.policy.victims() {
			if !yield(b) {
				return
			}
		}
		for b := range x.soft.victims() {
			if !yield(b) {
				return
			}
		}
	}
}

// attachPins gives a new block the pins of its place. It is in no list yet.
func (x *index) attachPins(b *block) {
	p := x.pins.places[placeKey{b.v, b.index}]
	if p == nil {
		return
	}
	p.b = b
	x.pins.waiting--
	b.setPinned(p.kind())
	x.pins.blocks[b.pinned()]++
	x.settle(p)
}

// detachPins ends the pins of a block that goes, unless a reader has them promised. It is in no list any more.
func (x *index) detachPins(b *block) {
	p := x.pins.places[placeKey{b.v, b.index}]
	x.pins.blocks[b.pinned()]--
	b.setPinned(PinNone)
	p.b = nil
	x.pins.waiting++
	if p.readers == 0 {
		x.dropPlace(p)
		return
	}
	x.settle(p)
}

// hold makes l hold p, of any kind or firmer than before.
func (x *index) hold(l *lease, p *place, kind PinKind) {
	i := slices.IndexFunc(p.holds, func(h hold) bool { return h.lease == l })
	switch {
	case i < 0:
		p.holds = append(p.holds, hold{l, kind})
		l.places[p] = struct{}{}
	case p.holds[i].kind < kind:
		p.holds[i].kind = kind
	default:
		return
	}
	x.dirtyPin(l, p)
	x.reclassify(p)
}

// unhold ends l's hold on p, and p with its last one.
func (x *index) unhold(l *lease, p *place) {
	i := slices.IndexFunc(p.holds, func(h hold) bool { return h.lease == l })
	x.endHold(p, i)
	p.holds = slices.Delete(p.holds, i, i+1)
	x.reclassify(p)
	if len(p.holds) == 0 {
		x.forgetPlace(p)
	}
}

// dropPlace ends all holds on a place without a block.
func (x *index) dropPlace(p *place) {
	for i := range p.holds {
		x.endHold(p, i)
	}
	p.holds = nil
	x.settle(p)
	x.forgetPlace(p)
}

// endHold takes a hold out of its lease; the caller takes it out of p.
func (x *index) endHold(p *place, i int) {
	l := p.holds[i].lease
	delete(l.places, p)
	x.dirtyPin(l, p)
}

// dirtyPin says that the record of l's hold on p is not right any more.
func (x *index) dirtyPin(l *lease, p *place) {
	if !l.ended { // its records go together
		x.pins.dirtyLeaves[pinLeaf{l, p.v.id, p.index / meta.PinLeaf}] = struct{}{}
	}
}

func (x *index) forgetPlace(p *place) {
	delete(x.pins.places, p.placeKey)
	if p.b == nil {
		x.pins.waiting--
	}
}

// reclassify moves p's block to where its holds put it.
func (x *index) reclassify(p *place) {
	kind := p.kind()
	if b := p.b; b != nil && b.pinned() != kind {
		x.delist(b)
		x.pins.blocks[b.pinned()]--
		b.setPinned(kind)
		x.pins.blocks[kind]++
		x.enlist(b)
	}
	x.settle(p)
}

// settle charges p for what it has now, has coming and has promised. What is coming may not arrive: then it is done
// again when the block's last user leaves.
func (x *index) settle(p *place) {
	charge := int64(0)
	if p.kind() == PinHard {
		set := x.chargedPages(p)
		charge = x.setBytes(p.placeKey, &set)
		if p.b != nil && p.b.use != nil && p.b.use.flying > 0 {
			p.b.marks |= markUnsettled
		}
	}
	x.pins.hard += charge - p.charge
	p.charge = charge
}

// chargedPages returns the pages that p has, has coming or has promised.
func (x *index) chargedPages(p *place) meta.Pages {
	var set meta.Pages
	if p.b != nil {
		set = p.b.pages()
		if p.b.use != nil && p.b.use.flying > 0 {
			for i, f := range p.b.use.flight {
				if f != nil {
					set.Set(i)
				}
			}
		}
	}
	if p.want != nil {
		for i, w := range p.want {
			set[i] |= w
		}
	}
	return set
}

// setBytes returns what the pages of set take on disk.
func (x *index) setBytes(k placeKey, set *meta.Pages) int64 {
	n := int64(set.Count()) * PageSize
	last := pagesUpTo(k.v.size) - 1
	if i, p := x.math.split(last); i == k.index && set.Has(p) {
		n -= PageSize - diskLen(last, k.v.size)
	}
	return n
}

// pinGrowth returns what the free pages of v in [from, to) would add to pins.hard: those in hard places that are not
// charged yet.
func (x *index) pinGrowth(v *version, from, to int64) int64 {
	grow := int64(0)
	for page := from; page < to && len(x.pins.places) > 0; {
		i, n := x.math.split(page)
		end := min(to, x.math.first(i)+x.math.pages)
		if p := x.pins.places[placeKey{v, i}]; p != nil && p.kind() == PinHard {
			set := x.chargedPages(p)
			for ; page < end; page, n = page+1, n+1 {
				if !set.Has(n) {
					grow += diskLen(page, v.size)
				}
			}
		}
		page = end
	}
	return grow
}

// claimed charges pages of b that are coming from now on.
func (x *index) claimed(b *block) {
	if b.pinned() == PinHard {
		x.settle(x.pins.places[placeKey{b.v, b.index}])
	}
}

// resettle charges a block without users, that was unsettled, for what it has.
func (x *index) resettle(b *block) {
	b.marks &^= markUnsettled
	if p := x.pins.places[placeKey{b.v, b.index}]; p != nil {
		x.settle(p)
	}
}

// newLease makes a lease of a query that has none.
func (x *index) newLease(query string, until time.Time) *lease {
	x.pins.lastID++
	l := &lease{id: x.pins.lastID, query: query, until: until, places: make(map[*place]struct{})}
	x.pins.leases[query] = l
	return l
}

// extend makes a lease end at until, unless it ends later already. The record follows when it is leaseSlack behind.
func (x *index) extend(l *lease, until time.Time) {
	if until.After(l.until) {
		l.until = until
	}
	if l.until.Sub(l.saved) >= leaseSlack {
		l.saved = l.until
		x.pins.dirtyLeases[l] = struct{}{}
	}
}

// end hides a lease: nobody finds or adds to it any more. The caller ends its holds.
func (x *index) end(l *lease) {
	l.ended = true
	if x.pins.leases[l.query] == l {
		delete(x.pins.leases, l.query)
	}
	x.pins.ended = append(x.pins.ended, l.id)
	x.pins.dirtyLeases[l] = struct{}{}
}

// promise makes sure that p keeps its pins, and the charge for pages if it is hard, until the reader who brings them has
// left.
func (x *index) promise(p *place, pages *meta.Pages) {
	p.readers++
	if pages.Count() == 0 {
		return
	}
	if p.want == nil {
		p.want = new(meta.Pages)
	}
	for i, w := range pages {
		p.want[i] |= w
	}
	x.settle(p)
}

// leavePlace ends a promise. What has not arrived by the last one is not pinned.
func (x *index) leavePlace(p *place) {
	p.readers--
	if p.readers > 0 || x.pins.places[p.placeKey] != p {
		return
	}
	p.want = nil
	if p.b == nil {
		x.dropPlace(p)
		return
	}
	x.settle(p)
}

// placeOf finds or makes the place of a block. A new one has no hold: the caller gives it one at once.
func (x *index) placeOf(k placeKey) *place {
	p := x.pins.places[k]
	if p != nil {
		return p
	}
	p = &place{placeKey: k, b: k.v.blocks.get(k.index)}
	x.pins.places[k] = p
	if p.b == nil {
		x.pins.waiting++
	}
	return p
}
