package obs

import (
	"context"
	"strings"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Stat implements upstream.Backend by HEAD.
func (b *Backend) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	if opts.PartNumber > 0 {
		return object.Attrs{}, noPartNumbers("Stat")
	}
	c, err := b.begin(ctx, "Stat", loc)
	if err != nil {
		return object.Attrs{}, err
	}
	err = c.do(func() error {
		_, err := c.GetObjectMetadata(&sdk.GetObjectMetadataInput{Bucket: loc.Bucket, Key: loc.Key, VersionId: opts.VersionID})
		return err
	})
	if err != nil {
		if wire.RefusedNull(opts.VersionID, err) {
			return b.statOnly(ctx, loc)
		}
		return object.Attrs{}, err
	}
	a := c.x.Answer()
	attrs := attrsOf(a.Header, a.Length)
	if a.Length < 0 || attrs.ETag == "" {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, c.op, "HEAD without Content-Length or ETag")
	}
	return attrs, nil
}

// statOnly is Stat of an object that has no versions.
func (b *Backend) statOnly(ctx context.Context, loc upstream.Loc) (object.Attrs, error) {
	attrs, err := b.Stat(ctx, loc, upstream.StatOptions{})
	if err == nil {
		err = wire.OnlyVersion("Stat", attrs)
	}
	if err != nil {
		return object.Attrs{}, err
	}
	return attrs, nil
}

func noPartNumbers(op string) error {
	return &upstream.Error{Code: upstream.Unsupported, Op: op, Message: "OBS does not read objects by part number"}
}

// Open implements upstream.Backend by GET. Part 1 of an object that was put whole is all of it; no other part
// can be asked for.
func (b *Backend) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	if n, ok := opts.Range.IsSuffix(); ok && n <= 0 {
		return nil, &upstream.Error{Code: upstream.RangeError, Op: "Open", Message: "the last 0 bytes"}
	}
	if opts.PartNumber > 1 {
		return nil, noPartNumbers("Open")
	}
	c, err := b.begin(ctx, "Open", loc)
	if err != nil {
		return nil, err
	}
	c.x.Set("Range", opts.Range.Header())
	c.x.Set("If-Match", wire.Quote(opts.IfMatch))
	c.x.Set("If-None-Match", wire.Quote(opts.IfNoneMatch))
	var out *sdk.GetObjectOutput
	err = c.do(func() (err error) {
		in := &sdk.GetObjectInput{GetObjectMetadataInput: sdk.GetObjectMetadataInput{Bucket: loc.Bucket, Key: loc.Key, VersionId: opts.VersionID}}
		out, err = c.GetObject(in)
		return err
	})
	if err != nil {
		if wire.RefusedNull(opts.VersionID, err) {
			return b.openOnly(ctx, loc, opts)
		}
		return nil, err
	}
	a := c.x.Answer()
	st, err := wire.Reply{
		Caller: ctx, Op: c.op, Status: a.Status, Header: a.Header, Length: a.Length, Body: out.Body, Attrs: attrsOf,
	}.Stream(opts)
	if err == nil && opts.PartNumber == 1 && (strings.Contains(st.Attrs.ETag, "-") || st.Range != (byterange.Range{Len: st.Attrs.Size})) {
		err = noPartNumbers(c.op)
	}
	if err != nil {
		_ = out.Body.Close() // refused anyway
		return nil, err
	}
	return st, nil
}

// openOnly is Open of an object that has no versions.
func (b *Backend) openOnly(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	opts.VersionID = ""
	st, err := b.Open(ctx, loc, opts)
	if err != nil {
		return nil, err
	}
	if err := wire.OnlyVersion("Open", st.Attrs); err != nil {
		_ = st.Body.Close() // refused anyway
		return nil, err
	}
	return st, nil
}

// List implements upstream.Backend by the listing by marker, the only one of OBS.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	return wire.Lister{Fetch: b.listOnce}.List(ctx, req)
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest, marker string) (wire.Marked, error) {
	c, err := b.beginBucket(ctx, "List", req.Bucket)
	if err != nil {
		return wire.Marked{}, err
	}
	in := &sdk.ListObjectsInput{Bucket: req.Bucket, Marker: marker}
	in.Prefix, in.Delimiter, in.MaxKeys, in.EncodingType = req.Prefix, req.Delimiter, req.MaxKeys, "url"
	var out *sdk.ListObjectsOutput
	err = c.ask("ListBucketResult", func() (err error) {
		out, err = c.ListObjects(in)
		return err
	})
	if err != nil {
		return wire.Marked{}, err
	}
	got := wire.Marked{Prefixes: out.CommonPrefixes, Truncated: out.IsTruncated, Next: out.NextMarker}
	for _, o := range out.Contents {
		got.Objects = append(got.Objects, upstream.ListedObject{Key: o.Key, Attrs: object.Attrs{
			Size: o.Size, ETag: wire.Unquote(o.ETag), ModTime: o.LastModified.UTC(), StorageClass: classFromOBS(string(o.StorageClass)),
		}})
	}
	return got, nil
}
