package gateway

import (
	"context"
	"errors"

	"unistore/cache"
	"unistore/prefetch"
	"unistore/upstream"
)

// resolver finds objects for registered queries; it implements prefetch.Resolver. Rights were checked before.
type resolver struct{ s *service }

// What clients are told of objects that can not be registered.
const (
	rejectNoBucket prefetch.Rejection = "there is no such bucket"
	rejectNoKey    prefetch.Rejection = "there is no such object"
	rejectDenied   prefetch.Rejection = "the upstream denies it"
)

func rejection(err error) error {
	switch {
	case errors.Is(err, upstream.NotExist):
		return rejectNoKey
	case errors.Is(err, upstream.NoBucket):
		return rejectNoBucket
	case errors.Is(err, upstream.Access):
		return rejectDenied
	}
	return err
}

// Resolve implements prefetch.Resolver.
func (r resolver) Resolve(ctx context.Context, bucket, key string) (prefetch.Target, error) {
	t, err := r.s.routes.find(bucket)
	if err != nil {
		return prefetch.Target{}, rejectNoBucket
	}
	found, err := r.s.prefetchTarget(ctx, t, key)
	return found, rejection(err)
}

// listPageSize is the most keys of a page.
const listPageSize = 1000

// List implements prefetch.Resolver. after is a token of the store.
func (r resolver) List(ctx context.Context, bucket, prefix, after string) ([]prefetch.Found, string, error) {
	t, err := r.s.routes.find(bucket)
	if err != nil {
		return nil, "", rejectNoBucket
	}
	req := upstream.ListRequest{Bucket: t.bucket, Prefix: t.route.Prefix + prefix, Token: after, MaxKeys: listPageSize}
	token := r.s.cache.Begin(cache.Key{Upstream: t.store.Name(), Bucket: t.bucket, Key: req.Prefix})
	page, err := t.store.List(upstream.Background(ctx), req)
	if err != nil {
		return nil, "", rejection(err)
	}
	r.s.learner.listed(t, token, page.Objects)
	found := make([]prefetch.Found, 0, len(page.Objects))
	for _, o := range page.Objects {
		key := t.clientKey(o.Key)
		found = append(found, prefetch.Found{Key: key, At: t.cacheKey(key), ETag: o.ETag, Size: o.Size})
	}
	return found, page.Next, nil
}
