package columns

import (
	"encoding/binary"
	"fmt"
)

// maxNesting bounds what is inside of each other in a footer. What the format has is 8 deep.
const maxNesting = 32

// kind is a type of Thrift's compact encoding.
type kind byte

// The kinds, as in https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
const (
	kindTrue kind = iota + 1
	kindFalse
	kindI8
	kindI16
	kindI32
	kindI64
	kindDouble
	kindBinary
	kindList
	kindSet
	kindMap
	kindStruct
	kindUUID
)

// thrift reads Thrift's compact encoding from b, which it cuts as it goes. It trusts no length, allocates nothing, nests no
// deeper than maxNesting, and each step takes a byte at least: its time is that of the bytes. The first error stays; what is
// read after it is zero.
type thrift struct {
	b   []byte
	err error
}

func (r *thrift) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
	r.b = nil
}

// take returns the next n bytes, which are r.b's.
func (r *thrift) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail("%d bytes wanted of the last %d", n, len(r.b))
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *thrift) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number that has no end")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// varint reads a number in zigzag.
func (r *thrift) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// fields calls visit for each field of a struct; visit reads its value.
func (r *thrift) fields(visit func(id int64, k kind)) {
	last := int64(0)
	for r.err == nil {
		head := r.byte()
		if head == 0 {
			return
		}
		id := last + int64(head>>4)
		if head>>4 == 0 {
			id = r.varint()
		}
		visit(id, kind(head&0xF))
		last = id
	}
}

// list reads the head of a list or set. It has no more elements than bytes are left.
func (r *thrift) list() (n int, k kind) {
	head := r.byte()
	long := uint64(head >> 4)
	if long == 0xF {
		long = r.uvarint()
	}
	if long > uint64(len(r.b)) {
		r.fail("a list of %d elements in %d bytes", long, len(r.b))
		return 0, 0
	}
	return int(long), kind(head & 0xF)
}

// is reports whether k is what a field has to be, else it fails.
func (r *thrift) is(k, want kind) bool {
	if k != want {
		r.fail("a field of type %d instead of %d", k, want)
	}
	return k == want
}

// listOf reads the head of a field that is a list of elem.
func (r *thrift) listOf(k, elem kind) int {
	if !r.is(k, kindList) {
		return 0
	}
	n, k := r.list()
	if n == 0 || !r.is(k, elem) {
		return 0
	}
	return n
}

// skip reads over the value of a field that is nesting deep.
func (r *thrift) skip(k kind, nesting int) {
	if nesting > maxNesting {
		r.fail("more than %d inside of each other", maxNesting)
		return
	}
	switch k {
	case kindTrue, kindFalse: // its type is its value
	case kindI8:
		r.take(1)
	case kindI16, kindI32, kindI64:
		r.uvarint()
	case kindDouble:
		r.take(8)
	case kindUUID:
		r.take(16)
	case kindBinary:
		r.take(r.uvarint())
	case kindList, kindSet:
		n, elem := r.list()
		for i := 0; i < n && r.err == nil; i++ {
			r.skipElement(elem, nesting+1)
		}
	case kindMap:
		r.skipMap(nesting)
	case kindStruct:
		r.fields(func(_ int64, k kind) { r.skip(k, nesting+1) })
	default:
		r.fail("a field of type %d", k)
	}
}

// skipElement reads over an element of a list, set or map; there a truth value takes a byte.
func (r *thrift) skipElement(k kind, nesting int) {
	if k == kindTrue || k == kindFalse {
		r.take(1)
		return
	}
	r.skip(k, nesting)
}

func (r *thrift) skipMap(nesting int) {
	n := r.uvarint()
	if n == 0 {
		return
	}
	kinds := r.byte()
	for i := uint64(0); i < n && r.err == nil; i++ {
		r.skipElement(kind(kinds>>4), nesting+1)
		r.skipElement(kind(kinds&0xF), nesting+1)
	}
}
