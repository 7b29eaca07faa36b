package cos

import (
	"context"
	"strings"

	sdk "github.com/tencentyun/cos-go-sdk-v5"

	"unistore/upstream"
)

// ListBuckets implements upstream.Bucketer. With an AppID, buckets of other accounts are left out: they could not be
// named.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	var all []upstream.Bucket
	marker := ""
	for {
		c := b.start(ctx, "ListBuckets", "", upstream.Loc{})
		var out *sdk.ServiceGetResult
		err := c.ask("ListAllMyBucketsResult", func() (err error) {
			out, _, err = c.Service.Get(c.ctx, &sdk.ServiceGetOptions{Marker: marker, Region: b.cfg.Region})
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range out.Buckets {
			name := e.Name
			if b.cfg.AppID != "" {
				var ours bool
				if name, ours = strings.CutSuffix(name, "-"+b.cfg.AppID); !ours {
					continue
				}
			}
			all = append(all, upstream.Bucket{Name: name, Created: parseTime(e.CreationDate)})
		}
		if !out.IsTruncated || out.NextMarker <= marker {
			return all, nil
		}
		marker = out.NextMarker
	}
}

// StatBucket implements upstream.Bucketer. Created is not known.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	c, err := b.beginBucket(ctx, "StatBucket", name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	err = c.do(func() error {
		_, err := c.Bucket.Head(c.ctx)
		return err
	})
	if err != nil {
		return upstream.Bucket{}, err
	}
	b.buckets.Set(name, true)
	return upstream.Bucket{Name: name}, nil
}

// CreateBucket implements upstream.Bucketer.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	c, err := b.beginBucket(ctx, "CreateBucket", name)
	if err != nil {
		return err
	}
	defer b.forget(name)
	return c.do(func() error {
		_, err := c.Bucket.Put(c.ctx, nil)
		return err
	})
}

// DeleteBucket implements upstream.Bucketer.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	c, err := b.beginBucket(ctx, "DeleteBucket", name)
	if err != nil {
		return err
	}
	defer b.forget(name)
	return c.remove(func() error {
		_, err := c.Bucket.Delete(c.ctx)
		return err
	})
}

func (b *Backend) forget(name string) {
	b.buckets.Forget(name)
	b.versions.forget(name)
}
