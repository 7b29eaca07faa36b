package oss

import (
	"context"
	"strings"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

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
	_, err = b.client.HeadObject(r.bare().ctx, &sdk.HeadObjectRequest{
		Bucket: &loc.Bucket, Key: &loc.Key, VersionId: optional(opts.VersionID),
	})
	if err != nil {
		return object.Attrs{}, r.fail(err)
	}
	a := r.Answer()
	if a.Length < 0 {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "HEAD without Content-Length")
	}
	attrs := attrsOf(a.Header, a.Length)
	if attrs.ETag == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "HEAD without ETag")
	}
	return attrs, r.onlyPart(opts.PartNumber)
}

// onlyPart allows number to be 1 for an object that has no others: OSS does not tell where the parts of an object lie.
func (r *request) onlyPart(number int) error {
	single := strings.EqualFold(r.Answer().Header.Get("X-Oss-Object-Type"), typeNormal)
	switch {
	case number == 0 || (number == 1 && single):
		return nil
	case single:
		return upstream.Errorf(upstream.RangeError, r.op, "part %d of 1", number)
	default:
		return &upstream.Error{Code: upstream.Unsupported, Op: r.op, Message: "OSS does not read objects by part number"}
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
	if opts.PartNumber != 0 {
		opts.Range = byterange.All()
	}
	if !opts.Range.IsAll() {
		r.Set("Range", opts.Range.Header())
		// Without it a range outside of the object is answered with 200 and all of it.
		r.Set("X-Oss-Range-Behavior", "standard")
	}
	r.Set("If-Match", wire.Quote(opts.IfMatch))
	r.Set("If-None-Match", wire.Quote(opts.IfNoneMatch))
	out, err := b.client.GetObject(r.bare().ctx, &sdk.GetObjectRequest{
		Bucket: &loc.Bucket, Key: &loc.Key, VersionId: optional(opts.VersionID),
	})
	if err != nil {
		return nil, r.fail(err)
	}
	st, err := r.stream(out, opts)
	if err != nil {
		_ = out.Body.Close() // refused anyway
		return nil, err
	}
	return st, nil
}

func (r *request) stream(out *sdk.GetObjectResult, opts upstream.OpenOptions) (*upstream.Stream, error) {
	if err := r.onlyPart(opts.PartNumber); err != nil {
		return nil, err
	}
	a := r.Answer()
	opts.PartNumber = 0 // all of the object
	st, err := wire.Reply{
		Caller: r.Caller(), Op: r.op, Status: a.Status, Header: a.Header, Length: a.Length, Body: out.Body, Attrs: attrsOf,
	}.Stream(opts)
	if err != nil {
		return nil, err
	}
	if sum, ok := crcOf(a.Header); ok && st.Range.Len == st.Attrs.Size && st.Range.Len > 0 {
		st.Body = &checkedBody{ReadCloser: st.Body, op: r.op, left: st.Range.Len, want: sum}
	}
	return st, nil
}
