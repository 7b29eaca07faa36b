package oss

import (
	"context"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Delete implements upstream.Backend. OSS has no condition for it.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	r, err := b.begin(ctx, "Delete", loc)
	if err != nil {
		return err
	}
	if opts.IfMatch != "" {
		return &upstream.Error{Code: upstream.Unsupported, Op: r.op, Message: "OSS has no If-Match for deletions"}
	}
	_, err = b.client.DeleteObject(r.bare().ctx, &sdk.DeleteObjectRequest{Bucket: &loc.Bucket, Key: &loc.Key, VersionId: optional(opts.VersionID)})
	if err == nil {
		return r.Gone(r.op)
	}
	if err := r.fail(err); upstream.CodeOf(err) != upstream.NotExist {
		return err
	}
	return nil
}

// DeleteBatch implements upstream.BatchDeleter. Keys that an XML document would change are deleted one by one: the other
// key could be there too. OSS lists what it has deleted; what is missing from that list is a failure.
func (b *Backend) DeleteBatch(ctx context.Context, bucket string, keys []string) ([]error, error) {
	errs := make([]error, len(keys))
	var batch []sdk.DeleteObject
	for i, key := range keys {
		switch {
		case checkKey("DeleteBatch", key) != nil:
			errs[i] = checkKey("DeleteBatch", key)
		case !wire.XMLSafe(key):
			errs[i] = b.Delete(ctx, upstream.Loc{Bucket: bucket, Key: key}, upstream.DeleteOptions{})
			if code := upstream.CodeOf(errs[i]); errs[i] != nil && (code == upstream.NoBucket || code == upstream.Cancelled) {
				return nil, errs[i]
			}
		default:
			batch = append(batch, sdk.DeleteObject{Key: &keys[i]})
		}
	}
	if len(batch) == 0 {
		return errs, nil
	}
	deleted, err := b.deleteBatch(ctx, bucket, batch)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if errs[i] == nil && wire.XMLSafe(key) && !deleted[key] {
			errs[i] = upstream.Errorf(upstream.Unavailable, "DeleteBatch", "OSS does not say that it was deleted")
		}
	}
	return errs, nil
}

func (b *Backend) deleteBatch(ctx context.Context, bucket string, batch []sdk.DeleteObject) (map[string]bool, error) {
	r, err := b.beginBucket(ctx, "DeleteBatch", bucket)
	if err != nil {
		return nil, err
	}
	out, err := b.client.DeleteMultipleObjects(r.ctx, &sdk.DeleteMultipleObjectsRequest{
		Bucket: &bucket, Delete: &sdk.Delete{Objects: batch},
	})
	if err != nil {
		return nil, r.fail(err)
	}
	if err := r.Answered(r.op, "DeleteResult"); err != nil {
		return nil, err
	}
	deleted := make(map[string]bool, len(out.DeletedObjects))
	for _, o := range out.DeletedObjects {
		deleted[deref(o.Key)] = true
	}
	return deleted, nil
}
