package oss

import (
	"context"
	"encoding/xml"
	"net/url"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// CreateUpload implements upstream.Multiparter. OSS keeps none of S3's checksums.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	r, err := b.begin(ctx, "CreateUpload", loc)
	if err != nil {
		return "", err
	}
	if err := r.setObject(req.Headers); err != nil {
		return "", err
	}
	if err := r.setClass(req.StorageClass); err != nil {
		return "", err
	}
	out, err := b.client.InitiateMultipartUpload(r.bare().ctx, &sdk.InitiateMultipartUploadRequest{Bucket: &loc.Bucket, Key: &loc.Key})
	if err != nil {
		return "", r.fail(err)
	}
	if err := r.Answered(r.op, "InitiateMultipartUploadResult"); err != nil {
		return "", err
	}
	if !wire.ValidUploadID(deref(out.UploadId)) {
		return "", upstream.Errorf(upstream.Unavailable, r.op, "the store gave no upload id")
	}
	return *out.UploadId, nil
}

// UploadPart implements upstream.Multiparter.
func (b *Backend) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	r, err := b.beginUpload(ctx, "UploadPart", up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := checkPartNumber(r.op, number); err != nil {
		return upstream.Part{}, err
	}
	sent, err := r.body(req.Body, req.Size, req.MD5)
	if err != nil {
		return upstream.Part{}, err
	}
	_, err = b.client.UploadPart(r.ctx, &sdk.UploadPartRequest{
		Bucket: &up.Bucket, Key: &up.Key, UploadId: &up.ID, PartNumber: int32(number),
	})
	if err != nil {
		return upstream.Part{}, b.vendor.FailBody(r.Exchange, r.op, sent.body, err)
	}
	etag, err := r.stored(sent)
	if err != nil {
		return upstream.Part{}, err
	}
	return upstream.Part{Number: number, Size: req.Size, ETag: etag, ETagMD5: md5ETag(r.Answer().Header, etag)}, nil
}

func checkPartNumber(op string, number int) error {
	if number < 1 || number > maxParts {
		return upstream.Errorf(upstream.Invalid, op, "part number %d", number)
	}
	return nil
}

// CompleteUpload implements upstream.Multiparter. The answer has no more than the ETag, so the rest is asked for; it is
// left out when the object has been replaced meanwhile.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	r, err := b.beginUpload(ctx, "CompleteUpload", up)
	if err != nil {
		return object.Attrs{}, err
	}
	parts, err := r.partList(req.Parts)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := r.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	out, err := b.client.CompleteMultipartUpload(r.ctx, &sdk.CompleteMultipartUploadRequest{
		Bucket: &up.Bucket, Key: &up.Key, UploadId: &up.ID,
		CompleteMultipartUpload: &sdk.CompleteMultipartUpload{Parts: parts},
	})
	if err != nil {
		return object.Attrs{}, r.fail(err)
	}
	if err := r.Answered(r.op, "CompleteMultipartUploadResult"); err != nil {
		return object.Attrs{}, err
	}
	return b.written(ctx, r, deref(out.ETag))
}

// partList is the list of a completion. The SDK would sort one that does not ascend.
func (r *request) partList(parts []upstream.Part) ([]sdk.UploadPart, error) {
	if len(parts) == 0 {
		return nil, upstream.Errorf(upstream.Invalid, r.op, "no parts")
	}
	out := make([]sdk.UploadPart, len(parts))
	for i, p := range parts {
		if i > 0 && p.Number <= parts[i-1].Number {
			return nil, upstream.Errorf(upstream.PartOrder, r.op, "part %d after part %d", p.Number, parts[i-1].Number)
		}
		if !wire.PlainETag(p.ETag) {
			return nil, upstream.Errorf(upstream.InvalidPart, r.op, "part %d has no ETag of a part", p.Number)
		}
		etag := wire.Quote(p.ETag)
		out[i] = sdk.UploadPart{PartNumber: int32(p.Number), ETag: &etag}
	}
	return out, nil
}

