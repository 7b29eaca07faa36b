package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

const (
	metaPrefix = "X-Obs-Meta-" // canonical, as net/http delivers it
	// noType is what S3 gives an object without a content type. The SDK would guess one from the key.
	noType = "binary/octet-stream"
)

// call is one call to OBS.
type call struct {
	*sdk.ObsClient
	b   *Backend
	op  string       // the upstream.Backend method
	loc upstream.Loc // Key is empty for a bucket's operations
	x   *wire.Exchange
	// signed are the header lines that take part in the signature, by the names that the SDK looks for: it
	// tells them by lower-case prefixes. Other lines are set in x.
	signed map[string]string
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
	if !wire.ValidHost(bucket) {
		return nil, upstream.Errorf(upstream.Invalid, op, "bucket name %q cannot be asked for over OBS", bucket)
	}
	return b.start(ctx, op, upstream.Loc{Bucket: bucket})
}

// beginUpload refuses ids that OBS does not give out.
func (b *Backend) beginUpload(ctx context.Context, op string, up upstream.Upload) (*call, error) {
	if !wire.ValidUploadID(up.ID) {
		return nil, &upstream.Error{Code: upstream.NoUpload, Op: op, Message: "no upload has such an id"}
	}
	return b.begin(ctx, op, up.Loc)
}

func (b *Backend) start(ctx context.Context, op string, loc upstream.Loc) (*call, error) {
	ctx, x := wire.Begin(ctx)
	x.Keep = op != "Open"
	client, err := b.newClient(ctx)
	if err != nil {
		return nil, &upstream.Error{Code: upstream.Unavailable, Op: op, Err: err, Unsent: true}
	}
	return &call{ObsClient: client, b: b, op: op, loc: loc, x: x, signed: map[string]string{}}, nil
}

// checkKey refuses keys that the SDK takes for empty and those that something on the way may read as another path.
func checkKey(op, key string) error {
	switch {
	case strings.TrimSpace(key) == "":
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: "a key of white space alone cannot be asked for over OBS"}
	case wire.DotComponent(key):
		return &upstream.Error{Code: upstream.InvalidKey, Op: op, Message: `a key with "." or ".." between slashes may be read as another path on its way to OBS`}
	default:
		return nil
	}
}

// sign adds a line to the signed ones unless value is empty.
func (c *call) sign(name, value string) {
	if value != "" {
		c.signed[name] = value
	}
}

// lines are c.signed as the SDK's option.
func (c *call) lines() any { return option(sdk.WithCustomHeader("", ""), c.signed) }

// option makes one option of the SDK out of many header lines. The type of options has no name outside of the SDK:
// like says what it is.
func option[T ~func(map[string][]string, bool) error](_ T, lines map[string]string) T {
	return T(func(headers map[string][]string, _ bool) error {
		for name, value := range lines {
			headers[name] = []string{value}
		}
		return nil
	})
}

// setObject adds the lines of an object's headers.
func (c *call) setObject(o object.Headers) error {
	o = wire.EncodeHeaders(o)
	if o.ContentType == "" {
		o.ContentType = noType
	}
	c.sign("Content-Type", o.ContentType)
	c.x.Set("Content-Encoding", o.ContentEncoding)
	c.x.Set("Content-Language", o.ContentLanguage)
	c.x.Set("Content-Disposition", o.ContentDisposition)
	c.x.Set("Cache-Control", o.CacheControl)
	c.x.Set("Expires", o.Expires)
	for name, value := range o.User {
		if !wire.Token(name) {
			return upstream.Errorf(upstream.Invalid, c.op, "user metadata %q cannot be sent", name)
		}
		c.sign(strings.ToLower(metaPrefix)+strings.ToLower(name), value)
	}
	return nil
}

// do runs a call of the SDK. A panic in it is an error; the SDK itself makes "no error" of some.
func (c *call) do(fn func() error) error {
	if err := run(fn); err != nil {
		return c.fail(err)
	}
	if status := c.x.Answer().Status; status < 200 || status >= 300 {
		return c.fail(fmt.Errorf("the SDK made nothing of status %d", status))
	}
	return nil
}

var errPanic = errors.New("the SDK panicked")

func run(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return fn()
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

// attrsOf reads the attributes of an object of size bytes from an answer's header.
func attrsOf(h http.Header, size int64) object.Attrs {
	a := object.Attrs{
		Size: size, ETag: wire.Unquote(h.Get("ETag")), VersionID: h.Get("X-Obs-Version-Id"),
		Headers: wire.HeadersOf(h, metaPrefix), StorageClass: classFromOBS(h.Get("X-Obs-Storage-Class")), HeadersKnown: true,
	}
	a.ETagMD5 = md5ETag(h, a.ETag)
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		a.ModTime = t.UTC()
	}
	return a
}

// md5ETag reports whether an ETag is an MD5 sum, going by the header of an answer that has it: of what is encrypted on
// the store's side it is something else.
func md5ETag(h http.Header, etag string) bool {
	return wire.MD5ETag(etag) && h.Get("X-Obs-Server-Side-Encryption") == "" && h.Get("X-Obs-Server-Side-Encryption-Customer-Algorithm") == ""
}

// Storage classes have names of their own in OBS.
var classes = []struct{ s3, obs string }{{"STANDARD_IA", "WARM"}, {"GLACIER", "COLD"}}

func classToOBS(class string) string {
	for _, c := range classes {
		if class == c.s3 {
			return c.obs
		}
	}
	return class
}

func classFromOBS(class string) string {
	for _, c := range classes {
		if class == c.obs {
			return c.s3
		}
	}
	if class == "STANDARD" {
		return ""
	}
	return class
}
