package oss

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// request is one call to OSS.
type request struct {
	*wire.Exchange
	b   *Backend
	op  string          // the upstream.Backend method
	loc upstream.Loc    // Key is empty for a bucket's operations
	ctx context.Context // for the SDK
}

// begin checks loc and starts a request about an object. Its body is empty unless it gets another one.
func (b *Backend) begin(ctx context.Context, op string, loc upstream.Loc) (*request, error) {
	if err := checkKey(op, loc.Key); err != nil {
		return nil, err
	}
	r, err := b.beginBucket(ctx, op, loc.Bucket)
	if err != nil {
		return nil, err
	}
	r.loc.Key = loc.Key
	return r, nil
}

// beginBucket checks the name and starts a request about a bucket.
func (b *Backend) beginBucket(ctx context.Context, op, bucket string) (*request, error) {
	if !sdk.IsValidBucketName(&bucket) {
		return nil, upstream.Errorf(upstream.Invalid, op, "bucket name %q: OSS has 3 to 63 lower-case letters, digits and hyphens", bucket)
	}
	return b.start(ctx, op, upstream.Loc{Bucket: bucket}), nil
}

func (b *Backend) start(ctx context.Context, op string, loc upstream.Loc) *request {
	r := &request{b: b, op: op, loc: loc}
	r.ctx, r.Exchange = wire.Begin(ctx)
	r.Keep = op != "Open"
	return r
}

// beginUpload refuses ids that OSS never gave out.
func (b *Backend) beginUpload(ctx context.Context, op string, up upstream.Upload) (*request, error) {
	if !wire.ValidUploadID(up.ID) {
		return nil, &upstream.Error{Code: upstream.NoUpload, Op: op, Message: "no upload has such an id"}
	}
	return b.begin(ctx, op, up.Loc)
}

// checkKey refuses keys that OSS does not take, or that may become another one on the way.
func checkKey(op, key string) error {
	message := ""
	switch {
	case key == "":
		message = "empty key"
	case key[0] == '/' || key[0] == '\\':
		message = `OSS takes no key that begins with "/" or "\"`
	case len(key) > maxKey:
		message = "OSS takes keys of at most 1023 bytes"
	case wire.DotComponent(key):
		message = `a component "." or ".." may be resolved on the way to OSS`
	default:
		return nil
	}
	return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: message}
}

// bare is for requests without a body: the SDK would send an empty one in chunks.
func (r *request) bare() *request {
	_, _ = r.Send(nil, 0) // of nothing, so nothing can be wrong with it
	return r
}

// fail says what became of a request.
func (r *request) fail(err error) error {
	out := r.b.vendor.Fail(r.Exchange, r.op, err)
	a := r.Answer()
	if r.op != "Stat" || out.Code != upstream.NotExist || a.Error.Code != "" || a.Header.Get(headCode) != "" {
		return out
	}
	// A HEAD's 404 without words is about the key or about the bucket.
	exists, err := r.b.buckets.Exists(r.Caller(), r.loc.Bucket, r.b.StatBucket)
	if err != nil {
		return err
	}
	if !exists {
		out.Code = upstream.NoBucket
	}
	return out
}

// Header lines that headErrors makes.
const (
	headCode    = "X-Oss-Err-Code"
	headMessage = "X-Oss-Err-Message"
)

// headErrors reads the error document that OSS puts into a header line, in base64, where an answer has no body.
type headErrors struct{ next http.RoundTripper }

func (t headErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Header.Del(headCode)
	resp.Header.Del(headMessage)
	if v := resp.Header.Get("X-Oss-Err"); v != "" {
		if doc, err := base64.StdEncoding.DecodeString(v); err == nil {
			said := wire.ParseError(doc)
			resp.Header.Set(headCode, said.Code)
			resp.Header.Set(headMessage, said.Message)
		}
	}
	return resp, nil
}

const metaPrefix = "X-Oss-Meta-"

// defaultType is what S3 gives an object without a content type.
const defaultType = "binary/octet-stream"

// setObject adds the lines of an object's headers.
func (r *request) setObject(o object.Headers) error {
	h := wire.EncodeHeaders(o)
	if h.ContentType == "" {
		h.ContentType = defaultType
	}
	r.Set("Content-Type", h.ContentType)
	r.Set("Content-Encoding", h.ContentEncoding)
	r.Set("Content-Language", h.ContentLanguage)
	r.Set("Content-Disposition", h.ContentDisposition)
	r.Set("Cache-Control", h.CacheControl)
	r.Set("Expires", h.Expires)
	for name, value := range h.User {
		// OSS takes letters, digits and hyphens.
		if name == "" {
			return upstream.Errorf(upstream.Invalid, r.op, "a user header without a name")
		}
		r.Set(metaPrefix+wire.EncodeName(strings.ToLower(name)), value)
	}
	return nil
}

// storageClasses are S3's names and OSS's.
var storageClasses = []struct{ s3, oss string }{
	{"STANDARD", "Standard"}, {"STANDARD_IA", "IA"}, {"GLACIER", "Archive"}, {"DEEP_ARCHIVE", "DeepColdArchive"},
	{"COLD_ARCHIVE", "ColdArchive"},
}

// setClass adds the line of a storage class, which comes by S3's name.
func (r *request) setClass(name string) error {
	if name == "" {
		return nil
	}
	for _, c := range storageClasses {
		if c.s3 == name {
			r.Set("X-Oss-Storage-Class", c.oss)
			return nil
		}
	}
	return upstream.Errorf(upstream.Invalid, r.op, "OSS has no storage class %q", name)
}

// classOf is S3's name of a storage class.
func classOf(name string) string {
	for _, c := range storageClasses {
		if strings.EqualFold(c.oss, name) {
			if c.s3 == "STANDARD" {
				return ""
			}
			return c.s3
		}
	}
	return name
}
