package s3

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Delete implements upstream.Backend.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	r, err := b.begin(ctx, "Delete", loc)
	if err != nil {
		return err
	}
	h := headers{}
	h.set("If-Match", quote(opts.IfMatch))
	if err := h.valid(r.op); err != nil {
		return err
	}
	if err := b.precondition(ctx, r.op, loc, opts.IfMatch, false); err != nil {
		return err
	}
	_, err = b.client.DeleteObject(r.ctx, &awss3.DeleteObjectInput{
		Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key), VersionId: optional(opts.VersionID),
	}, h.option())
	if err == nil {
		return nil
	}
	directory := strings.Contains(err.Error(), "ErrDirectoryNotEmpty")
	err = r.fail(err)
	if directory {
		return r.directory(err)
	}
	if opts.VersionID == nullVersion && upstream.CodeOf(err) == upstream.Invalid {
		return b.Delete(ctx, loc, upstream.DeleteOptions{IfMatch: opts.IfMatch})
	}
	if upstream.CodeOf(err) != upstream.NotExist {
		return err
	}
	if opts.IfMatch != "" {
		return &upstream.Error{Code: upstream.Changed, Op: r.op, Err: err}
	}
	return nil
}

// directory is about versitygw, which cannot delete "a/" while there is an "a/b". That is no error when
// there is no object "a/".
func (r *request) directory(err error) error {
	_, stat := r.b.Stat(r.caller, r.loc, upstream.StatOptions{})
	if upstream.CodeOf(stat) == upstream.NotExist && stat != nil {
		return nil
	}
	return &upstream.Error{Code: upstream.Conflict, Op: r.op, Err: err}
}

// precondition looks at the object before a conditional Delete or Copy: many servers ignore the conditions
// of these two, which are sent all the same. Amazon, which does not, is not asked.
func (b *Backend) precondition(ctx context.Context, op string, loc upstream.Loc, ifMatch string, ifNoneMatch bool) error {
	if b.exact || (ifMatch == "" && !ifNoneMatch) {
		return nil
	}
	attrs, err := b.Stat(ctx, loc, upstream.StatOptions{})
	missing := err != nil && upstream.CodeOf(err) == upstream.NotExist
	switch {
	case err != nil && !missing:
		return err
	case ifNoneMatch && !missing:
		return &upstream.Error{Code: upstream.Changed, Op: op, Message: "the object exists"}
	case ifMatch != "" && missing && op == "Copy":
		return &upstream.Error{Code: upstream.NotExist, Op: op, Message: "If-Match of an object that is not there"}
	case ifMatch != "" && (missing || (attrs.ETag != ifMatch && ifMatch != "*")):
		return &upstream.Error{Code: upstream.Changed, Op: op, Message: "another version is there"}
	default:
		return nil
	}
}

// DeleteBatch implements upstream.BatchDeleter. Keys that XML cannot carry go one by one: in a batch they
// would name another object.
func (b *Backend) DeleteBatch(ctx context.Context, bucket string, keys []string) ([]error, error) {
	r, err := b.beginBucket(ctx, "DeleteBatch", bucket)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(keys))
	var batch []types.ObjectIdentifier
	inBatch := make(map[string]bool, len(keys)) // each once: MinIO waits for its own lock on the second
	for i, key := range keys {
		switch {
		case !wire.XMLSafe(key) || (!b.exact && pathLike(key)):
			errs[i] = b.Delete(ctx, upstream.Loc{Bucket: bucket, Key: key}, upstream.DeleteOptions{}) // or its refusal
		case !inBatch[key]:
			inBatch[key] = true
			batch = append(batch, types.ObjectIdentifier{Key: aws.String(key)})
		}
	}
	if len(batch) == 0 {
		return errs, nil
	}
	out, err := b.client.DeleteObjects(r.ctx, &awss3.DeleteObjectsInput{
		Bucket: aws.String(bucket), Delete: &types.Delete{Objects: batch},
	}, withMiddleware(contentMD5))
	if err != nil {
		return nil, r.fail(err)
	}
	results := batchResults(out)
	for i, key := range keys {
		if !inBatch[key] {
			continue
		}
		err, answered := results[key]
		if !answered {
			err = upstream.Errorf(upstream.Unavailable, r.op, "the store did not say what became of this key")
		}
		errs[i] = err
	}
	return errs, nil
}

// batchResults has an entry for each key of the answer: nil when it is gone.
func batchResults(out *awss3.DeleteObjectsOutput) map[string]error {
	results := make(map[string]error, len(out.Deleted)+len(out.Errors))
	for _, d := range out.Deleted {
		results[deref(d.Key)] = nil
	}
	for _, e := range out.Errors {
		code, known := byCode[deref(e.Code)]
		switch {
		case code == upstream.NotExist && known:
			results[deref(e.Key)] = nil
			continue
		case deref(e.Code) == "AccessDenied":
			code = upstream.Access
		case !known:
			code = upstream.Unavailable
		}
		results[deref(e.Key)] = &upstream.Error{Code: code, Op: "DeleteBatch", Message: fmt.Sprintf("%s %s", deref(e.Code), deref(e.Message))}
	}
	return results
}

// contentMD5 replaces the SDK's CRC32 by Content-MD5, which every server takes.
func contentMD5(stack *middleware.Stack) error {
	for _, remove := range []func() error{
		func() error { _, err := stack.Initialize.Remove("AWSChecksum:SetupInputContext"); return err },
		func() error { _, err := stack.Build.Remove("AWSChecksum:RequestMetricsTracking"); return err },
		func() error { _, err := stack.Finalize.Remove("AWSChecksum:ComputeInputPayloadChecksum"); return err },
	} {
		if err := remove(); err != nil {
			return fmt.Errorf("the SDK has changed: %w", err)
		}
	}
	return smithyhttp.AddContentChecksumMiddleware(stack)
}
