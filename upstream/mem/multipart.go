package mem

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

type upload struct {
	key     string
	started time.Time
	req     upstream.CreateUploadRequest
	parts   map[int]*part
}

// part is one stored part; it is never changed.
type part struct {
	upstream.Part
	data []byte
}

// CreateUpload implements upstream.Multiparter.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	const op = "CreateUpload"
	if err := b.admit(ctx, op, loc, 0); err != nil {
		return "", err
	}
	if err := semantics.CheckUpload(op, req); err != nil {
		return "", err
	}
	req.Headers = req.Headers.Clone()
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, op, loc.Bucket)
	if err != nil {
		return "", err
	}
	started := b.now().UTC()
	id := semantics.NewUploadID(started)
	bkt.uploads[id] = &upload{key: loc.Key, started: started, req: req, parts: map[int]*part{}}
	return id, nil
}

// uploadLocked returns an unfinished upload, or NoUpload.
func (b *Backend) uploadLocked(ctx context.Context, op string, up upstream.Upload) (*bucket, *upload, error) {
	bkt, err := b.bucketLocked(ctx, op, up.Bucket)
	if err != nil {
		return nil, nil, err
	}
	u := bkt.uploads[up.ID]
	if u == nil || u.key != up.Key {
		return nil, nil, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	return bkt, u, nil
}

// checkUpload returns the request that started an upload.
func (b *Backend) checkUpload(ctx context.Context, op string, up upstream.Upload) (upstream.CreateUploadRequest, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, u, err := b.uploadLocked(ctx, op, up)
	if err != nil {
		return upstream.CreateUploadRequest{}, err
	}
	return u.req, nil
}

// UploadPart implements upstream.Multiparter.
func (b *Backend) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	return b.storePart(ctx, "UploadPart", up, number, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
}

func (b *Backend) storePart(ctx context.Context, op string, up upstream.Upload, number int, body semantics.Body) (upstream.Part, error) {
	created, err := b.checkUpload(ctx, op, up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := semantics.CheckPart(op, number, body.Size, b.limits); err != nil {
		return upstream.Part{}, err
	}
	body.Compute = created.ChecksumAlgorithm
	data, got, err := ingest(ctx, op, body)
	if err != nil {
		return upstream.Part{}, err
	}
	p := &part{data: data, Part: upstream.Part{
		Number: number, Size: body.Size, ETag: got.ETag, ModTime: b.now().UTC(), Checksums: got.Checksums,
		ETagMD5: true,
	}}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, u, err := b.uploadLocked(ctx, op, up)
	if err != nil {
		return upstream.Part{}, err
	}
	u.parts[number] = p
	return p.shown(), nil
}

func (p *part) shown() upstream.Part {
	out := p.Part
	out.Checksums = slices.Clone(p.Checksums)
	return out
}

// CompleteUpload implements upstream.Multiparter.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	const op = "CompleteUpload"
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, u, err := b.uploadLocked(ctx, op, up)
	if err != nil {
		return object.Attrs{}, err
	}
	e, err := b.assembleLocked(op, u, req)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := b.storeLocked(op, bkt, u.key, e, req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	delete(bkt.uploads, up.ID)
	return e.written(), nil
}

// assembleLocked makes the object of the parts that req names.
func (b *Backend) assembleLocked(op string, u *upload, req upstream.CompleteRequest) (*entry, error) {
	parts, err := semantics.SelectParts(op, req, b.limits.MinPart, func(number int) (upstream.Part, bool, error) {
		p, ok := u.parts[number]
		if !ok {
			return upstream.Part{}, false, nil
		}
		return p.Part, true, nil
	})
	if err != nil {
		return nil, err
	}
	if err := semantics.CheckObject(op, parts, b.limits); err != nil {
		return nil, err
	}
	checksums, err := semantics.Checksums(op, u.req, parts, req.Checksum)
	if err != nil {
		return nil, err
	}
	etag, err := semantics.MultipartETag(parts)
	if err != nil {
		return nil, upstream.Errorf(upstream.Unavailable, op, "%w", err)
	}
	e := &entry{data: make([]byte, 0, semantics.Size(parts))}
	for _, p := range parts {
		e.data = append(e.data, u.parts[p.Number].data...)
		e.parts = append(e.parts, p.Size)
	}
	e.attrs = object.Attrs{
		Size: int64(len(e.data)), ETag: etag, Headers: u.req.Headers.Clone(), Checksums: checksums,
		PartsCount: len(parts), StorageClass: u.req.StorageClass,
	}
	return e, nil
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, _, err := b.uploadLocked(ctx, "AbortUpload", up)
	if err != nil {
		return err
	}
	delete(bkt.uploads, up.ID)
	return nil
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, u, err := b.uploadLocked(ctx, "ListParts", up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	page := upstream.PartsPage{StorageClass: u.req.StorageClass}
	for _, number := range slices.Sorted(maps.Keys(u.parts)) {
		if number <= after {
			continue
		}
		if len(page.Parts) >= limit {
			page.More = true
			break
		}
		page.Parts = append(page.Parts, u.parts[number].shown())
	}
	return page, nil
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, "ListUploads", req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	all := make([]upstream.UploadInfo, 0, len(bkt.uploads))
	for id, u := range bkt.uploads {
		all = append(all, upstream.UploadInfo{
			Key: u.key, ID: id, Started: u.started, StorageClass: u.req.StorageClass,
		})
	}
	return semantics.PageUploads(req, all), nil
}

// Copy implements upstream.Copier.
func (b *Backend) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	const op = "Copy"
	src, err := b.source(ctx, op, req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := b.admit(ctx, op, dst, 0); err != nil {
		return object.Attrs{}, err
	}
	if err := semantics.CheckCopy(op, dst, req, b.limits.MaxCopy, src.attrs.Size); err != nil {
		return object.Attrs{}, err
	}
	// The copy keeps the source's ETag and parts: the bytes are the same.
	e := &entry{data: src.data, parts: src.parts, attrs: src.attrs}
	e.attrs.Headers = src.attrs.Headers.Clone()
	if req.Replace {
		e.attrs.Headers = req.Headers.Clone()
	}
	e.attrs.StorageClass = req.StorageClass
	return b.commit(ctx, op, dst, e, req.IfMatch, req.IfNoneMatch)
}

// source returns the version that a copy reads.
func (b *Backend) source(ctx context.Context, op string, loc upstream.Loc, version, ifMatch string) (*entry, error) {
	src, err := b.find(ctx, op, loc)
	if err != nil {
		return nil, err
	}
	if err := semantics.CheckVersion(op, version); err != nil {
		return nil, err
	}
	return src, semantics.CheckSource(op, ifMatch, src.attrs.ETag)
}

// CopyPart implements upstream.Copier.
func (b *Backend) CopyPart(ctx context.Context, up upstream.Upload, number int, req upstream.CopyPartRequest) (upstream.Part, error) {
	const op = "CopyPart"
	if _, err := b.checkUpload(ctx, op, up); err != nil {
		return upstream.Part{}, err
	}
	src, err := b.source(ctx, op, req.Source, req.SourceVersion, req.SourceIfMatch)
	if err != nil {
		return upstream.Part{}, err
	}
	r, err := semantics.CopyRange(op, req.Range, src.attrs.Size)
	if err != nil {
		return upstream.Part{}, err
	}
	return b.storePart(ctx, op, up, number, semantics.Body{
		Reader: bytes.NewReader(src.slice(r)), Size: r.Len,
	})
}
