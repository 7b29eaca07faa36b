package cos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	sdk "github.com/tencentyun/cos-go-sdk-v5"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

const metaPrefix = "X-Cos-Meta-" // canonical, as net/http delivers it

// call is one call to COS.
type call struct {
	*sdk.Client
	b   *Backend
	op  string // the upstream.Backend method
	ctx context.Context
	loc upstream.Loc // Key is empty for a bucket's operations
	x   *wire.Exchange
}

// begin checks loc and starts a call about an object.
func (b *Backend) begin(ctx context.Context, op string, loc upstream.Loc) (*call, error) {
	if err := checkKey(op, loc.Key); err != nil {
		return nil, err
	}
	c, err := b.beginBucket(ctx, op, loc.Bucket)
	if err == nil {
		c.loc.Key = loc.Key
	}
	return c, err
}

// beginBucket checks the name and starts a call about a bucket.
func (b *Backend) beginBucket(ctx context.Context, op, bucket string) (*call, error) {
	full, err := b.fullName(op, bucket)
	if err != nil {
		return nil, err
	}
	return b.start(ctx, op, full, upstream.Loc{Bucket: bucket}), nil
}

// beginUpload refuses ids that COS does not give out.
func (b *Backend) beginUpload(ctx context.Context, op string, up upstream.Upload) (*call, error) {
	if !wire.ValidUploadID(up.ID) {
		return nil, &upstream.Error{Code: upstream.NoUpload, Op: op, Message: "no upload has such an id"}
	}
	return b.begin(ctx, op, up.Loc)
}

func (b *Backend) start(ctx context.Context, op, full string, loc upstream.Loc) *call {
	ctx, x := wire.Begin(ctx)
	x.Keep = op != "Open"
	return &call{Client: b.client(full), b: b, op: op, ctx: ctx, loc: loc, x: x}
}

// fullName is a bucket's name with the account's number. Names without one belong to no account: a request for
// one would not reach COS.
func (b *Backend) fullName(op, bucket string) (string, error) {
	if b.cfg.AppID != "" {
		bucket += "-" + b.cfg.AppID
	}
	name, number, ok := cutLast(bucket, "-")
	if !ok || name == "" || number == "" || strings.Trim(number, "0123456789") != "" || !wire.ValidHost(bucket) || strings.Contains(bucket, ".") {
		return "", upstream.Errorf(upstream.Invalid, op,
			"bucket %q: buckets of COS are named NAME-APPID, of lower-case letters, digits and '-' (or set app_id)", bucket)
	}
	return bucket, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// checkKey refuses keys that COS does not hold, and those that are the path of the bucket itself: to delete such a
// key would be to delete the bucket.
func checkKey(op, key string) error {
	refuse := func(why string) error {
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: why}
	}
	switch {
	case key == "" || path.Clean("/"+key) == "/":
		return refuse("the key is a path that leads to the bucket itself")
	case len(key) > maxKey:
		return refuse(fmt.Sprintf("keys of COS have at most %d bytes", maxKey))
	case key[0] == '/' || key[0] == '\\':
		return refuse("keys of COS do not begin with a slash or backslash")
	case strings.ContainsAny(key, "\x18\x19\x1a\x1b"):
		return refuse("keys of COS do not hold the control characters 24 to 27")
	default:
		return nil
	}
}

// setObject adds the lines of an object's headers.
func (c *call) setObject(o object.Headers) {
	o = wire.EncodeHeaders(o)
	c.x.Set("Content-Type", o.ContentType)
	c.x.Set("Content-Encoding", o.ContentEncoding)
	c.x.Set("Content-Language", o.ContentLanguage)
	c.x.Set("Content-Disposition", o.ContentDisposition)
	c.x.Set("Cache-Control", o.CacheControl)
	c.x.Set("Expires", o.Expires)
	for name, value := range o.User {
		c.x.Set(metaPrefix+wire.EncodeName(strings.ToLower(name)), value)
	}
}

