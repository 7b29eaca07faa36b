package byterange

import (
	"math"
	"strings"
)

// Parse reads the value of a Range header. It is false for whatever a server should ignore
// (RFC 9110 section 14.2): another unit, several ranges, a malformed one, or a last byte before the
// first. Numbers beyond int64 are well-formed and count as its maximum.
func Parse(header string) (Spec, bool) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return Spec{}, false
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return Spec{}, false
	}
	if first == "" {
		n, ok := number(last)
		if !ok {
			return Spec{}, false
		}
		return Suffix(n), true
	}
	from, ok := number(first)
	if !ok {
		return Spec{}, false
	}
	if last == "" {
		return From(from), true
	}
	to, ok := number(last)
	if !ok || to < from {
		return Spec{}, false
	}
	return Closed(from, to), true
}

// number reads 1*DIGIT, clamped to int64.
func number(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := int64(s[i]) - '0'
		if d < 0 || d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-d)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + d
	}
	return n, true
}
