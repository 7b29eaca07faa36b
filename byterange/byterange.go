// Package byterange holds the arithmetic of byte ranges: what a client asks for before the size of
// the object is known (Spec), and what that means once it is (Range).
package byterange

import (
	"errors"
	"strconv"
)

// ErrUnsatisfiable is returned by Spec.Resolve for a range that selects no byte of the object
// (RFC 9110 section 15.5.17; S3 answers 416 InvalidRange).
var ErrUnsatisfiable = errors.New("range not satisfiable")

// Range is the half-open interval [Off, Off+Len) of bytes. Off and Len are never negative.
type Range struct {
	Off, Len int64
}

// End returns the offset of the first byte after r.
func (r Range) End() int64 { return r.Off + r.Len }

// Empty reports whether r holds no byte.
func (r Range) Empty() bool { return r.Len <= 0 }

// Contains reports whether every byte of o is in r.
func (r Range) Contains(o Range) bool { return o.Off >= r.Off && o.End() <= r.End() }

// Intersect returns the bytes in both r and o; its Len is 0 when there is none.
func (r Range) Intersect(o Range) Range {
	off := max(r.Off, o.Off)
	end := min(r.End(), o.End())
	if end <= off {
		return Range{Off: off}
	}
	return Range{Off: off, Len: end - off}
}

// Align returns the smallest range that contains r, starts and ends on multiples of unit, and does
// not pass size. unit is positive.
func (r Range) Align(unit, size int64) Range {
	off := r.Off - r.Off%unit
	end := min((r.End()+unit-1)/unit*unit, size)
	return Range{Off: off, Len: max(end-off, 0)}
}

// ContentRange renders r as the value of a Content-Range header for an object of size bytes.
// r must not be empty.
func (r Range) ContentRange(size int64) string {
	b := make([]byte, 0, 48)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, r.Off, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.End()-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

type kind uint8

const (
	kindAll kind = iota
	kindFrom
	kindClosed
	kindSuffix
)

// Spec is one byte-range-spec (RFC 9110 section 14.1.2). The zero Spec is the whole object.
type Spec struct {
	kind        kind
	first, last int64 // suffix: last holds the length
}

// All is the whole object.
func All() Spec { return Spec{} }

// From is every byte from offset off on ("bytes=off-").
func From(off int64) Spec { return Spec{kind: kindFrom, first: off} }

// Closed is the bytes first to last, both included ("bytes=first-last"); first <= last.
func Closed(first, last int64) Spec { return Spec{kind: kindClosed, first: first, last: last} }

// Suffix is the last n bytes ("bytes=-n").
func Suffix(n int64) Spec { return Spec{kind: kindSuffix, last: n} }

// Of is the Spec that selects exactly r, which must not be empty.
func Of(r Range) Spec { return Closed(r.Off, r.End()-1) }

// IsAll reports whether s is the whole object.
func (s Spec) IsAll() bool { return s.kind == kindAll }

// IsSuffix returns the length of a suffix range and true, or 0 and false.
func (s Spec) IsSuffix() (n int64, ok bool) {
	if s.kind == kindSuffix {
		return s.last, true
	}
	return 0, false
}

// IsFrom returns the start of an open-ended range and true, or 0 and false.
func (s Spec) IsFrom() (off int64, ok bool) {
	if s.kind == kindFrom {
		return s.first, true
	}
	return 0, false
}

// IsClosed returns the first and last byte of a closed range and true, or zeros and false.
func (s Spec) IsClosed() (first, last int64, ok bool) {
	if s.kind == kindClosed {
		return s.first, s.last, true
	}
	return 0, 0, false
}

// Resolve returns the bytes that s selects of an object of size bytes, clamped to its end. It fails
// with ErrUnsatisfiable when s selects none; All of an empty object is the empty range, not an error.
func (s Spec) Resolve(size int64) (Range, error) {
	switch s.kind {
	case kindFrom:
		if s.first >= size {
			return Range{}, ErrUnsatisfiable
		}
		return Range{Off: s.first, Len: size - s.first}, nil
	case kindClosed:
		if s.first >= size || s.last < s.first {
			return Range{}, ErrUnsatisfiable
		}
		return Range{Off: s.first, Len: min(s.last, size-1) - s.first + 1}, nil
	case kindSuffix:
		if s.last <= 0 || size == 0 {
			return Range{}, ErrUnsatisfiable
		}
		n := min(s.last, size)
		return Range{Off: size - n, Len: n}, nil
	default:
		return Range{Len: size}, nil
	}
}

// Header renders s as the value of a Range header; it is empty for All.
func (s Spec) Header() string {
	switch s.kind {
	case kindFrom:
		return "bytes=" + strconv.FormatInt(s.first, 10) + "-"
	case kindClosed:
		return "bytes=" + strconv.FormatInt(s.first, 10) + "-" + strconv.FormatInt(s.last, 10)
	case kindSuffix:
		return "bytes=-" + strconv.FormatInt(s.last, 10)
	default:
		return ""
	}
}
