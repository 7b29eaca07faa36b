package upstream

import (
	"context"

	"unistore/object"
)

// Stat is Backend.Stat.
func (s *Store) Stat(ctx context.Context, loc Loc, opts StatOptions) (object.Attrs, error) {
	return do(ctx, s, s.read("Stat"), func(a *attempt) (object.Attrs, error) {
		return s.backend.Stat(a.ctx, loc, opts)
	})
}

// Open is Backend.Open. The Stream holds one of the store's connections until its Body is closed; the
// Body ends in io.EOF after exactly Range.Len bytes, or in an *Error.
func (s *Store) Open(ctx context.Context, loc Loc, opts OpenOptions) (*Stream, error) {
	c := s.read("Open")
	c.holds = true
	return do(ctx, s, c, func(a *attempt) (*Stream, error) {
		st, err := s.backend.Open(a.ctx, loc, opts)
		if err != nil {
			return nil, err
		}
		if err := checkStream(st, opts); err != nil {
			if st != nil && st.Body != nil {
				_ = st.Body.Close() // the answer is refused whatever its end is
			}
			return nil, err
		}
		st.Body = newStreamBody(a, st)
		return st, nil
	})
}

// List is Backend.List.
func (s *Store) List(ctx context.Context, req ListRequest) (ListPage, error) {
	return do(ctx, s, s.read("List"), func(a *attempt) (ListPage, error) {
		return s.backend.List(a.ctx, req)
	})
}

// ListBuckets is Bucketer.ListBuckets.
func (s *Store) ListBuckets(ctx context.Context) ([]Bucket, error) {
	if s.bucketer == nil {
		return nil, unsupported("ListBuckets")
	}
	return do(ctx, s, s.read("ListBuckets"), func(a *attempt) ([]Bucket, error) {
		return s.bucketer.ListBuckets(a.ctx)
	})
}

// StatBucket is Bucketer.StatBucket.
func (s *Store) StatBucket(ctx context.Context, name string) (Bucket, error) {
	if s.bucketer == nil {
		return Bucket{}, unsupported("StatBucket")
	}
	return do(ctx, s, s.read("StatBucket"), func(a *attempt) (Bucket, error) {
		return s.bucketer.StatBucket(a.ctx, name)
	})
}

// ListParts is Multiparter.ListParts.
func (s *Store) ListParts(ctx context.Context, up Upload, after, limit int) (PartsPage, error) {
	if s.multiparter == nil {
		return PartsPage{}, unsupported("ListParts")
	}
	return do(ctx, s, s.read("ListParts"), func(a *attempt) (PartsPage, error) {
		return s.multiparter.ListParts(a.ctx, up, after, limit)
	})
}

// ListUploads is Multiparter.ListUploads.
func (s *Store) ListUploads(ctx context.Context, req ListUploadsRequest) (UploadsPage, error) {
	if s.multiparter == nil {
		return UploadsPage{}, unsupported("ListUploads")
	}
	return do(ctx, s, s.read("ListUploads"), func(a *attempt) (UploadsPage, error) {
		return s.multiparter.ListUploads(a.ctx, req)
	})
}
