package cache

// What counts as another use of a block. A block is 1 MiB, reads are often smaller: a scan that
// reads a table once touches each block several times. If those counted, no policy could tell a scan from
// what is used again and again. So a touch is another use only if all of this holds:
//
//   - it is a request's first of that block;
//   - it begins before the end of the request before it: going on behind that is the same pass over the block (another query's read of the rest looks the same);
//   - the block was not used in the same second: columns of one row group are read side by side.

// readToUnits is how many units block.readTo has in a block. The last value also stands for the end of the
// block or of the object.
const readToUnits = 256

// usesAgainLocked reports whether r, which is about to read b at its position, uses it once more, and
// notes how far it wants to read. now is in Unix seconds.
func (r *Reader) usesAgainLocked(b *block, now uint32) (again bool) {
	if r.using == b {
		return false
	}
	r.using = b
	blockSize := r.c.math.pages * PageSize
	from := r.pos % blockSize
	to := from + r.end - r.pos
	again = b.passes(from, to, blockSize, r.end >= b.v.size)
	return again && b.used != now
}

// passes notes a read of the bytes from..to of b, whose last is the object's with end, and reports whether
// it begins before the end of the one noted before. Within a unit (4 KiB of 1 MiB) it can not tell.
func (b *block) passes(from, to, blockSize int64, end bool) bool {
	before := b.readTo
	if end || to >= blockSize {
		b.readTo = readToUnits - 1
	} else {
		b.readTo = uint8(to * readToUnits / blockSize)
	}
	return from*readToUnits/blockSize < int64(before)
}
