package emulator

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxParts = 10000

type initiateXML struct {
	XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket   string
	Key      string
	UploadID string `xml:"UploadId"`
	Encoding string `xml:"EncodingType,omitempty"`
}

func (e *Emulator) createUpload(c *call) *failure {
	if f := e.checkKey(c); f != nil {
		return f
	}
	id, f := e.store.newUpload(c.bucket, c.key, e.keptHeader(c.r))
	if f != nil {
		return f
	}
	enc := encoderOf(c)
	return writeXML(c, initiateXML{Bucket: c.bucket, Key: enc.do(c.key), UploadID: id, Encoding: enc.name()})
}

func partNumber(c *call) (int, *failure) {
	n, err := strconv.Atoi(c.query.get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return 0, invalid("Part number must be an integer between 1 and 10000, inclusive.")
	}
	return n, nil
}

func (e *Emulator) uploadPart(c *call) *failure {
	number, f := partNumber(c)
	if f != nil {
		return f
	}
	id := c.query.get("uploadId")
	if f := e.store.withUpload(c.bucket, c.key, id, func(*bucket, *upload) *failure { return nil }); f != nil {
		return f
	}
	data, f := e.body(c, c.quirks.MaxPart, c.quirks.NoChunkedParts)
	if f != nil {
		return f
	}
	v := e.store.seal(data, nil)
	if f := e.storePart(c, number, v); f != nil {
		return f
	}
	e.setETag(c, v)
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (e *Emulator) storePart(c *call, number int, v *stored) *failure {
	return e.store.withUpload(c.bucket, c.key, c.query.get("uploadId"), func(_ *bucket, u *upload) *failure {
		u.parts[number] = v
		return nil
	})
}

func (e *Emulator) abortUpload(c *call) *failure {
	id := c.query.get("uploadId")
	f := e.store.withUpload(c.bucket, c.key, id, func(b *bucket, u *upload) *failure {
		delete(b.uploads, u.id)
		return nil
	})
	if f == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return f
}

type completeRequestXML struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
	} `xml:"Part"`
}

type completeXML struct {
	XMLName  xml.Name `xml:"CompleteMultipartUploadResult"`
	Encoding string   `xml:"EncodingType,omitempty"`
	Location string
	Bucket   string
	Key      string
	ETag     string
}

func (e *Emulator) completeUpload(c *call) *failure {
	body, f := e.body(c, 4<<20, false)
	if f != nil {
		return f
	}
	var req completeRequestXML
	if err := xml.Unmarshal(slices.Concat(body...), &req); err != nil || len(req.Parts) == 0 {
		return malformed()
	}
	v, f := e.assemble(c, req)
	if f != nil {
		return f
	}
	// From here on the answer is 200, whatever comes.
	c.w.Header().Set("Content-Type", "application/xml")
	e.setCRC(c, v)
	e.pause(c)
	enc := encoderOf(c)
	return writeXML(c, completeXML{
		Encoding: enc.name(), Location: "http://" + c.r.Host + c.r.URL.EscapedPath(),
		Bucket: c.bucket, Key: enc.do(c.key), ETag: `"` + c.etag(v) + `"`,
	})
}

// pause sends the white space that keeps a connection alive while parts are put together, behind the XML declaration.
func (e *Emulator) pause(c *call) {
	if c.quirks.CompleteSpaces > 0 {
		_, _ = c.w.Write([]byte(xml.Header)) // the client is gone: nobody to tell
	}
	for range c.quirks.CompleteSpaces {
		_, _ = c.w.Write([]byte{' '}) // the client is gone: nobody to tell
		if f, ok := c.w.(http.Flusher); ok {
			f.Flush()
		}
		select {
		case <-time.After(time.Millisecond):
		case <-c.r.Context().Done():
			return
		}
	}
}

