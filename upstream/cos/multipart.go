package cos

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"

	sdk "github.com/tencentyun/cos-go-sdk-v5"

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
	c.setObject(req.Headers)
	c.x.Set("X-Cos-Storage-Class", classToCOS(req.StorageClass))
	var out *sdk.InitiateMultipartUploadResult
	err = c.ask("InitiateMultipartUploadResult", func() (err error) {
		out, _, err = c.Object.InitiateMultipartUpload(c.ctx, loc.Key, nil)
		return err
	})
	if err != nil {
		return "", err
	}
	if out.UploadID == "" {
		return "", upstream.Errorf(upstream.Unavailable, c.op, "the store gave no upload id")
	}
	return out.UploadID, nil
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
	c.x.Set("Content-MD5", req.MD5)
	err = c.send(req.Body, req.Size, func() error {
		_, err := c.Object.UploadPart(c.ctx, up.Key, url.QueryEscape(up.ID), number, http.NoBody, nil) // the body is the Exchange's
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

// CompleteUpload implements upstream.Multiparter. Gaps in the numbers are refused here, in words that say why. The
// answer of COS has no more than the ETag, so the rest is asked for; it is left out when the object has been replaced
// meanwhile.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	c, err := b.beginUpload(ctx, "CompleteUpload", up)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := wire.CheckParts(c.op, req.Parts); err != nil {
		return object.Attrs{}, err
	}
	if n := len(req.Parts); req.Parts[n-1].Number != n {
		if err := c.exists(up); err != nil {
			return object.Attrs{}, err
		}
		return object.Attrs{}, upstream.Errorf(upstream.InvalidPart, c.op,
			"COS wants part numbers without gaps: %d parts, the last of which is number %d", n, req.Parts[n-1].Number)
	}
	if err := c.setConditions(req.IfMatch, req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	in := &sdk.CompleteMultipartUploadOptions{}
	for _, p := range req.Parts {
		in.Parts = append(in.Parts, sdk.Object{PartNumber: p.Number, ETag: wire.Quote(p.ETag)})
	}
	var out *sdk.CompleteMultipartUploadResult
	err = c.ask("CompleteMultipartUploadResult", func() (err error) {
		out, _, err = c.Object.CompleteMultipartUpload(c.ctx, up.Key, url.QueryEscape(up.ID), in)
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	if err := c.enforced(req.IfNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	etag := wire.Unquote(out.ETag)
	if etag == "" {
		return object.Attrs{}, noETag(c.op)
	}
	return b.written(ctx, up.Loc, etag, versionOf(c.header())), nil
}

// exists is NoUpload when up is not there.
func (c *call) exists(up upstream.Upload) error {
	_, err := c.b.ListParts(c.x.Caller(), up, 0, 1)
	return err
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	c, err := b.beginUpload(ctx, "AbortUpload", up)
	if err != nil {
		return err
	}
	return c.remove(func() error {
		_, err := c.Object.AbortMultipartUpload(c.ctx, up.Key, url.QueryEscape(up.ID))
		return err
	})
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	c, err := b.beginUpload(ctx, "ListParts", up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	in := &sdk.ObjectListPartsOptions{MaxParts: strconv.Itoa(limit), EncodingType: "url"}
	if after > 0 {
		in.PartNumberMarker = strconv.Itoa(after)
	}
	var out *sdk.ObjectListPartsResult
	err = c.ask("ListPartsResult", func() (err error) {
		out, _, err = c.Object.ListParts(c.ctx, up.Key, url.QueryEscape(up.ID), in)
		return err
	})
	if err != nil {
		return upstream.PartsPage{}, err
	}
	page := upstream.PartsPage{More: out.IsTruncated, StorageClass: classFromCOS(out.StorageClass)}
	for _, p := range out.Parts {
		page.Parts = append(page.Parts, upstream.Part{
			Number: p.PartNumber, Size: p.Size, ETag: wire.Unquote(p.ETag), ModTime: parseTime(p.LastModified),
		})
	}
	return page, nil
}

// uploadList is the document of a listing of uploads. The SDK has two types for it, of which each misses what the other
// has; COS's documents have both names for two of its elements.
type uploadList struct {
	EncodingType  string
	IsTruncated   bool
	NextKeyMarker string
	NextUploadID  string `xml:"NextUploadIdMarker"`
	Uploads       []struct {
		Key, StorageClass, Initiated string
		ID                           string `xml:"UploadId"`
	} `xml:"Upload"`
	Prefixes    []string `xml:"CommonPrefixes>Prefix"`
	OldPrefixes []string `xml:"CommonPrefixs>Prefix"`
	OldEncoding string   `xml:"Encoding-Type"`
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	c, err := b.beginBucket(ctx, "ListUploads", req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	err = c.ask("ListMultipartUploadsResult", func() error {
		_, _, err := c.Bucket.ListMultipartUploads(c.ctx, &sdk.ListMultipartUploadsOptions{
			Prefix: req.Prefix, Delimiter: req.Delimiter, MaxUploads: req.MaxUploads, EncodingType: "url",
			KeyMarker: req.KeyMarker, UploadIDMarker: req.UploadIDMarker,
		})
		return err
	})
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	var out uploadList
	if err := xml.Unmarshal(c.x.Answer().Body, &out); err != nil {
		return upstream.UploadsPage{}, upstream.Errorf(upstream.Unavailable, c.op, "listing: %w", err)
	}
	d := decoder{on: out.EncodingType == "url" || out.OldEncoding == "url"}
	page := upstream.UploadsPage{More: out.IsTruncated}
	for _, u := range out.Uploads {
		page.Uploads = append(page.Uploads, upstream.UploadInfo{
			Key: d.do(u.Key), ID: u.ID, Started: parseTime(u.Initiated), StorageClass: classFromCOS(u.StorageClass),
		})
	}
	for _, p := range append(out.Prefixes, out.OldPrefixes...) {
		page.Prefixes = append(page.Prefixes, d.do(p))
	}
	if page.More {
		page.NextKeyMarker, page.NextUploadIDMarker = d.do(out.NextKeyMarker), out.NextUploadID
	}
	if d.err != nil {
		return upstream.UploadsPage{}, upstream.Errorf(upstream.Unavailable, c.op, "listing: %w", d.err)
	}
	return page, nil
}
