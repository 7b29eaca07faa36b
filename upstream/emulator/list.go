package emulator

import (
	"encoding/hex"
	"encoding/xml"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

const encodingURL = "url"

// encoder writes a name into XML, percent-encoded when the request asked for it.
type encoder struct{ on, plus bool }

func encoderOf(c *call) encoder {
	return encoder{on: c.query.get("encoding-type") == encodingURL, plus: c.quirks.ListPlus}
}

func (e encoder) do(name string) string {
	if !e.on {
		return name
	}
	out := url.QueryEscape(name)
	if !e.plus {
		out = strings.ReplaceAll(out, "+", "%20")
	}
	return out
}

func (e encoder) name() string {
	if e.on {
		return encodingURL
	}
	return ""
}

func decode(name string) string {
	if out, err := url.QueryUnescape(name); err == nil {
		return out
	}
	return name
}

// limit reads a page size; 0 and what is above most are most.
func (c *call) limit(name string, most int) (int, *failure) {
	v, ok := c.query.find(name)
	if !ok || v == "" {
		return min(most, 1000), nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > most {
		return 0, invalid(name + " must be an integer from 1 to " + strconv.Itoa(most) + ".")
	}
	if n == 0 {
		n = most
	}
	return n, nil
}

type objectXML struct {
	Key          string
	LastModified string
	ETag         string
	Type         string `xml:",omitempty"` // OSS
	Size         int64
	StorageClass string
	Owner        *ownerXML `xml:",omitempty"`
}

type prefixXML struct {
	Prefix string
}

type listXML struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	Encoding    string   `xml:"EncodingType,omitempty"`
	Name        string
	Prefix      string
	Marker      *string `xml:",omitempty"`
	NextMarker  string  `xml:",omitempty"`
	StartAfter  string  `xml:",omitempty"`
	Token       string  `xml:"ContinuationToken,omitempty"`
	NextToken   string  `xml:"NextContinuationToken,omitempty"`
	KeyCount    *int    `xml:",omitempty"`
	MaxKeys     int
	Delimiter   string `xml:",omitempty"`
	IsTruncated bool
	Contents    []objectXML
	Prefixes    []prefixXML `xml:"CommonPrefixes"`
}

// list serves V1 listings of all vendors, and V2 of OSS.
func (e *Emulator) list(c *call) *failure {
	limit, f := c.limit("max-keys", 1000)
	if f != nil {
		return f
	}
	v2 := e.cfg.Dialect == OSS && !c.quirks.ListV1Only && c.query.get("list-type") == "2"
	req := upstream.ListRequest{
		Bucket: c.bucket, Prefix: c.query.get("prefix"), Delimiter: c.query.get("delimiter"), MaxKeys: limit,
		StartAfter: c.query.get("marker"),
	}
	if v2 {
		req.StartAfter = c.query.get("start-after")
		if token := c.query.get("continuation-token"); token != "" {
			if req.StartAfter, f = unsealToken(token); f != nil {
				return f
			}
		}
	}
	page, f := e.page(c, req)
	if f != nil {
		return f
	}
	enc := encoderOf(c)
	out := listXML{
		Encoding: enc.name(), Name: c.bucket, Prefix: enc.do(req.Prefix), Delimiter: enc.do(req.Delimiter),
		MaxKeys: limit, IsTruncated: page.Next != "", Contents: e.contents(page, enc), Prefixes: prefixes(page.Prefixes, enc),
	}
	if v2 {
		count := len(out.Contents) + len(out.Prefixes)
		out.KeyCount, out.Token = &count, c.query.get("continuation-token")
		out.StartAfter, out.NextToken = enc.do(c.query.get("start-after")), sealToken(page.Next)
	} else {
		marker := enc.do(req.StartAfter)
		out.Marker, out.NextMarker = &marker, enc.do(page.Next)
	}
	return writeXML(c, out)
}

// page lists from the store. Attrs.ETag and StorageClass are as they go out.
func (e *Emulator) page(c *call, req upstream.ListRequest) (upstream.ListPage, *failure) {
	page := semantics.NewPage(req)
	f := e.store.with(c.bucket, func(b *bucket) *failure {
		start, _ := slices.BinarySearch(b.keys, max(req.Prefix, page.After()))
		for _, key := range b.keys[start:] {
			if page.Full() || (key > req.Prefix && !strings.HasPrefix(key, req.Prefix)) {
				break
			}
			if !page.Wants(key) {
				continue
			}
			v := b.objects[key]
			page.Add(key, object.Attrs{
				Size: v.size, ETag: c.etag(v), ModTime: v.modified, StorageClass: v.header.Get(e.vendor.prefix + "storage-class"),
			})
		}
		return nil
	})
	return page.Done(), f
}

func (e *Emulator) contents(page upstream.ListPage, enc encoder) []objectXML {
	out := make([]objectXML, len(page.Objects))
	for i, o := range page.Objects {
		out[i] = objectXML{
			Key: enc.do(o.Key), LastModified: xmlTime(o.ModTime), ETag: `"` + o.ETag + `"`, Size: o.Size, StorageClass: o.StorageClass,
		}
		if o.StorageClass == "" {
			out[i].StorageClass = "STANDARD"
		}
		if e.cfg.Dialect == OSS {
			out[i].Type = "Normal"
			if strings.Contains(o.ETag, "-") {
				out[i].Type = "Multipart"
			}
			if o.StorageClass == "" {
				out[i].StorageClass = "Standard"
			}
		}
		if e.cfg.Dialect != OSS {
			out[i].Owner = &owner
		}
	}
	return out
}

func prefixes(names []string, enc encoder) []prefixXML {
	out := make([]prefixXML, len(names))
	for i, name := range names {
		out[i] = prefixXML{Prefix: enc.do(name)}
	}
	return out
}

// A continuation token is opaque: the place reached, in hexadecimal.
func sealToken(after string) string {
	if after == "" {
		return ""
	}
	return "token-" + hex.EncodeToString([]byte(after))
}

func unsealToken(token string) (string, *failure) {
	encoded, ok := strings.CutPrefix(token, "token-")
	after, err := hex.DecodeString(encoded)
	if !ok || err != nil {
		return "", invalid("The continuation token provided is incorrect.")
	}
	return string(after), nil
}

type uploadXML struct {
	Key       string
	UploadID  string `xml:"UploadId"`
	Initiator *ownerXML
	Owner     *ownerXML
	Class     string `xml:"StorageClass"`
	Initiated string
}

type listUploadsXML struct {
	XMLName    xml.Name `xml:"ListMultipartUploadsResult"`
	Encoding   string   `xml:"EncodingType,omitempty"`
	Bucket     string
	KeyMarker  string
	IDMarker   string `xml:"UploadIdMarker"`
	NextKey    string `xml:"NextKeyMarker"`
	NextID     string `xml:"NextUploadIdMarker"`
	Delimiter  string
	Prefix     string
	MaxUploads int
	Truncated  bool        `xml:"IsTruncated"`
	Uploads    []uploadXML `xml:"Upload"`
	Prefixes   []prefixXML `xml:"CommonPrefixes"`
}

func (e *Emulator) listUploads(c *call) *failure {
	limit, f := c.limit("max-uploads", 1000)
	if f != nil {
		return f
	}
	req := upstream.ListUploadsRequest{
		Bucket: c.bucket, Prefix: c.query.get("prefix"), Delimiter: c.query.get("delimiter"),
		KeyMarker: c.query.get("key-marker"), UploadIDMarker: c.query.get("upload-id-marker"), MaxUploads: limit,
	}
	var all []upstream.UploadInfo
	f = e.store.with(c.bucket, func(b *bucket) *failure {
		for _, u := range b.uploads {
			all = append(all, upstream.UploadInfo{Key: u.key, ID: u.id, Started: u.started})
		}
		return nil
	})
	if f != nil {
		return f
	}
	page, enc := semantics.PageUploads(req, all), encoderOf(c)
	out := listUploadsXML{
		Encoding: enc.name(), Bucket: c.bucket, KeyMarker: enc.do(req.KeyMarker), IDMarker: req.UploadIDMarker,
		NextKey: enc.do(page.NextKeyMarker), NextID: page.NextUploadIDMarker, Delimiter: enc.do(req.Delimiter),
		Prefix: enc.do(req.Prefix), MaxUploads: limit, Truncated: page.More, Prefixes: prefixes(page.Prefixes, enc),
	}
	for _, u := range page.Uploads {
		out.Uploads = append(out.Uploads, uploadXML{
			Key: enc.do(u.Key), UploadID: u.ID, Initiator: &owner, Owner: &owner, Class: "STANDARD", Initiated: xmlTime(u.Started),
		})
	}
	return writeXML(c, out)
}
