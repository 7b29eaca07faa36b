package s3

import (
	"crypto/md5"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"unistore/object"
)

const (
	metaPrefix     = "X-Amz-Meta-" // canonical, as net/http delivers it
	checksumPrefix = "X-Amz-Checksum-"
	checksumType   = "X-Amz-Checksum-Type"
)

// algorithms are the checksums that object.Checksum knows, with the end of their header's name.
var algorithms = []struct{ name, header string }{
	{"CRC32", "Crc32"}, {"CRC32C", "Crc32c"}, {"CRC64NVME", "Crc64nvme"}, {"SHA1", "Sha1"}, {"SHA256", "Sha256"},
}

// attrsOf reads the attributes of an object of size bytes from an answer's header.
func attrsOf(h http.Header, size int64) object.Attrs {
	a := object.Attrs{
		Size:         size,
		ETag:         unquote(h.Get("ETag")),
		VersionID:    h.Get("X-Amz-Version-Id"),
		Headers:      headersOf(h),
		Checksums:    checksumsOf(h),
		StorageClass: h.Get("X-Amz-Storage-Class"),
		HeadersKnown: true,
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		a.ModTime = t.UTC()
	}
	a.PartsCount, _ = strconv.Atoi(h.Get("X-Amz-Mp-Parts-Count")) // 0 when it is not there
	return a
}

func headersOf(h http.Header) object.Headers {
	out := object.Headers{
		ContentType:        h.Get("Content-Type"),
		ContentEncoding:    withoutFraming(h.Get("Content-Encoding")),
		ContentLanguage:    h.Get("Content-Language"),
		ContentDisposition: h.Get("Content-Disposition"),
		CacheControl:       h.Get("Cache-Control"),
		Expires:            h.Get("Expires"),
	}
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok && rest != "" {
			if out.User == nil {
				out.User = map[string]string{}
			}
			out.User[strings.ToLower(rest)] = strings.Join(values, ",")
		}
	}
	return out
}

// md5ETag reports whether an ETag is S3's MD5 of the bytes or of the parts, going by the header of an answer that
// has it: with keys of KMS or of the customer it is something else
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html). Of encryption with the store's own keys that is
// believed of Amazon alone.
func (b *Backend) md5ETag(h http.Header, etag string) bool {
	sum, parts, multipart := strings.Cut(etag, "-")
	if multipart {
		if n, err := strconv.Atoi(parts); err != nil || n < 1 {
			return false
		}
	}
	raw, err := hex.DecodeString(sum)
	encryption := h.Get("X-Amz-Server-Side-Encryption")
	return err == nil && len(raw) == md5.Size && (encryption == "" || encryption == "AES256" && b.exact) &&
		h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == ""
}

// withoutFraming takes aws-chunked, the framing of some upload, out of what some servers keep as the
// object's encoding.
func withoutFraming(v string) string {
	if !strings.Contains(v, "aws-chunked") {
		return v
	}
	var keep []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "aws-chunked" {
			keep = append(keep, part)
		}
	}
	return strings.Join(keep, ",")
}

func checksumsOf(h http.Header) []object.Checksum {
	var out []object.Checksum
	for _, alg := range algorithms {
		if v := h.Get(checksumPrefix + alg.header); v != "" {
			out = append(out, object.Checksum{Algorithm: alg.name, Value: v, Type: h.Get(checksumType)})
		}
	}
	return out
}

// setObject adds the lines of an object's headers.
func (h headers) setObject(o object.Headers) {
	h.set("Content-Type", o.ContentType)
	h.set("Content-Encoding", o.ContentEncoding)
	h.set("Content-Language", o.ContentLanguage)
	h.set("Content-Disposition", o.ContentDisposition)
	h.set("Cache-Control", o.CacheControl)
	h.set("Expires", o.Expires)
	for name, value := range o.User {
		h[metaPrefix+name] = value // an empty value is one too
	}
}

func (h headers) setChecksum(c *object.Checksum) {
	if c == nil {
		return
	}
	for _, alg := range algorithms {
		if alg.name == c.Algorithm {
			h.set(checksumPrefix+alg.header, c.Value)
		}
	}
}

// setConditions adds those of a write.
func (h headers) setConditions(ifMatch string, ifNoneMatch bool) {
	h.set("If-Match", quote(ifMatch))
	if ifNoneMatch {
		h.set("If-None-Match", "*")
	}
}

func unquote(etag string) string {
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag[1 : len(etag)-1]
	}
	return etag
}

// quote makes a bare ETag a header's value; nothing stays nothing.
func quote(etag string) string {
	if etag == "" || etag == "*" {
		return etag
	}
	return `"` + etag + `"`
}
