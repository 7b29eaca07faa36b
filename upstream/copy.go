package upstream

import (
	"context"

	"unistore/byterange"
	"unistore/object"
)

// Copy is Copier.Copy. A store that cannot copy, or not with conditions, gets the bytes through this process.
func (s *Store) Copy(ctx context.Context, dst Loc, req CopyRequest) (object.Attrs, error) {
	conditional := req.IfMatch != "" || req.IfNoneMatch
	if s.copier == nil || conditional && !s.Limits().CopyConditions {
		return s.copyThrough(ctx, dst, req)
	}
	attrs, err := s.copy(ctx, dst, req)
	if err != nil && CodeOf(err) == Unsupported {
		return s.copyThrough(ctx, dst, req)
	}
	return attrs, err
}

// copy copies on the store's side.
func (s *Store) copy(ctx context.Context, dst Loc, req CopyRequest) (object.Attrs, error) {
	return do(ctx, s, s.slow("Copy"), func(a *attempt) (object.Attrs, error) {
		attrs, err := s.copier.Copy(a.ctx, dst, req)
		if err == nil && attrs.ETag == "" {
			err = Errorf(Unavailable, "Copy", "the store gave no ETag")
		}
		return attrs, err
	})
}

func (s *Store) copyThrough(ctx context.Context, dst Loc, req CopyRequest) (object.Attrs, error) {
	st, err := s.openSource(ctx, req.Source, req.SourceVersion, req.SourceIfMatch, byterange.All())
	if err != nil {
		return object.Attrs{}, err
	}
	defer st.Body.Close()
	if m := s.Limits().MaxPut; m > 0 && st.Range.Len > m {
		return object.Attrs{}, Errorf(TooLarge, "Copy", "%d bytes", st.Range.Len)
	}
	put := PutRequest{
		Body: st.Body, Size: st.Range.Len, Headers: st.Attrs.Headers,
		IfMatch: req.IfMatch, IfNoneMatch: req.IfNoneMatch, StorageClass: req.StorageClass,
	}
	if req.Replace {
		put.Headers = req.Headers
	}
	return s.put(ctx, dst, put, call{op: "Put", unslotted: true})
}

// CopyPart is Copier.CopyPart, replaced like Copy.
func (s *Store) CopyPart(ctx context.Context, up Upload, number int, req CopyPartRequest) (Part, error) {
	if s.multiparter == nil {
		return Part{}, unsupported("CopyPart")
	}
	if s.copier == nil {
		return s.copyPartThrough(ctx, up, number, req)
	}
	c := s.slow("CopyPart")
	c.class = retrySafe // the part of that number is replaced
	part, err := do(ctx, s, c, func(a *attempt) (Part, error) {
		part, err := s.copier.CopyPart(a.ctx, up, number, req)
		if err == nil && part.ETag == "" {
			err = Errorf(Unavailable, "CopyPart", "the store gave no ETag")
		}
		return part, err
	})
	if err != nil && CodeOf(err) == Unsupported {
		return s.copyPartThrough(ctx, up, number, req)
	}
	return part, err
}

func (s *Store) copyPartThrough(ctx context.Context, up Upload, number int, req CopyPartRequest) (Part, error) {
	st, err := s.openSource(ctx, req.Source, req.SourceVersion, req.SourceIfMatch, req.Range)
	if err != nil {
		return Part{}, err
	}
	defer st.Body.Close()
	if first, last, ok := req.Range.IsClosed(); ok && st.Range.Len != last-first+1 {
		return Part{}, Errorf(RangeError, "CopyPart", "the source has %d bytes", st.Attrs.Size)
	}
	part := PartRequest{Body: st.Body, Size: st.Range.Len}
	return s.uploadPart(ctx, up, number, part, call{op: "UploadPart", unslotted: true})
}

// openSource opens what is to be copied. Its slot stands for the write as well: a copy that needed two
// could wait for ever for the second.
func (s *Store) openSource(ctx context.Context, src Loc, version, ifMatch string, rng byterange.Spec) (*Stream, error) {
	return s.Open(ctx, src, OpenOptions{StatOptions: StatOptions{VersionID: version}, Range: rng, IfMatch: ifMatch})
}
