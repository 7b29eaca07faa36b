package cos

import (
	"context"
	"net/url"
	"strings"

	sdk "github.com/tencentyun/cos-go-sdk-v5"

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
		_, err := c.Object.Head(c.ctx, loc.Key, nil, version(opts.VersionID)...)
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
	return &upstream.Error{Code: upstream.Unsupported, Op: op, Message: "COS does not read objects by part number"}
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
	var resp *sdk.Response
	err = c.do(func() (err error) {
		resp, err = c.Object.Get(c.ctx, loc.Key, nil, version(opts.VersionID)...)
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
		Caller: ctx, Op: c.op, Status: a.Status, Header: a.Header, Length: a.Length, Body: resp.Body, Attrs: attrsOf,
	}.Stream(opts)
	if err == nil && opts.PartNumber == 1 && (strings.Contains(st.Attrs.ETag, "-") || st.Range != (byterange.Range{Len: st.Attrs.Size})) {
		err = noPartNumbers(c.op)
	}
	if err != nil {
		_ = resp.Body.Close() // refused anyway
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

// List implements upstream.Backend by the listing by marker, the only one of COS.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	return wire.Lister{Fetch: b.listOnce}.List(ctx, req)
}

func (b *Backend) listOnce(ctx context.Context, req upstream.ListRequest, marker string) (wire.Marked, error) {
	c, err := b.beginBucket(ctx, "List", req.Bucket)
	if err != nil {
		return wire.Marked{}, err
	}
	var out *sdk.BucketGetResult
	err = c.ask("ListBucketResult", func() (err error) {
		out, _, err = c.Bucket.Get(c.ctx, &sdk.BucketGetOptions{
			Prefix: req.Prefix, Delimiter: req.Delimiter, Marker: marker, MaxKeys: req.MaxKeys, EncodingType: "url",
		})
		return err
	})
	if err != nil {
		return wire.Marked{}, err
	}
	d := decoder{on: out.EncodingType == "url"}
	got := wire.Marked{Truncated: out.IsTruncated, Next: d.do(out.NextMarker)}
	for _, o := range out.Contents {
		got.Objects = append(got.Objects, upstream.ListedObject{Key: d.do(o.Key), Attrs: object.Attrs{
			Size: o.Size, ETag: wire.Unquote(o.ETag), ModTime: parseTime(o.LastModified), StorageClass: classFromCOS(o.StorageClass),
		}})
	}
	for _, p := range out.CommonPrefixes {
		got.Prefixes = append(got.Prefixes, d.do(p))
	}
	if d.err != nil {
		return wire.Marked{}, upstream.Errorf(upstream.Unavailable, c.op, "listing: %w", d.err)
	}
	return got, nil
}

// decoder reads names of a listing, percent-encoded with '+' for a space when on. err is the first failure.
type decoder struct {
	on  bool
	err error
}

func (d *decoder) do(s string) string {
	if !d.on || d.err != nil {
		return s
	}
	s, d.err = url.QueryUnescape(s)
	return s
}
