package cache

import (
	"iter"
	"math/bits"
	"sync"

	"unistore/meta"
)

// block is one block of one version and its file. It is in the index, or dead. All fields are guarded by
// Cache.mu; fileID, v and index never change. There is one for every block on disk, so its size counts: 80 bytes.
type block struct {
	v      *version
	fileID uint64
	// Pages 0..63; the others are in ext. valid: in the file and counted. verified: and their
	// checksum was seen to be right in this run.
	valid, verified uint64
	ext             *extPages
	newer, older    *block    // links of the policy
	use             *blockUse // while refs > 0
	index           uint32
	used            uint32 // Unix time of the last use
	refs            int32  // readers and fills that need the file
	readTo          uint8  // how far the last request read, see reuse.go
	dead            bool   // taken out of the index; goes with the last ref
	onDisk          bool   // there may be a record and a file
	marks           marks
}

// marks are small facts about a block.
type marks uint8

// The marks, besides two bits of a PinKind and three that are the policy's.
const (
	markUsed      marks = 1 << iota // used is not yet in the database
	markUnsettled                   // its pins may be charged too much, see index.settle
	pinShift            = iota

	markPrefetched marks = 1 << 4 // brought by prefetch and not read since
	seatShift            = 5
)

// pinned returns the firmest pin on b.
func (b *block) pinned() PinKind { return PinKind(b.marks>>pinShift) & 3 }

func (b *block) setPinned(k PinKind) { b.marks = b.marks&^(3<<pinShift) | marks(k)<<pinShift }

// seat is where in the policy b is, 0..7; what that means is the policy's affair.
func (b *block) seat() uint8 { return uint8(b.marks >> seatShift) }

func (b *block) setSeat(s uint8) { b.marks = b.marks&(1<<seatShift-1) | marks(s)<<seatShift }

// origin returns what b counts as: prefetched until its first read.
func (b *block) origin() meta.Origin {
	if b.marks&markPrefetched != 0 {
		return meta.OriginPrefetch
	}
	return meta.OriginDemand
}

func (b *block) setOrigin(o meta.Origin) {
	b.marks &^= markPrefetched
	if o == meta.OriginPrefetch {
		b.marks |= markPrefetched
	}
}

// extPages holds the sets of a block of more than 64 pages.
type extPages struct {
	valid, verified [meta.MaxPages/64 - 1]uint64
}

// blockUse is what is known of a block only while somebody uses it.
type blockUse struct {
	// io orders the writes of the block's record. It is held during them (some microseconds: they
	// are not synced), and Cache.mu may be taken inside.
	io   sync.Mutex
	open bool // under io: the record says filling

	// Guarded by Cache.mu.
	flight []*fill  // by page number in the block: who is bringing it; nil when nobody fills the block
	flying int      // how many are not nil
	crc    []uint32 // of the valid pages, by page number; nil until somebody needs them
}

func (b *block) word(p int) (valid, verified *uint64) {
	if p < 64 {
		return &b.valid, &b.verified
	}
	if b.ext == nil {
		b.ext = new(extPages)
	}
	return &b.ext.valid[p/64-1], &b.ext.verified[p/64-1]
}

func (b *block) has(p int) bool {
	if p >= 64 && b.ext == nil {
		return false
	}
	valid, _ := b.word(p)
	return *valid>>(p%64)&1 != 0
}

func (b *block) isVerified(p int) bool {
	if p >= 64 && b.ext == nil {
		return false
	}
	_, verified := b.word(p)
	return *verified>>(p%64)&1 != 0
}

// setValid marks a page that has just been written, and so is verified.
func (b *block) setValid(p int) {
	valid, verified := b.word(p)
	*valid |= 1 << (p % 64)
	*verified |= 1 << (p % 64)
}

func (b *block) setVerified(p int) {
	_, verified := b.word(p)
	*verified |= 1 << (p % 64)
}

// unverify makes every page be checked before it is served again.
func (b *block) unverify() {
	b.verified = 0
	if b.ext != nil {
		clear(b.ext.verified[:])
	}
}

