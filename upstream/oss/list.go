package oss

import (
	"context"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// List implements upstream.Backend by listings with a marker: the place to go on from is then ours to know, and not that
// of a token.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	return wire.Lister{Fetch: b.listOnce}.List(ctx, req)
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest, marker string) (wire.Marked, error) {
	r, err := b.beginBucket(ctx, "List", req.Bucket)
	if err != nil {
		return wire.Marked{}, err
	}
	out, err := b.client.ListObjects(r.bare().ctx, &sdk.ListObjectsRequest{
		Bucket: &req.Bucket, Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter), Marker: optional(marker),
		MaxKeys: int32(req.MaxKeys),
	})
	if err != nil {
		return wire.Marked{}, r.fail(err)
	}
	if err := r.Answered(r.op, "ListBucketResult"); err != nil {
		return wire.Marked{}, err
	}
	page := wire.Marked{Truncated: out.IsTruncated, Next: deref(out.NextMarker)}
	for _, o := range out.Contents {
		page.Objects = append(page.Objects, upstream.ListedObject{Key: deref(o.Key), Attrs: object.Attrs{
			Size: o.Size, ETag: wire.Unquote(deref(o.ETag)), ModTime: utc(o.LastModified), StorageClass: classOf(deref(o.StorageClass)),
		}})
	}
	for _, p := range out.CommonPrefixes {
		page.Prefixes = append(page.Prefixes, deref(p.Prefix))
	}
	return page, nil
}
