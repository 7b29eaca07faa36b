package obs

import (
	"context"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// CreateUpload implements upstream.Multiparter.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	c, err := b.begin(ctx, "CreateUpload", loc)
	if err != nil {
		return "", err
	}
	if err := c.setObject(req.Headers); err != nil {
		return "", err
	}
	c.sign("x-obs-storage-class", classToOBS(req.StorageClass))
	var out *sdk.InitiateMultipartUploadOutput
	err = c.ask("InitiateMultipartUploadResult", func() (err error) {
		// The answer repeats the key, which XML cannot carry as it is.
		in := &sdk.InitiateMultipartUploadInput{EncodingType: "url"}
		in.Bucket, in.Key, in.ContentType = loc.Bucket, loc.Key, noType // which the lines replace
		out, err = c.InitiateMultipartUpload(in, c.lines())
		return err
	})
	if err != nil {
		return "", err
	}
	if out.UploadId == "" {
		return "", upstream.Errorf(upstream.Unavailable, c.op, "the store gave no upload id")
	}
	return out.UploadId, nil
}

// UploadPart implements upstream.Multiparter.
func (b *Backend) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	c, err := b.beginUpload(ctx, "UploadPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(c.op, number); err != nil {
		return upstream.Part{}, err
	}
	c.sign("Content-MD5", req.MD5)
	err = c.send(req.Body, req.Size, func() error {
		in := &sdk.UploadPartInput{Bucket: up.Bucket, Key: up.Key, UploadId: up.ID, PartNumber: number}
		_, err := c.ObsClient.UploadPart(in, c.lines())
		return err
	})
	if err != nil {
		return upstream.Part{}, err
	}
	etag := wire.Unquote(c.header().Get("ETag"))
	if etag == "" {
		return upstream.Part{}, noETag(c.op)
	}
	return upstream.Part{Number: number, Size: req.Size, ETag: etag, ETagMD5: md5ETag(c.header(), etag)}, nil
}

// checkPartNumber refuses what servers refuse in different words.
func checkPartNumber(op string, number int) error {
	if number < 1 || number > maxParts {
		return upstream.Errorf(upstream.Invalid, op, "part number %d", number)
	}
	return nil
}

// CompleteUpload implements upstream.Multiparter. The SDK sorts the list that it is given, and pastes ETags into XML: order
// and ETags are checked before. The answer of OBS has no more than the ETag, so the rest is asked for; it is left out
// when the object has been replaced meanwhile.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	c, err := b.beginUpload(ctx, "CompleteUpload", up)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := unconditional(c.op, req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	if err := wire.CheckParts(c.op, req.Parts); err != nil {
		return object.Attrs{}, err
	}
	in := &sdk.CompleteMultipartUploadInput{Bucket: up.Bucket, Key: up.Key, UploadId: up.ID, EncodingType: "url"}
	for _, p := range req.Parts {
		in.Parts = append(in.Parts, sdk.Part{PartNumber: p.Number, ETag: wire.Quote(p.ETag)})
	}
	var out *sdk.CompleteMultipartUploadOutput
	err = c.ask("CompleteMultipartUploadResult", func() (err error) {
		out, err = c.CompleteMultipartUpload(in)
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	return b.written(ctx, up.Loc, etag, c.header().Get("X-Obs-Version-Id")), nil
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	c, err := b.beginUpload(ctx, "AbortUpload", up)
	if err != nil {
		return err
	}
	return c.remove(func() error {
		_, err := c.AbortMultipartUpload(&sdk.AbortMultipartUploadInput{Bucket: up.Bucket, Key: up.Key, UploadId: up.ID})
		return err
	})
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	c, err := b.beginUpload(ctx, "ListParts", up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	var out *sdk.ListPartsOutput
	err = c.ask("ListPartsResult", func() (err error) {
		out, err = c.ObsClient.ListParts(&sdk.ListPartsInput{
			Bucket: up.Bucket, Key: up.Key, UploadId: up.ID, MaxParts: limit, PartNumberMarker: after, EncodingType: "url",
		})
		return err
	})
	if err != nil {
		return upstream.PartsPage{}, err
	}
	page := upstream.PartsPage{More: out.IsTruncated, StorageClass: classFromOBS(string(out.StorageClass))}
	for _, p := range out.Parts {
		page.Parts = append(page.Parts, upstream.Part{
			Number: p.PartNumber, Size: p.Size, ETag: wire.Unquote(p.ETag), ModTime: p.LastModified.UTC(),
		})
	}
	return page, nil
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	c, err := b.beginBucket(ctx, "ListUploads", req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	var out *sdk.ListMultipartUploadsOutput
	err = c.ask("ListMultipartUploadsResult", func() (err error) {
		out, err = c.ListMultipartUploads(&sdk.ListMultipartUploadsInput{
			Bucket: req.Bucket, Prefix: req.Prefix, Delimiter: req.Delimiter, MaxUploads: req.MaxUploads,
			KeyMarker: req.KeyMarker, UploadIdMarker: req.UploadIDMarker, EncodingType: "url",
		})
		return err
	})
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	page := upstream.UploadsPage{Prefixes: out.CommonPrefixes, More: out.IsTruncated}
	for _, u := range out.Uploads {
		page.Uploads = append(page.Uploads, upstream.UploadInfo{
			Key: u.Key, ID: u.UploadId, Started: u.Initiated.UTC(), StorageClass: classFromOBS(string(u.StorageClass)),
		})
	}
	if page.More {
		page.NextKeyMarker, page.NextUploadIDMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
	return page, nil
}
