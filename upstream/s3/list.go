package s3

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/object"
	"unistore/upstream"
)

// List implements upstream.Backend by ListObjectsV2.
//
// V2's start-after names the place after which listing starts, but a common prefix equal to it covers keys
// after it and comes again; the contract wants it left out. So whatever is not after the place is taken
// from the page.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	for {
		page, err := b.listOnce(ctx, req)
		if err != nil && upstream.CodeOf(err) == upstream.InvalidKey && !b.exact && pathLike(req.Prefix) {
			return upstream.ListPage{}, nil // no key can begin like this
		}
		if err != nil || page.Next == "" || len(page.Objects)+len(page.Prefixes) > 0 {
			return page, err
		}
		if page.Next == req.Token {
			return page, upstream.Errorf(upstream.Unavailable, "List", "the listing does not go on")
		}
		req.Token = page.Next // nothing was left of the page
	}
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	r, err := b.beginBucket(ctx, "List", req.Bucket)
	if err != nil {
		return upstream.ListPage{}, err
	}
	in := &awss3.ListObjectsV2Input{
		Bucket: aws.String(req.Bucket), MaxKeys: aws.Int32(int32(req.MaxKeys)), //nolint:gosec // at most 1000
		Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter),
		EncodingType: types.EncodingTypeUrl, // XML cannot carry every key
	}
	after := req.StartAfter
	if req.Token != "" {
		raw, last, ok := splitToken(req.Token)
		if !ok {
			return upstream.ListPage{}, upstream.Errorf(upstream.Invalid, r.op, "unknown continuation token")
		}
		after = last
		if raw == afterPrefix {
			in.StartAfter = aws.String(last + endOfPrefix)
		} else {
			in.ContinuationToken = aws.String(raw)
		}
	} else {
		in.StartAfter = optional(req.StartAfter)
	}
	out, err := b.client.ListObjectsV2(r.ctx, in)
	if err != nil {
		return upstream.ListPage{}, r.fail(err)
	}
	encoded := out.EncodingType == types.EncodingTypeUrl
	b.listings.learn(encoded)
	page, err := pageOf(out, decoder(encoded), after, b.exact)
	if err != nil {
		return page, upstream.Errorf(upstream.Unavailable, r.op, "listing: %w", err)
	}
	return page, nil
}

func pageOf(out *awss3.ListObjectsV2Output, decode decoder, after string, exact bool) (upstream.ListPage, error) {
	var page upstream.ListPage
	for _, o := range out.Contents {
		key, err := decode.do(o.Key)
		if err != nil {
			return page, err
		}
		if after != "" && key <= after {
			continue
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
		if after == "" || prefix > after {
			page.Prefixes = append(page.Prefixes, prefix)
		}
	}
	if !deref(out.IsTruncated) {
		return page, nil
	}
	if deref(out.NextContinuationToken) == "" {
		return page, errNoToken
	}
	last, prefix := lastOf(page, after)
	page.Next = joinToken(*out.NextContinuationToken, last)
	if prefix && !exact {
		page.Next = joinToken(afterPrefix, last)
	}
	return page, nil
}

// lastOf is the greatest name of a page, or of the pages before it, and whether it is a prefix of the page.
func lastOf(page upstream.ListPage, before string) (last string, prefix bool) {
	last = before
	if n := len(page.Objects); n > 0 {
		last = max(last, page.Objects[n-1].Key)
	}
	if n := len(page.Prefixes); n > 0 && page.Prefixes[n-1] > last {
		return page.Prefixes[n-1], true
	}
	return last, false
}

// A Token is the last name delivered and the service's token. Instead of the latter, after a common
// prefix, stands afterPrefix: MinIO's token goes back to the prefix unless the delimiter is "/", for ever if
// pages are small. No key that is not below the prefix lies between it and the prefix followed by endOfPrefix.
const (
	afterPrefix = "-"
	endOfPrefix = "\U0010ffff"
)

func joinToken(raw, last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last)) + "." + raw
}

func splitToken(token string) (raw, last string, ok bool) {
	encoded, raw, ok := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	return raw, string(b), ok && err == nil && raw != ""
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
