package gateway

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"unistore/byterange"
	"unistore/meta"
	"unistore/multipart"
	"unistore/object"
	"unistore/s3api"
	"unistore/upstream"
)

// A client's multipart upload passes through to the store with the client's own part numbers. The upload
// id that the client sees names the store, so that any node can serve any part.

func (s *service) createUpload(ctx context.Context, t target, op s3api.CreateMultipartUpload) (*s3api.Response, error) {
	entry := s.journal.Begin(meta.UploadClient, meta.ObjectKey(t.cacheKey(op.Key)))
	s.point(multipart.PointClientIntent, t, op.Key)
	id, err := t.store.CreateUpload(ctx, t.loc(op.Key), upstream.CreateUploadRequest{
		Headers: typed(op.Headers), StorageClass: op.StorageClass,
		ChecksumAlgorithm: op.ChecksumAlgorithm, ChecksumType: op.ChecksumType,
	})
	if err != nil {
		entry.Failed(err)
		return nil, err
	}
	s.point(multipart.PointClientUnnamed, t, op.Key)
	entry.Opened(id)
	s.point(multipart.PointClientCreated, t, op.Key)
	return s3api.RenderInitiate(op, t.clientID(id)), nil
}

func (t target) clientID(id string) string {
	return multipart.EncodeID(multipart.ID{Upstream: t.store.Name(), UploadID: id})
}

// upload finds the store's upload behind a client's id: NoSuchUpload when it is not one of this bucket's.
func (t target) upload(key, clientID string) (upstream.Upload, error) {
	id, err := multipart.DecodeID(clientID)
	if err != nil {
		return upstream.Upload{}, err
	}
	if id.Upstream != t.store.Name() {
		return upstream.Upload{}, &s3api.Error{Code: s3api.ErrNoSuchUpload}
	}
	return upstream.Upload{Loc: t.loc(key), ID: id.UploadID}, nil
}

func (s *service) uploadPart(ctx context.Context, x *exchange, t target, op s3api.UploadPart) (*s3api.Response, error) {
	up, err := t.upload(op.Key, op.UploadID)
	if err != nil {
		return nil, err
	}
	body, err := x.body(t)
	if err != nil {
		return nil, err
	}
	if body.Size < 0 {
		return nil, &s3api.Error{Code: s3api.ErrMissingContentLength, Close: true}
	}
	part, err := t.store.UploadPart(ctx, up, op.PartNumber, upstream.PartRequest{
		Body: body, Interrupt: x.interrupt, Size: body.Size, MD5: body.MD5,
		Checksum: body.Checksum, Trailing: body.Trailing, TrailingAlgorithm: body.TrailingAlgorithm,
	})
	s.countPart(err)
	if err != nil {
		return nil, onTheWay(err)
	}
	s.notePart(t, up, upstream.Part{Number: op.PartNumber, Size: body.Size, ETag: part.ETag})
	return s3api.RenderPart(part.ETag, sumsOf(body, part.Checksums)), nil
}

func (s *service) countPart(err error) {
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	s.metrics.UploadParts.WithLabelValues(outcome).Inc()
}

func (s *service) uploadPartCopy(ctx context.Context, x *exchange, t target, op s3api.UploadPartCopy) (*s3api.Response, error) {
	up, err := t.upload(op.Key, op.UploadID)
	if err != nil {
		return nil, err
	}
	src, attrs, err := s.copySource(ctx, x, &op.Source, op.SourceConditions)
	if err != nil {
		return nil, err
	}
	rng, err := copyRange(op.Range, attrs.Size)
	if err != nil {
		return nil, err
	}
	var part upstream.Part
	if src.store == t.store {
		part, err = t.store.CopyPart(ctx, up, op.PartNumber, upstream.CopyPartRequest{
			Source: src.loc(op.Source.Key), SourceVersion: op.Source.VersionID, SourceIfMatch: attrs.ETag, Range: op.Range,
		})
	} else {
		part, err = copyPartThrough(ctx, src, t, up, op, attrs, rng)
	}
	s.countPart(err)
	if err != nil {
		return nil, sourceMoved(err, op.SourceConditions, false)
	}
	s.notePart(t, up, upstream.Part{Number: op.PartNumber, Size: rng.Len, ETag: part.ETag})
	if part.ModTime.IsZero() {
		part.ModTime = s.now()
	}
	res := s3api.RenderCopyPart(part.ETag, part.ModTime, part.Checksums)
	res.SetIf("x-amz-copy-source-version-id", op.Source.VersionID)
	return res, nil
}

