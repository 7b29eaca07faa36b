package cache

import (
	"container/list"
	"errors"
	"fmt"
	"hash/maphash"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"unistore/meta"
	"unistore/object"
)

const (
	stripes = 64
	// saveChecked is how much newer Entry.Checked must be than its record to be worth a write. After
	// a restart an entry may look older than it is, never newer.
	saveChecked = 5 * time.Minute
)

// objects keeps what is known of objects: in memory for the last used, in the database for those whose headers
// are known. Keys are spread over stripes.
type objects struct {
	c     *Cache
	limit int // entries of a stripe
	seed  maphash.Seed
	clock atomic.Uint64 // of Tokens and Forgets
	// void: the records are not to be trusted and neither read nor written, until discard.
	void atomic.Bool
	all  [stripes]stripe
}

type stripe struct {
	// wr orders the database writes of the stripe as the changes in memory are ordered. It is held during
	// them (they are not synced), and mu may be taken inside.
	wr sync.Mutex
	mu struct {
		sync.Mutex
		known     map[Key]*known
		used      list.List        // of *known, the last used in front
		forgotten Token            // Tokens up to this one are void
		writing   map[Key]*writers // see Overwrite
	}
}

// known is the entry of one object. Guarded by stripe.mu; entry is replaced, its maps never change.
type known struct {
	key    Key
	entry  Entry
	token  Token     // of the last Learn
	saved  time.Time // Checked in the database
	stored bool      // there may be a record in the database
	// gone: the object is being forgotten. The entry is in the way of its record.
	gone bool
	elem *list.Element // in used; nil when gone
}

func newObjects(c *Cache, limit int) *objects {
	o := &objects{c: c, limit: max(1, limit/stripes), seed: maphash.MakeSeed()}
	for i := range o.all {
		o.all[i].mu.known = make(map[Key]*known)
		o.all[i].mu.writing = make(map[Key]*writers)
	}
	return o
}

func (o *objects) stripe(k Key) *stripe {
	return &o.all[maphash.Comparable(o.seed, k)%stripes]
}

func (o *objects) len() int {
	n := 0
	for i := range o.all {
		s := &o.all[i]
		s.mu.Lock()
		n += s.mu.used.Len()
		s.mu.Unlock()
	}
	return n
}

// Begin starts the history of a request to the upstream about k. The Token is good for other keys too: a listing
// takes one for all that it will list.
func (c *Cache) Begin(Key) Token { return Token(c.objects.clock.Add(1)) }

