package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"unistore/byterange"
	"unistore/cache"
	"unistore/object"
	"unistore/s3api"
	"unistore/upstream"
)

// getObject serves a read. The first byte is in hand before the status line is chosen.
func (s *service) getObject(ctx context.Context, x *exchange, t target, op s3api.GetObject) (*s3api.Response, error) {
	if err := checkOverrides(x, op.Select); err != nil {
		return nil, err
	}
	mode := parseCacheControl(x.Header)
	if op.Select.VersionID != "" || op.Select.PartNumber != 0 || mode.noStore && !mode.onlyCached {
		return s.getDirect(ctx, x, t, op)
	}
	res, err := s.getCached(ctx, x, t, op, mode)
	if errors.Is(err, cache.ErrChanged) {
		// The version went between learning and reading, before the first byte: start over, once.
		res, err = s.getCached(ctx, x, t, op, mode)
	}
	return res, err
}

func isS3(err error) bool {
	_, ok := errors.AsType[*s3api.Error](err)
	return ok
}

// cacheMode is what Cache-Control of a request asks of the cache.
type cacheMode struct {
	noStore, revalidate, onlyCached bool
}

func (s *service) getCached(ctx context.Context, x *exchange, t target, op s3api.GetObject, mode cacheMode) (*s3api.Response, error) {
	ck := t.cacheKey(op.Key)
	l, err := s.attributes(ctx, x, t, op.Key, &op.Range, mode)
	if err != nil {
		return nil, notFound(err, op.Key)
	}
	defer l.release()
	drop := func() {
		if l.first != nil {
			l.first.Body.Close()
		}
	}
	if err := checkConditions(op.Conditions, l.attrs); err != nil {
		drop()
		return nil, err
	}
	rng, err := op.Range.Resolve(l.attrs.Size)
	if err != nil {
		drop()
		return nil, rangeError(l.attrs.Size, err)
	}
	if rng.Empty() {
		drop()
		x.pinned(cache.PinResult{})
		return objectResponse(op, l.attrs, rng, nil), nil
	}
	seen := s.observe(x, t, op, l, rng, mode)
	reader, err := s.cache.Read(ctx, cache.ReadRequest{
		Key: ck, Attrs: l.attrs, Range: rng, First: l.first,
		Fetch:   s.fetcher(t, op.Key, l.attrs.ETag, false),
		NoStore: mode.noStore || l.stale, OnlyCached: mode.onlyCached,
		Pin: x.pinRequest(), Passed: seen.Watch(),
	})
	if err != nil {
		x.noted(failedNote(err))
		seen.Done(0, 0, true)
	}
	if errors.Is(err, cache.ErrChanged) {
		return nil, err
	}
	if err != nil {
		return nil, notFound(err, op.Key)
	}
	r := reader.Result()
	x.source, x.served = sourceNames[r.Source], t.bytes.served
	x.noted(readNote(l, r, mode))
	x.pinned(r.Pin)
	return objectResponse(op, l.attrs, rng, &observedBody{reader, seen, rng.Len}), nil
}

// attributes finds out the version to answer from, and notes how. The caller releases it.
func (s *service) attributes(ctx context.Context, x *exchange, t target, key string, want *byterange.Spec, mode cacheMode) (learned, error) {
	if mode.onlyCached {
		x.noted(cacheNote{detail: "not-cached"})
		known, ok := s.cache.Stat(t.cacheKey(key))
		if !ok || !known.Attrs.HeadersKnown || !s.learner.fresh(t, t.cacheKey(key), known.Checked) {
			return learned{}, cache.ErrNotCached
		}
		x.noted(cacheNote{hit: true})
		return learned{attrs: known.Attrs, release: func() {}}, nil
	}
	l, err := s.learner.get(ctx, t, key, want, mode.revalidate)
	x.noted(l.note())
	return l, err
}

// fetcher reads one version for the cache: anything else than that version is cache.ErrChanged, and what is known of
// the object is dropped then. So nobody is served the cached part of a version that is known to be gone.
// Of a version that only a listing has told of, the first answer teaches the headers, too.
// background: for nobody who waits.
func (s *service) fetcher(t target, key, etag string, background bool) cache.FetchFunc {
	return func(ctx context.Context, r byterange.Range) (io.ReadCloser, error) {
		opts := upstream.OpenOptions{Range: byterange.Of(r), IfMatch: etag}
		known, ok := s.cache.Stat(t.cacheKey(key))
		bare := ok && known.Attrs.ETag == etag && !known.Attrs.HeadersKnown
		opts.Checksums = bare
		token := s.cache.Begin(t.cacheKey(key))
		stream, err := t.open(ctx, key, opts, background)
		if err == nil && (stream.Attrs.ETag != etag || stream.Range != r) {
			stream.Body.Close()
			err = upstream.Errorf(upstream.Changed, "Open", "another version came back")
		}
		switch {
		case err == nil:
			if bare {
				s.cache.Learn(t.cacheKey(key), token, stream.Attrs)
			}
			return t.fetching(stream.Body), nil
		case errors.Is(err, upstream.Changed), errors.Is(err, upstream.NotExist), errors.Is(err, upstream.RangeError):
			ck := t.cacheKey(key)
			if known, ok := s.cache.Stat(ck); !ok || known.Attrs.ETag == etag {
				s.learner.forget(ck)
			}
			return nil, errors.Join(cache.ErrChanged, err)
		}
		return nil, err
	}
}

