package wire

import (
	"crypto/md5"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"unistore/upstream"
)

// Quote makes a bare ETag a header's value; nothing stays nothing.
func Quote(etag string) string {
	if etag == "" || etag == "*" {
		return etag
	}
	return `"` + etag + `"`
}

// Unquote is the ETag without its quotes.
func Unquote(etag string) string {
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

// PlainETag reports whether etag is made of letters, digits and "-", as those of parts are. Others never came from
// a store and could end an XML element.
func PlainETag(etag string) bool {
	for i := range len(etag) {
		if c := etag[i]; !alphanumeric(c) && c != '-' {
			return false
		}
	}
	return etag != ""
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// ValidUploadID refuses ids that no store gives out: an empty one would make the request one about the object, and
// some servers read them as paths.
func ValidUploadID(id string) bool {
	word := false
	for i := range len(id) {
		c := id[i]
		switch {
		case alphanumeric(c):
			word = true
		case strings.IndexByte("._~+=-", c) < 0:
			return false
		}
	}
	return word
}

// ValidHost keeps out names of buckets that, in front of a host name, would name another host or a path. Whether the
// name is a legal one is the store's to say.
func ValidHost(bucket string) bool {
	if bucket == "" || len(bucket) > 63 || bucket[0] == '.' || bucket[0] == '-' || strings.Contains(bucket, "..") || strings.HasSuffix(bucket, ".") {
		return false
	}
	for i := range len(bucket) {
		if c := bucket[i]; !alphanumeric(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// XMLSafe reports whether key survives an XML document: characters of XML 1.0 (section 2.2), without
// the line ends that parsers normalise.
func XMLSafe(key string) bool {
	if !utf8.ValidString(key) {
		return false
	}
	for _, c := range key {
		if c < ' ' || c == 0x7f || c == 0xfffe || c == 0xffff {
			return false
		}
	}
	return true
}

// DotComponent reports whether key, read as a path, has a component "." or "..": a proxy or a library on the way may
// resolve it, and make the request one about another object or about the bucket.
func DotComponent(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// EscapePath percent-encodes everything but the unreserved characters of RFC 3986 and "/": the form of a copy's
// source that every store reads alike ("+" is a space to some).
func EscapePath(key string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; alphanumeric(c) || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// CheckParts refuses what not every store and SDK does in the list of a completion: no parts, an order that does not
// ascend, ETags that came from no store.
func CheckParts(op string, parts []upstream.Part) error {
	if len(parts) == 0 {
		return upstream.Errorf(upstream.Invalid, op, "no parts")
	}
	for i, p := range parts {
		if i > 0 && p.Number <= parts[i-1].Number {
			return upstream.Errorf(upstream.PartOrder, op, "part %d after part %d", p.Number, parts[i-1].Number)
		}
		if !PlainETag(p.ETag) {
			return upstream.Errorf(upstream.InvalidPart, op, "part %d cannot have this ETag", p.Number)
		}
	}
	return nil
}

// MD5ETag reports whether an ETag has the form of S3's: the hex MD5 of the bytes, or of an object made of parts that
// of the parts' MD5s and "-N".
func MD5ETag(etag string) bool {
	sum, parts, multipart := strings.Cut(etag, "-")
	if multipart {
		if n, err := strconv.Atoi(parts); err != nil || n < 1 {
			return false
		}
	}
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == md5.Size
}
