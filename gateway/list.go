package gateway

import (
	"context"
	"encoding/base64"
	"strings"

	"unistore/cache"
	"unistore/s3api"
	"unistore/upstream"
)

// Continuation tokens of the gateway name the store they came from, so that a token never reaches
// another store after the routes have changed. Opaque to clients.

func encodeListToken(store, raw string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1\x00" + store + "\x00" + raw))
}

func decodeListToken(store, token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		if v, rest, ok := strings.Cut(string(b), "\x00"); ok && v == "1" {
			if name, raw, ok := strings.Cut(rest, "\x00"); ok && name == store && raw != "" {
				return raw, nil
			}
		}
	}
	return "", &s3api.Error{Code: s3api.ErrInvalidArgument, Message: "The continuation token provided is incorrect",
		Fields: []s3api.Field{{Name: "ArgumentName", Value: "continuation-token"}}}
}

// listObjects answers both versions of ListObjects.
func (s *service) listObjects(ctx context.Context, x *exchange, t target, op s3api.ListObjects) (*s3api.Response, error) {
	req := upstream.ListRequest{Prefix: op.Prefix, Delimiter: op.Delimiter, StartAfter: op.After, MaxKeys: op.MaxKeys}
	if op.HasToken && op.Token != "" { // an empty one is the beginning, as in S3
		raw, err := decodeListToken(t.store.Name(), op.Token)
		if err != nil {
			return nil, err
		}
		req.Token = raw
	}
	res, next, err := s.listPage(ctx, x, t, req)
	if err != nil {
		return nil, err
	}
	switch {
	case !res.Truncated:
	case op.V2:
		res.Next = encodeListToken(t.store.Name(), next)
	default:
		res.Next = lastOf(res)
	}
	return s3api.RenderListObjects(op, res), nil
}

// listVersions lists every object as its version "null": stores are used without versions.
func (s *service) listVersions(ctx context.Context, x *exchange, t target, op s3api.ListObjectVersions) (*s3api.Response, error) {
	req := upstream.ListRequest{Prefix: op.Prefix, Delimiter: op.Delimiter, StartAfter: op.KeyMarker, MaxKeys: op.MaxKeys}
	res, _, err := s.listPage(ctx, x, t, req)
	if err != nil {
		return nil, err
	}
	if res.Truncated {
		res.Next = lastOf(res)
	}
	return s3api.RenderListVersions(op, res), nil
}

// listPage asks the store for one page in the client's terms: req's prefix and marker are the
// client's, and so are the keys of the result. next is the store's token.
func (s *service) listPage(ctx context.Context, x *exchange, t target, req upstream.ListRequest) (s3api.ListResult, string, error) {
	if req.MaxKeys == 0 {
		_, err := t.store.StatBucket(ctx, t.bucket)
		return s3api.ListResult{}, "", err
	}
	req.Bucket = t.bucket
	req.Prefix = t.route.Prefix + req.Prefix
	if req.StartAfter != "" {
		req.StartAfter = t.route.Prefix + req.StartAfter
	}
	token := s.cache.Begin(cache.Key{Upstream: t.store.Name(), Bucket: t.bucket, Key: req.Prefix})
	page, err := t.store.List(ctx, req)
	// A store may answer an empty page that is not the last; clients may not be able to go on from one.
	for err == nil && page.Next != "" && len(page.Objects)+len(page.Prefixes) == 0 {
		req.Token = page.Next
		page, err = t.store.List(ctx, req)
	}
	if err != nil {
		return s3api.ListResult{}, "", err
	}
	s.learner.listed(t, token, page.Objects)
	s.listed(x, t, page.Objects, req.Token == "" && req.StartAfter == "")
	res := s3api.ListResult{Truncated: page.Next != "", Objects: make([]s3api.ListedKey, 0, len(page.Objects))}
	for _, o := range page.Objects {
		res.Objects = append(res.Objects, s3api.ListedKey{Key: t.clientKey(o.Key), Attrs: o.Attrs})
	}
	for _, p := range page.Prefixes {
		res.Prefixes = append(res.Prefixes, t.clientKey(p))
	}
	return res, page.Next, nil
}

// lastOf returns the greatest key or common prefix of a page: the marker of the next one.
func lastOf(res s3api.ListResult) string {
	last := ""
	if n := len(res.Objects); n > 0 {
		last = res.Objects[n-1].Key
	}
	if n := len(res.Prefixes); n > 0 {
		last = max(last, res.Prefixes[n-1])
	}
	return last
}
