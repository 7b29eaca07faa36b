package s3api

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Keys may hold characters that XML 1.0 can not, and clients name them by character references (&#x1;), which
// encoding/xml refuses. ctrlReader puts a pair of private-use characters in the place of each; restoreControls
// turns the pairs back. The first of the pair, escapeMark, is itself replaced wherever it stands in the
// document, so a pair never comes from anywhere else.
const (
	escapeMark = '\uf8ff'
	escapeBase = '\ue000' // plus a control character
	escapeFFFE = '\ue100'
	escapeFFFF = '\ue101'
	escapeSelf = '\ue102'
)

// escapePair returns what stands for r; ok is false when r can stand for itself.
func escapePair(r rune) (second rune, ok bool) {
	switch {
	case r == escapeMark:
		return escapeSelf, true
	case r == 0xfffe:
		return escapeFFFE, true
	case r == 0xffff:
		return escapeFFFF, true
	case r > 0 && r < 0x20 && r != '\t' && r != '\n' && r != '\r':
		return escapeBase + r, true
	}
	return 0, false
}

func restoreControls(s string) string {
	if !strings.ContainsRune(s, escapeMark) {
		return s
	}
	var b strings.Builder
	marked := false
	for _, r := range s {
		switch {
		case r == escapeMark:
			marked = true
			continue
		case !marked:
		case r == escapeSelf:
			r = escapeMark
		case r == escapeFFFE:
			r = 0xfffe
		case r == escapeFFFF:
			r = 0xffff
		default:
			r -= escapeBase
		}
		marked = false
		b.WriteRune(r)
	}
	return b.String()
}

// ctrlReader is the source of an xmlReader. It ends with err set when the body fails or is longer than left.
type ctrlReader struct {
	src     *bufio.Reader
	left    int
	pending []byte // of a pair
	cdata   bool   // inside of a CDATA section, where there are no references
	err     error  // of the body; never io.EOF
}

// ReadByte implements io.ByteReader, which is how encoding/xml reads.
func (c *ctrlReader) ReadByte() (byte, error) {
	if len(c.pending) > 0 {
		b := c.pending[0]
		c.pending = c.pending[1:]
		return b, nil
	}
	if c.err != nil {
		return 0, c.err
	}
	b, err := c.src.ReadByte()
	if err != nil {
		if err != io.EOF { // only io.EOF itself is the end; a wrapped one is a failure
			c.err = err
		}
		return 0, err
	}
	if c.left--; c.left < 0 {
		c.err = &Error{Code: ErrMaxMessageLengthExceeded, Close: true}
		return 0, c.err
	}
	return c.translate(b), c.err
}

// translate returns b, or the first byte of a pair, or sets err.
func (c *ctrlReader) translate(b byte) byte {
	var (
		r    rune
		size int // of what r is written as, after b
	)
	switch {
	case b == '<' && c.ahead("![CDATA["):
		c.cdata = true
	case b == ']' && c.ahead("]>"):
		c.cdata = false
	case b == '&' && !c.cdata && c.ahead("#"):
		r, size, c.err = c.reference()
	case b < 0x20:
		r = rune(b)
	case b == 0xef:
		next, _ := c.src.Peek(2)
		r, size = utf8.DecodeRune(append([]byte{b}, next...))
		size--
	}
	second, ok := escapePair(r)
	if !ok {
		return b
	}
	n, _ := c.src.Discard(size)
	c.left -= n
	pair := string([]rune{escapeMark, second})
	c.pending = []byte(pair[1:])
	return pair[0]
}

func (c *ctrlReader) ahead(s string) bool {
	next, _ := c.src.Peek(len(s))
	return string(next) == s
}

// maxReference is the most bytes that a character reference may have after its "&".
const maxReference = 12

// reference returns the character that a reference names and its bytes after the "&". One that names none is an error
// here: encoding/xml would take a surrogate for U+FFFD, which is the key of some other object.
func (c *ctrlReader) reference() (r rune, size int, err error) {
	next, err := c.src.Peek(maxReference)
	ref, _, ok := strings.Cut(string(next), ";")
	if !ok {
		if err == nil || err == io.EOF { // only io.EOF itself is the end
			err = errMalformedXML()
		}
		return 0, 0, err
	}
	digits, base := strings.TrimPrefix(ref, "#"), 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil || n == 0 || !utf8.ValidRune(rune(n)) {
		return 0, 0, errMalformedXML()
	}
	return rune(n), len(ref) + 1, nil
}

// Read implements io.Reader; encoding/xml does not call it.
func (c *ctrlReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := c.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}
