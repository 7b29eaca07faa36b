package cache

import (
	"crypto/sha256"
	"encoding/binary"

	"unistore/byterange"
	"unistore/meta"
	"unistore/object"
)

// PageSize is the unit of validity, checksums and fills, in bytes (DESIGN: words).
const PageSize = 64 << 10

// The bounds of a block's size, in bytes; it is a power of two.
const (
	MinBlockSize = PageSize
	MaxBlockSize = PageSize * meta.MaxPages
)

// allocUnit is the unit in which filesystems give space: what a page shorter than PageSize takes is rounded up
// to it, so that what the index counts is what the disk has lost.
const allocUnit = 4096

// Pages of an object are numbered from 0 through all of its blocks; a page number fits in an int64 as
// an offset does. pageOf returns the page of the byte at off.
func pageOf(off int64) int64 { return off / PageSize }

// pagesUpTo returns the number of pages needed for end bytes: the first page that starts at end or later.
func pagesUpTo(end int64) int64 { return (end + PageSize - 1) / PageSize }

// pageLen returns the length of a page of an object of size bytes; only the last one is short.
func pageLen(page, size int64) int64 { return min(PageSize, size-page*PageSize) }

// diskLen returns the bytes that a page takes on disk.
func diskLen(page, size int64) int64 {
	return (pageLen(page, size) + allocUnit - 1) / allocUnit * allocUnit
}

// blockMath places pages in blocks.
type blockMath struct {
	pages int64 // in a block
}

// split returns the block of a page and the page's number in it.
func (m blockMath) split(page int64) (index uint32, p int) {
	return uint32(page / m.pages), int(page % m.pages)
}

// first returns the page that block index starts with.
func (m blockMath) first(index uint32) int64 { return int64(index) * m.pages }

// count returns the number of pages of block index of an object of size bytes.
func (m blockMath) count(index uint32, size int64) int {
	return int(min(m.pages, pagesUpTo(size)-m.first(index)))
}

// offset returns where page is in its block's file.
func (m blockMath) offset(page int64) int64 { return page % m.pages * PageSize }

// maxObject is the largest object whose blocks are cached: block indexes are 32 bit.
func (m blockMath) maxObject() int64 { return (1<<32 - 1) * m.pages * PageSize }

// wholePages returns the pages [first, end) that r contains whole; the last page of the object is
// whole when r reaches the object's end. There are none when end <= first.
func wholePages(r byterange.Range, size int64) (first, end int64) {
	first, end = pagesUpTo(r.Off), pageOf(r.End())
	if r.End() == size {
		end = pagesUpTo(size)
	}
	return first, end
}

// versionID names one version of one object: a hash of its key, ETag and size. Equal ids mean equal
// bytes, so it must not collide: 128 bits of SHA-256.
type versionID [16]byte

func idOf(k Key, a object.Attrs) versionID {
	var buf [256]byte
	b := buf[:0]
	for _, s := range [...]string{k.Upstream, k.Bucket, k.Key, a.ETag} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendVarint(b, a.Size)
	sum := sha256.Sum256(b)
	return versionID(sum[:16])
}
