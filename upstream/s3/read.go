package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Stat implements upstream.Backend by HEAD.
func (b *Backend) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	r, err := b.begin(ctx, "Stat", loc)
	if err != nil {
		return object.Attrs{}, err
	}
	h := headers{}
	askChecksums(h, opts)
	in := &awss3.HeadObjectInput{Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key), VersionId: optional(opts.VersionID)}
	if opts.PartNumber > 0 {
		in.PartNumber = aws.Int32(int32(opts.PartNumber))
	}
	out, err := b.client.HeadObject(r.ctx, in, h.option())
	if err != nil {
		err = r.fail(err)
		if opts.VersionID == nullVersion && upstream.CodeOf(err) == upstream.Invalid {
			opts.VersionID = ""
			return b.Stat(ctx, loc, opts)
		}
		return object.Attrs{}, r.explain(err)
	}
	_, raw, _ := rawHeader(out.ResultMetadata)
	if out.ContentLength == nil {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "HEAD without Content-Length")
	}
	attrs := attrsOf(raw, *out.ContentLength)
	attrs.ETagMD5 = b.md5ETag(raw, attrs.ETag)
	if attrs.ETag == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "HEAD without ETag")
	}
	return attrs, nil
}

// nullVersion names the only version of an object without versions. Servers without versions may not know
// the name.
const nullVersion = "null"

// explain finds out what is invalid about a HEAD, whose answer has no words: a GET's has.
func (r *request) explain(err error) error {
	if upstream.CodeOf(err) != upstream.Invalid {
		return err
	}
	st, why := r.b.Open(r.caller, r.loc, upstream.OpenOptions{Range: byterange.Closed(0, 0)})
	if why == nil {
		_ = st.Body.Close() // only the refusal was of interest
		return err
	}
	return why
}

// askChecksums asks with a header of our own: by its own field the SDK would verify them as well, against
// the bytes of a range.
func askChecksums(h headers, opts upstream.StatOptions) {
	if opts.Checksums {
		h.set("X-Amz-Checksum-Mode", "ENABLED")
	}
}

// Open implements upstream.Backend by GET.
func (b *Backend) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	r, err := b.begin(ctx, "Open", loc)
	if err != nil {
		return nil, err
	}
	if n, ok := opts.Range.IsSuffix(); ok && n <= 0 {
		return nil, &upstream.Error{Code: upstream.RangeError, Op: r.op, Message: "the last 0 bytes"}
	}
	h := headers{}
	askChecksums(h, opts.StatOptions)
	h.set("If-Match", quote(opts.IfMatch))
	h.set("If-None-Match", quote(opts.IfNoneMatch))
	if err := h.valid(r.op); err != nil {
		return nil, err
	}
	in := &awss3.GetObjectInput{
		Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key),
		VersionId: optional(opts.VersionID), Range: optional(opts.Range.Header()),
	}
	if opts.PartNumber > 0 {
		in.PartNumber = aws.Int32(int32(opts.PartNumber))
	}
	out, err := b.client.GetObject(r.ctx, in, h.option())
	if err != nil {
		err = r.fail(err)
		if opts.VersionID == nullVersion && upstream.CodeOf(err) == upstream.Invalid {
			opts.VersionID = ""
			return b.Open(ctx, loc, opts)
		}
		return nil, err
	}
	st, err := r.stream(out, opts)
	if err != nil {
		_ = out.Body.Close() // refused anyway
		return nil, err
	}
	return st, nil
}

// stream checks the answer to a GET and cuts from it what was asked for.
func (r *request) stream(out *awss3.GetObjectOutput, opts upstream.OpenOptions) (*upstream.Stream, error) {
	status, h, length := rawHeader(out.ResultMetadata)
	return wire.Reply{
		Caller: r.caller, Op: r.op, Status: status, Header: h, Length: length, Body: out.Body, Attrs: attrsOf,
	}.Stream(opts)
}
