package s3

import (
	"context"
	"errors"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/object"
	"unistore/upstream"
)

// List implements upstream.Backend by ListObjectsV2.
//
// V2's start-after names the place after which listing starts, but a common prefix equal to it covers keys
// after it and comes again; the contract wants it left out, so it is taken from the page.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	for {
		page, err := b.listOnce(ctx, req)
		if err != nil || page.Next == "" || len(page.Objects)+len(page.Prefixes) > 0 {
			return page, err
		}
		req.Token = page.Next // nothing was left of the page
	}
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	r, err := b.begin(ctx, "List", upstream.Loc{Bucket: req.Bucket})
	if err != nil {
		return upstream.ListPage{}, err
	}
	in := &awss3.ListObjectsV2Input{
		Bucket: aws.String(req.Bucket), MaxKeys: aws.Int32(int32(req.MaxKeys)), //nolint:gosec // at most 1000
		Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter),
		EncodingType: types.EncodingTypeUrl, // XML cannot carry every key
	}
	if req.Token != "" {
		in.ContinuationToken = aws.String(req.Token)
	} else {
		in.StartAfter = optional(req.StartAfter)
	}
	out, err := b.client.ListObjectsV2(r.ctx, in)
	if err != nil {
		return upstream.ListPage{}, r.fail(err)
	}
	page, err := pageOf(out, decoder(out.EncodingType == types.EncodingTypeUrl), req)
	if err != nil {
		return page, upstream.Errorf(upstream.Unavailable, r.op, "listing: %w", err)
	}
	return page, nil
}

func pageOf(out *awss3.ListObjectsV2Output, decode decoder, req upstream.ListRequest) (upstream.ListPage, error) {
	var page upstream.ListPage
	for _, o := range out.Contents {
		key, err := decode.do(o.Key)
		if err != nil {
			return page, err
		}
		page.Objects = append(page.Objects, upstream.ListedObject{Key: key, Attrs: object.Attrs{
			Size: deref(o.Size), ETag: unquote(deref(o.ETag)), ModTime: deref(o.LastModified).UTC(),
			StorageClass: string(o.StorageClass),
		}})
	}
	for _, p := range out.CommonPrefixes {
		prefix, err := decode.do(p.Prefix)
		if err != nil {
			return page, err
		}
		if req.StartAfter == "" || prefix > req.StartAfter {
			page.Prefixes = append(page.Prefixes, prefix)
		}
	}
	if !deref(out.IsTruncated) {
		return page, nil
	}
	page.Next = deref(out.NextContinuationToken)
	if page.Next == "" {
		return page, errNoToken
	}
	return page, nil
}

var errNoToken = errors.New("the listing goes on but has no continuation token")

// decoder reads a name of a listing: percent-encoded with '+' for a space when true.
type decoder bool

func (d decoder) do(s *string) (string, error) {
	if !d {
		return deref(s), nil
	}
	return url.QueryUnescape(deref(s))
}
