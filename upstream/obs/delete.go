package obs

import (
	"context"
	"fmt"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Delete implements upstream.Backend. OBS has no conditional one: the condition is looked at before.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	c, err := b.begin(ctx, "Delete", loc)
	if err != nil {
		return err
	}
	if opts.IfMatch != "" {
		attrs, err := b.Stat(ctx, loc, upstream.StatOptions{VersionID: opts.VersionID})
		if err != nil && upstream.CodeOf(err) != upstream.NotExist {
			return err
		}
		if err != nil || (attrs.ETag != opts.IfMatch && opts.IfMatch != "*") {
			return &upstream.Error{Code: upstream.Changed, Op: c.op, Message: "another version is there"}
		}
	}
	err = c.remove(func() error {
		_, err := c.DeleteObject(&sdk.DeleteObjectInput{Bucket: loc.Bucket, Key: loc.Key, VersionId: opts.VersionID})
		return err
	})
	switch {
	case err == nil || upstream.CodeOf(err) == upstream.NotExist:
		return nil
	case wire.RefusedNull(opts.VersionID, err):
		return b.deleteOnly(ctx, loc, err)
	default:
		return err
	}
}

// deleteOnly deletes an object without versions, of which the store has refused to delete version "null" (refusal). In a
// bucket that has versions, or may have, that would be another version.
func (b *Backend) deleteOnly(ctx context.Context, loc upstream.Loc, refusal error) error {
	on, err := b.askVersions(ctx, loc.Bucket)
	if err != nil {
		return err
	}
	if on {
		return refusal
	}
	return b.Delete(ctx, loc, upstream.DeleteOptions{})
}

// askVersions asks whether a bucket has, or had, versions.
func (b *Backend) askVersions(ctx context.Context, bucket string) (bool, error) {
	c, err := b.beginBucket(ctx, "GetVersioning", bucket)
	if err != nil {
		return false, err
	}
	var out *sdk.GetBucketVersioningOutput
	err = c.ask("VersioningConfiguration", func() (err error) {
		out, err = c.GetBucketVersioning(bucket)
		return err
	})
	if err != nil {
		return false, err
	}
	return out.Status != "", nil // Enabled or Suspended
}

// DeleteBatch implements upstream.BatchDeleter. Keys that XML cannot carry go one by one: in a batch they
// would name another object.
func (b *Backend) DeleteBatch(ctx context.Context, bucket string, keys []string) ([]error, error) {
	c, err := b.beginBucket(ctx, "DeleteBatch", bucket)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(keys))
	in := &sdk.DeleteObjectsInput{Bucket: bucket}
	inBatch := make(map[string]bool, len(keys))
	for i, key := range keys {
		switch {
		case !wire.XMLSafe(key) || checkKey(c.op, key) != nil:
			errs[i] = b.Delete(ctx, upstream.Loc{Bucket: bucket, Key: key}, upstream.DeleteOptions{}) // or its refusal
		case !inBatch[key]:
			inBatch[key] = true
			in.Objects = append(in.Objects, sdk.ObjectToDelete{Key: key})
		}
	}
	if len(in.Objects) == 0 {
		return errs, nil
	}
	var out *sdk.DeleteObjectsOutput
	err = c.ask("DeleteResult", func() (err error) {
		out, err = c.DeleteObjects(in)
		return err
	})
	if err != nil {
		return nil, err
	}
	results := make(map[string]error, len(inBatch))
	for _, d := range out.Deleteds {
		results[d.Key] = nil
	}
	for _, e := range out.Errors {
		results[e.Key] = b.batchError(c.op, e.Code, e.Message)
	}
	for i, key := range keys {
		if !inBatch[key] {
			continue
		}
		err, answered := results[key]
		if !answered {
			err = upstream.Errorf(upstream.Unavailable, c.op, "the store did not say what became of this key")
		}
		errs[i] = err
	}
	return errs, nil
}

// batchError is the failure of one key in a batch; one that was not there is none.
func (b *Backend) batchError(op, code, message string) error {
	known, ok := b.vendor.Codes[code]
	switch {
	case ok && known == upstream.NotExist:
		return nil
	case code == "AccessDenied":
		known = upstream.Access
	case !ok:
		known = upstream.Unavailable
	}
	return &upstream.Error{Code: known, Op: op, Message: fmt.Sprintf("%s %s", code, message)}
}
