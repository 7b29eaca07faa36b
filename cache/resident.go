package cache

import (
	"unistore/byterange"
	"unistore/object"
)

// residentStep is how many blocks Resident looks at under one hold of the lock.
const residentStep = 512

// Resident returns how many bytes of ranges of one version are in the cache now. Where ranges overlap, bytes count as
// often as they are named; what lies outside the object does not count. It is a moment's view: it neither touches the
// blocks nor keeps them.
func (c *Cache) Resident(k Key, a object.Attrs, ranges []byterange.Range) int64 {
	if a.ETag == "" || a.Size > c.math.maxObject() {
		return 0 // never kept
	}
	whole := byterange.Range{Len: a.Size}
	total := int64(0)
	for _, r := range ranges {
		if r = r.Intersect(whole); !r.Empty() {
			total += c.residentIn(idOf(k, a), r)
		}
	}
	return total
}

// residentIn counts the resident bytes of r, which is inside the object.
func (c *Cache) residentIn(id versionID, r byterange.Range) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.mu.versions[id]
	if v == nil {
		return 0
	}
	v.refs++ // the version stays while the lock is given up in between
	defer c.mu.releaseVersion(v)
	total := int64(0)
	for n, b := range c.mu.blocksOf(v, r) {
		if n%residentStep == residentStep-1 {
			c.mu.Unlock()
			c.mu.Lock()
		}
		if !b.dead {
			total += c.mu.residentOf(b, r)
		}
	}
	return total
}

// blocksOf returns the blocks of v that have bytes of r, in any order.
func (x *index) blocksOf(v *version, r byterange.Range) []*block {
	first, _ := x.math.split(pageOf(r.Off))
	last, _ := x.math.split(pageOf(r.End() - 1))
	var found []*block
	if int64(last)-int64(first) < int64(v.blocks.count) {
		for i := int64(first); i <= int64(last); i++ {
			if b := v.blocks.get(uint32(i)); b != nil && !v.gone {
				found = append(found, b)
			}
		}
		return found
	}
	for b := range v.blocks.all() {
		if first <= b.index && b.index <= last {
			found = append(found, b)
		}
	}
	return found
}

// residentOf returns how many bytes of r are in valid pages of b.
func (x *index) residentOf(b *block, r byterange.Range) int64 {
	total, start := int64(0), x.math.first(b.index)
	for p := range x.math.count(b.index, b.v.size) {
		if b.has(p) {
			off := (start + int64(p)) * PageSize
			total += r.Intersect(byterange.Range{Off: off, Len: PageSize}).Len
		}
	}
	return total
}
