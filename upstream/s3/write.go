package s3

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/object"
	"unistore/upstream"
)

// Put implements upstream.Backend by PUT.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	r, err := b.begin(ctx, "Put", loc)
	if err != nil {
		return object.Attrs{}, err
	}
	h := headers{}
	h.setObject(req.Headers)
	h.setChecksum(req.Checksum)
	h.setConditions(req.IfMatch, req.IfNoneMatch)
	h.set("Content-MD5", req.MD5)
	h.set("X-Amz-Storage-Class", req.StorageClass)
	if err := h.valid(r.op); err != nil {
		return object.Attrs{}, err
	}
	p, err := r.payload(h, content{
		src: req.Body, size: req.Size,
		verified: req.Checksum != nil || req.MD5 != "",
		promised: req.TrailingAlgorithm != "", algorithm: req.TrailingAlgorithm,
	})
	if err != nil {
		return object.Attrs{}, err
	}
	out, err := b.client.PutObject(r.ctx, &awss3.PutObjectInput{
		Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key),
		Body: p.stream, ContentLength: aws.Int64(p.length),
	}, h.option(), p.option())
	if err != nil {
		return object.Attrs{}, r.clash(r.bodyFailed(p.body, err))
	}
	if err := r.stored(p.body, deref(out.ETag)); err != nil {
		return object.Attrs{}, err
	}
	_, raw, _ := rawHeader(out.ResultMetadata)
	etag := unquote(deref(out.ETag))
	return object.Attrs{
		Size: req.Size, ETag: etag, ETagMD5: b.md5ETag(raw, etag), VersionID: deref(out.VersionId),
		Headers: req.Headers.Clone(), Checksums: checksumsOf(raw), StorageClass: req.StorageClass,
	}, p.heard(r, raw)
}

// clash is about versitygw, which says that there is a directory in the object's place for every failure to make
// the directories above it: also for one that was deleted a moment ago, which passes.
func (r *request) clash(err error) error {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Code != upstream.InvalidKey || !strings.Contains(e.Message, "ExistingObjectIsDirectory") {
		return err
	}
	for name := range strings.SplitSeq(r.loc.Key, "/") {
		if len(name) > maxFileName {
			return err
		}
	}
	page, list := r.b.List(r.caller, upstream.ListRequest{Bucket: r.loc.Bucket, Prefix: r.loc.Key + "/", MaxKeys: 1})
	if list == nil && len(page.Objects) == 0 {
		e.Code = upstream.Unavailable
	}
	return err
}

// maxFileName is the longest name of a file on Linux, in bytes.
const maxFileName = 255

// stored checks that what the service claims to have stored can be what was sent.
func (r *request) stored(body *upstream.SizedReader, etag string) error {
	switch {
	case !body.Done():
		return upstream.Errorf(upstream.Unavailable, r.op, "the store answered before it had the whole body")
	case unquote(etag) == "":
		return upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	default:
		return nil
	}
}