// assemble makes the object of the listed parts.
func (e *Emulator) assemble(c *call, req completeRequestXML) (v *stored, f *failure) {
	id := c.query.get("uploadId")
	f = e.store.withUpload(c.bucket, c.key, id, func(b *bucket, u *upload) *failure {
		parts, f := c.selectParts(u, req)
		if f != nil {
			return f
		}
		v = join(parts, c.quirks.OpaqueETags)
		v.header, v.modified = u.header, e.cfg.Now().UTC()
		if f := b.put(c.key, v, e.createOnly(c)); f != nil {
			return f
		}
		delete(b.uploads, u.id)
		return nil
	})
	return v, f
}

// selectParts checks the list of a Complete against the upload's parts.
func (c *call) selectParts(u *upload, req completeRequestXML) ([]*stored, *failure) {
	parts := make([]*stored, len(req.Parts))
	for i, p := range req.Parts {
		if i > 0 && p.PartNumber <= req.Parts[i-1].PartNumber {
			return nil, fail(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order.")
		}
		if c.quirks.ContiguousParts && p.PartNumber != i+1 {
			return nil, fail(http.StatusBadRequest, "InvalidPart", "The part numbers are not continuous.")
		}
		v := u.parts[p.PartNumber]
		if v == nil || strings.Trim(p.ETag, `"`) != c.etag(v) {
			return nil, fail(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.")
		}
		parts[i] = v
	}
	for _, v := range parts[:len(parts)-1] {
		if v.size < c.quirks.MinPart {
			return nil, fail(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
		}
	}
	return parts, nil
}

// join makes one version of parts. It does not copy their bytes.
func join(parts []*stored, opaque bool) *stored {
	v := &stored{multi: true}
	sums := md5.New()
	for _, p := range parts {
		sum, _ := hex.DecodeString(p.etag) // seal has made it
		_, _ = sums.Write(sum)
		v.data = append(v.data, p.data...)
		v.size += p.size
	}
	if opaque {
		_, _ = sums.Write([]byte("opaque"))
	}
	v.etag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(parts))
	v.crc = v.data.crc()
	return v
}

type partXML struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	CRC64        string `xml:"HashCrc64ecma,omitempty"` // OSS
}

type listPartsXML struct {
	XMLName     xml.Name `xml:"ListPartsResult"`
	Encoding    string   `xml:"EncodingType,omitempty"`
	Bucket      string
	Key         string
	UploadID    string `xml:"UploadId"`
	Marker      int    `xml:"PartNumberMarker"`
	NextMarker  int    `xml:"NextPartNumberMarker"`
	MaxParts    int
	IsTruncated bool
	Class       string    `xml:"StorageClass"`
	Parts       []partXML `xml:"Part"`
}

func (e *Emulator) listParts(c *call) *failure {
	limit, f := c.limit("max-parts", 1000)
	if f != nil {
		return f
	}
	marker, _ := strconv.Atoi(c.query.get("part-number-marker")) // 0 when it is not there
	id, enc := c.query.get("uploadId"), encoderOf(c)
	out := listPartsXML{
		Encoding: enc.name(), Bucket: c.bucket, Key: enc.do(c.key), UploadID: id, Marker: marker, MaxParts: limit, Class: "STANDARD",
	}
	f = e.store.withUpload(c.bucket, c.key, id, func(_ *bucket, u *upload) *failure {
		for _, n := range slices.Sorted(maps.Keys(u.parts)) {
			if n <= marker {
				continue
			}
			if len(out.Parts) == limit {
				out.IsTruncated = true
				break
			}
			v := u.parts[n]
			p := partXML{PartNumber: n, LastModified: xmlTime(v.modified), ETag: `"` + c.etag(v) + `"`, Size: v.size}
			if c.quirks.CRC64 && e.cfg.Dialect == OSS {
				p.CRC64 = strconv.FormatUint(v.crc, 10)
			}
			out.Parts = append(out.Parts, p)
			out.NextMarker = n
		}
		return nil
	})
	if f != nil {
		return f
	}
	return writeXML(c, out)
}
