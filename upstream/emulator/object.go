package emulator

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// objectHeaders are stored with an object and come back on every read.
var objectHeaders = []string{
	"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Expires",
}

// keptHeader is what of a request is stored with the object.
func (e *Emulator) keptHeader(r *http.Request) http.Header {
	kept := http.Header{}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		meta := strings.HasPrefix(lower, e.vendor.prefix+"meta-") || lower == e.vendor.prefix+"storage-class"
		if meta || slices.Contains(objectHeaders, name) {
			kept[name] = slices.Clone(values)
		}
	}
	if kept.Get("Content-Type") == "" {
		kept.Set("Content-Type", e.vendor.contentType)
	}
	return kept
}

// checkKey refuses keys that the vendor does not take.
func (e *Emulator) checkKey(c *call) *failure {
	switch {
	case !utf8.ValidString(c.key):
		return fail(http.StatusBadRequest, "InvalidObjectName", "The key is not UTF-8.")
	case len(c.key) > c.quirks.MaxKey && e.cfg.Dialect == OSS:
		return fail(http.StatusBadRequest, "InvalidObjectName", "The length of object name must be less than or equal to "+strconv.Itoa(c.quirks.MaxKey)+".")
	case len(c.key) > c.quirks.MaxKey:
		return fail(http.StatusBadRequest, "KeyTooLong", "Your key is too long.")
	case e.cfg.Dialect == OSS && (c.key[0] == '/' || c.key[0] == '\\'):
		return fail(http.StatusBadRequest, "InvalidObjectName", "The specified object is not valid.")
	}
	return nil
}

// body reads the request's body, at most limit bytes of it, and checks it against its length and Content-MD5.
func (e *Emulator) body(c *call, limit int64, refuseChunked bool) (content, *failure) {
	length := c.r.ContentLength
	switch {
	case length < 0 && refuseChunked:
		return nil, fail(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	case length > limit:
		return nil, fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	}
	var buf bytes.Buffer
	if length > 0 {
		buf.Grow(int(length) + bytes.MinRead)
	}
	n, err := io.Copy(&buf, io.LimitReader(c.r.Body, limit+1))
	switch {
	case err != nil:
		return nil, fail(http.StatusBadRequest, "IncompleteBody", "The body ended early: "+err.Error())
	case n > limit:
		return nil, fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	}
	if want := c.r.Header.Get("Content-Md5"); want != "" {
		if f := e.checkMD5(want, buf.Bytes()); f != nil {
			return nil, f
		}
	}
	return content{buf.Bytes()}, nil
}

func (e *Emulator) checkMD5(want string, body []byte) *failure {
	sum, err := base64.StdEncoding.DecodeString(want)
	if err != nil || len(sum) != md5.Size {
		return fail(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified is not valid.")
	}
	if got := md5.Sum(body); !bytes.Equal(got[:], sum) {
		code := "BadDigest"
		if e.cfg.Dialect == OSS {
			code = "InvalidDigest"
		}
		return fail(http.StatusBadRequest, code, "The Content-MD5 you specified did not match what we received.")
	}
	return nil
}

// createOnly reports whether the request must not replace an object.
func (e *Emulator) createOnly(c *call) bool {
	return c.quirks.ForbidOverwrite && !c.quirks.Versioned && e.header(c, "forbid-overwrite") == "true"
}

func (e *Emulator) putObject(c *call) *failure {
	if f := e.checkKey(c); f != nil {
		return f
	}
	if f := e.store.with(c.bucket, func(*bucket) *failure { return nil }); f != nil {
		return f
	}
	data, f := e.body(c, c.quirks.MaxPut, c.quirks.NoChunkedPuts)
	if f != nil {
		return f
	}
	v := e.store.seal(data, e.keptHeader(c.r))
	if f := e.store.put(c.bucket, c.key, v, e.createOnly(c)); f != nil {
		return f
	}
	e.setETag(c, v)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// etag is v's ETag as the quirks have it, without quotes.
func (c *call) etag(v *stored) string {
	if c.quirks.UpperETags {
		return strings.ToUpper(v.etag)
	}
	return v.etag
}

// setETag puts a new version's ETag and checksum into the answer.
func (e *Emulator) setETag(c *call, v *stored) {
	c.w.Header().Set("ETag", `"`+c.etag(v)+`"`)
	if c.quirks.Versioned {
		c.w.Header().Set(e.vendor.prefix+"version-id", "EMULATED-"+v.etag)
	}
	e.setCRC(c, v)
}

func (e *Emulator) setCRC(c *call, v *stored) {
	if c.quirks.CRC64 {
		c.w.Header().Set(e.vendor.prefix+"hash-crc64ecma", strconv.FormatUint(v.crc, 10))
	}
}

func (e *Emulator) deleteObject(c *call) *failure {
	f := e.store.with(c.bucket, func(b *bucket) *failure { b.remove(c.key); return nil })
	if f == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return f
}

// getObject serves GET and HEAD.
func (e *Emulator) getObject(c *call) *failure {
	v, f := e.store.find(c.bucket, c.key)
	if f != nil {
		return f
	}
	if f := conditions(c, c.r.Header, "", v); f != nil {
		if f.status == http.StatusNotModified {
			e.setETag(c, v)
		}
		return f
	}
	span, partial, f := e.span(c, v)
	if f != nil {
		return f
	}
	h := c.w.Header()
	for name, values := range v.header {
		h[name] = slices.Clone(values)
	}
	e.setETag(c, v)
	h.Set("Last-Modified", v.modified.Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(span.length, 10))
	if e.cfg.Dialect != OBS || v.multi {
		h.Set(e.vendor.prefix+"object-type", objectType(e.cfg.Dialect, v))
	}
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.FormatInt(span.off, 10)+"-"+strconv.FormatInt(span.off+span.length-1, 10)+"/"+strconv.FormatInt(v.size, 10))
	}
	c.w.WriteHeader(status)
	if c.r.Method == http.MethodGet {
		_, _ = io.Copy(c.w, v.data.section(span)) // the client is gone: nobody to tell
	}
	return nil
}

func objectType(d Dialect, v *stored) string {
	switch {
	case d == COS:
		return "normal"
	case v.multi:
		return "Multipart"
	default:
		return "Normal"
	}
}

// span is a piece of an object.
type span struct{ off, length int64 }

// span reads the request's Range.
func (e *Emulator) span(c *call, v *stored) (s span, partial bool, f *failure) {
	whole := span{length: v.size}
	value := c.r.Header.Get("Range")
	if value == "" {
		return whole, false, nil
	}
	s, exact, err := parseRange(value, v.size)
	loose := c.quirks.LooseRanges && e.header(c, "range-behavior") != "standard"
	switch {
	case errors.Is(err, errNoRange), loose && (err != nil || !exact):
		return whole, false, nil
	case err != nil:
		c.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(v.size, 10))
		return s, false, fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range cannot be satisfied.")
	}
	return s, true, nil
}

