package fault

import (
	"context"
	"io"
	"slices"

	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
)

// Stat implements upstream.Backend.
func (w *wrapper) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	var attrs object.Attrs
	err := w.call(ctx, "Stat", loc, func() (err error) {
		suffix := w.suffix("Stat", loc)
		attrs, err = w.inner.Stat(ctx, loc, opts)
		attrs.ETag = outward(attrs.ETag, suffix)
		return err
	})
	if err != nil {
		return object.Attrs{}, err
	}
	return attrs, nil
}

// Open implements upstream.Backend.
func (w *wrapper) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	if err := w.before(ctx, "Open", loc); err != nil {
		return nil, err
	}
	suffix := w.suffix("Open", loc)
	opts.IfMatch = inward(opts.IfMatch, suffix)
	opts.IfNoneMatch = inward(opts.IfNoneMatch, suffix)
	in, err := w.inner.Open(ctx, loc, opts)
	if err != nil {
		return nil, err
	}
	out := *in
	out.Attrs.ETag = outward(in.Attrs.ETag, suffix)
	if f := w.bodyFaults("Open", loc); !f.none() {
		out.Body = newStream(ctx, f, in.Body)
	}
	return &out, nil
}

// suffix lets an object change if a fault says so, and returns the suffix of its ETags.
func (w *wrapper) suffix(op string, loc upstream.Loc) string {
	if _, ok := w.fire(faults.UpstreamETagChange, op, loc); ok {
		w.versions.change(loc)
	}
	return w.versions.suffix(loc)
}

// Put implements upstream.Backend.
func (w *wrapper) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	req.IfMatch = inward(req.IfMatch, w.versions.suffix(loc))
	var attrs object.Attrs
	err := w.upload(ctx, "Put", loc, req.Body, func(r io.Reader) (err error) {
		req.Body = r
		if attrs, err = w.inner.Put(ctx, loc, req); err == nil {
			w.versions.written(loc)
		}
		return err
	})
	return attrs, err // both are of use when the bytes were corrupted
}

// upload runs one request with a body.
func (w *wrapper) upload(ctx context.Context, op string, loc upstream.Loc, src io.Reader, do func(io.Reader) error) error {
	if err := w.before(ctx, op, loc); err != nil {
		return err
	}
	f := w.bodyFaults(op, loc)
	if !f.none() {
		src = &body{faults: f, ctx: ctx, src: src}
	}
	err := do(src)
	if f.reset.on {
		return reset(op)
	}
	return err
}

// Delete implements upstream.Backend.
func (w *wrapper) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	return w.call(ctx, "Delete", loc, func() error {
		opts.IfMatch = inward(opts.IfMatch, w.versions.suffix(loc))
		err := w.inner.Delete(ctx, loc, opts)
		if err == nil {
			w.versions.written(loc)
		}
		return err
	})
}

// List implements upstream.Backend.
func (w *wrapper) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	var page upstream.ListPage
	err := w.call(ctx, "List", upstream.Loc{Bucket: req.Bucket}, func() (err error) {
		page, err = w.inner.List(ctx, req)
		return err
	})
	if err != nil {
		return upstream.ListPage{}, err
	}
	page.Objects = slices.Clone(page.Objects)
	for i := range page.Objects {
		o := &page.Objects[i]
		o.ETag = outward(o.ETag, w.versions.suffix(upstream.Loc{Bucket: req.Bucket, Key: o.Key}))
	}
	return page, nil
}

// Limits implements upstream.Backend.
func (w *wrapper) Limits() upstream.Limits { return w.inner.Limits() }

// Close implements upstream.Backend.
func (w *wrapper) Close() error { return w.inner.Close() }
