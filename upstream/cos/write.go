package cos

import (
	"bytes"
	"context"
	"sync"
	"time"

	sdk "github.com/tencentyun/cos-go-sdk-v5"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Put implements upstream.Backend by PUT.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	c, err := b.begin(ctx, "Put", loc)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	c.setObject(req.Headers)
	c.x.Set("Content-MD5", req.MD5)
	c.x.Set("X-Cos-Storage-Class", classToCOS(req.StorageClass))
	err = c.send(req.Body, req.Size, func() error {
		_, err := c.Object.Put(c.ctx, loc.Key, bytes.NewReader(nil), nil) // the body is the Exchange's
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.enforced(req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(c.header().Get("ETag"))
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	return object.Attrs{
		Size: req.Size, ETag: etag, ETagMD5: md5ETag(c.header(), etag), VersionID: versionOf(c.header()),
		Headers: req.Headers.Clone(), StorageClass: req.StorageClass,
	}, nil
}

func noETag(op string) error {
	return upstream.Errorf(upstream.Unavailable, op, "the store gave no ETag")
}

// setConditions adds those of a write. COS ignores "create only" in buckets with versions, so these are refused.
func (c *call) setConditions(ifMatch string, ifNoneMatch bool) error {
	if ifMatch != "" {
		return &upstream.Error{Code: upstream.Unsupported, Op: c.op, Message: "COS cannot replace one version only (If-Match)"}
	}
	if !ifNoneMatch {
		return nil
	}
	on, err := c.b.hasVersions(c.x.Caller(), c.loc.Bucket)
	if err != nil {
		return err
	}
	if on {
		return ignoresConditions(c.op)
	}
	c.x.Set("X-Cos-Forbid-Overwrite", "true")
	return nil
}

func ignoresConditions(op string) error {
	return &upstream.Error{Code: upstream.Unsupported, Op: op, Message: "COS ignores x-cos-forbid-overwrite (If-None-Match) in buckets with versions"}
}

// enforced looks at the answer to a write with a condition: one that tells a version comes from a bucket that got
// versions since it was asked.
func (c *call) enforced(ifNoneMatch bool) error {
	if !ifNoneMatch || versionOf(c.header()) == "" {
		return nil
	}
	c.b.versions.set(c.loc.Bucket, true)
	return upstream.Errorf(upstream.Unavailable, c.op, "the bucket has versions now, and the condition was ignored: the object may have replaced another")
}

// hasVersions asks whether a bucket has, or had, versions, unless it has been asked just now.
func (b *Backend) hasVersions(ctx context.Context, bucket string) (bool, error) {
	if on, ok := b.versions.get(bucket); ok {
		return on, nil
	}
	return b.askVersions(ctx, bucket)
}

// askVersions is hasVersions that believes nothing of before.
func (b *Backend) askVersions(ctx context.Context, bucket string) (bool, error) {
	c, err := b.beginBucket(ctx, "GetVersioning", bucket)
	if err != nil {
		return false, err
	}
	var out *sdk.BucketGetVersionResult
	err = c.ask("VersioningConfiguration", func() (err error) {
		out, _, err = c.Bucket.GetVersioning(c.ctx)
		return err
	})
	if err != nil {
		return false, err
	}
	on := out.Status != "" // Enabled or Suspended
	b.versions.set(bucket, on)
	return on, nil
}

// versionedTTL is how long a bucket's versioning may be believed: the answer to a write tells when it was wrong.
const versionedTTL = time.Minute

// versioned remembers which buckets have versions.
type versioned struct {
	mu struct {
		sync.Mutex
		known map[string]versionedEntry
	}
}

type versionedEntry struct {
	on    bool
	until time.Time
}

func newVersioned() *versioned {
	v := &versioned{}
	v.mu.known = map[string]versionedEntry{}
	return v
}

func (v *versioned) get(bucket string) (on, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.mu.known[bucket]
	return e.on, ok && time.Now().Before(e.until)
}

func (v *versioned) set(bucket string, on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.mu.known) >= maxClients {
		clear(v.mu.known)
	}
	v.mu.known[bucket] = versionedEntry{on: on, until: time.Now().Add(versionedTTL)}
}

func (v *versioned) forget(bucket string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.mu.known, bucket)
}

// Copy implements upstream.Copier. COS answers with no more than the ETag and the time, so the rest is asked for.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	c, err := b.begin(ctx, "Copy", dst)
	if err != nil {
		return object.Attrs{}, err
	}
	source, err := c.setSource(req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	c.x.Set("X-Cos-Storage-Class", classToCOS(req.StorageClass))
	c.x.Set("X-Cos-Metadata-Directive", "Copy")
	if req.Replace {
		c.x.Set("X-Cos-Metadata-Directive", "Replaced")
		c.setObject(req.Headers)
	}
	var out *sdk.ObjectCopyResult
	err = c.ask("CopyObjectResult", func() (err error) {
		out, _, err = c.Object.Copy(c.ctx, dst.Key, source, nil)
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.enforced(req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	attrs := b.written(ctx, dst, etag, versionOf(c.header()))
	if attrs.ModTime.IsZero() {
		attrs.ModTime = parseTime(out.LastModified)
	}
	return attrs, nil
}

// setSource adds the lines of a copy's source, percent-encoded in full. What it returns is for the SDK, which wants
// a source too and would cut ours at "?".
func (c *call) setSource(src upstream.Loc, versionID, ifMatch string) (string, error) {
	full, err := c.b.fullName(c.op, src.Bucket)
	if err != nil {
		return "", err
	}
	if err := checkKey(c.op, src.Key); err != nil {
		return "", err
	}
	value := full + "." + c.b.endpoint.Host + "/" + wire.EscapePath(src.Key)
	if versionID != "" {
		value += "?versionId=" + wire.EscapePath(versionID)
	}
	c.x.Set("X-Cos-Copy-Source", value)
	c.x.Set("X-Cos-Copy-Source-If-Match", wire.Quote(ifMatch))
	return "replaced/replaced", nil
}

// written completes what is known of a version that was just written on the store's side.
func (b *Backend) written(ctx context.Context, loc upstream.Loc, etag, versionID string) object.Attrs {
	attrs, err := b.Stat(ctx, loc, upstream.StatOptions{VersionID: versionID})
	if err != nil || attrs.ETag != etag {
		return object.Attrs{ETag: etag, VersionID: versionID}
	}
	return attrs
}

// CopyPart implements upstream.Copier. Size is known for a closed range only; one that ends behind the source is
// refused here.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	c, err := b.beginUpload(ctx, "CopyPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	source, err := c.setSource(req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(c.op, number); err != nil {
		return upstream.Part{}, err
	}
	var size int64
	if first, last, ok := req.Range.IsClosed(); ok {
		attrs, err := b.Stat(ctx, req.Source, upstream.StatOptions{VersionID: req.SourceVersion})
		if err != nil {
			return upstream.Part{}, err
		}
		if last >= attrs.Size {
			return upstream.Part{}, upstream.Errorf(upstream.RangeError, c.op, "the source has %d bytes", attrs.Size)
		}
		if req.SourceIfMatch == "" { // what was looked at is what is to be copied
			c.x.Set("X-Cos-Copy-Source-If-Match", wire.Quote(attrs.ETag))
		}
		size = last - first + 1
	}
	c.x.Set("X-Cos-Copy-Source-Range", req.Range.Header())
	var out *sdk.CopyPartResult
	err = c.ask("CopyPartResult", func() (err error) {
		out, _, err = c.Object.CopyPart(c.ctx, up.Key, up.ID, number, source, nil)
		return err
	})
	if err != nil {
		return upstream.Part{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return upstream.Part{}, noETag(c.op)
	}
	return upstream.Part{Number: number, Size: size, ETag: etag, ModTime: parseTime(out.LastModified)}, nil
}
