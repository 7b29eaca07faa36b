package fault

import (
	"context"
	"io"

	"unistore/object"
	"unistore/upstream"
)

// buckets wraps an upstream.Bucketer.
type buckets struct {
	w  *wrapper
	in upstream.Bucketer
}

// ListBuckets implements upstream.Bucketer.
func (b *buckets) ListBuckets(ctx context.Context) (list []upstream.Bucket, err error) {
	err = b.w.call(ctx, "ListBuckets", upstream.Loc{}, func() (err error) {
		list, err = b.in.ListBuckets(ctx)
		return err
	})
	return list, err
}

// StatBucket implements upstream.Bucketer.
func (b *buckets) StatBucket(ctx context.Context, name string) (bucket upstream.Bucket, err error) {
	err = b.w.call(ctx, "StatBucket", upstream.Loc{Bucket: name}, func() (err error) {
		bucket, err = b.in.StatBucket(ctx, name)
		return err
	})
	return bucket, err
}

// CreateBucket implements upstream.Bucketer.
func (b *buckets) CreateBucket(ctx context.Context, name string) error {
	return b.w.call(ctx, "CreateBucket", upstream.Loc{Bucket: name}, func() error {
		return b.in.CreateBucket(ctx, name)
	})
}

// DeleteBucket implements upstream.Bucketer.
func (b *buckets) DeleteBucket(ctx context.Context, name string) error {
	return b.w.call(ctx, "DeleteBucket", upstream.Loc{Bucket: name}, func() error {
		return b.in.DeleteBucket(ctx, name)
	})
}

// multipart wraps an upstream.Multiparter.
type multipart struct {
	w  *wrapper
	in upstream.Multiparter
}

// CreateUpload implements upstream.Multiparter.
func (m *multipart) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (id string, err error) {
	err = m.w.call(ctx, "CreateUpload", loc, func() (err error) {
		id, err = m.in.CreateUpload(ctx, loc, req)
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// UploadPart implements upstream.Multiparter.
func (m *multipart) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (part upstream.Part, err error) {
	err = m.w.upload(ctx, "UploadPart", up.Loc, req.Body, func(r io.Reader) (err error) {
		req.Body = r
		part, err = m.in.UploadPart(ctx, up, number, req)
		return err
	})
	if err != nil {
		return upstream.Part{}, err
	}
	return part, nil
}

// CompleteUpload implements upstream.Multiparter.
func (m *multipart) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (attrs object.Attrs, err error) {
	err = m.w.call(ctx, "CompleteUpload", up.Loc, func() (err error) {
		req.IfMatch = inward(req.IfMatch, m.w.versions.suffix(up.Loc))
		if attrs, err = m.in.CompleteUpload(ctx, up, req); err == nil {
			m.w.versions.written(up.Loc)
		}
		return err
	})
	return attrs, err // both are of use when the bytes were corrupted
}

// AbortUpload implements upstream.Multiparter.
func (m *multipart) AbortUpload(ctx context.Context, up upstream.Upload) error {
	return m.w.call(ctx, "AbortUpload", up.Loc, func() error { return m.in.AbortUpload(ctx, up) })
}

// ListParts implements upstream.Multiparter.
func (m *multipart) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (page upstream.PartsPage, err error) {
	err = m.w.call(ctx, "ListParts", up.Loc, func() (err error) {
		page, err = m.in.ListParts(ctx, up, after, limit)
		return err
	})
	return page, err
}

// ListUploads implements upstream.Multiparter.
func (m *multipart) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (page upstream.UploadsPage, err error) {
	err = m.w.call(ctx, "ListUploads", upstream.Loc{Bucket: req.Bucket}, func() (err error) {
		page, err = m.in.ListUploads(ctx, req)
		return err
	})
	return page, err
}

// copies wraps an upstream.Copier.
type copies struct {
	w  *wrapper
	in upstream.Copier
}

// Copy implements upstream.Copier.
func (c *copies) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (attrs object.Attrs, err error) {
	err = c.w.call(ctx, "Copy", dst, func() (err error) {
		req.SourceIfMatch = inward(req.SourceIfMatch, c.w.versions.suffix(req.Source))
		req.IfMatch = inward(req.IfMatch, c.w.versions.suffix(dst))
		if attrs, err = c.in.Copy(ctx, dst, req); err == nil {
			c.w.versions.written(dst)
		}
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	return attrs, nil
}

// CopyPart implements upstream.Copier.
func (c *copies) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (part upstream.Part, err error) {
	err = c.w.call(ctx, "CopyPart", up.Loc, func() (err error) {
		req.SourceIfMatch = inward(req.SourceIfMatch, c.w.versions.suffix(req.Source))
		part, err = c.in.CopyPart(ctx, up, number, req)
		return err
	})
	if err != nil {
		return upstream.Part{}, err
	}
	return part, nil
}

// batches wraps an upstream.BatchDeleter.
type batches struct {
	w  *wrapper
	in upstream.BatchDeleter
}

// DeleteBatch implements upstream.BatchDeleter.
func (d *batches) DeleteBatch(ctx context.Context, bucket string, keys []string) (errs []error, err error) {
	err = d.w.call(ctx, "DeleteBatch", upstream.Loc{Bucket: bucket}, func() (err error) {
		errs, err = d.in.DeleteBatch(ctx, bucket, keys)
		for i, e := range errs {
			if e == nil && i < len(keys) {
				d.w.versions.written(upstream.Loc{Bucket: bucket, Key: keys[i]})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}
