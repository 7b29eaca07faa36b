package obs

import (
	"context"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

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
	if err := unconditional(c.op, req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	if err := c.setObject(req.Headers); err != nil {
		return object.Attrs{}, err
	}
	c.sign("Content-MD5", req.MD5)
	c.sign("x-obs-storage-class", classToOBS(req.StorageClass))
	in := &sdk.PutObjectInput{}
	in.Bucket, in.Key, in.ContentType = loc.Bucket, loc.Key, noType // which the lines replace
	err = c.send(req.Body, req.Size, func() error {
		_, err := c.PutObject(in, c.lines())
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(c.header().Get("ETag"))
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	return object.Attrs{
		Size: req.Size, ETag: etag, ETagMD5: md5ETag(c.header(), etag), VersionID: c.header().Get("X-Obs-Version-Id"),
		Headers: req.Headers.Clone(), StorageClass: req.StorageClass,
	}, nil
}

// unconditional refuses the conditions of writes: OBS has none, and would ignore them.
func unconditional(op, ifMatch string, ifNoneMatch bool) error {
	if ifMatch != "" || ifNoneMatch {
		return &upstream.Error{Code: upstream.Unsupported, Op: op, Message: "OBS has no conditional writes"}
	}
	return nil
}

func noETag(op string) error {
	return upstream.Errorf(upstream.Unavailable, op, "the store gave no ETag")
}

// Copy implements upstream.Copier. OBS answers with no more than the ETag and the time, so the rest is asked for.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	c, err := b.begin(ctx, "Copy", dst)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.setSource(req.Source, req.SourceVersion); err != nil {
		return object.Attrs{}, err
	}
	if err := unconditional(c.op, req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	c.sign("x-obs-copy-source-if-match", wire.Quote(req.SourceIfMatch))
	c.sign("x-obs-storage-class", classToOBS(req.StorageClass))
	c.sign("x-obs-metadata-directive", "COPY")
	if req.Replace {
		c.sign("x-obs-metadata-directive", "REPLACE")
		if err := c.setObject(req.Headers); err != nil {
			return object.Attrs{}, err
		}
	}
	var out *sdk.CopyObjectOutput
	err = c.ask("CopyObjectResult", func() (err error) {
		in := &sdk.CopyObjectInput{CopySourceBucket: req.Source.Bucket, CopySourceKey: req.Source.Key}
		in.Bucket, in.Key = dst.Bucket, dst.Key
		out, err = c.CopyObject(in, c.lines())
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	attrs := b.written(ctx, dst, etag, c.header().Get("X-Obs-Version-Id"))
	if attrs.ModTime.IsZero() {
		attrs.ModTime = out.LastModified.UTC()
	}
	return attrs, nil
}

// setSource adds the line that names a copy's source, percent-encoded in full.
func (c *call) setSource(src upstream.Loc, version string) error {
	if !wire.ValidHost(src.Bucket) {
		return upstream.Errorf(upstream.Invalid, c.op, "bucket name %q cannot be asked for over OBS", src.Bucket)
	}
	if err := checkKey(c.op, src.Key); err != nil {
		return err
	}
	value := src.Bucket + "/" + wire.EscapePath(src.Key)
	if version != "" {
		value += "?versionId=" + wire.EscapePath(version)
	}
	c.sign("x-obs-copy-source", value)
	return nil
}

// written completes what is known of a version that was just written on the store's side.
func (b *Backend) written(ctx context.Context, loc upstream.Loc, etag, version string) object.Attrs {
	attrs, err := b.Stat(ctx, loc, upstream.StatOptions{VersionID: version})
	if err != nil || attrs.ETag != etag {
		return object.Attrs{ETag: etag, VersionID: version}
	}
	return attrs
}

// CopyPart implements upstream.Copier. OBS knows neither a condition on the source nor, as documented, what becomes
// of a range that ends behind it. So the source is looked at before, and again after: a part that was copied from
// another version is no success.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	c, err := b.beginUpload(ctx, "CopyPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := c.setSource(req.Source, req.SourceVersion); err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(c.op, number); err != nil {
		return upstream.Part{}, err
	}
	before, err := b.source(ctx, req)
	if err != nil {
		return upstream.Part{}, err
	}
	size := before.Size
	if first, last, ok := req.Range.IsClosed(); ok {
		if last >= before.Size {
			return upstream.Part{}, upstream.Errorf(upstream.RangeError, c.op, "the source has %d bytes", before.Size)
		}
		size = last - first + 1
	}
	c.sign("x-obs-copy-source-range", req.Range.Header())
	var out *sdk.CopyPartOutput
	err = c.ask("CopyPartResult", func() (err error) {
		in := &sdk.CopyPartInput{
			Bucket: up.Bucket, Key: up.Key, UploadId: up.ID, PartNumber: number,
			CopySourceBucket: req.Source.Bucket, CopySourceKey: req.Source.Key,
		}
		out, err = c.CopyPart(in, c.lines())
		return err
	})
	if err != nil {
		return upstream.Part{}, err
	}
	req.SourceIfMatch = before.ETag
	if _, err := b.source(ctx, req); err != nil {
		return upstream.Part{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return upstream.Part{}, noETag(c.op)
	}
	return upstream.Part{Number: number, Size: size, ETag: etag, ModTime: out.LastModified.UTC()}, nil
}

// source looks at what is to be copied, or was: another version than the wanted one is Changed.
func (b *Backend) source(ctx context.Context, req upstream.CopyPartRequest) (object.Attrs, error) {
	attrs, err := b.Stat(ctx, req.Source, upstream.StatOptions{VersionID: req.SourceVersion})
	if err == nil && req.SourceIfMatch != "" && attrs.ETag != req.SourceIfMatch {
		err = &upstream.Error{Code: upstream.Changed, Op: "CopyPart", Message: "the source is another version"}
	}
	return attrs, err
}
