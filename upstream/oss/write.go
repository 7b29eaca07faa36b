package oss

import (
	"context"
	"io"
	"net/http"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Put implements upstream.Backend by PUT.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	r, err := b.begin(ctx, "Put", loc)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := r.setObject(req.Headers); err != nil {
		return object.Attrs{}, err
	}
	if err := r.setClass(req.StorageClass); err != nil {
		return object.Attrs{}, err
	}
	if err := r.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	sent, err := r.body(req.Body, req.Size, req.MD5)
	if err != nil {
		return object.Attrs{}, err
	}
	_, err = b.client.PutObject(r.ctx, &sdk.PutObjectRequest{Bucket: &loc.Bucket, Key: &loc.Key})
	if err != nil {
		return object.Attrs{}, b.vendor.FailBody(r.Exchange, r.op, sent.body, err)
	}
	etag, err := r.stored(sent)
	if err != nil && upstream.CodeOf(err) != upstream.Corrupted {
		return object.Attrs{}, err
	}
	h := r.Answer().Header
	return object.Attrs{
		Size: req.Size, ETag: etag, ETagMD5: md5ETag(h, etag), VersionID: h.Get("X-Oss-Version-Id"),
		Headers: req.Headers.Clone(), StorageClass: req.StorageClass,
	}, err
}

// setConditions adds those of a write. OSS has no If-Match for these, and where a bucket has versions it ignores
// that nothing is to be overwritten: neither may pass for honoured.
func (r *request) setConditions(ifMatch string, ifNoneMatch bool) error {
	if ifMatch != "" {
		return &upstream.Error{Code: upstream.Unsupported, Op: r.op, Message: "OSS has no If-Match for writes"}
	}
	if !ifNoneMatch {
		return nil
	}
	versioned, err := r.b.versioned(r.Caller(), r.loc.Bucket)
	if err != nil {
		return err
	}
	if versioned {
		return &upstream.Error{Code: upstream.Unsupported, Op: r.op, Message: "OSS ignores create-only writes in a bucket with versions"}
	}
	r.Set("X-Oss-Forbid-Overwrite", "true")
	return nil
}

// sentBody is the body of a request and its checksum.
type sentBody struct {
	body *upstream.SizedReader
	sum  *summed
}

// body gives the request its body.
func (r *request) body(src io.Reader, size int64, md5 string) (sentBody, error) {
	r.Set("Content-MD5", md5)
	if src == nil {
		src = http.NoBody
	}
	sum := &summed{src: src}
	body, err := r.Send(sum, size)
	if err != nil {
		return sentBody{}, r.b.vendor.FailBody(r.Exchange, r.op, body, err)
	}
	return sentBody{body, sum}, nil
}

// stored checks that what OSS claims to have stored can be what was sent, and returns its ETag; with Corrupted too.
func (r *request) stored(sent sentBody) (etag string, err error) {
	h := r.Answer().Header
	if !sent.body.Done() {
		return "", upstream.Errorf(upstream.Unavailable, r.op, "the store answered before it had the whole body")
	}
	if etag = wire.Unquote(h.Get("ETag")); etag == "" {
		return "", upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	return etag, sent.sum.agrees(r.op, h)
}
