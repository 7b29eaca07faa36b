package gateway

import (
	"context"
	"slices"
	"strings"
	"time"

	"unistore/config"
	"unistore/s3api"
)

// listBuckets answers the buckets that exist, are routed and may be used by the caller, by name.
// A store that can not be reached fails the request: a shorter list would be a lie.
func (s *service) listBuckets(ctx context.Context, x *exchange, op s3api.ListBuckets) (*s3api.Response, error) {
	found := map[string]time.Time{}
	for name, store := range s.routes.stores {
		routed := slices.ContainsFunc(s.cfg.Buckets, func(r config.Route) bool { return r.Upstream == name })
		if !routed {
			continue
		}
		buckets, err := store.ListBuckets(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range buckets {
			for _, client := range s.clientNames(name, b.Name) {
				found[client] = b.Created
			}
		}
	}
	var entries []s3api.BucketEntry
	for name, created := range found {
		if strings.HasPrefix(name, op.Prefix) && name > op.Token && x.who.mayUse(name) {
			entries = append(entries, s3api.BucketEntry{Name: name, Created: created})
		}
	}
	slices.SortFunc(entries, func(a, b s3api.BucketEntry) int { return strings.Compare(a.Name, b.Name) })
	next := ""
	if op.MaxKeys > 0 && len(entries) > op.MaxKeys {
		entries = entries[:op.MaxKeys]
		next = entries[op.MaxKeys-1].Name
	}
	return s3api.RenderListBuckets(op, entries, next), nil
}

// clientNames returns the names under which clients see bucket of store: those of the exact routes to it,
// and its own where a glob route leads back to it.
func (s *service) clientNames(store, bucket string) []string {
	var names []string
	for _, r := range s.cfg.Buckets {
		if r.Upstream == store && !isGlob(r.Name) && (r.Bucket == bucket || r.Bucket == "" && r.Name == bucket) {
			names = append(names, r.Name)
		}
	}
	t, err := s.routes.find(bucket)
	if err == nil && isGlob(t.route.Name) && t.store.Name() == store && t.bucket == bucket {
		names = append(names, bucket)
	}
	return names
}

func (s *service) createBucket(ctx context.Context, x *exchange, t target) (*s3api.Response, error) {
	body, err := x.auth.Body(x.Request)
	if err != nil {
		return nil, err
	}
	location, err := s3api.ReadCreateBucket(body)
	if err != nil {
		return nil, err
	}
	if location != "" && location != s.cfg.Region {
		return nil, &s3api.Error{Code: s3api.ErrInvalidLocationConstraint,
			Fields: []s3api.Field{{Name: "LocationConstraint", Value: location}}}
	}
	if err := t.store.CreateBucket(ctx, t.bucket); err != nil {
		return nil, err
	}
	return s3api.RenderCreateBucket(t.client), nil
}

func (s *service) deleteBucket(ctx context.Context, t target) (*s3api.Response, error) {
	if err := t.store.DeleteBucket(ctx, t.bucket); err != nil {
		return nil, err
	}
	return s3api.RenderNoContent(), nil
}

func (s *service) headBucket(ctx context.Context, t target) (*s3api.Response, error) {
	if _, err := t.store.StatBucket(ctx, t.bucket); err != nil {
		return nil, err
	}
	res := s3api.RenderOK()
	res.Set("x-amz-bucket-region", s.cfg.Region)
	return res, nil
}

func (s *service) bucketLocation(ctx context.Context, t target) (*s3api.Response, error) {
	if _, err := t.store.StatBucket(ctx, t.bucket); err != nil {
		return nil, err
	}
	return s3api.RenderLocation(s.cfg.Region), nil
}

func (s *service) bucketVersioning(ctx context.Context, t target) (*s3api.Response, error) {
	if _, err := t.store.StatBucket(ctx, t.bucket); err != nil {
		return nil, err
	}
	return s3api.RenderVersioning(), nil
}