// copyRange resolves the range of a part copy. Unlike a read's it must lie inside the source.
func copyRange(spec byterange.Spec, size int64) (byterange.Range, error) {
	_, last, closed := spec.IsClosed()
	rng, err := spec.Resolve(size)
	if err != nil || closed && last >= size {
		return rng, &s3api.Error{Code: s3api.ErrInvalidArgument,
			Message: "Range specified is not valid for source object of size: " + strconv.FormatInt(size, 10)}
	}
	if rng.Len > maxPut {
		return rng, errCopyTooLarge()
	}
	return rng, nil
}

func copyPartThrough(ctx context.Context, src, dst target, up upstream.Upload, op s3api.UploadPartCopy,
	attrs object.Attrs, rng byterange.Range,
) (upstream.Part, error) {
	opts := upstream.OpenOptions{Range: op.Range, IfMatch: attrs.ETag, StatOptions: upstream.StatOptions{VersionID: op.Source.VersionID}}
	stream, err := src.store.Open(ctx, src.loc(op.Source.Key), opts)
	if err != nil {
		return upstream.Part{}, err
	}
	defer stream.Body.Close()
	return dst.store.UploadPart(ctx, up, op.PartNumber, upstream.PartRequest{Body: stream.Body, Size: rng.Len})
}

func (s *service) completeUpload(ctx context.Context, x *exchange, t target, op s3api.CompleteMultipartUpload) (*s3api.Response, error) {
	up, err := t.upload(op.Key, op.UploadID)
	if err != nil {
		return nil, err
	}
	if err := conditionable(t, op.IfMatch, op.IfNoneMatch); err != nil {
		return nil, err
	}
	body, err := x.auth.Body(x.Request)
	if err != nil {
		return nil, err
	}
	listed, err := s3api.ReadComplete(body)
	if err != nil {
		return nil, err
	}
	req := upstream.CompleteRequest{IfMatch: op.IfMatch, IfNoneMatch: op.IfNoneMatch, Checksum: op.Checksum}
	for _, p := range listed {
		req.Parts = append(req.Parts, upstream.Part{Number: p.PartNumber, ETag: p.ETag, Checksums: p.Checksums})
	}
	attrs, err := s.completeOnce(ctx, t, up, completion{req, op.Size})
	if err != nil {
		return nil, explainGaps(t.store.Limits(), req.Parts, err)
	}
	location := "http://" + x.Host + x.RawPath
	if x.TLS {
		location = "https://" + x.Host + x.RawPath
	}
	return s3api.RenderComplete(op, location, attrs), nil
}

// explainGaps says what is invalid about a list of parts to a store that wants numbers without gaps. Its client may use
// any numbers with S3 itself; to renumber parts would be to copy them.
func explainGaps(limits upstream.Limits, parts []upstream.Part, err error) error {
	if !limits.ContiguousParts || len(parts) == 0 || parts[len(parts)-1].Number == len(parts) || !errors.Is(err, upstream.InvalidPart) {
		return err
	}
	return &s3api.Error{Code: s3api.ErrInvalidPart, Message: fmt.Sprintf(
		"The upstream store of this bucket completes parts numbered 1 to N without gaps only: %d parts are listed, the last is number %d.",
		len(parts), parts[len(parts)-1].Number)}
}

// measure fills in the sizes of the parts that are to be completed, where they are needed: to refuse parts that do not add
// up to the size that the client promised, and for stores that copy parts together, which get the time that it takes.
// What else may be wrong with the parts is found by CompleteUpload.
func measure(ctx context.Context, t target, up upstream.Upload, what completion) error {
	if what.size < 0 && !t.store.Limits().OwnUploads {
		return nil
	}
	sizes, err := partSizes(ctx, t, up)
	if errors.Is(err, upstream.NoUpload) {
		return nil
	}
	if err != nil {
		return err
	}
	total, known := int64(0), true
	for i := range what.req.Parts {
		size, ok := sizes[what.req.Parts[i].Number]
		what.req.Parts[i].Size = size
		total += size
		known = known && ok
	}
	if what.size >= 0 && known && total != what.size {
		return &s3api.Error{Code: s3api.ErrInvalidRequest,
			Message: "The provided 'x-amz-mp-object-size' header does not match what was computed."}
	}
	return nil
}

