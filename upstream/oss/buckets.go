package oss

import (
	"context"
	"sync"
	"time"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/upstream"
)

// ListBuckets implements upstream.Bucketer: those of the account, in all its regions.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	var all []upstream.Bucket
	marker := ""
	for {
		r := b.start(ctx, "ListBuckets", upstream.Loc{})
		out, err := b.client.ListBuckets(r.bare().ctx, &sdk.ListBucketsRequest{Marker: optional(marker), MaxKeys: 1000})
		if err != nil {
			return nil, r.fail(err)
		}
		if err := r.Answered(r.op, "ListAllMyBucketsResult"); err != nil {
			return nil, err
		}
		for _, e := range out.Buckets {
			all = append(all, upstream.Bucket{Name: deref(e.Name), Created: utc(e.CreationDate)})
		}
		next := deref(out.NextMarker)
		if !out.IsTruncated {
			return all, nil
		}
		if next <= marker {
			return nil, upstream.Errorf(upstream.Unavailable, r.op, "the listing does not go on")
		}
		marker = next
	}
}

// StatBucket implements upstream.Bucketer.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	info, err := b.bucketInfo(ctx, "StatBucket", name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	return upstream.Bucket{Name: name, Created: utc(info.CreationDate)}, nil
}

func (b *Backend) bucketInfo(ctx context.Context, op, name string) (sdk.BucketInfo, error) {
	r, err := b.beginBucket(ctx, op, name)
	if err != nil {
		return sdk.BucketInfo{}, err
	}
	out, err := b.client.GetBucketInfo(r.bare().ctx, &sdk.GetBucketInfoRequest{Bucket: &name})
	if err != nil {
		return sdk.BucketInfo{}, r.fail(err)
	}
	if err := r.Answered(r.op, "BucketInfo"); err != nil {
		return sdk.BucketInfo{}, err
	}
	b.buckets.Set(name, true)
	b.versions.set(name, deref(out.BucketInfo.Versioning) != "")
	return out.BucketInfo, nil
}

// CreateBucket implements upstream.Bucketer, in the region of the endpoint. OSS takes the creation of a bucket that we own
// for a change of its settings, so it is looked for first.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	r, err := b.beginBucket(ctx, "CreateBucket", name)
	if err != nil {
		return err
	}
	_, err = b.StatBucket(ctx, name)
	switch code := upstream.CodeOf(err); {
	case err == nil:
		return &upstream.Error{Code: upstream.BucketOwned, Op: r.op}
	case code != upstream.NoBucket && code != upstream.Access:
		return err
	}
	_, err = b.client.PutBucket(r.bare().ctx, &sdk.PutBucketRequest{Bucket: &name})
	b.forget(name)
	if err != nil {
		return r.fail(err)
	}
	return nil
}

// DeleteBucket implements upstream.Bucketer.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	r, err := b.beginBucket(ctx, "DeleteBucket", name)
	if err != nil {
		return err
	}
	_, err = b.client.DeleteBucket(r.bare().ctx, &sdk.DeleteBucketRequest{Bucket: &name})
	b.forget(name)
	if err != nil {
		return r.fail(err)
	}
	return r.Gone(r.op)
}

func (b *Backend) forget(name string) {
	b.buckets.Forget(name)
	b.versions.forget(name)
}

// versioned reports whether a bucket has versions, or had.
func (b *Backend) versioned(ctx context.Context, name string) (bool, error) {
	if v, ok := b.versions.get(name); ok {
		return v, nil
	}
	info, err := b.bucketInfo(ctx, "StatBucket", name)
	if err != nil {
		return false, err
	}
	return deref(info.Versioning) != "", nil
}

// Versions may be switched on at any time; what is known is good for versionTTL.
const (
	versionTTL  = 30 * time.Second
	maxVersions = 1024
)

// versionCache remembers which buckets have versions.
type versionCache struct {
	mu struct {
		sync.Mutex
		known map[string]versionEntry
	}
}

type versionEntry struct {
	versioned bool
	until     time.Time
}

func newVersionCache() *versionCache {
	c := &versionCache{}
	c.mu.known = map[string]versionEntry{}
	return c
}

func (c *versionCache) get(name string) (versioned, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.mu.known[name]
	return e.versioned, ok && time.Now().Before(e.until)
}

func (c *versionCache) set(name string, versioned bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.known) >= maxVersions {
		clear(c.mu.known)
	}
	c.mu.known[name] = versionEntry{versioned: versioned, until: time.Now().Add(versionTTL)}
}

func (c *versionCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.known, name)
}
