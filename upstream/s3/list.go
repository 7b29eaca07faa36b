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
// after it and comes again; the contract wants it left out, so it is taken from the page.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	if page, found, err := b.entered(ctx, req); found || err != nil {
		return page, err
	}
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

// entered looks after a listing that starts inside a common prefix. Amazon lists the prefix for the keys that
// follow; other servers take it for passed, so that it becomes a page of its own.
func (b *Backend) entered(ctx context.Context, req upstream.ListRequest) (page upstream.ListPage, found bool, err error) {
	rest, ok := strings.CutPrefix(req.StartAfter, req.Prefix)
	if b.exact || req.Token != "" || req.Delimiter == "" || !ok {
		return page, false, nil
	}
	i := strings.Index(rest, req.Delimiter)
	if i < 0 || i+len(req.Delimiter) == len(rest) { // outside, or the prefix itself, which is left out
		return page, false, nil
	}
	prefix := req.Prefix + rest[:i+len(req.Delimiter)]
	inside, err := b.listOnce(ctx, upstream.ListRequest{Bucket: req.Bucket, Prefix: prefix, StartAfter: req.StartAfter, MaxKeys: 1})
	if err != nil || len(inside.Objects) == 0 {
		return page, false, err
	}
	return upstream.ListPage{
		Prefixes: []string{prefix}, Next: joinToken(fromPassed, max(prefix+endOfPrefix, req.StartAfter)),
	}, true, nil
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	r, err := b.beginBucket(ctx, "List", req.Bucket)
	if err != nil {
		return upstream.ListPage{}, err
	}
	in := &awss3.ListObjectsV2Input{
		Bucket: aws.String(req.Bucket), MaxKeys: aws.Int32(int32(req.MaxKeys)),
		Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter), StartAfter: optional(req.StartAfter),
		EncodingType: types.EncodingTypeUrl, // XML cannot carry every key
	}
	p := pager{startAfter: req.StartAfter, exact: b.exact}
	if req.Token != "" {
		raw, passed, ok := splitToken(req.Token)
		if !ok {
			return upstream.ListPage{}, upstream.Errorf(upstream.Invalid, r.op, "unknown continuation token")
		}
		p.passed = passed
		if raw == fromPassed {
			in.StartAfter = aws.String(passed)
		} else {
			in.StartAfter, in.ContinuationToken = nil, aws.String(raw)
		}
	}
	out, err := b.client.ListObjectsV2(r.ctx, in)
	if err != nil {
		return upstream.ListPage{}, r.fail(err)
	}
	encoded := out.EncodingType == types.EncodingTypeUrl
	b.listings.learn(encoded)
	p.decode = decoder(encoded)
	page, err := p.page(out)
	if err != nil {
		return page, upstream.Errorf(upstream.Unavailable, r.op, "listing: %w", err)
	}
	return page, nil
}

// pager makes a page of a service's answer.
type pager struct {
	decode decoder
	exact  bool
	// startAfter is the request's: nothing equal to it belongs to the listing, and no key below it.
	startAfter string
	// passed is the place that the pages before have reached: nothing up to it is delivered again.
	passed string
}

func (p pager) page(out *awss3.ListObjectsV2Output) (upstream.ListPage, error) {
	var page upstream.ListPage
	reached, prefix := p.passed, false
	for _, o := range out.Contents {
		key, err := p.decode.do(o.Key)
		if err != nil {
			return page, err
		}
		if (p.startAfter != "" && key <= p.startAfter) || (p.passed != "" && key <= p.passed) {
			continue
		}
		reached = max(reached, key)
		page.Objects = append(page.Objects, upstream.ListedObject{Key: key, Attrs: object.Attrs{
			Size: deref(o.Size), ETag: unquote(deref(o.ETag)), ModTime: deref(o.LastModified).UTC(),
			StorageClass: string(o.StorageClass),
		}})
	}
	for _, c := range out.CommonPrefixes {
		name, err := p.decode.do(c.Prefix)
		if err != nil {
			return page, err
		}
		if name > reached {
			reached, prefix = name, true
		}
		if name != p.startAfter && (p.passed == "" || name > p.passed) {
			page.Prefixes = append(page.Prefixes, name)
		}
	}
	if !deref(out.IsTruncated) {
		return page, nil
	}
	if deref(out.NextContinuationToken) == "" {
		return page, errNoToken
	}
	page.Next = joinToken(*out.NextContinuationToken, reached)
	if prefix && !p.exact {
		page.Next = joinToken(fromPassed, max(reached+endOfPrefix, p.startAfter))
	}
	return page, nil
}

// A Token is the place reached and the service's token. After a common prefix, of a service that need not
// be Amazon, fromPassed stands instead of the latter, and the place is the end of the prefix: MinIO's
// token goes back to the prefix unless the delimiter is "/", for ever if pages are small. Between a prefix followed
// by endOfPrefix and the next name of the listing there is nothing.
const (
	fromPassed  = "-"
	endOfPrefix = "\U0010ffff"
)

func joinToken(raw, passed string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(passed)) + "." + raw
}

func splitToken(token string) (raw, passed string, ok bool) {
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