var (
	errNoRange = errors.New("no single byte range") // ignored, RFC 9110 section 14.2
	errOutside = errors.New("outside of the object")
)

// parseRange reads a Range header. exact: it lies inside the object without being clamped.
func parseRange(value string, size int64) (s span, exact bool, err error) {
	spec, ok := strings.CutPrefix(value, "bytes=")
	first, last, ok2 := strings.Cut(spec, "-")
	if !ok || !ok2 || strings.Contains(spec, ",") {
		return s, false, errNoRange
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return s, false, errNoRange
		}
		length := min(int64(n), size)
		if length == 0 {
			return s, false, errOutside
		}
		return span{off: size - length, length: length}, int64(n) <= size, nil
	}
	off, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return s, false, errNoRange
	}
	end, exact := size-1, true
	if last != "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n < off {
			return s, false, errNoRange
		}
		exact = int64(n) < size
		end = min(int64(n), size-1)
	}
	if int64(off) >= size {
		return s, false, errOutside
	}
	return span{off: int64(off), length: end - int64(off) + 1}, exact, nil
}

// conditions checks v against If-Match and its kin, whose names begin with prefix.
func conditions(c *call, h http.Header, prefix string, v *stored) *failure {
	read := prefix == ""
	missed := fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the preconditions you specified did not hold.")
	notModified := fail(http.StatusNotModified, "NotModified", "Not Modified")
	if !read {
		notModified = missed
	}
	modified := v.modified.Truncate(time.Second)
	if want := h.Get(prefix + "If-Match"); want != "" {
		if !matches(want, c.etag(v)) {
			return missed
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Unmodified-Since")); err == nil && modified.After(t) {
		return missed
	}
	if want := h.Get(prefix + "If-None-Match"); want != "" {
		if matches(want, c.etag(v)) {
			return notModified
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Modified-Since")); err == nil && !modified.After(t) {
		return notModified
	}
	return nil
}

// matches compares the value of a condition with an ETag.
func matches(want, etag string) bool {
	if want == "*" {
		return true
	}
	for one := range strings.SplitSeq(want, ",") {
		if strings.Trim(strings.TrimSpace(one), `"`) == etag {
			return true
		}
	}
	return false
}
