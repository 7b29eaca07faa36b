package s3

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/object"
	"unistore/upstream"
)

// CreateUpload implements upstream.Multiparter.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	r, err := b.begin(ctx, "CreateUpload", loc)
	if err != nil {
		return "", err
	}
	h := headers{}
	h.setObject(req.Headers)
	h.set("X-Amz-Checksum-Algorithm", req.ChecksumAlgorithm)
	h.set("X-Amz-Checksum-Type", req.ChecksumType)
	h.set("X-Amz-Storage-Class", req.StorageClass)
	if err := h.valid(r.op); err != nil {
		return "", err
	}
	out, err := b.client.CreateMultipartUpload(r.ctx, &awss3.CreateMultipartUploadInput{
		Bucket: aws.String(loc.Bucket), Key: aws.String(loc.Key),
	}, h.option())
	if err != nil {
		return "", r.fail(err)
	}
	if deref(out.UploadId) == "" {
		return "", upstream.Errorf(upstream.Unavailable, r.op, "the store gave no upload id")
	}
	b.uploads.set(*out.UploadId, req.ChecksumAlgorithm)
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
	h := headers{}
	h.setChecksum(req.Checksum)
	h.set("Content-MD5", req.MD5)
	if err := h.valid(r.op); err != nil {
		return upstream.Part{}, err
	}
	p, err := r.payload(h, content{
		src: req.Body, size: req.Size,
		verified:  req.Checksum != nil || req.MD5 != "",
		promised:  req.TrailingAlgorithm != "",
		algorithm: cmp.Or(req.TrailingAlgorithm, b.uploads.get(up.ID)),
	})
	if err != nil {
		return upstream.Part{}, err
	}
	out, err := b.client.UploadPart(r.ctx, &awss3.UploadPartInput{
		Bucket: aws.String(up.Bucket), Key: aws.String(up.Key), UploadId: aws.String(up.ID),
		PartNumber: aws.Int32(int32(number)),
		Body:       p.stream, ContentLength: aws.Int64(p.length),
	}, h.option(), p.option())
	if err != nil {
		return upstream.Part{}, r.bodyFailed(p.body, err)
	}
	if err := r.stored(p.body, deref(out.ETag)); err != nil {
		return upstream.Part{}, err
	}
	_, raw, _ := rawHeader(out.ResultMetadata)
	part := upstream.Part{Number: number, Size: req.Size, ETag: unquote(deref(out.ETag))}
	part.ETagMD5 = b.md5ETag(raw, part.ETag)
	if req.Checksum != nil || req.TrailingAlgorithm != "" || b.uploads.get(up.ID) != "" {
		// Otherwise it is the checksum of our framing, and naming it at completion would be an error.
		part.Checksums = checksumsOf(raw)
	}
	return part, p.heard(r, raw)
}

// checkPartNumber refuses what servers refuse in different words.
func checkPartNumber(op string, number int) error {
	if number < 1 || number > maxParts {
		return upstream.Errorf(upstream.Invalid, op, "part number %d", number)
	}
	return nil
}

// beginUpload refuses ids that no service gives out: without one the request would be about the object, and
// versitygw reads it as a path, so that aborting "." aborts every upload of the key.
func (b *Backend) beginUpload(ctx context.Context, op string, up upstream.Upload) (*request, error) {
	if !validUploadID(up.ID) {
		return nil, &upstream.Error{Code: upstream.NoUpload, Op: op, Message: "no upload has such an id"}
	}
	return b.begin(ctx, op, up.Loc)
}

func validUploadID(id string) bool {
	word := false
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			word = true
		case !strings.ContainsRune("._~+=-", rune(c)):
			return false
		}
	}
	return word
}

// CompleteUpload implements upstream.Multiparter. The answer of S3 has no more than the ETag, so the
// rest is asked for; it is left out when the object has been replaced meanwhile.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	r, err := b.beginUpload(ctx, "CompleteUpload", up)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := checkOrder(r.op, req.Parts); err != nil {
		return object.Attrs{}, err
	}
	h := headers{}
	h.setConditions(req.IfMatch, req.IfNoneMatch)
	if req.Checksum != nil {
		h.setChecksum(req.Checksum)
		h.set("X-Amz-Checksum-Type", req.Checksum.Type)
	}
	if err := h.valid(r.op); err != nil {
		return object.Attrs{}, err
	}
	out, err := b.client.CompleteMultipartUpload(r.ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: aws.String(up.Bucket), Key: aws.String(up.Key), UploadId: aws.String(up.ID),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: completedParts(req.Parts)},
	}, h.option())
	if err != nil {
		return object.Attrs{}, r.fail(err)
	}
	etag := unquote(deref(out.ETag))
	if etag == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, r.op, "the store gave no ETag")
	}
	b.uploads.set(up.ID, "")
	return b.written(ctx, up.Loc, etag, deref(out.VersionId)), nil
}

// written completes what is known of a version that was just written on the store's side.
func (b *Backend) written(ctx context.Context, loc upstream.Loc, etag, version string) object.Attrs {
	attrs, err := b.Stat(ctx, loc, upstream.StatOptions{VersionID: version, Checksums: true})
	if err != nil || attrs.ETag != etag {
		return object.Attrs{ETag: etag, VersionID: version}
	}
	return attrs
}

