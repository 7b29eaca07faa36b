package upstream

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"unistore/object"
)

// Put is Backend.Put. If req.Body fails, its error is in the chain of the result. When the store says that it
// took other bytes than Body's, that is Corrupted (or Cancelled, when the caller is gone), and the object is deleted
// where the store can delete no other. When the answer to a Put with conditions is lost, the store is asked whether the object is there.
func (s *Store) Put(ctx context.Context, loc Loc, req PutRequest) (object.Attrs, error) {
	return s.put(ctx, loc, req, call{op: "Put"})
}

func (s *Store) put(ctx context.Context, loc Loc, req PutRequest, c call) (object.Attrs, error) {
	c.class = retryUnacted // another writer's object could be there by now
	w := s.trust.ofPut(req)
	var last *upload
	var stored object.Attrs
	var wrong error // of stored; what the call ends with may be something else
	start := time.Now()
	attrs, err := sendBody(ctx, s, c, content{req.Body, req.Interrupt, req.Size, w.hash}, func(ctx context.Context, u *upload) (object.Attrs, error) {
		last = u
		r := req
		r.Body = u
		attrs, err := s.backend.Put(ctx, loc, r)
		if err == nil && attrs.ETag == "" {
			err = Errorf(Unavailable, "Put", "the store gave no ETag")
		}
		if err == nil {
			err = w.checkPut(u, attrs)
		}
		if err != nil && CodeOf(err) == Corrupted {
			stored, wrong = attrs, err
		}
		return attrs, err
	})
	switch {
	case err == nil:
		return attrs, nil
	case wrong != nil && stored.ETag != "":
		s.disown(ctx, loc, stored, wrong)
	case ambiguous(err) && (req.IfMatch != "" || req.IfNoneMatch):
		if found, ok := s.landed(ctx, loc, last, w.sum(last), start); ok {
			return found, nil
		}
	}
	return object.Attrs{}, err
}

// Delete is Backend.Delete.
func (s *Store) Delete(ctx context.Context, loc Loc, opts DeleteOptions) error {
	c := s.read("Delete")
	if opts.IfMatch != "" {
		c.class = retryUnacted // after a lost success the condition would fail
	}
	_, err := do(ctx, s, c, func(a *attempt) (struct{}, error) {
		return struct{}{}, s.backend.Delete(a.ctx, loc, opts)
	})
	return err
}

// deleteParallel bounds the requests that replace one batch delete.
const deleteParallel = 8

// DeleteBatch is BatchDeleter.DeleteBatch.
func (s *Store) DeleteBatch(ctx context.Context, bucket string, keys []string) ([]error, error) {
	if s.batcher != nil {
		return do(ctx, s, s.read("DeleteBatch"), func(a *attempt) ([]error, error) {
			errs, err := s.batcher.DeleteBatch(a.ctx, bucket, keys)
			if err == nil && len(errs) != len(keys) {
				err = Errorf(Unavailable, "DeleteBatch", "%d results for %d keys", len(errs), len(keys))
			}
			return errs, err
		})
	}
	errs := make([]error, len(keys))
	var group errgroup.Group
	group.SetLimit(deleteParallel)
	for i, key := range keys {
		group.Go(func() error {
			errs[i] = s.Delete(ctx, Loc{bucket, key}, DeleteOptions{})
			return nil
		})
	}
	_ = group.Wait() // every error is in errs
	if ctx.Err() != nil {
		return nil, cancelled(ctx, "DeleteBatch")
	}
	for _, err := range errs {
		if err != nil && CodeOf(err) == NoBucket {
			return nil, err
		}
	}
	return errs, nil
}

// CreateBucket is Bucketer.CreateBucket.
func (s *Store) CreateBucket(ctx context.Context, name string) error {
	if s.bucketer == nil {
		return unsupported("CreateBucket")
	}
	_, err := do(ctx, s, s.once("CreateBucket"), func(a *attempt) (struct{}, error) {
		return struct{}{}, s.bucketer.CreateBucket(a.ctx, name)
	})
	return err
}

// DeleteBucket is Bucketer.DeleteBucket.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	if s.bucketer == nil {
		return unsupported("DeleteBucket")
	}
	_, err := do(ctx, s, s.once("DeleteBucket"), func(a *attempt) (struct{}, error) {
		return struct{}{}, s.bucketer.DeleteBucket(a.ctx, name)
	})
	return err
}
