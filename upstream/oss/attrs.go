package oss

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"time"

	"unistore/object"
	"unistore/upstream/internal/wire"
)

// attrsOf reads the attributes of an object of size bytes from an answer's header.
func attrsOf(h http.Header, size int64) object.Attrs {
	a := object.Attrs{
		Size:         size,
		ETag:         wire.Unquote(h.Get("ETag")),
		VersionID:    h.Get("X-Oss-Version-Id"),
		Headers:      userNames(wire.HeadersOf(h, metaPrefix)),
		StorageClass: classOf(h.Get("X-Oss-Storage-Class")),
		HeadersKnown: true,
	}
	a.ETagMD5 = h.Get("X-Oss-Object-Type") == typeNormal && md5ETag(h, a.ETag)
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		a.ModTime = t.UTC()
	}
	return a
}

const typeNormal = "Normal" // of an object that one PUT or copy has made

// userNames decodes the names of user headers.
func userNames(h object.Headers) object.Headers {
	if h.User == nil {
		return h
	}
	decoded := make(map[string]string, len(h.User))
	for name, value := range h.User {
		decoded[wire.DecodeName(name)] = value
	}
	h.User = decoded
	return h
}

// md5ETag reports whether an ETag is the MD5 of what one request has brought, going by the header of an answer that has it.
// With a key of KMS it may not be.
func md5ETag(h http.Header, etag string) bool {
	raw, err := hex.DecodeString(etag)
	encryption := h.Get("X-Oss-Server-Side-Encryption")
	return err == nil && len(raw) == md5.Size && (encryption == "" || encryption == "AES256")
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func utc(t *time.Time) time.Time { return deref(t).UTC() }
