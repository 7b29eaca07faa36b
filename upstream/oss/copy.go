package oss

import (
	"context"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Copy implements upstream.Copier.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	r, err := b.begin(ctx, "Copy", dst)
	if err != nil {
		return object.Attrs{}, err
	}
	if dst == req.Source && !req.Replace && req.StorageClass == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Invalid, r.op, "a copy onto itself that changes nothing")
	}
	if err := r.setSource(req.Source, req.SourceVersion, req.SourceIfMatch); err != nil {
		return object.Attrs{}, err
	}
	if err := r.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	if err := r.setClass(req.StorageClass); err != nil {
		return object.Attrs{}, err
	}
	r.Set("X-Oss-Metadata-Directive", "COPY")
	if req.Replace {
		r.Set("X-Oss-Metadata-Directive", "REPLACE")
		if err := r.setObject(req.Headers); err != nil {
			return object.Attrs{}, err
		}
	}
	out, err := b.client.CopyObject(r.bare().ctx, &sdk.CopyObjectRequest{
		Bucket: &dst.Bucket, Key: &dst.Key, SourceBucket: &req.Source.Bucket, SourceKey: &req.Source.Key,
	})
	if err != nil {
		return object.Attrs{}, r.fail(err)
	}
	if err := r.Answered(r.op, "CopyObjectResult"); err != nil {
		return object.Attrs{}, err
	}
	return b.written(ctx, r, deref(out.ETag))
}

// setSource names the source of a copy, in the form of the key that can be read in one way only.
func (r *request) setSource(src upstream.Loc, version, ifMatch string) error {
	if err := checkKey(r.op, src.Key); err != nil {
		return err
	}
	if !sdk.IsValidBucketName(&src.Bucket) {
		return upstream.Errorf(upstream.Invalid, r.op, "bucket name %q", src.Bucket)
	}
	source := "/" + src.Bucket + "/" + wire.EscapePath(src.Key)
	if version != "" {
		source += "?versionId=" + wire.EscapePath(version)
	}
	r.Set("X-Oss-Copy-Source", source)
	r.Set("X-Oss-Copy-Source-If-Match", wire.Quote(ifMatch))
	return nil
}

// CopyPart implements upstream.Copier. OSS answers a range outside of the source with all of it, so the source is looked
// at first, and has to be the same when it is copied.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	r, err := b.beginUpload(ctx, "CopyPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(r.op, number); err != nil {
		return upstream.Part{}, err
	}
	src, err := b.Stat(ctx, req.Source, upstream.StatOptions{VersionID: req.SourceVersion})
	if err != nil {
		return upstream.Part{}, err
	}
	if req.SourceIfMatch != "" && req.SourceIfMatch != src.ETag {
		return upstream.Part{}, upstream.Errorf(upstream.Changed, r.op, "the source's ETag is %s", src.ETag)
	}
	span, err := sourceRange(r.op, req.Range, src.Size)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := r.setSource(req.Source, req.SourceVersion, src.ETag); err != nil {
		return upstream.Part{}, err
	}
	if !req.Range.IsAll() {
		r.Set("X-Oss-Copy-Source-Range", byterange.Of(span).Header())
	}
	out, err := b.client.UploadPartCopy(r.bare().ctx, &sdk.UploadPartCopyRequest{
		Bucket: &up.Bucket, Key: &up.Key, UploadId: &up.ID, PartNumber: int32(number),
		SourceBucket: &req.Source.Bucket, SourceKey: &req.Source.Key,
	})
	if err != nil {
		return upstream.Part{}, r.fail(err)
	}
	if err := r.Answered(r.op, "CopyPartResult"); err != nil {
		return upstream.Part{}, err
	}
	etag := wire.Unquote(deref(out.ETag))
	if etag == "" {
		return upstream.Part{}, upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	return upstream.Part{Number: number, Size: span.Len, ETag: etag, ModTime: utc(out.LastModified)}, nil
}

// sourceRange is what of a source of size bytes is copied. One that passes its end is refused, as S3 does.
func sourceRange(op string, spec byterange.Spec, size int64) (byterange.Range, error) {
	span, err := spec.Resolve(size)
	if err != nil {
		return span, upstream.Errorf(upstream.RangeError, op, "%w: %d bytes", err, size)
	}
	if _, last, ok := spec.IsClosed(); ok && last >= size {
		return span, upstream.Errorf(upstream.RangeError, op, "byte %d of %d", last, size)
	}
	return span, nil
}
