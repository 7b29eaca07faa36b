package s3

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
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
	sent, size, err := delivered(status, h, length)
	if err != nil {
		return nil, upstream.Errorf(upstream.Unavailable, r.op, "%w", err)
	}
	attrs := attrsOf(h, size)
	if attrs.ETag == "" {
		return nil, upstream.Errorf(upstream.Unavailable, r.op, "GET without ETag")
	}
	if status == http.StatusPartialContent && sent.Len != size {
		attrs.Checksums = nil // of what was sent, not of the object
	}
	want := sent
	if opts.PartNumber == 0 {
		if want, err = opts.Range.Resolve(size); err != nil {
			return nil, &upstream.Error{Code: upstream.RangeError, Op: r.op, Err: err}
		}
	}
	if want != sent && (status == http.StatusPartialContent || want.Off > maxSkip) {
		return nil, upstream.Errorf(upstream.Unavailable, r.op, "asked for bytes %+v, was sent %+v", want, sent)
	}
	return &upstream.Stream{
		Attrs: attrs,
		Range: want,
		Body:  &section{r: r, body: out.Body, skip: want.Off - sent.Off, left: want.Len, tail: sent.End() - want.End()},
	}, nil
}

// maxSkip bounds what is read and dropped from a server that ignores Range.
const maxSkip = 16 << 20

// delivered is what part of the object an answer carries, and the object's size.
func delivered(status int, h http.Header, length int64) (sent byterange.Range, size int64, err error) {
	switch status {
	case http.StatusOK:
		if length < 0 {
			return sent, 0, errors.New("200 without Content-Length")
		}
		return byterange.Range{Len: length}, length, nil
	case http.StatusPartialContent:
		if length == 0 && strings.HasSuffix(h.Get("Content-Range"), "/0") {
			return sent, 0, nil // MinIO, for the last bytes of an empty object: "bytes 0--1/0"
		}
		sent, size, ok := parseContentRange(h.Get("Content-Range"))
		if !ok || (length >= 0 && length != sent.Len) {
			return sent, 0, errors.New("206 with Content-Range " + strconv.Quote(h.Get("Content-Range")) + " and Content-Length " + strconv.FormatInt(length, 10))
		}
		return sent, size, nil
	default:
		return sent, 0, errors.New("status " + strconv.Itoa(status))
	}
}

// parseContentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110 section 14.4); SIZE must be known.
func parseContentRange(v string) (r byterange.Range, size int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes ")
	span, total, ok2 := strings.Cut(v, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return r, 0, false
	}
	a, err1 := parseDigits(first)
	b, err2 := parseDigits(last)
	size, err3 := parseDigits(total)
	if err1 != nil || err2 != nil || err3 != nil || b < a || b >= size {
		return r, 0, false
	}
	return byterange.Range{Off: a, Len: b - a + 1}, size, true
}

// parseDigits is ParseInt without signs.
func parseDigits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
