// Package object holds the words that every layer uses for an object and its attributes.
package object

import (
	"maps"
	"time"
)

// Headers are the headers a client gave at write time and gets back on every read. An empty string
// means that the header was not given. Values are passed on verbatim.
type Headers struct {
	ContentType        string
	ContentEncoding    string // without "aws-chunked"
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string
	Expires            string
	// User is the user metadata; names are lower case and without "x-amz-meta-". nil when none.
	User map[string]string
}

// Clone returns a copy that shares nothing with h.
func (h Headers) Clone() Headers {
	h.User = maps.Clone(h.User)
	return h
}

// Checksum is one checksum of an object or a part, as S3 names and encodes it.
type Checksum struct {
	Algorithm string // CRC32, CRC32C, CRC64NVME, SHA1, SHA256
	Value     string // base64; a composite value ends in "-N"
	Type      string // FULL_OBJECT, COMPOSITE, or empty when not known
}

// Attrs describe one version of one object.
type Attrs struct {
	Size int64
	// ETag is without its quotes, otherwise verbatim ("-N" and case kept). It is the version: equal
	// ETags mean equal bytes.
	ETag      string
	VersionID string // empty where the store has no versions
	ModTime   time.Time
	Headers   Headers
	// Checksums that the store gave, if they were asked for.
	Checksums    []Checksum
	PartsCount   int    // of a multipart object, when known
	StorageClass string // empty is STANDARD
	// ETagMD5 says that the ETag is S3's: the hex MD5 of the bytes or, of an object made of parts, that of the
	// parts' MD5s and "-N". It is set at least in the answer to a write, by stores that tell.
	ETagMD5 bool
	// HeadersKnown is false when the attributes come from a listing, which has no headers.
	HeadersKnown bool
}
