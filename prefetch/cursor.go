package prefetch

import (
	"slices"

	"unistore/byterange"
)

// The tolerances of a cursor, in bytes.
const (
	adjacent     = 64 << 10 // a gap up to this is no gap: engines skip what they know
	backTolerant = 1 << 20  // so far back a read is a repetition
	aheadLeast   = 16 << 20 // so far ahead (or a window) a read is another connection of the same scan
	maxIslands   = 64
)

// cursor is one reader's way through one version.
type cursor struct {
	start, pos int64             // read in sequence: [start, pos)
	islands    []byterange.Range // read ahead of pos, ascending, apart from each other
	reads      int               // in sequence
	sure       bool              // it is sequential
	lastOff    int64
	lastLen    int64
	stride     int64 // between the last two reads
	strides    int   // how often it was the same
	used       int64 // a tick; the oldest cursor gives way

	issued    int64 // end of what was wanted ahead of pos; 0 nothing
	wanted    int64 // bytes wanted in all
	read      int64 // of them read
	strideEnd int64 // off of the last wanted stride
	pending   int64 // strides that are wanted and were not read yet
}

// seen is how many bytes were read in sequence.
func (c *cursor) seen() int64 { return c.pos - c.start }

// ahead is how many wanted bytes the reader has not come to yet.
func (c *cursor) ahead() int64 { return min(max(c.issued-c.pos, 0)+c.pending*c.lastLen, c.wanted) }

// fit says how a read fits a cursor.
type fit uint8

const (
	fitNone fit = iota
	fitRepeat
	fitNext   // it goes on where the cursor is
	fitStride // it is where the stride leads to
	fitAhead  // another connection of the scan has gone ahead
)

// fits says how [off, off+n) fits.
func (c *cursor) fits(off, n int64) fit {
	switch gap := off - c.pos; {
	case gap >= -adjacent && gap <= adjacent && off+n > c.pos:
		return fitNext
	case c.stride > 0 && c.strides > 0 && n == c.lastLen && off == c.lastOff+c.stride:
		return fitStride
	case gap < 0 && gap >= -backTolerant && off >= c.start:
		if off+n > c.pos {
			return fitNext
		}
		return fitRepeat
	case gap > 0 && c.sure && off < max(c.issued, c.pos+aheadLeast):
		return fitAhead
	}
	return fitNone
}

// take moves the cursor by a read that fits.
func (c *cursor) take(off, n int64, how fit) {
	c.count(off, n)
	if off != c.lastOff {
		if d := off - c.lastOff; d == c.stride && n == c.lastLen {
			c.strides++
		} else {
			c.stride, c.strides = d, 1
		}
	}
	c.lastOff, c.lastLen = off, n
	switch how {
	case fitNext:
		c.reads++
		c.pos = max(c.pos, off+n)
	case fitAhead:
		c.reads++
		c.land(byterange.Range{Off: off, Len: n})
	case fitStride:
		c.start, c.pos = off, off+n
		if c.pending > 0 {
			c.pending--
			c.read += n
		}
	}
	c.join()
}

// count adds what of [off, off+n) was wanted to what of it was read. What was read twice counts twice, at most as much as
// was wanted.
func (c *cursor) count(off, n int64) {
	if c.issued > 0 && off < c.issued {
		c.read = min(c.read+min(off+n, c.issued)-max(off, c.pos-backTolerant, 0), c.wanted)
		c.read = max(c.read, 0)
	}
}

// land keeps a range that was read ahead of pos. With too many of them the first gap is given up.
func (c *cursor) land(r byterange.Range) {
	i, _ := slices.BinarySearchFunc(c.islands, r.Off, func(x byterange.Range, off int64) int {
		switch {
		case x.Off < off:
			return -1
		case x.Off > off:
			return 1
		}
		return 0
	})
	c.islands = slices.Insert(c.islands, i, r)
	if len(c.islands) > maxIslands {
		c.pos = c.islands[0].Off
	}
}

// join moves pos over the islands that it has reached.
func (c *cursor) join() {
	for len(c.islands) > 0 && c.islands[0].Off <= c.pos+adjacent {
		c.pos = max(c.pos, c.islands[0].End())
		c.islands = slices.Delete(c.islands, 0, 1)
	}
}

// swallow makes o, which c has reached, a part of c.
func (c *cursor) swallow(o *cursor) {
	c.pos = max(c.pos, o.pos)
	c.reads += o.reads
	c.sure = c.sure || o.sure
	c.issued = max(c.issued, o.issued)
	c.wanted += o.wanted
	c.read += o.read
	for _, r := range o.islands {
		c.land(r)
	}
	c.join()
}
