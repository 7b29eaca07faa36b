package s3api

import (
	"maps"
	"mime"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"unistore/object"
)

// httpTime is the preferred date format of RFC 9110 section 5.6.7; the time must be in UTC.
const httpTime = "Mon, 02 Jan 2006 15:04:05 GMT"

func formatHTTPTime(t time.Time) string { return t.UTC().Format(httpTime) }

// ObjectHeader returns the header lines of GET and HEAD, but Content-Length and Content-Range. For an answer that
// holds a part of the object the caller clears sel.ChecksumMode: a checksum of the whole
// object would be taken for one of the bytes sent.
func ObjectHeader(attrs object.Attrs, sel Selectors) Header {
	h := make(Header, 0, 12+len(attrs.Headers.User))
	add := func(name, value string) {
		if value != "" {
			h = append(h, Field{Name: name, Value: value})
		}
	}
	if !attrs.ModTime.IsZero() {
		add("Last-Modified", formatHTTPTime(attrs.ModTime))
	}
	add("ETag", quoteETag(attrs.ETag))
	add("Accept-Ranges", "bytes")
	for _, f := range contentHeader(attrs.Headers, sel.Overrides) {
		add(f.Name, f.Value)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs.Headers.User)) {
		h = append(h, Field{Name: metaPrefix + name, Value: mailSafe(attrs.Headers.User[name])})
	}
	add("x-amz-version-id", attrs.VersionID)
	if attrs.StorageClass != standardClass {
		add("x-amz-storage-class", attrs.StorageClass)
	}
	if sel.PartNumber > 0 {
		if attrs.PartsCount > 0 {
			add("x-amz-mp-parts-count", strconv.Itoa(attrs.PartsCount))
		}
	} else if sel.ChecksumMode {
		h = append(h, checksumHeader(attrs.Checksums)...)
	}
	return h
}

// mailSafe encodes user metadata that is not ASCII by RFC 2047, as S3 does ("User-defined object metadata" of the
// S3 user guide): clients would read the bytes as Latin-1.
func mailSafe(value string) string {
	for i := range len(value) {
		if value[i] >= 0x80 {
			return mime.BEncoding.Encode("UTF-8", value)
		}
	}
	return value
}

// contentHeader returns the content headers of an object in a fixed order, with the overrides in place of the
// object's own.
func contentHeader(o object.Headers, overrides Header) Header {
	mediaType := o.ContentType
	if mediaType == "" {
		mediaType = defaultMediaType
	}
	h := Header{
		{"Cache-Control", o.CacheControl},
		{"Content-Disposition", o.ContentDisposition},
		{"Content-Encoding", o.ContentEncoding},
		{"Content-Language", o.ContentLanguage},
		{"Content-Type", mediaType},
		{"Expires", o.Expires},
	}
	for i := range h {
		for _, f := range overrides {
			if textproto.CanonicalMIMEHeaderKey(f.Name) == h[i].Name {
				h[i].Value = f.Value
			}
		}
	}
	return h
}

// checksumHeader returns x-amz-checksum-* lines and the type they share.
func checksumHeader(sums []object.Checksum) Header {
	var h Header
	for _, s := range sums {
		h = append(h, Field{Name: "x-amz-checksum-" + strings.ToLower(s.Algorithm), Value: s.Value})
	}
	if t := checksumType(sums); t != "" {
		h = append(h, Field{Name: "x-amz-checksum-type", Value: t})
	}
	return h
}

// RenderPut renders PutObject: sums are the checksums that were verified or that the store gave.
func RenderPut(attrs object.Attrs, sums []object.Checksum) *Response {
	resp := RenderOK()
	resp.SetIf("ETag", quoteETag(attrs.ETag))
	resp.Header = append(resp.Header, checksumHeader(sums)...)
	resp.SetIf("x-amz-version-id", attrs.VersionID)
	return resp
}

// RenderPart renders UploadPart. Parts have no checksum type.
func RenderPart(etag string, sums []object.Checksum) *Response {
	resp := RenderOK()
	resp.SetIf("ETag", quoteETag(etag))
	for _, s := range sums {
		resp.Set("x-amz-checksum-"+strings.ToLower(s.Algorithm), s.Value)
	}
	return resp
}

// RenderNoContent is a 204; it has no Content-Length (RFC 9110 section 8.6).
func RenderNoContent() *Response { return &Response{Status: 204, Length: -1} }

// RenderOK is a 200 with an empty body.
func RenderOK() *Response { return &Response{Status: 200} }

// RenderCreateBucket renders CreateBucket.
func RenderCreateBucket(bucket string) *Response {
	resp := RenderOK()
	resp.Set("Location", "/"+bucket)
	return resp
}

// RenderDelete renders DeleteObjects; quiet leaves the keys out that are gone.
func RenderDelete(quiet bool, results []Deleted) *Response {
	const root = "DeleteResult"
	w := newXML(root)
	for _, d := range results {
		if d.Err == nil && quiet {
			continue
		}
		name := "Deleted"
		if d.Err != nil {
			name = "Error"
		}
		w.open(name)
		w.str("Key", d.Key)
		w.strIf("VersionId", d.VersionID)
		if d.Err != nil {
			w.str("Code", string(d.Err.Code))
			w.str("Message", d.Err.message())
		}
		w.close(name)
	}
	return w.response(root)
}

// RenderAttributes renders GetObjectAttributes. parts are all parts of the object that are known, ascending; the
// page that op asks for is cut here.
func RenderAttributes(op GetObjectAttributes, attrs object.Attrs, parts []PartEntry) *Response {
	const root = "GetObjectAttributesResponse"
	w := newXML(root)
	if op.ETag {
		w.str("ETag", attrs.ETag) // without quotes here alone, as S3 does
	}
	if op.Checksum && len(attrs.Checksums) > 0 {
		w.open("Checksum")
		w.checksums(attrs.Checksums, true)
		w.close("Checksum")
	}
	if op.ObjectParts && attrs.PartsCount > 0 {
		w.objectParts(op, attrs.PartsCount, parts)
	}
	if op.StorageClass {
		w.storageClass(attrs.StorageClass)
	}
	if op.Length {
		w.int("ObjectSize", attrs.Size)
	}
	resp := w.response(root)
	if !attrs.ModTime.IsZero() {
		resp.Set("Last-Modified", formatHTTPTime(attrs.ModTime))
	}
	resp.SetIf("x-amz-version-id", attrs.VersionID)
	return resp
}

func (w *xmlWriter) objectParts(op GetObjectAttributes, count int, parts []PartEntry) {
	w.open("ObjectParts")
	w.int("PartsCount", int64(count))
	if len(parts) > 0 {
		start := slices.IndexFunc(parts, func(p PartEntry) bool { return p.Number > op.PartMarker })
		if start < 0 {
			start = len(parts)
		}
		page := parts[start:]
		page = page[:min(len(page), op.MaxParts)]
		w.int("PartNumberMarker", int64(op.PartMarker))
		if len(page) > 0 {
			w.int("NextPartNumberMarker", int64(page[len(page)-1].Number))
		}
		w.int("MaxParts", int64(op.MaxParts))
		w.bool("IsTruncated", start+len(page) < len(parts))
		for _, p := range page {
			w.open("Part")
			w.checksums(p.Checksums, false)
			w.int("PartNumber", int64(p.Number))
			w.int("Size", p.Size)
			w.close("Part")
		}
	}
	w.close("ObjectParts")
}
