package s3

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/upstream"
)

// ListBuckets implements upstream.Bucketer.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	r := b.start(ctx, "ListBuckets", upstream.Loc{})
	var all []upstream.Bucket
	in := &awss3.ListBucketsInput{}
	for {
		out, err := b.client.ListBuckets(r.ctx, in)
		if err != nil {
			return nil, r.fail(err)
		}
		for _, e := range out.Buckets {
			all = append(all, upstream.Bucket{Name: deref(e.Name), Created: deref(e.CreationDate).UTC()})
		}
		if deref(out.ContinuationToken) == "" {
			return all, nil
		}
		in.ContinuationToken = out.ContinuationToken
	}
}

// StatBucket implements upstream.Bucketer. Created is not known.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	r, err := b.beginBucket(ctx, "StatBucket", name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	if _, err := b.client.HeadBucket(r.ctx, &awss3.HeadBucketInput{Bucket: aws.String(name)}); err != nil {
		return upstream.Bucket{}, r.fail(err)
	}
	b.buckets.Set(name, true)
	return upstream.Bucket{Name: name}, nil
}

// CreateBucket implements upstream.Bucketer, in the region of the configuration.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	r, err := b.beginBucket(ctx, "CreateBucket", name)
	if err != nil {
		return err
	}
	in := &awss3.CreateBucketInput{Bucket: aws.String(name)}
	if b.cfg.Region != defaultRegion { // which is the one that must not be named
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{
			LocationConstraint: types.BucketLocationConstraint(b.cfg.Region),
		}
	}
	_, err = b.client.CreateBucket(r.ctx, in)
	b.buckets.Forget(name)
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
	_, err = b.client.DeleteBucket(r.ctx, &awss3.DeleteBucketInput{Bucket: aws.String(name)})
	b.buckets.Forget(name)
	if err != nil {
		return r.fail(err)
	}
	return nil
}

// bucketExists asks the service unless it has been asked just now.
func (b *Backend) bucketExists(ctx context.Context, name string) (bool, error) {
	return b.buckets.Exists(ctx, name, b.StatBucket)
}