// checkOrder refuses a list that does not ascend; not every server does.
func checkOrder(op string, parts []upstream.Part) error {
	if len(parts) == 0 {
		return upstream.Errorf(upstream.Invalid, op, "no parts")
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].Number <= parts[i-1].Number {
			return upstream.Errorf(upstream.PartOrder, op, "part %d after part %d", parts[i].Number, parts[i-1].Number)
		}
	}
	return nil
}

func completedParts(parts []upstream.Part) []types.CompletedPart {
	out := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		out[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(quote(p.ETag))}
		for _, c := range p.Checksums {
			switch c.Algorithm {
			case "CRC32":
				out[i].ChecksumCRC32 = optional(c.Value)
			case "CRC32C":
				out[i].ChecksumCRC32C = optional(c.Value)
			case "CRC64NVME":
				out[i].ChecksumCRC64NVME = optional(c.Value)
			case "SHA1":
				out[i].ChecksumSHA1 = optional(c.Value)
			case "SHA256":
				out[i].ChecksumSHA256 = optional(c.Value)
			}
		}
	}
	return out
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	r, err := b.beginUpload(ctx, "AbortUpload", up)
	if err != nil {
		return err
	}
	var gone error
	if !b.exact { // MinIO aborts what is not there
		if _, err := b.ListParts(ctx, up, 0, 1); err != nil && upstream.CodeOf(err) != upstream.NoUpload {
			return err
		} else if err != nil {
			gone = err // it is aborted all the same: a part may have come after its upload went
		}
	}
	b.uploads.set(up.ID, "")
	_, err = b.client.AbortMultipartUpload(r.ctx, &awss3.AbortMultipartUploadInput{
		Bucket: aws.String(up.Bucket), Key: aws.String(up.Key), UploadId: aws.String(up.ID),
	})
	if err != nil {
		if err = r.fail(err); gone == nil || transient(upstream.CodeOf(err)) {
			return err
		}
	}
	return gone
}

func transient(c upstream.Code) bool {
	return c == upstream.Unavailable || c == upstream.Throttled || c == upstream.Cancelled
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	r, err := b.beginUpload(ctx, "ListParts", up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	in := &awss3.ListPartsInput{
		Bucket: aws.String(up.Bucket), Key: aws.String(up.Key), UploadId: aws.String(up.ID),
		MaxParts: aws.Int32(int32(limit)),
	}
	if after > 0 {
		in.PartNumberMarker = aws.String(strconv.Itoa(after))
	}
	out, err := b.client.ListParts(r.ctx, in)
	if err != nil {
		return upstream.PartsPage{}, r.fail(err)
	}
	page := upstream.PartsPage{More: deref(out.IsTruncated), StorageClass: string(out.StorageClass)}
	for _, p := range out.Parts {
		page.Parts = append(page.Parts, upstream.Part{
			Number: int(deref(p.PartNumber)), Size: deref(p.Size), ETag: unquote(deref(p.ETag)),
			ModTime: deref(p.LastModified).UTC(), Checksums: partChecksums(p, string(out.ChecksumType)),
		})
	}
	return page, nil
}

func partChecksums(p types.Part, kind string) []object.Checksum {
	return named(map[string]*string{
		"CRC32": p.ChecksumCRC32, "CRC32C": p.ChecksumCRC32C, "CRC64NVME": p.ChecksumCRC64NVME,
		"SHA1": p.ChecksumSHA1, "SHA256": p.ChecksumSHA256,
	}, kind)
}

// named are the checksums, by algorithm, that have a value.
func named(values map[string]*string, kind string) []object.Checksum {
	var out []object.Checksum
	for _, alg := range algorithms {
		if v := deref(values[alg.name]); v != "" {
			out = append(out, object.Checksum{Algorithm: alg.name, Value: v, Type: kind})
		}
	}
	return out
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	r, err := b.beginBucket(ctx, "ListUploads", req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	out, err := b.client.ListMultipartUploads(r.ctx, &awss3.ListMultipartUploadsInput{
		Bucket: aws.String(req.Bucket), Prefix: optional(req.Prefix), Delimiter: optional(req.Delimiter),
		KeyMarker: optional(req.KeyMarker), UploadIdMarker: optional(req.UploadIDMarker),
		MaxUploads:   aws.Int32(int32(req.MaxUploads)),
		EncodingType: types.EncodingTypeUrl,
	})
	if err != nil {
		return upstream.UploadsPage{}, r.fail(err)
	}
	page, err := uploadsPage(out, decoder(out.EncodingType == types.EncodingTypeUrl))
	if err != nil {
		return page, upstream.Errorf(upstream.Unavailable, r.op, "listing: %w", err)
	}
	return page, nil
}

func uploadsPage(out *awss3.ListMultipartUploadsOutput, decode decoder) (upstream.UploadsPage, error) {
	page := upstream.UploadsPage{More: deref(out.IsTruncated)}
	for _, u := range out.Uploads {
		key, err := decode.do(u.Key)
		if err != nil {
			return page, err
		}
		page.Uploads = append(page.Uploads, upstream.UploadInfo{
			Key: key, ID: deref(u.UploadId), Started: deref(u.Initiated).UTC(), StorageClass: string(u.StorageClass),
		})
	}
	for _, p := range out.CommonPrefixes {
		prefix, err := decode.do(p.Prefix)
		if err != nil {
			return page, err
		}
		page.Prefixes = append(page.Prefixes, prefix)
	}
	if !page.More {
		return page, nil
	}
	var err error
	page.NextKeyMarker, err = decode.do(out.NextKeyMarker)
	page.NextUploadIDMarker = deref(out.NextUploadIdMarker)
	return page, err
}
