package obs

import (
	"context"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

	"unistore/upstream"
)

// ListBuckets implements upstream.Bucketer.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	var all []upstream.Bucket
	in := &sdk.ListBucketsInput{}
	for {
		c, err := b.start(ctx, "ListBuckets", upstream.Loc{})
		if err != nil {
			return nil, err
		}
		var out *sdk.ListBucketsOutput
		err = c.ask("ListAllMyBucketsResult", func() (err error) {
			out, err = c.ObsClient.ListBuckets(in)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range out.Buckets {
			all = append(all, upstream.Bucket{Name: e.Name, Created: e.CreationDate.UTC()})
		}
		if !out.IsTruncated || out.NextMarker <= in.Marker {
			return all, nil
		}
		in.Marker = out.NextMarker
	}
}

// StatBucket implements upstream.Bucketer. Created is not known.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	c, err := b.beginBucket(ctx, "StatBucket", name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	err = c.do(func() error {
		_, err := c.HeadBucket(name)
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
	in := &sdk.CreateBucketInput{Bucket: name}
	in.Location = b.cfg.Region
	defer b.buckets.Forget(name)
	return c.do(func() error {
		_, err := c.ObsClient.CreateBucket(in)
		return err
	})
}

// DeleteBucket implements upstream.Bucketer.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	c, err := b.beginBucket(ctx, "DeleteBucket", name)
	if err != nil {
		return err
	}
	defer b.buckets.Forget(name)
	return c.remove(func() error {
		_, err := c.ObsClient.DeleteBucket(name)
		return err
	})
}
