package gateway

import (
	"context"
	"strings"

	"unistore/byterange"
	"unistore/cache"
	"unistore/prefetch"
	"unistore/s3api"
	"unistore/upstream"
)

// observe tells the prefetcher of a read that is about to begin. nil: it is not to know.
func (s *service) observe(x *exchange, t target, op s3api.GetObject, l learned, rng byterange.Range, mode cacheMode) *prefetch.Observation {
	if s.ahead == nil || mode.noStore || mode.onlyCached || l.stale {
		return nil
	}
	of := s.targetOf(t, op.Key, l.attrs)
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
			return s.guessTarget(ctx, t, t.clientKey(key))
		},
		Quiet:   s.queries.Ready(x.query),
		Columns: columns && (tail || rng.End() == l.attrs.Size),
	})
}

// listed tells the prefetcher of a page that a client has listed. Who lists files in columns is about to read the footers of
// the first ones. begin: it is the first page.
func (s *service) listed(x *exchange, t target, page []upstream.ListedObject, begin bool) {
	if s.ahead == nil {
		return
	}
	keys := make([]string, 0, len(page))
	var first []prefetch.Target
	for _, o := range page {
		keys = append(keys, o.Key)
		if len(first) < listedFooters && prefetch.IsColumnar(o.Key) && o.ETag != "" && o.Size > 0 {
			first = append(first, s.targetOf(t, t.clientKey(o.Key), o.Attrs))
		}
	}
	s.ahead.Listed(t.store.Name(), t.bucket, keys)
	if !begin || t.route.Freshness.Revalidate || s.queries.Ready(x.query) {
		return
	}
	for _, of := range first {
		s.ahead.Footer(of)
	}
}

// listedFooters is of how many files of a page the footers are fetched.
const listedFooters = 4

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
