package emulator

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// source finds the object that a copy is made of, and checks the conditions on it.
func (e *Emulator) source(c *call) (*stored, *failure) {
	bucket, key, f := e.copySource(e.header(c, "copy-source"))
	if f != nil {
		return nil, f
	}
	v, f := e.store.find(bucket, key)
	if f != nil {
		return nil, f
	}
	if f := conditions(c, c.r.Header, e.vendor.prefix+"copy-source-", v); f != nil {
		return nil, f
	}
	return v, nil
}

// copySource reads the header: "/bucket/key" percent-encoded, the slash in front optional; for COS it is
// "bucket.host/key". What follows a raw "?" names a version, of which there are none.
func (e *Emulator) copySource(value string) (bucket, key string, f *failure) {
	bad := invalid("Copy Source must mention the source bucket and key: sourcebucket/sourcekey.")
	raw, version, hasVersion := strings.Cut(value, "?")
	if id := strings.TrimPrefix(version, "versionId="); hasVersion && id != "" && id != "null" {
		return "", "", errNoVersion
	}
	name, err := url.PathUnescape(strings.TrimPrefix(raw, "/"))
	if err != nil {
		return "", "", bad
	}
	bucket, key, ok := strings.Cut(name, "/")
	if e.cfg.Dialect == COS {
		virtual := false
		if bucket, virtual = e.hostBucket(bucket); !virtual {
			return "", "", bad
		}
	}
	if !ok || bucket == "" || key == "" {
		return "", "", bad
	}
	return bucket, key, nil
}

type copyObjectXML struct {
	XMLName      xml.Name `xml:"CopyObjectResult"`
	ETag         string
	LastModified string
	CRC64        string `xml:",omitempty"` // COS
}

type copyPartXML struct {
	XMLName      xml.Name `xml:"CopyPartResult"`
	ETag         string
	LastModified string
}

func (e *Emulator) copyObject(c *call) *failure {
	if f := e.checkKey(c); f != nil {
		return f
	}
	src, f := e.source(c)
	if f != nil {
		return f
	}
	if src.size > c.quirks.MaxPut {
		return fail(http.StatusBadRequest, "EntityTooLarge", "The specified copy source is larger than the maximum allowable size for a copy source.")
	}
	if f := e.store.with(c.bucket, func(*bucket) *failure { return nil }); f != nil {
		return f
	}
	// Conditions on the target are S3's; these vendors have none but forbid-overwrite.
	header := maps.Clone(src.header)
	directive := e.header(c, "metadata-directive")
	switch strings.ToUpper(directive) {
	case "", "COPY":
		if class := e.header(c, "storage-class"); class != "" {
			header.Set(e.vendor.prefix+"storage-class", class)
		}
	case "REPLACE", "REPLACED": // COS calls it Replaced
		header = e.keptHeader(c.r)
	default:
		return invalid("The metadata directive must be COPY or REPLACE.")
	}
	v := e.store.seal(src.data, header) // an MD5 of the whole, even when the source was made of parts
	if f := e.store.put(c.bucket, c.key, v, e.createOnly(c)); f != nil {
		return f
	}
	e.setCRC(c, v)
	return writeXML(c, copyObjectXML{ETag: `"` + c.etag(v) + `"`, LastModified: xmlTime(v.modified)})
}

func (e *Emulator) uploadPartCopy(c *call) *failure {
	number, f := partNumber(c)
	if f != nil {
		return f
	}
	src, f := e.source(c)
	if f != nil {
		return f
	}
	piece := span{length: src.size}
	if value := e.header(c, "copy-source-range"); value != "" {
		var exact bool
		var err error
		piece, exact, err = parseRange(value, src.size)
		switch {
		case (err != nil || !exact) && c.quirks.LooseRanges:
			piece = span{length: src.size}
		case err != nil || !exact:
			return fail(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range cannot be satisfied.")
		}
	}
	v := e.store.seal(src.data.slice(piece), nil)
	if f := e.storePart(c, number, v); f != nil {
		return f
	}
	e.setCRC(c, v)
	return writeXML(c, copyPartXML{ETag: `"` + c.etag(v) + `"`, LastModified: xmlTime(v.modified)})
}

// slice is a piece of c, sharing its bytes.
func (c content) slice(s span) content {
	var out content
	for _, piece := range c {
		size := int64(len(piece))
		if s.off >= size {
			s.off -= size
			continue
		}
		take := min(size-s.off, s.length)
		if take <= 0 {
			break
		}
		out = append(out, piece[s.off:s.off+take:s.off+take])
		s.off, s.length = 0, s.length-take
	}
	return out
}
