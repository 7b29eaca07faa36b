package s3

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/encoding/httpbinding"

	"unistore/object"
	"unistore/upstream"
)

// Copy implements upstream.Copier. The answer of S3 has no more than the ETag and the time, so the rest
// is asked for.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	r, err := b.begin(ctx, "Copy", dst)
	if err != nil {
		return object.Attrs{}, err
	}
	if _, err := b.begin(ctx, "Copy", req.Source); err != nil {
		return object.Attrs{}, err
	}
	h := headers{}
	h.set("X-Amz-Copy-Source-If-Match", quote(req.SourceIfMatch))
	h.setConditions(req.IfMatch, req.IfNoneMatch)
	h.set("X-Amz-Storage-Class", req.StorageClass)
	h.set("X-Amz-Metadata-Directive", "COPY")
	if req.Replace {
		h.set("X-Amz-Metadata-Directive", "REPLACE")
		h.setObject(req.Headers)
	}
	if err := h.valid(r.op); err != nil {
		return object.Attrs{}, err
	}
	if err := b.precondition(ctx, r.op, dst, req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	out, err := b.client.CopyObject(r.ctx, &awss3.CopyObjectInput{
		Bucket: aws.String(dst.Bucket), Key: aws.String(dst.Key),
		CopySource: aws.String(copySource(req.Source, req.SourceVersion)),
	}, h.option())
	if err != nil {
		return object.Attrs{}, r.fail(err)
	}
	if out.CopyObjectResult == nil || unquote(deref(out.CopyObjectResult.ETag)) == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	attrs := b.written(ctx, dst, unquote(*out.CopyObjectResult.ETag), deref(out.VersionId))
	if attrs.ModTime.IsZero() {
		attrs.ModTime = deref(out.CopyObjectResult.LastModified).UTC()
	}
	return attrs, nil
}

// copySource is the header's value: a path, percent-encoded in full ("+" is a space to servers).
func copySource(src upstream.Loc, version string) string {
	s := src.Bucket + "/" + httpbinding.EscapePath(src.Key, false)
	if version != "" {
		s += "?versionId=" + url.QueryEscape(version)
	}
	return s
}

// CopyPart implements upstream.Copier. Size is known for a closed range only.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	r, err := b.beginUpload(ctx, "CopyPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	if _, err := b.begin(ctx, "CopyPart", req.Source); err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(r.op, number); err != nil {
		return upstream.Part{}, err
	}
	h := headers{}
	h.set("X-Amz-Copy-Source-If-Match", quote(req.SourceIfMatch))
	if err := h.valid(r.op); err != nil {
		return upstream.Part{}, err
	}
	out, err := b.client.UploadPartCopy(r.ctx, &awss3.UploadPartCopyInput{
		Bucket: aws.String(up.Bucket), Key: aws.String(up.Key), UploadId: aws.String(up.ID),
		PartNumber:      aws.Int32(int32(number)),
		CopySource:      aws.String(copySource(req.Source, req.SourceVersion)),
		CopySourceRange: optional(req.Range.Header()),
	}, h.option())
	if err != nil {
		return upstream.Part{}, r.fail(err)
	}
	if out.CopyPartResult == nil || unquote(deref(out.CopyPartResult.ETag)) == "" {
		return upstream.Part{}, upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	part := upstream.Part{
		Number: number, ETag: unquote(*out.CopyPartResult.ETag), ModTime: deref(out.CopyPartResult.LastModified).UTC(),
	}
	part.Checksums = copiedChecksums(out.CopyPartResult)
	if first, last, ok := req.Range.IsClosed(); ok {
		part.Size = last - first + 1
	}
	return part, nil
}

// copiedChecksums are those of a part, by the algorithm of its upload: completing needs them.
func copiedChecksums(r *types.CopyPartResult) []object.Checksum {
	return named(map[string]*string{
		"CRC32": r.ChecksumCRC32, "CRC32C": r.ChecksumCRC32C, "CRC64NVME": r.ChecksumCRC64NVME,
		"SHA1": r.ChecksumSHA1, "SHA256": r.ChecksumSHA256,
	}, "")
}
