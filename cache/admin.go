package cache

import (
	"context"
	"errors"
	"strings"

	"unistore/meta"
	"unistore/object"
)

// Scope selects objects: those of one bucket at one upstream whose key starts with Prefix. The zero Scope is
// everything in the cache.
type Scope struct {
	Upstream, Bucket, Prefix string
}

func (s Scope) all() bool { return s == Scope{} }

// Has reports whether k is in s.
func (s Scope) Has(k Key) bool {
	return s.all() || k.Upstream == s.Upstream && k.Bucket == s.Bucket && strings.HasPrefix(k.Key, s.Prefix)
}

// Dropped counts what was forgotten. Bytes are those on disk; they are free a little later.
type Dropped struct {
	Objects, Blocks int
	Bytes           int64
}

func (d *Dropped) add(o Dropped) {
	d.Objects += o.Objects
	d.Blocks += o.Blocks
	d.Bytes += o.Bytes
}

// Drop is Forget, and says what there was.
func (c *Cache) Drop(k Key) Dropped { return c.forget(k) }

// scanBatch is how many keys are looked up before anything is done with them.
const scanBatch = 1024

// DropMatching forgets all objects in s and their blocks, pinned ones too, and makes every Token taken before void,
// those of other objects too. When it returns nil, no read that starts later is served from what was there. On
// an error (ctx, the database) a part has been dropped.
func (c *Cache) DropMatching(ctx context.Context, s Scope) (Dropped, error) {
	for i := range c.objects.all {
		st := &c.objects.all[i]
		st.mu.Lock()
		st.mu.forgotten = Token(c.objects.clock.Add(1))
		st.voidMatchingLocked(s)
		st.mu.Unlock()
	}
	var sum Dropped
	// First what has a record, then what is only in memory: entries go from there to here, not back.
	err := c.eachRecord(ctx, s, func(k Key, _ Entry) { sum.add(c.forget(k)) })
	for i := range c.objects.all {
		for _, kn := range c.objects.all[i].matching(s) {
			if ctx.Err() != nil {
				return sum, ctx.Err()
			}
			sum.add(c.forget(kn.key))
		}
	}
	if s.all() { // versions that no object names any more
		for _, id := range c.versionIDs() {
			sum.add(c.dropVersion(id, reasonForget))
		}
	}
	return sum, err
}

// eachRecord calls fn for every object in s that has a record, without a lock.
func (c *Cache) eachRecord(ctx context.Context, s Scope, fn func(Key, Entry)) error {
	errFull := errors.New("batch is full")
	var after *meta.ObjectKey
	for {
		type item struct {
			k Key
			e Entry
		}
		batch := make([]item, 0, scanBatch)
		err := c.db.ObjectsIn(meta.ObjectKey{Upstream: s.Upstream, Bucket: s.Bucket, Key: s.Prefix}, after,
			func(k meta.ObjectKey, rec meta.Object, _ error) error { // an unreadable record has a key all the same
				batch = append(batch, item{Key(k), Entry(rec)})
				after = &k
				if len(batch) == scanBatch {
					return errFull
				}
				return ctx.Err()
			})
		if err != nil && !errors.Is(err, errFull) {
			return err
		}
		for _, it := range batch {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			fn(it.k, it.e)
		}
		if err == nil {
			return nil
		}
	}
}

// matching returns the entries of the stripe in scope; they may be used after, but for reading only.
func (s *stripe) matching(scope Scope) []known {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []known
	for k, kn := range s.mu.known {
		if !kn.gone && scope.Has(k) {
			out = append(out, *kn)
		}
	}
	return out
}

func (c *Cache) versionIDs() []versionID {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]versionID, 0, len(c.mu.versions))
	for id := range c.mu.versions {
		ids = append(ids, id)
	}
	return ids
}

// Usage is what the cache has of a set of objects.
type Usage struct {
	Objects int   // whose attributes are known
	Size    int64 // of these objects together, in bytes
	Blocks  int   // resident, of their current versions
	Bytes   int64 // on disk
}

// Usage counts the objects in s. It looks at every one of them: for operators, not for the path of a read.
func (c *Cache) Usage(ctx context.Context, s Scope) (Usage, error) {
	var u Usage
	add := func(k Key, a object.Attrs) {
		blocks, bytes := c.versionUsage(idOf(k, a))
		u.Objects++
		u.Size += a.Size
		u.Blocks += blocks
		u.Bytes += bytes
	}
	err := c.eachRecord(ctx, s, func(k Key, e Entry) { add(k, e.Attrs) })
	if err != nil {
		return Usage{}, err
	}
	for i := range c.objects.all {
		for _, kn := range c.objects.all[i].matching(s) {
			if !kn.stored {
				add(kn.key, kn.entry.Attrs)
			}
		}
	}
	return u, nil
}

// versionUsage counts the resident blocks of a version and their bytes on disk.
func (c *Cache) versionUsage(id versionID) (blocks int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.mu.versions[id]
	if v == nil {
		return 0, 0
	}
	for b := range v.blocks.all() {
		if n := c.mu.bytes(b); n > 0 {
			blocks++
			bytes += n
		}
	}
	return blocks, bytes
}
