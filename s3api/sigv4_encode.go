package s3api

import "strings"

// place is where encoded bytes stand in a URI. They differ in "+", which is a space in a query and itself in
// a path, and in "/", which stays in a path.
type place bool

const (
	inPath  place = false
	inQuery place = true
)

// unreserved are the bytes that a canonical request does not encode (RFC 3986 section 2.3).
var unreserved = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("-._~", byte(c)) >= 0
	}
	return t
}()

const upperHex = "0123456789ABCDEF"

// appendPath writes a raw path in canonical form.
func appendPath(b []byte, raw string) []byte {
	if raw == "" {
		return append(b, '/')
	}
	return appendEncoded(b, raw, inPath)
}

// appendEncoded decodes s and encodes it again by the one rule of canonical requests, so that it does not matter which
// bytes a client chose to escape. A "%" that begins no escape stands for itself.
func appendEncoded(b []byte, s string, at place) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case unreserved[c] || c == '/' && at == inPath:
			b = append(b, c)
			continue
		case c == '+' && at == inQuery:
			c = ' '
		case c == '%':
			if d, ok := unescape(s[i:]); ok {
				c = d
				i += 2
			}
			if unreserved[c] || c == '/' && at == inPath {
				b = append(b, c)
				continue
			}
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

// unescape reads the %XX at the start of s.
func unescape(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, ok1 := fromHex(s[1])
	lo, ok2 := fromHex(s[2])
	return hi<<4 | lo, ok1 && ok2
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unescapeQuery decodes a query value as leniently as appendEncoded does.
func unescapeQuery(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if d, ok := unescape(s[i:]); ok {
				c = d
				i += 2
			}
		}
		b = append(b, c)
	}
	return string(b)
}