// getDirect reads around the cache: another version, a part by its number, or because the client wants it so.
func (s *service) getDirect(ctx context.Context, x *exchange, t target, op s3api.GetObject) (*s3api.Response, error) {
	opts := upstream.OpenOptions{Range: op.Range, StatOptions: statOptions(op.Select)}
	stream, err := t.store.Open(ctx, t.loc(op.Key), opts)
	n := directNote(err, byteStatus(op.HasRange || opts.PartNumber != 0))
	if parseCacheControl(x.Header).noStore {
		n.fwd = fwdRequest
	}
	x.noted(n)
	if errors.Is(err, upstream.RangeError) {
		return nil, outside(ctx, t, op)
	}
	if err != nil {
		return nil, notFound(badVersion(err, op.Select.VersionID), op.Key)
	}
	if err := checkConditions(op.Conditions, stream.Attrs); err != nil {
		stream.Body.Close()
		return nil, err
	}
	s.metrics.CacheReads.WithLabelValues("bypass").Inc()
	x.source, x.served = sourceNames[cache.SourceBypass], t.bytes.served
	body := &countedBody{ReadCloser: t.fetching(stream.Body), bytes: s.metrics.CacheServed.WithLabelValues("bypass")}
	x.pinned(cache.PinResult{Refused: stream.Range.Len})
	op.HasRange = op.HasRange || opts.PartNumber != 0
	return objectResponse(op, stream.Attrs, stream.Range, body), nil
}

// outside is the error of a read of bytes or of a part that are not there. Conditions that do not hold go before it.
func outside(ctx context.Context, t target, op s3api.GetObject) error {
	attrs, err := t.store.Stat(ctx, t.loc(op.Key), upstream.StatOptions{VersionID: op.Select.VersionID})
	if err == nil {
		err = checkConditions(op.Conditions, attrs)
	}
	switch {
	case err != nil:
		return notFound(err, op.Key)
	case op.Select.PartNumber != 0:
		return &s3api.Error{Code: s3api.ErrInvalidPartNumber}
	}
	return rangeError(attrs.Size, byterange.ErrUnsatisfiable)
}

func statOptions(sel s3api.Selectors) upstream.StatOptions {
	return upstream.StatOptions{VersionID: sel.VersionID, PartNumber: sel.PartNumber, Checksums: sel.ChecksumMode}
}

// headObject answers the attributes.
func (s *service) headObject(ctx context.Context, x *exchange, t target, op s3api.HeadObject) (*s3api.Response, error) {
	if err := checkOverrides(x, op.Select); err != nil {
		return nil, err
	}
	get := s3api.GetObject{Object: op.Object, Range: op.Range, HasRange: op.HasRange, Conditions: op.Conditions, Select: op.Select}
	if op.Select.PartNumber != 0 { // only the answer to a GET says where the part lies
		return s.getDirect(ctx, x, t, get)
	}
	attrs, err := s.headAttrs(ctx, x, t, op)
	if err != nil {
		return nil, notFound(badVersion(err, op.Select.VersionID), op.Key)
	}
	if err := checkConditions(op.Conditions, attrs); err != nil {
		return nil, err
	}
	rng, err := op.Range.Resolve(attrs.Size)
	if err != nil {
		return nil, rangeError(attrs.Size, err)
	}
	return objectResponse(get, attrs, rng, nil), nil
}

func (s *service) headAttrs(ctx context.Context, x *exchange, t target, op s3api.HeadObject) (object.Attrs, error) {
	sel := op.Select
	mode := parseCacheControl(x.Header)
	if sel.VersionID != "" || sel.ChecksumMode || mode.noStore && !mode.onlyCached {
		attrs, err := t.store.Stat(ctx, t.loc(op.Key), statOptions(sel))
		n := directNote(err, http.StatusOK)
		if mode.noStore {
			n.fwd = fwdRequest
		}
		x.noted(n)
		return attrs, err
	}
	l, err := s.attributes(ctx, x, t, op.Key, nil, mode)
	if err != nil {
		return object.Attrs{}, err
	}
	l.release()
	x.note.stored = l.asked && !l.stale
	return l.attrs, nil
}

// getAttributes answers GetObjectAttributes from the store: it is rare and wants checksums.
func (s *service) getAttributes(ctx context.Context, x *exchange, t target, op s3api.GetObjectAttributes) (*s3api.Response, error) {
	attrs, err := t.store.Stat(ctx, t.loc(op.Key), upstream.StatOptions{VersionID: op.VersionID, Checksums: true})
	x.noted(directNote(err, http.StatusOK))
	if err != nil {
		return nil, notFound(badVersion(err, op.VersionID), op.Key)
	}
	if attrs.PartsCount == 0 {
		attrs.PartsCount = partsOf(attrs.ETag)
	}
	return s3api.RenderAttributes(op, attrs, nil), nil
}

// partsOf returns the number of parts that the ETag of a multipart object tells, or 0.
func partsOf(etag string) int {
	_, n, ok := strings.Cut(etag, "-")
	if !ok {
		return 0
	}
	parts, err := strconv.Atoi(n)
	if err != nil || parts < 1 {
		return 0
	}
	return parts
}

// checkOverrides refuses response-* parameters on anonymous requests, as S3 does.
func checkOverrides(x *exchange, sel s3api.Selectors) error {
	if len(sel.Overrides) > 0 && x.auth.Anonymous {
		return &s3api.Error{Code: s3api.ErrInvalidRequest, Message: "Request specific response headers cannot be used for anonymous GET requests."}
	}
	return nil
}