// written completes what is known of a version that OSS has made, and whose ETag it has told, of parts or of another
// object.
func (b *Backend) written(ctx context.Context, r *request, etag string) (object.Attrs, error) {
	etag = wire.Unquote(etag)
	if etag == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	version := r.Answer().Header.Get("X-Oss-Version-Id")
	attrs, err := b.Stat(ctx, r.loc, upstream.StatOptions{VersionID: version})
	if err != nil || attrs.ETag != etag {
		return object.Attrs{ETag: etag, VersionID: version}, nil
	}
	return attrs, nil
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	r, err := b.beginUpload(ctx, "AbortUpload", up)
	if err != nil {
		return err
	}
	_, err = b.client.AbortMultipartUpload(r.bare().ctx, &sdk.AbortMultipartUploadRequest{Bucket: &up.Bucket, Key: &up.Key, UploadId: &up.ID})
	if err != nil {
		return r.fail(err)
	}
	return r.Gone(r.op)
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	r, err := b.beginUpload(ctx, "ListParts", up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	out, err := b.client.ListParts(r.bare().ctx, &sdk.ListPartsRequest{
		Bucket: &up.Bucket, Key: &up.Key, UploadId: &up.ID, PartNumberMarker: int32(after), MaxParts: int32(limit),
	})
	if err != nil {
		return upstream.PartsPage{}, r.fail(err)
	}
	if err := r.Answered(r.op, "ListPartsResult"); err != nil {
		return upstream.PartsPage{}, err
	}
	page := upstream.PartsPage{More: out.IsTruncated, StorageClass: classOf(deref(out.StorageClass))}
	for _, p := range out.Parts {
		page.Parts = append(page.Parts, upstream.Part{
			Number: int(p.PartNumber), Size: p.Size, ETag: wire.Unquote(deref(p.ETag)), ModTime: utc(p.LastModified),
		})
	}
	return page, nil
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	r, err := b.beginBucket(ctx, "ListUploads", req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	out, err := b.client.ListMultipartUploads(r.bare().ctx, &sdk.ListMultipartUploadsRequest{
		Bucket: &req.Bucket, Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter),
		KeyMarker: optional(req.KeyMarker), UploadIdMarker: optional(req.UploadIDMarker), MaxUploads: int32(req.MaxUploads),
	})
	if err != nil {
		return upstream.UploadsPage{}, r.fail(err)
	}
	if err := r.Answered(r.op, "ListMultipartUploadsResult"); err != nil {
		return upstream.UploadsPage{}, err
	}
	page := upstream.UploadsPage{More: out.IsTruncated}
	for _, u := range out.Uploads {
		page.Uploads = append(page.Uploads, upstream.UploadInfo{Key: deref(u.Key), ID: deref(u.UploadId), Started: utc(u.Initiated)})
	}
	if page.Prefixes, err = uploadPrefixes(r.Answer().Body); err != nil {
		return page, upstream.Errorf(upstream.Unavailable, r.op, "listing: %w", err)
	}
	if page.More {
		page.NextKeyMarker, page.NextUploadIDMarker = deref(out.NextKeyMarker), deref(out.NextUploadIdMarker)
	}
	return page, nil
}

// uploadPrefixes reads the common prefixes of a listing of uploads, which the SDK leaves out.
func uploadPrefixes(document []byte) ([]string, error) {
	var list struct {
		EncodingType   string
		CommonPrefixes []struct{ Prefix string }
	}
	if err := xml.Unmarshal(document, &list); err != nil {
		return nil, err
	}
	var prefixes []string
	for _, p := range list.CommonPrefixes {
		name := p.Prefix
		if list.EncodingType == "url" {
			var err error
			if name, err = url.QueryUnescape(name); err != nil {
				return nil, err
			}
		}
		prefixes = append(prefixes, name)
	}
	return prefixes, nil
}
