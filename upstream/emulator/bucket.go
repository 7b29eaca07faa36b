package emulator

import (
	"encoding/xml"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Names of buckets: 3 to 63 lower-case letters, digits and hyphens; OBS has dots too; COS ends each name in the
// account's number.
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	dottedName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	appName    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*-[0-9]+$`)
)

func (e *Emulator) validBucket(name string) bool {
	switch e.cfg.Dialect {
	case OBS:
		return dottedName.MatchString(name)
	case COS:
		return bucketName.MatchString(name) && appName.MatchString(name)
	default:
		return bucketName.MatchString(name)
	}
}

func (e *Emulator) createBucket(c *call) *failure {
	if !e.validBucket(c.bucket) {
		return fail(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	// The body names a region or a storage class.
	if _, err := io.Copy(io.Discard, io.LimitReader(c.r.Body, 1<<20)); err != nil {
		return fail(http.StatusBadRequest, "IncompleteBody", err.Error())
	}
	if e.store.createBucket(c.bucket) {
		c.w.Header().Set("Location", "/"+c.bucket)
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	if e.cfg.Dialect == OSS {
		return fail(http.StatusConflict, "BucketAlreadyExists", "The requested bucket name is not available.")
	}
	return fail(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
}

func (e *Emulator) deleteBucket(c *call) *failure {
	f := e.store.deleteBucket(c.bucket)
	if f == nil {
		c.w.WriteHeader(http.StatusNoContent)
	}
	return f
}

func (e *Emulator) headBucket(c *call) *failure {
	f := e.store.with(c.bucket, func(*bucket) *failure { return nil })
	if f == nil {
		c.w.WriteHeader(http.StatusOK)
	}
	return f
}

type ownerXML struct {
	ID          string
	DisplayName string `xml:",omitempty"`
}

var owner = ownerXML{ID: "1250000000", DisplayName: "emulator"}

type bucketXML struct {
	Name         string
	Location     string
	CreationDate string
	Extranet     string `xml:"ExtranetEndpoint,omitempty"` // OSS
	Intranet     string `xml:"IntranetEndpoint,omitempty"` // OSS
	Class        string `xml:"StorageClass,omitempty"`     // OSS
	BucketType   string `xml:",omitempty"`                 // OBS
}

type listBucketsXML struct {
	XMLName     xml.Name `xml:"ListAllMyBucketsResult"`
	Owner       ownerXML
	IsTruncated bool
	Buckets     struct {
		Bucket []bucketXML
	}
}

func (e *Emulator) describe(b bucketInfo) bucketXML {
	out := bucketXML{Name: b.name, Location: e.location(), CreationDate: xmlTime(b.created)}
	switch e.cfg.Dialect {
	case OSS:
		out.Extranet, out.Intranet, out.Class = e.cfg.Domains[0], e.cfg.Domains[0], "Standard"
	case OBS:
		out.BucketType = "OBJECT"
	case COS:
	}
	return out
}

func (e *Emulator) location() string {
	if e.cfg.Dialect == OSS {
		return "oss-" + e.region()
	}
	return e.region()
}

func (e *Emulator) region() string {
	if e.cfg.Region == "" {
		return "emulator"
	}
	return e.cfg.Region
}

func (e *Emulator) listBuckets(c *call) *failure {
	out := listBucketsXML{Owner: owner}
	for _, b := range e.store.bucketList() {
		out.Buckets.Bucket = append(out.Buckets.Bucket, e.describe(b))
	}
	return writeXML(c, out)
}

type aclXML struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   ownerXML
	List    struct {
		Grant string
	} `xml:"AccessControlList"`
}

type bucketInfoXML struct {
	XMLName xml.Name `xml:"BucketInfo"`
	Bucket  struct {
		bucketXML
		Versioning string `xml:",omitempty"`
		Owner      ownerXML
		ACL        struct{ Grant string } `xml:"AccessControlList"`
	}
}

type locationXML struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
	Inner   string `xml:"Location,omitempty"` // OBS
}

type versioningXML struct {
	XMLName xml.Name `xml:"VersioningConfiguration"`
	Status  string   `xml:",omitempty"`
}

func (e *Emulator) getBucketInfo(c *call) *failure {
	var info bucketInfo
	f := e.store.with(c.bucket, func(b *bucket) *failure {
		info = bucketInfo{name: c.bucket, created: b.created}
		return nil
	})
	switch {
	case f != nil:
		return f
	case c.query.has("bucketInfo"):
		if e.cfg.Dialect != OSS {
			return errNotHere
		}
		var out bucketInfoXML
		out.Bucket.bucketXML, out.Bucket.Owner, out.Bucket.ACL.Grant = e.describe(info), owner, "private"
		if c.quirks.Versioned {
			out.Bucket.Versioning = "Enabled"
		}
		return writeXML(c, out)
	case c.query.has("versioning"):
		var out versioningXML
		if c.quirks.Versioned {
			out.Status = "Enabled"
		}
		return writeXML(c, out)
	case c.query.has("acl"):
		out := aclXML{Owner: owner}
		out.List.Grant = "private" // OSS's form; the others grant by account
		return writeXML(c, out)
	}
	out := locationXML{XMLName: xml.Name{Local: "LocationConstraint"}, Value: e.location()}
	if e.cfg.Dialect == OBS {
		out = locationXML{XMLName: xml.Name{Local: "Location"}, Value: e.location()}
	}
	return writeXML(c, out)
}

type deleteRequestXML struct {
	XMLName  xml.Name `xml:"Delete"`
	Quiet    bool
	Encoding string `xml:"EncodingType"`
	Objects  []struct {
		Key string
	} `xml:"Object"`
}

type deletedXML struct {
	Key string
}

type deleteErrorXML struct {
	Key     string
	Code    string
	Message string
}

type deleteXML struct {
	XMLName  xml.Name         `xml:"DeleteResult"`
	Encoding string           `xml:"EncodingType,omitempty"`
	Deleted  []deletedXML     `xml:"Deleted"`
	Errors   []deleteErrorXML `xml:"Error"`
}

// deleteObjects deletes many keys. Content-MD5 is obligatory with all three vendors.
func (e *Emulator) deleteObjects(c *call) *failure {
	if c.r.Header.Get("Content-Md5") == "" {
		return fail(http.StatusBadRequest, "MissingArgument", "Missing Some Required Arguments: Content-MD5.")
	}
	body, f := e.body(c, 2<<20, false)
	if f != nil {
		return f
	}
	var req deleteRequestXML
	if err := xml.Unmarshal(slices.Concat(body...), &req); err != nil || len(req.Objects) == 0 || len(req.Objects) > 1000 {
		return malformed()
	}
	enc := encoderOf(c)
	if e.cfg.Dialect == OBS {
		enc.on = req.Encoding == encodingURL
	}
	out := deleteXML{Encoding: enc.name()}
	f = e.store.with(c.bucket, func(b *bucket) *failure {
		for _, o := range req.Objects {
			key := o.Key
			if e.cfg.Dialect == OBS && enc.on {
				key = decode(key) // OBS: EncodingType is about the request too
			}
			b.remove(key)
			if !req.Quiet {
				out.Deleted = append(out.Deleted, deletedXML{Key: enc.do(key)})
			}
		}
		return nil
	})
	if f != nil {
		return f
	}
	return writeXML(c, out)
}

func writeXML(c *call, v any) *failure {
	doc := document(v)
	h := c.w.Header()
	h.Set("Content-Type", "application/xml")
	if c.op == CompleteUpload && c.quirks.CompleteSpaces > 0 {
		doc = doc[len(xml.Header):] // pause has sent it
	} else {
		h.Set("Content-Length", strconv.Itoa(len(doc)))
	}
	_, _ = c.w.Write(doc) // the client is gone: nobody to tell
	return nil
}

func xmlTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