// do runs a call of the SDK.
func (c *call) do(fn func() error) error {
	if err := fn(); err != nil {
		return c.fail(err)
	}
	if status := c.x.Answer().Status; status < 200 || status >= 300 {
		return c.fail(fmt.Errorf("the SDK made nothing of status %d", status))
	}
	return nil
}

// send is do for a call with a body.
func (c *call) send(src io.Reader, size int64, fn func() error) error {
	body, err := c.x.Send(src, size)
	if err != nil {
		return c.b.vendor.FailBody(c.x, c.op, body, err)
	}
	if err := c.do(fn); err != nil {
		if body.Err() != nil {
			return c.b.vendor.FailBody(c.x, c.op, body, err)
		}
		return err
	}
	if !body.Done() {
		return upstream.Errorf(upstream.Unavailable, c.op, "the store answered before it had the whole body")
	}
	return nil
}

func (c *call) fail(err error) error {
	out := c.b.vendor.Fail(c.x, c.op, err)
	if c.op != "Stat" || out.Code != upstream.NotExist {
		return out
	}
	exists, err := c.b.buckets.Exists(c.x.Caller(), c.loc.Bucket, c.b.StatBucket)
	if err != nil {
		return err
	}
	if !exists {
		out.Code = upstream.NoBucket
	}
	return out
}

// remove is do for a deletion.
func (c *call) remove(fn func() error) error {
	if err := c.do(fn); err != nil {
		return err
	}
	return c.x.Gone(c.op)
}

// ask is do for a call whose good answer is a document with that root.
func (c *call) ask(root string, fn func() error) error {
	if err := c.do(fn); err != nil {
		return err
	}
	return c.x.Answered(c.op, root)
}

// header is the answer's, as it came.
func (c *call) header() http.Header { return c.x.Answer().Header }

// version is a version's id as the SDK's optional argument.
func version(id string) []string {
	if id == "" {
		return nil
	}
	return []string{url.QueryEscape(id)}
}

// attrsOf reads the attributes of an object of size bytes from an answer's header.
func attrsOf(h http.Header, size int64) object.Attrs {
	a := object.Attrs{
		Size: size, ETag: wire.Unquote(h.Get("ETag")), VersionID: versionOf(h),
		Headers: headersOf(h), StorageClass: classFromCOS(h.Get("X-Cos-Storage-Class")), HeadersKnown: true,
	}
	a.ETagMD5 = md5ETag(h, a.ETag)
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		a.ModTime = t.UTC()
	}
	return a
}

func headersOf(h http.Header) object.Headers {
	out := wire.HeadersOf(h, metaPrefix)
	var user map[string]string
	for name, value := range out.User {
		if user == nil {
			user = make(map[string]string, len(out.User))
		}
		user[wire.DecodeName(name)] = value
	}
	out.User = user
	return out
}

func versionOf(h http.Header) string { return h.Get("X-Cos-Version-Id") }

// md5ETag reports whether an ETag is an MD5 sum, going by the header of an answer that has it: of what is encrypted on
// the store's side it need not be.
func md5ETag(h http.Header, etag string) bool {
	return wire.MD5ETag(etag) && !strings.Contains(etag, "-") && // that of an object made of parts is opaque
		h.Get("X-Cos-Server-Side-Encryption") == "" && h.Get("X-Cos-Server-Side-Encryption-Customer-Algorithm") == ""
}

// Storage classes have names of their own in COS, of which some are S3's.
func classToCOS(class string) string {
	if class == "GLACIER" {
		return "ARCHIVE"
	}
	return class
}

func classFromCOS(class string) string {
	switch class {
	case "ARCHIVE":
		return "GLACIER"
	case "STANDARD":
		return ""
	default:
		return class
	}
}

// parseTime reads a time of COS's XML: RFC 3339, or zero.
func parseTime(s string) time.Time {
	t, _ := time.Parse(time.RFC3339, s) // zero is "not known"
	return t.UTC()
}
