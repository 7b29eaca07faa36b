package gateway

import (
	"context"
	"errors"
	"strconv"

	"unistore/cache"
	"unistore/object"
	"unistore/s3api"
	"unistore/upstream"
)

const (
	// maxPut is the most that a part or the source of a copy may hold, as in S3 (bytes).
	maxPut = 5 << 30
	// maxObject is the most that an object may hold, as in S3 for most of its life (bytes).
	maxObject = 5 << 40
)

// maxBody is the most bytes that op may bring to t. S3 stops a PUT at 5 GiB; here a body that one PUT of the store
// can not hold is cut into parts, so that the limit is that of objects.
func (t target) maxBody(op s3api.Operation) int64 {
	lim := t.store.Limits()
	limit, of := int64(maxObject), []int64{lim.MaxObject}
	if _, part := op.(s3api.UploadPart); part {
		limit, of = maxPut, []int64{lim.MaxPart}
	} else if !t.store.Multipart() {
		of = append(of, lim.MaxPut)
	}
	for _, n := range of {
		if n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}

// body decodes the body of a write to t, with its size checked.
func (x *exchange) body(t target) (*s3api.Body, error) {
	_, length := x.Header.Lookup("content-length")
	if _, chunked := x.Header.Lookup("transfer-encoding"); !length && !chunked {
		return nil, &s3api.Error{Code: s3api.ErrMissingContentLength} // a forgotten body must not empty an object
	}
	b, err := x.auth.Body(x.Request)
	if err != nil {
		return nil, err
	}
	if limit := t.maxBody(x.op); b.Size > limit {
		return nil, tooLarge(b.Size, limit)
	}
	return b, nil
}

func tooLarge(size, limit int64) *s3api.Error {
	return &s3api.Error{Code: s3api.ErrEntityTooLarge, Close: true, Fields: []s3api.Field{
		{Name: "ProposedSize", Value: strconv.FormatInt(size, 10)},
		{Name: "MaxSizeAllowed", Value: strconv.FormatInt(limit, 10)},
	}}
}

// checkPromisedSize refuses a body by the size that its headers promise, before any of it is asked for. What they
// say wrongly is found when it is read.
func (x *exchange) checkPromisedSize(t target) error {
	switch x.op.(type) {
	case s3api.PutObject, s3api.UploadPart:
	default:
		return nil
	}
	value, ok := x.Header.Lookup("x-amz-decoded-content-length")
	if !ok {
		value = x.Header.Get("content-length")
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if limit := t.maxBody(x.op); err == nil && n > limit {
		return tooLarge(n, limit)
	}
	return nil
}

// putObject streams a body to the upstream.
func (s *service) putObject(ctx context.Context, x *exchange, t target, op s3api.PutObject) (*s3api.Response, error) {
	body, err := x.body(t)
	if err != nil {
		return nil, err
	}
	if err := conditionable(t, op.IfMatch, op.IfNoneMatch); err != nil {
		return nil, err
	}
	attrs, err := s.write(ctx, t, op.Key, upstream.PutRequest{
		Body: body, Interrupt: x.interrupt, Size: body.Size, Headers: typed(op.Headers),
		Checksum: body.Checksum, Trailing: body.Trailing, TrailingAlgorithm: body.TrailingAlgorithm, MD5: body.MD5,
		IfMatch: op.IfMatch, IfNoneMatch: op.IfNoneMatch, StorageClass: op.StorageClass,
	})
	if err != nil {
		return nil, notFound(onTheWay(err), op.Key)
	}
	return s3api.RenderPut(attrs, sumsOf(body, attrs.Checksums)), nil
}

// onTheWay is about a store that finds a wrong digest in a body whose every promise has been verified here: it is
// not the client who is wrong then.
func onTheWay(err error) error {
	if isS3(err) || !errors.Is(err, upstream.BadDigest) {
		return err
	}
	return upstream.Errorf(upstream.Corrupted, "Put", "%w", err)
}

// write stores req at the upstream. On a route with "write: cache" what passes is kept, and read from the
// cache once the upstream has committed.
func (s *service) write(ctx context.Context, t target, key string, req upstream.PutRequest) (object.Attrs, error) {
	var err error
	var attrs object.Attrs
	w := s.learner.write(t.cacheKey(key))
	defer func() { w.done(err) }()
	var in *cache.Intake
	if t.keepsWrites() {
		in = s.cache.Intake(w.writing, req.Size)
	}
	defer in.Drop(cache.OutcomeFailed)
	req.Body = in.Tee(req.Body)
	attrs, err = s.uploader.Put(ctx, t.store, t.loc(key), req)
	if err == nil {
		w.publish(in, attrs)
	}
	return attrs, err
}

// unseen counts a write whose bytes do not pass through in order: a copy inside the store, or the parts of a client's
// upload, whose places in the object are not known before it is completed.
func (s *service) unseen(t target) {
	if t.keepsWrites() {
		s.cache.CountUnseen()
	}
}

// typed gives an object without a media type the one that S3 gives it; stores have defaults of their own.
func typed(h object.Headers) object.Headers {
	if h.ContentType == "" {
		h.ContentType = "binary/octet-stream"
	}
	return h
}

// sumsOf are the checksums to return for a written body: the store's, else those that the client promised
// and we verified.
func sumsOf(body *s3api.Body, stored []object.Checksum) []object.Checksum {
	if len(stored) > 0 {
		return stored
	}
	if body.Checksum != nil {
		return []object.Checksum{*body.Checksum}
	}
	if body.Trailing != nil {
		return body.Trailing()
	}
	return nil
}

// conditionable refuses write conditions that the store can not honour atomically: a check before the
// write would let two writers both win.
func conditionable(t target, ifMatch string, ifNoneMatch bool) error {
	lim := t.store.Limits()
	if ifMatch != "" && !lim.ReplaceOnly {
		return &s3api.Error{Code: s3api.ErrNotImplemented, Message: "The upstream of this bucket does not support If-Match on writes."}
	}
	if ifNoneMatch && !lim.CreateOnly {
		return &s3api.Error{Code: s3api.ErrNotImplemented, Message: "The upstream of this bucket does not support If-None-Match on writes."}
	}
	return nil
}

func (s *service) deleteObject(ctx context.Context, t target, op s3api.DeleteObject) (*s3api.Response, error) {
	opts := upstream.DeleteOptions{VersionID: op.VersionID, IfMatch: op.IfMatch}
	if err := s.delete(ctx, t, op.Key, opts); err != nil {
		return nil, badVersion(err, op.VersionID)
	}
	return s3api.RenderNoContent(), nil
}

// deleteTries bounds the attempts to delete whatever version there is, while others write.
const deleteTries = 3

// delete deletes one object.
func (s *service) delete(ctx context.Context, t target, key string, opts upstream.DeleteOptions) error {
	written := s.learner.overwriting(t.cacheKey(key))
	err := deleteAt(ctx, t, key, opts)
	written(err)
	return err
}

// deleteAt asks the store. IfMatch may be "*", which stores do not know: the version that is there is found first then,
// and that one deleted.
func deleteAt(ctx context.Context, t target, key string, opts upstream.DeleteOptions) error {
	if opts.IfMatch != "*" {
		return t.store.Delete(ctx, t.loc(key), opts)
	}
	for range deleteTries {
		attrs, err := t.store.Stat(ctx, t.loc(key), upstream.StatOptions{VersionID: opts.VersionID})
		if errors.Is(err, upstream.NotExist) {
			return &s3api.Error{Code: s3api.ErrPreconditionFailed, Fields: []s3api.Field{{Name: "Condition", Value: "If-Match"}}}
		}
		if err != nil {
			return err
		}
		opts.IfMatch = attrs.ETag
		if err := t.store.Delete(ctx, t.loc(key), opts); !errors.Is(err, upstream.Changed) {
			return err
		}
	}
	return &s3api.Error{Code: s3api.ErrConditionalRequestConflict}
}

// deleteObjects deletes up to 1000 keys; each has its own outcome.
func (s *service) deleteObjects(ctx context.Context, x *exchange, t target) (*s3api.Response, error) {
	body, err := x.auth.Body(x.Request)
	if err != nil {
		return nil, err
	}
	req, err := s3api.ReadDelete(body)
	if err != nil {
		return nil, err
	}
	results := make([]s3api.Deleted, len(req.Objects))
	var plain []string // keys that go in one batch
	var where []int    // their places in results
	for i, o := range req.Objects {
		results[i] = s3api.Deleted{Key: o.Key, VersionID: o.VersionID}
		bad := s3api.CheckKey(o.Key)
		switch {
		case bad != nil:
			results[i].Err = toS3(bad)
		case o.VersionID != "" && o.VersionID != nullVersion || o.ETag != "":
			results[i].Err = s.deleteOne(ctx, t, o)
		default:
			plain = append(plain, t.loc(o.Key).Key)
			where = append(where, i)
		}
	}
	if len(plain) > 0 {
		written := make([]func(error), 0, len(where))
		for _, i := range where {
			written = append(written, s.learner.overwriting(t.cacheKey(results[i].Key)))
		}
		errs, err := t.store.DeleteBatch(ctx, t.bucket, plain)
		for j, done := range written {
			if err == nil {
				done(errs[j])
			} else {
				done(err)
			}
		}
		if err != nil {
			return nil, err
		}
		for j, i := range where {
			if errs[j] != nil && !errors.Is(errs[j], upstream.NotExist) {
				results[i].Err = toS3(errs[j])
			}
		}
	}
	return s3api.RenderDelete(req.Quiet, results), nil
}

// nullVersion is the version id of an object in a bucket without versions.
const nullVersion = "null"

func (s *service) deleteOne(ctx context.Context, t target, o s3api.DeleteTarget) *s3api.Error {
	err := s.delete(ctx, t, o.Key, upstream.DeleteOptions{VersionID: o.VersionID, IfMatch: o.ETag})
	if err != nil {
		return toS3(badVersion(err, o.VersionID))
	}
	return nil
}

// copyObject copies on the store's side when source and target share a store, else through the gateway.
func (s *service) copyObject(ctx context.Context, x *exchange, t target, op s3api.CopyObject) (*s3api.Response, error) {
	if err := conditionable(t, op.IfMatch, op.IfNoneMatch); err != nil {
		return nil, err
	}
	src, attrs, err := s.copySource(ctx, x, &op.Source, op.SourceConditions)
	if err != nil {
		return nil, err
	}
	if attrs.Size > maxPut {
		return nil, errCopyTooLarge()
	}
	var out object.Attrs
	if src.store == t.store {
		written := s.learner.overwriting(t.cacheKey(op.Key))
		defer func() { written(err) }()
		s.unseen(t)
		out, err = t.store.Copy(ctx, t.loc(op.Key), upstream.CopyRequest{
			Source: src.loc(op.Source.Key), SourceVersion: op.Source.VersionID, SourceIfMatch: attrs.ETag,
			Replace: op.Replace, Headers: typed(op.Headers),
			IfMatch: op.IfMatch, IfNoneMatch: op.IfNoneMatch, StorageClass: op.StorageClass,
		})
	} else {
		out, err = s.copyThrough(ctx, src, t, op, attrs)
	}
	if err != nil {
		return nil, sourceMoved(err, op.SourceConditions, op.IfMatch != "" || op.IfNoneMatch)
	}
	res := s3api.RenderCopyObject(out)
	res.SetIf("x-amz-copy-source-version-id", op.Source.VersionID)
	return res, nil
}

func errCopyTooLarge() error {
	return &s3api.Error{Code: s3api.ErrInvalidRequest, Message: "The specified copy source is larger than the maximum " +
		"allowable size for a copy source: " + strconv.Itoa(maxPut)}
}

// sourceMoved is about a source that was replaced while it was copied: a client that has set no condition can not
// have failed one, and may try again.
func sourceMoved(err error, cond s3api.Conditions, onTarget bool) error {
	if !errors.Is(err, upstream.Changed) || onTarget || cond.Any() {
		return err
	}
	return &s3api.Error{Code: s3api.ErrServiceUnavailable, Message: "The source of the copy has changed. Please try again.",
		Header: s3api.Header{{Name: "Retry-After", Value: "1"}}}
}

// copySource resolves the source of a copy, checks the caller's right to it and the conditions on it. A version
// "null" of a store without versions is taken out of from: such a store may not know the name.
func (s *service) copySource(ctx context.Context, x *exchange, from *s3api.CopySource, cond s3api.Conditions) (target, object.Attrs, error) {
	if !x.who.mayUse(from.Bucket) {
		return target{}, object.Attrs{}, &s3api.Error{Code: s3api.ErrAccessDenied}
	}
	src, err := s.routes.find(from.Bucket)
	if err != nil {
		return target{}, object.Attrs{}, err
	}
	attrs, err := src.store.Stat(ctx, src.loc(from.Key), upstream.StatOptions{VersionID: from.VersionID})
	if err != nil {
		return target{}, object.Attrs{}, notFound(badVersion(err, from.VersionID), from.Key)
	}
	if from.VersionID == nullVersion && attrs.VersionID == "" {
		from.VersionID = ""
	}
	return src, attrs, cond.CheckCopy(attrs.ETag, attrs.ModTime)
}

// copyThrough copies from one store to another.
func (s *service) copyThrough(ctx context.Context, src, dst target, op s3api.CopyObject, attrs object.Attrs) (object.Attrs, error) {
	stream, err := src.store.Open(ctx, src.loc(op.Source.Key), upstream.OpenOptions{
		StatOptions: upstream.StatOptions{VersionID: op.Source.VersionID}, IfMatch: attrs.ETag,
	})
	if err != nil {
		return object.Attrs{}, err
	}
	defer stream.Body.Close()
	headers := stream.Attrs.Headers
	if op.Replace {
		headers = typed(op.Headers)
	}
	out, err := s.write(ctx, dst, op.Key, upstream.PutRequest{
		Body: stream.Body, Size: stream.Attrs.Size, Headers: headers,
		IfMatch: op.IfMatch, IfNoneMatch: op.IfNoneMatch, StorageClass: op.StorageClass,
	})
	if out.ModTime.IsZero() {
		out.ModTime = s.now()
	}
	return out, err
}
