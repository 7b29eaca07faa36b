package multipart

import (
	"math"

	"unistore/upstream"
)

// Mode is how a piece of a body is written.
type Mode uint8

// The modes.
const (
	Single Mode = iota // the piece is the object: one PUT
	Multi              // the piece is a part
)

func (m Mode) String() string {
	if m == Single {
		return "single"
	}
	return "multi"
}

// DefaultPart is the size of a part unless limits demand another: big enough that the cost of a request
// vanishes (S3 recommends 8 to 16 MB), small enough that a dozen fit into memory.
const DefaultPart = 16 << 20

// partNumbers is the number of parts that an S3 upload can have
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
const partNumbers = 10_000

// Decide says how to write the piece of size bytes that starts at position in its body; last means that
// the body ends with it.
//
// Only a piece that is the whole body may be a PUT of its own, and that is known by its position: it
// starts at 0 and is the last. Its size says nothing. A short piece at the end of a long body is
// as small as a small object, and a PUT of it replaces the object by its tail, whenever it is written
// before or after the upload completes.
func Decide(position, size int64, last bool, lim upstream.Limits) Mode {
	whole := position == 0 && last
	if whole && (lim.MaxPut == 0 || size <= lim.MaxPut) {
		return Single
	}
	return Multi
}

// PartSize is the size of the parts, all but the last, of a body of size bytes: DefaultPart, or MinPart
// where that is more, doubled until MaxParts of them reach the size, at most MaxPart. Whether they
// do reach it then is for the caller to check.
func PartSize(size int64, lim upstream.Limits) int64 {
	part := firstPart(lim)
	for need := ceilDiv(size, maxParts(lim)); part < need && part <= math.MaxInt64/2; {
		part *= 2
	}
	return atMost(part, lim.MaxPart)
}

// growingPart is the size of part number (from 1) of a body whose length is not known, when no part may
// be larger than buffer: small parts first, since most bodies are short, and doubling after each
// eighth of the numbers, so that the numbers last. With S3's limits and 64 MiB buffers they reach
// about 560 GB.
func growingPart(number int, buffer int64, lim upstream.Limits) int64 {
	part := firstPart(lim)
	for range int64(number-1) / max(maxParts(lim)/8, 1) {
		if part >= buffer {
			break
		}
		part *= 2
	}
	return atMost(min(part, max(buffer, lim.MinPart)), lim.MaxPart)
}

func firstPart(lim upstream.Limits) int64 {
	return atMost(max(DefaultPart, lim.MinPart), lim.MaxPart)
}

func maxParts(lim upstream.Limits) int64 {
	if lim.MaxParts <= 0 {
		return partNumbers
	}
	return int64(min(lim.MaxParts, partNumbers))
}

func ceilDiv(a, b int64) int64 {
	if a <= 0 {
		return 0
	}
	return (a-1)/b + 1
}

// atMost applies a limit of which 0 means none.
func atMost(n, limit int64) int64 {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

// plan is how one body is cut.
type plan struct {
	lim    upstream.Limits
	size   int64 // of the body, or -1
	fixed  int64 // size of every part but the last; 0 for growing parts
	buffer int64 // largest part that may be held in memory
}

// newPlan plans a body of size bytes (-1: unknown) for an upload that may buffer parts of at most buffer
// bytes. fixed, when not 0, is the part size to use. TooLarge when no plan holds the body.
func newPlan(size, fixed, buffer int64, lim upstream.Limits) (plan, error) {
	p := plan{lim: lim, size: size, fixed: fixed, buffer: buffer}
	if size < 0 {
		if first := p.part(1); first > buffer {
			return plan{}, upstream.Errorf(upstream.TooLarge, opPut,
				"a body of unknown length needs parts of %d bytes in memory, %d are allowed", first, buffer)
		}
		return p, nil
	}
	if lim.MaxObject > 0 && size > lim.MaxObject {
		return plan{}, upstream.Errorf(upstream.TooLarge, opPut, "%d bytes, at most %d", size, lim.MaxObject)
	}
	if fixed == 0 {
		p.fixed = PartSize(size, lim)
	}
	if ceilDiv(size, p.fixed) > maxParts(lim) {
		return plan{}, upstream.Errorf(upstream.TooLarge, opPut,
			"%d bytes do not fit into %d parts of %d bytes", size, maxParts(lim), p.fixed)
	}
	return p, nil
}

// buffered reports whether parts are held in memory, where they can go in parallel and be sent in any
// order. Otherwise they are too large for it, and pass from the body to the store one by one.
func (p plan) buffered() bool { return p.size < 0 || p.fixed <= p.buffer }

// part is the size of part number, as far as the body does not end before.
func (p plan) part(number int) int64 {
	if p.fixed > 0 {
		return p.fixed
	}
	return growingPart(number, p.buffer, p.lim)
}

// allows reports what stands against a part of this number, with which the body has reached total bytes.
func (p plan) allows(number int, total int64) error {
	if int64(number) > maxParts(p.lim) || (p.lim.MaxObject > 0 && total > p.lim.MaxObject) {
		return upstream.Errorf(upstream.TooLarge, opPut, "%d bytes in %d parts", total, number)
	}
	return nil
}
