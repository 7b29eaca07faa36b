package local

import (
	"context"
	"errors"
	"slices"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// Copy implements upstream.Copier. The copy keeps ETag, checksums and parts: its bytes are the same.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	const op = "Copy"
	src, err := b.source(ctx, op, req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return object.Attrs{}, err
	}
	defer func() { _ = src.Close() }()
	if err := semantics.CheckCopy(op, dst, req, b.Limits().MaxCopy, src.stamp.Size); err != nil {
		return object.Attrs{}, err
	}
	k, tmp, err := b.begin(ctx, op, dst)
	if err != nil {
		return object.Attrs{}, err
	}
	defer k.close()
	defer tmp.discard()
	r := *src.record
	r.Checksums = slices.Clone(r.Checksums)
	r.StorageClass = req.StorageClass
	if req.Replace {
		r.Headers = semantics.KeepHeaders(req.Headers)
	}
	if err := src.copyTo(ctx, op, tmp, &r); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	return b.commit(ctx, op, k, dst.Key, tmp, &r, condition{req.IfMatch, req.IfNoneMatch})
}

// copyTo copies all bytes of f. A synthesised ETag says nothing of another file, so then the copy gets
// its own.
func (f *file) copyTo(ctx context.Context, op string, tmp *staged, r *semantics.Record) error {
	if f.foreign {
		body := f.body(ctx, byterange.Range{Len: f.stamp.Size})
		got, err := semantics.Ingest(ctx, op, tmp.f, semantics.Body{Reader: body, Size: f.stamp.Size})
		r.ETag = got.ETag
		return err
	}
	if err := copyBytes(ctx, op, tmp.f, f.File, f.stamp.Size); err != nil {
		return err
	}
	return unchanged(f.File, f.stamp)
}

// source opens the object that a copy reads.
func (b *Backend) source(ctx context.Context, op string, loc upstream.Loc, version, ifMatch string) (*file, error) {
	src, err := b.openVersion(ctx, op, loc, version)
	if err != nil {
		return nil, err
	}
	if err := semantics.CheckSource(op, ifMatch, src.record.ETag); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return src, nil
}

// CopyPart implements upstream.Copier.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	const op = "CopyPart"
	if _, err := b.upload(ctx, op, up); err != nil {
		return upstream.Part{}, err
	}
	src, err := b.source(ctx, op, req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return upstream.Part{}, err
	}
	defer func() { _ = src.Close() }()
	r, err := semantics.CopyRange(op, req.Range, src.stamp.Size)
	if err != nil {
		return upstream.Part{}, err
	}
	return b.storePart(ctx, op, up, number, semantics.Body{Reader: src.body(ctx, r), Size: r.Len})
}