// Stat returns what is known of k. The maps and slices in it are shared: not to be changed.
func (c *Cache) Stat(k Key) (Entry, bool) {
	s := c.objects.stripe(k)
	s.mu.Lock()
	if e, ok, found := s.getLocked(k); found {
		s.mu.Unlock()
		return e, ok
	}
	forgotten := s.mu.forgotten
	s.mu.Unlock()
	if c.objects.void.Load() {
		return Entry{}, false
	}
	rec, err := c.db.Object(meta.ObjectKey(k))
	if err != nil {
		c.absent(err)
		return Entry{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok, found := s.getLocked(k); found {
		return e, ok
	}
	if s.mu.forgotten != forgotten || c.objects.void.Load() {
		return Entry{}, false
	}
	kn := &known{key: k, entry: Entry(rec), saved: rec.Checked, stored: true}
	c.objects.addLocked(s, kn)
	return kn.entry, true
}

// absent counts a failure to read a record, unless there is none.
func (c *Cache) absent(err error) {
	if !errors.Is(err, meta.ErrNotExist) {
		c.survived(kindMeta, err)
	}
}

// getLocked returns the entry in memory. found says that the database need not be asked.
func (s *stripe) getLocked(k Key) (e Entry, ok, found bool) {
	kn := s.mu.known[k]
	switch {
	case kn == nil:
		return Entry{}, false, false
	case kn.gone:
		return Entry{}, false, true
	case kn.elem != nil:
		s.mu.used.MoveToFront(kn.elem)
	}
	return kn.entry, true, true
}

// addLocked keeps kn in memory and returns what had to make room for it.
func (o *objects) addLocked(s *stripe, kn *known) []*known {
	s.mu.known[kn.key] = kn
	kn.elem = s.mu.used.PushFront(kn)
	var out []*known
	for s.mu.used.Len() > o.limit {
		old := s.mu.used.Remove(s.mu.used.Back()).(*known)
		old.elem = nil
		delete(s.mu.known, old.key)
		out = append(out, old)
	}
	return out
}

// addListedLocked keeps what a listing has said of an unknown object if there is room, and makes it the first to go:
// a listing of a million keys must not push out what reads have learned.
func (o *objects) addListedLocked(s *stripe, kn *known) {
	if s.mu.used.Len() >= o.limit {
		return
	}
	s.mu.known[kn.key] = kn
	kn.elem = s.mu.used.PushBack(kn)
}

// Learn takes in what the upstream has said about k, asked after t was taken. It does nothing and returns
// false when k was forgotten since, or when a later question brought another version. Another ETag than
// the known one drops the old version's blocks; the same one confirms it. Attributes without
// headers (of a listing) leave known headers of the same version alone; of an object that was not known they are
// kept in memory only, and only while they push nothing out.
func (c *Cache) Learn(k Key, t Token, attrs object.Attrs) bool {
	s := c.objects.stripe(k)
	s.wr.Lock()
	defer s.wr.Unlock()
	c.Stat(k) // what is only in the database comes into memory

	s.mu.Lock()
	old := s.mu.known[k]
	if t <= s.mu.forgotten || old != nil && !old.gone && !old.accepts(t, attrs) {
		s.mu.Unlock()
		return false
	}
	kn := &known{key: k, token: t, entry: Entry{Attrs: attrs, Checked: c.cfg.Now()}}
	var replaced *object.Attrs
	if old != nil {
		kn.stored, kn.saved = old.stored, old.saved
		if !old.gone {
			kn.merge(old)
			if !sameVersion(old.entry.Attrs, attrs) {
				replaced = &old.entry.Attrs
			}
		}
		if old.elem != nil {
			s.mu.used.Remove(old.elem)
		}
	}
	if old == nil && !attrs.HeadersKnown {
		c.objects.addListedLocked(s, kn)
		s.mu.Unlock()
		return true
	}
	evicted := c.objects.addLocked(s, kn)
	save := kn.worthSaving(old) && (kn.stored || s.mu.writing[k] == nil)
	s.mu.Unlock()

	c.saveObject(s, kn, save, evicted)
	if replaced != nil {
		c.dropVersion(idOf(k, *replaced), reasonVersion)
	}
	return true
}

// sameVersion: without an ETag nothing is known to be the same.
func sameVersion(a, b object.Attrs) bool { return a.ETag != "" && a.ETag == b.ETag && a.Size == b.Size }

// accepts reports whether an answer to the question t may change what is known.
func (kn *known) accepts(t Token, attrs object.Attrs) bool {
	return t >= kn.token || sameVersion(kn.entry.Attrs, attrs)
}

// merge keeps of the older entry what the new one does not know.
func (kn *known) merge(old *known) {
	was, is := &old.entry.Attrs, &kn.entry.Attrs
	kn.token = max(kn.token, old.token)
	if !sameVersion(*was, *is) {
		return
	}
	if old.entry.Checked.After(kn.entry.Checked) {
		kn.entry.Checked = old.entry.Checked
	}
	// The same bytes can be written again with other headers. A listing shows that by a later time;
	// the times of a listing and of headers may differ below a second.
	rewritten := is.ModTime.Sub(was.ModTime) >= time.Second
	if !is.HeadersKnown && was.HeadersKnown && !rewritten {
		*is = *was
	}
	if len(is.Checksums) == 0 && !rewritten {
		is.Checksums = was.Checksums
	}
}

// worthSaving reports whether the entry differs from its record enough to be written.
func (kn *known) worthSaving(old *known) bool {
	if !kn.stored {
		return kn.entry.Attrs.HeadersKnown
	}
	if old == nil || old.gone || !reflect.DeepEqual(old.entry.Attrs, kn.entry.Attrs) {
		return true
	}
	return kn.entry.Checked.Sub(kn.saved) >= saveChecked
}

// saveObject writes kn's record and deletes those of entries that left memory and have no block. The
// caller holds s.wr. When it fails, the record may be of another version: none is trusted any more.
func (c *Cache) saveObject(s *stripe, kn *known, save bool, evicted []*known) {
	if c.objects.void.Load() {
		return
	}
	var ch meta.Changes
	if save {
		ch.PutObject(meta.ObjectKey(kn.key), meta.Object(kn.entry))
	}
	for _, old := range evicted {
		if old.stored && !c.hasBlocks(idOf(old.key, old.entry.Attrs)) {
			ch.DeleteObject(meta.ObjectKey(old.key))
		}
	}
	if err := c.db.Write(&ch, false); err != nil {
		c.survived(kindMeta, err)
		c.objects.distrust()
		return
	}
	if save {
		s.mu.Lock()
		defer s.mu.Unlock()
		kn.stored, kn.saved = true, kn.entry.Checked
	}
}

// distrust makes the records of objects void, because they may be older than what was learned or forgotten. What
// is in memory stays.
func (o *objects) distrust() {
	o.void.Store(true)
	o.c.suspect()
}

// discard deletes all records of objects if they are void, after which they are used again. Every change that began
// before they were void has ended then, since it is made under its stripe's wr.
func (o *objects) discard() error {
	if !o.void.Load() {
		return nil
	}
	for i := range o.all {
		s := &o.all[i]
		s.wr.Lock()
		s.mu.Lock()
		for k, kn := range s.mu.known {
			kn.stored, kn.saved = false, time.Time{}
			if kn.gone {
				delete(s.mu.known, k)
			}
		}
		s.mu.Unlock()
		s.wr.Unlock()
	}
	if err := o.c.db.DiscardObjects(); err != nil {
		return fmt.Errorf("discard the records of objects: %w", err)
	}
	o.void.Store(false)
	return nil
}

// Forget drops all that is known of k and its blocks, and makes Tokens taken before void. When it returns no
// read that starts later is served from what was there.
func (c *Cache) Forget(k Key) { c.forget(k) }

// forget is Forget and says what there was.
func (c *Cache) forget(k Key) (d Dropped) {
	s := c.objects.stripe(k)
	s.wr.Lock()
	defer s.wr.Unlock()
	e, ok := c.Stat(k)
	s.mu.Lock()
	s.mu.forgotten = Token(c.objects.clock.Add(1))
	s.voidLocked(k)
	if old := s.mu.known[k]; old != nil && old.elem != nil {
		s.mu.used.Remove(old.elem)
	}
	// Until the record is deleted nobody reads it.
	s.mu.known[k] = &known{key: k, gone: true, stored: true}
	s.mu.Unlock()

	if !c.objects.void.Load() {
		var ch meta.Changes
		ch.DeleteObject(meta.ObjectKey(k))
		if err := c.db.Write(&ch, false); err != nil {
			c.survived(kindMeta, err)
			c.objects.distrust()
		}
	}
	s.mu.Lock()
	delete(s.mu.known, k)
	s.mu.Unlock()
	if ok {
		d = c.dropVersion(idOf(k, e.Attrs), reasonForget)
		d.Objects = 1
	}
	return d
}

// hasBlocks reports whether the version is in the index.
func (c *Cache) hasBlocks(id versionID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.versions[id] != nil
}

// dropStep is how many blocks are dropped under one hold of the lock.
const dropStep = 512

// dropVersion forgets a version: nobody finds its blocks from now on. Readers who are in the midst of it go on
// around the cache.
func (c *Cache) dropVersion(id versionID, why reason) (d Dropped) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.mu.versions[id]
	if v == nil {
		return Dropped{}
	}
	c.mu.forget(v)
	for _, s := range v.streams {
		s.wakeLocked()
	}
	for n := 1; v.blocks.count > 0; n++ {
		b := v.blocks.any()
		if size := c.mu.bytes(b); size > 0 {
			d.Blocks++
			d.Bytes += size
		}
		c.dropLocked(b, why)
		if n%dropStep == 0 {
			c.mu.Unlock()
			c.mu.Lock()
		}
	}
	c.spaceLocked()
	return d
}
