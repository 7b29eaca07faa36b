package gateway

import (
	"context"
	"strings"

	"unistore/byterange"
	"unistore/cache"
	"unistore/prefetch"
	"unistore/s3api"
)

// observe tells the prefetcher of a read that is about to begin. nil: it is not to know.
func (s *service) observe(x *exchange, t target, op s3api.GetObject, l learned, rng byterange.Range, mode cacheMode) *prefetch.Observation {
	if s.ahead == nil || mode.noStore || mode.onlyCached || l.stale {
		return nil
	}
	of := prefetch.Target{
		Key: t.cacheKey(op.Key), ETag: l.attrs.ETag, Size: l.attrs.Size,
		Fetch: s.fetcher(t, op.Key, l.attrs.ETag, true),
	}
	if len(x.wants.ranges)+len(x.wants.next) > 0 {
		s.hinted(x, of)
	}
	_, tail := op.Range.IsSuffix()
	_, from := op.Range.IsFrom()
	columns := hasColumns(op.Key)
	return s.ahead.Observe(prefetch.Read{
		Target: of,
		Range:  rng, Open: from || op.Range.IsAll(), Query: x.query, Hint: x.hints,
		Sibling: func(ctx context.Context, key string) (prefetch.Target, error) {
			return s.prefetchTarget(ctx, t, t.clientKey(key))
		},
		Quiet:   s.queries.Ready(x.query),
		Columns: columns && (tail || rng.End() == l.attrs.Size),
	})
}

// hasColumns reports whether a key is that of a file in columns, by its name.
func hasColumns(key string) bool {
	return strings.HasSuffix(key, ".parquet") || strings.HasSuffix(key, ".orc")
}

// observedBody is the body of a read that the prefetcher knows of.
type observedBody struct {
	*cache.Reader
	seen *prefetch.Observation
	want int64
}

// Close implements io.Closer.
func (b *observedBody) Close() error {
	sent := b.Delivered()
	b.seen.Done(sent, b.Stalled(), sent < b.want)
	return b.Reader.Close()
}