// count returns the number of valid pages.
func (b *block) count() int {
	n := bits.OnesCount64(b.valid)
	if b.ext != nil {
		for _, w := range b.ext.valid {
			n += bits.OnesCount64(w)
		}
	}
	return n
}

// run returns how many valid pages follow each other from p on, at most limit.
func (b *block) run(p, limit int) int {
	n := 0
	for n < limit && b.has(p+n) {
		n++
	}
	return n
}

// pages returns the valid set in the form of the record.
func (b *block) pages() meta.Pages {
	set := meta.Pages{b.valid}
	if b.ext != nil {
		copy(set[1:], b.ext.valid[:])
	}
	return set
}

// setPages makes the valid set that of a record; nothing is verified.
func (b *block) setPages(set *meta.Pages) {
	b.valid = set[0]
	if set[1]|set[2]|set[3] != 0 {
		b.ext = new(extPages)
		copy(b.ext.valid[:], set[1:])
	}
}

// version is one version of one object that has blocks or users. Guarded by Cache.mu; id and size
// never change.
type version struct {
	id     versionID
	size   int64
	refs   int32 // readers and fills
	blocks blockTable
	// streams are the fills that will go on beyond the pages they have claimed.
	streams []*fill
	// gone: forgotten; nothing is stored for it any more, readers finish around the cache.
	gone bool
}

// index finds versions and blocks. Guarded by Cache.mu.
type index struct {
	math     blockMath
	versions map[versionID]*version
	policy   *classes // holds the blocks without a pin
	soft     lru      // holds the soft pinned ones
	pins     pins
	count    int // of blocks
}

func newIndex(m blockMath, p policy) index {
	return index{
		math: m, policy: &classes{inner: p}, pins: newPins(),
		versions: make(map[versionID]*version),
	}
}

// acquireVersion finds or makes the version and takes a reference.
func (x *index) acquireVersion(id versionID, size int64) *version {
	v := x.versions[id]
	if v == nil {
		v = &version{id: id, size: size}
		x.versions[id] = v
	}
	v.refs++
	return v
}

// releaseVersion gives a reference back.
func (x *index) releaseVersion(v *version) {
	v.refs--
	x.reapVersion(v)
}

// reapVersion lets go of a version that has neither blocks nor users.
func (x *index) reapVersion(v *version) {
	if v.refs == 0 && v.blocks.count == 0 && !v.gone {
		x.forget(v)
	}
}

// forget hides v: nobody finds its blocks any more, and none is added. The caller removes them.
func (x *index) forget(v *version) {
	delete(x.versions, v.id)
	v.gone = true
}

// find returns the block that holds page, or nil, and the page's number in it.
func (x *index) find(v *version, page int64) (*block, int) {
	i, p := x.math.split(page)
	if v.gone {
		return nil, p
	}
	return v.blocks.get(i), p
}

// all returns the blocks of the versions that are not gone, in no order. The loop must not change the index.
func (x *index) all() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		for _, v := range x.versions {
			for b := range v.blocks.all() {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// add puts a new block in the index. Its version must not be gone.
func (x *index) add(b *block) {
	x.place(b)
	x.attachPins(b)
	x.enlist(b)
}

// place is add without the policy: while the index is loaded.
func (x *index) place(b *block) {
	b.v.blocks.put(b)
	x.count++
}

// setValid marks a page of a block in the index that has just been written.
func (x *index) setValid(b *block, p int) {
	b.setValid(p)
	if b.pinned() == PinNone {
		x.policy.grew(b)
	}
}

// remove takes a block out of the index.
func (x *index) remove(b *block) {
	v := b.v
	v.blocks.remove(b.index)
	x.count--
	x.delist(b)
	if b.pinned() != PinNone {
		x.detachPins(b)
	}
	x.reapVersion(v)
}

// bytes returns what the valid pages of b take on disk.
func (x *index) bytes(b *block) int64 {
	n := int64(b.count()) * PageSize
	last := pagesUpTo(b.v.size) - 1
	if i, p := x.math.split(last); i == b.index && b.has(p) {
		n -= PageSize - diskLen(last, b.v.size)
	}
	return n
}