// partSizes returns the sizes (bytes) of the stored parts of an upload by their numbers.
func partSizes(ctx context.Context, t target, up upstream.Upload) (map[int]int64, error) {
	sizes := map[int]int64{}
	for after, more := 0, true; more; {
		page, err := t.store.ListParts(ctx, up, after, maxPartsPage)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Parts {
			sizes[p.Number] = p.Size
			after = p.Number
		}
		more = page.More && len(page.Parts) > 0
	}
	return sizes, nil
}

// completedBefore answers a client that completes an upload once more, since it did not get the answer: S3 does as if
// it were the first time. The object that is there must be the one that the parts make.
func completedBefore(ctx context.Context, t target, up upstream.Upload, parts []upstream.Part) (object.Attrs, error) {
	attrs, err := t.store.Stat(ctx, up.Loc, upstream.StatOptions{Checksums: true})
	if err == nil && attrs.ETag == etagOfParts(parts) {
		return attrs, nil
	}
	return object.Attrs{}, upstream.NoUpload
}

// etagOfParts is the ETag that S3 gives an object made of parts: the MD5 of their MD5 sums, and their number. It is
// empty when the ETag of a part is no MD5.
func etagOfParts(parts []upstream.Part) string {
	sum := md5.New()
	for _, p := range parts {
		b, err := hex.DecodeString(p.ETag)
		if err != nil || len(b) != md5.Size {
			return ""
		}
		_, _ = sum.Write(b) // a hash.Hash never fails
	}
	return hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// maxPartsPage is the most parts that one listing returns, as in S3.
const maxPartsPage = 1000

func (s *service) abortUpload(ctx context.Context, t target, op s3api.AbortMultipartUpload) (*s3api.Response, error) {
	up, err := t.upload(op.Key, op.UploadID)
	if err != nil {
		return nil, err
	}
	entry := s.journal.Find(t.store.Name(), up)
	release, err := entry.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := t.store.AbortUpload(ctx, up); err != nil {
		entry.Refused(err)
		return nil, err
	}
	entry.Gone()
	return s3api.RenderNoContent(), nil
}

func (s *service) listParts(ctx context.Context, t target, op s3api.ListParts) (*s3api.Response, error) {
	up, err := t.upload(op.Key, op.UploadID)
	if err != nil {
		return nil, err
	}
	if op.MaxParts == 0 {
		return s3api.RenderListParts(op, s3api.PartsResult{}), nil
	}
	page, err := t.store.ListParts(ctx, up, op.PartMarker, op.MaxParts)
	if err != nil {
		return nil, err
	}
	res := s3api.PartsResult{Truncated: page.More, StorageClass: page.StorageClass}
	for _, p := range page.Parts {
		res.Parts = append(res.Parts, s3api.PartEntry{Number: p.Number, Size: p.Size, ETag: p.ETag, ModTime: p.ModTime, Checksums: p.Checksums})
	}
	return s3api.RenderListParts(op, res), nil
}

func (s *service) listUploads(ctx context.Context, t target, op s3api.ListMultipartUploads) (*s3api.Response, error) {
	if op.MaxUploads == 0 {
		return s3api.RenderListUploads(op, s3api.UploadsResult{}), nil
	}
	req := upstream.ListUploadsRequest{
		Bucket: t.bucket, Prefix: t.route.Prefix + op.Prefix, Delimiter: op.Delimiter, MaxUploads: op.MaxUploads,
	}
	if op.KeyMarker != "" {
		req.KeyMarker = t.route.Prefix + op.KeyMarker
		if up, err := t.upload(op.KeyMarker, op.UploadIDMarker); err == nil {
			req.UploadIDMarker = up.ID
		}
	}
	page, err := t.store.ListUploads(ctx, req)
	if err != nil {
		return nil, err
	}
	res := s3api.UploadsResult{Truncated: page.More}
	for _, u := range page.Uploads {
		res.Uploads = append(res.Uploads, s3api.UploadEntry{
			Key: t.clientKey(u.Key), UploadID: t.clientID(u.ID), Started: u.Started, StorageClass: u.StorageClass,
		})
	}
	for _, p := range page.Prefixes {
		res.Prefixes = append(res.Prefixes, t.clientKey(p))
	}
	if page.More {
		res.NextKeyMarker = t.clientKey(page.NextKeyMarker)
		if page.NextUploadIDMarker != "" {
			res.NextUploadIDMarker = t.clientID(page.NextUploadIDMarker)
		}
	}
	return s3api.RenderListUploads(op, res), nil
}
