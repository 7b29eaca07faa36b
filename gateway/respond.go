package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/byterange"
	"unistore/cache"
	"unistore/object"
	"unistore/s3api"
	"unistore/upstream"
)

var sourceNames = map[cache.Source]string{
	cache.SourceCache: "cache", cache.SourceFill: "fill", cache.SourceBypass: "bypass",
}

// objectResponse makes the answer to a read of rng. body may be nil for an empty range or a HEAD.
func objectResponse(op s3api.GetObject, attrs object.Attrs, rng byterange.Range, body io.ReadCloser) *s3api.Response {
	res := &s3api.Response{Status: http.StatusOK, Body: body, Length: rng.Len}
	sel := op.Select
	partial := op.HasRange && attrs.Size > 0
	if partial {
		// A checksum is the whole object's: on a part of it, clients would take it for the part's.
		sel.ChecksumMode = sel.ChecksumMode && rng.Len == attrs.Size
	}
	res.Header = s3api.ObjectHeader(attrs, sel)
	if partial {
		res.Status = http.StatusPartialContent
		res.Set("Content-Range", rng.ContentRange(attrs.Size))
	}
	return res
}

// annotate says on res, success or not, how a read was handled. Other operations carry neither.
func (x *exchange) annotate(res *s3api.Response) {
	if x.note == nil {
		return
	}
	res.Set("Cache-Status", x.note.String())
	if x.pin != nil && x.pin.done {
		res.Set("Unistore-Pin-Status", x.pin.String())
	}
	elapsed := float64(time.Since(x.start).Microseconds()) / 1e3
	res.Set("Server-Timing", "unistore;dur="+strconv.FormatFloat(elapsed, 'f', 3, 64)) // milliseconds
}

// noted sets what Cache-Status will say.
func (x *exchange) noted(n cacheNote) { x.note = &n }

// checkConditions evaluates the conditions of a read. A 304 carries what a 200 would have said of caching
// (RFC 9110 section 15.4.5).
func checkConditions(c s3api.Conditions, attrs object.Attrs) error {
	err := c.Check(attrs.ETag, attrs.ModTime)
	e, ok := errors.AsType[*s3api.Error](err)
	if !ok || e.Code != s3api.ErrNotModified {
		return err
	}
	for _, f := range []s3api.Field{
		{Name: "Cache-Control", Value: attrs.Headers.CacheControl},
		{Name: "Expires", Value: attrs.Headers.Expires},
		{Name: "x-amz-version-id", Value: attrs.VersionID},
	} {
		if f.Value != "" {
			e.Header = append(e.Header, f)
		}
	}
	return e
}

// parseCacheControl reads the directives of a request that the cache honours; others are ignored.
func parseCacheControl(h s3api.Header) cacheMode {
	var m cacheMode
	v, ok := h.Lookup("cache-control")
	if !ok {
		return m
	}
	for d := range strings.SplitSeq(v, ",") {
		switch strings.ToLower(strings.TrimSpace(d)) {
		case "no-store":
			m.noStore = true
		case "no-cache", "max-age=0":
			m.revalidate = true
		case "only-if-cached":
			m.onlyCached = true
		}
	}
	return m
}

// notFound adds the key to NoSuchKey, as S3 does.
func notFound(err error, key string) error {
	if !errors.Is(err, upstream.NotExist) || isS3(err) {
		return err
	}
	return &s3api.Error{Code: s3api.ErrNoSuchKey, Fields: []s3api.Field{{Name: "Key", Value: key}}}
}

// rangeError is the 416 of an object of size bytes.
func rangeError(size int64, err error) error {
	if !errors.Is(err, byterange.ErrUnsatisfiable) {
		return err
	}
	n := strconv.FormatInt(size, 10)
	return &s3api.Error{
		Code:   s3api.ErrInvalidRange,
		Fields: []s3api.Field{{Name: "ActualObjectSize", Value: n}},
		Header: s3api.Header{{Name: "Content-Range", Value: "bytes */" + n}},
	}
}

// countedBody counts what is read of it.
type countedBody struct {
	io.ReadCloser
	bytes prometheus.Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(float64(n))
	return n, err
}
