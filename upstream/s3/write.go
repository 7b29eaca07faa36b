package s3

import (
	"context"
	"io"

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
	body, stream, err := r.body(req.Body, req.Size)
	if err != nil {
		return object.Attrs{}, err
	}
	out, err := b.client.PutObject(r.ctx, &awss3.PutObjectInput{
		Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key),
		Body: stream, ContentLength: aws.Int64(req.Size),
	}, h.option(), unsignedPayload())
	if err != nil {
		return object.Attrs{}, r.bodyFailed(body, err)
	}
	if err := r.stored(body, deref(out.ETag)); err != nil {
		return object.Attrs{}, err
	}
	_, raw, _ := rawHeader(out.ResultMetadata)
	return object.Attrs{
		Size: req.Size, ETag: unquote(deref(out.ETag)), VersionID: deref(out.VersionId),
		Headers: req.Headers.Clone(), Checksums: checksumsOf(raw), StorageClass: req.StorageClass,
	}, nil
}

// body makes what the SDK may stream: of known length, not seekable (it would hash it first) and never an
// *io.PipeReader (it would send it without a length). An empty one is nil, once its end is confirmed.
func (r *request) body(src io.Reader, size int64) (*upstream.SizedReader, io.Reader, error) {
	if src == nil {
		src = eof{}
	}
	body := upstream.NewSizedReader(src, size)
	if size > 0 {
		return body, struct{ io.Reader }{body}, nil
	}
	if _, err := body.Read(make([]byte, 1)); err != io.EOF {
		return body, nil, r.bodyFailed(body, err)
	}
	return body, nil, nil
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

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
