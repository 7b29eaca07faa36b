package gateway

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/cache"
	"unistore/config"
	"unistore/metrics"
	"unistore/prefetch"
	"unistore/s3api"
	"unistore/upstream"
)

// target is where a client's bucket lives.
type target struct {
	route  config.Route
	store  *upstream.Store
	client string // the client's name of the bucket
	bucket string // the upstream's
	bytes  routeBytes
	ahead  *prefetch.Prefetcher // nil: nothing is fetched ahead
}

// routeBytes counts the bytes of objects that were read through a route. What is fetched for one reader and then
// served to many counts where it was fetched.
type routeBytes struct {
	fetched prometheus.Counter // from the upstream, through the cache or around it
	served  prometheus.Counter // to clients
}

func (t target) loc(key string) upstream.Loc {
	return upstream.Loc{Bucket: t.bucket, Key: t.route.Prefix + key}
}

func (t target) cacheKey(key string) cache.Key {
	return cache.Key{Upstream: t.store.Name(), Bucket: t.bucket, Key: t.route.Prefix + key}
}

// clientKey undoes loc for a key or a common prefix of a listing.
func (t target) clientKey(key string) string { return strings.TrimPrefix(key, t.route.Prefix) }

// fetching counts what is read of an upstream's body.
func (t target) fetching(body io.ReadCloser) io.ReadCloser {
	return &countedBody{ReadCloser: body, bytes: t.bytes.fetched}
}

// open opens bytes of an object, and measures it. background: no client waits for them, until one does for the fill
// that ctx belongs to.
func (t target) open(ctx context.Context, key string, opts upstream.OpenOptions, background bool) (*upstream.Stream, error) {
	transfer := t.ahead.Begin(t.store.Name(), t.bucket, !background)
	if background {
		ctx = upstream.BackgroundUntil(ctx, cache.Wanted(ctx))
	}
	stream, err := t.store.Open(ctx, t.loc(key), opts)
	if err != nil {
		transfer.Answered(nil, err)
		return nil, err
	}
	stream.Body = transfer.Answered(stream.Body, nil)
	return stream, nil
}

// keepsWrites reports whether what is written through the route is kept in the cache.
func (t target) keepsWrites() bool { return t.route.Write == "cache" }

// fresh reports whether what was confirmed at checked may still be believed at now.
func (t target) fresh(checked, now time.Time) bool {
	f := t.route.Freshness
	switch {
	case f.Immutable:
		return true
	case f.Revalidate:
		return false
	default:
		return now.Sub(checked) < f.TTL
	}
}

// routes resolves buckets. It is immutable.
type routes struct {
	cfg    *config.Config
	stores map[string]*upstream.Store
	bytes  map[string]routeBytes // by the route's name
	ahead  *prefetch.Prefetcher
}

func newRoutes(cfg *config.Config, stores map[string]*upstream.Store, ahead *prefetch.Prefetcher, m *metrics.Metrics) *routes {
	r := &routes{cfg: cfg, stores: stores, ahead: ahead, bytes: map[string]routeBytes{}}
	for _, b := range cfg.Buckets {
		r.bytes[b.Name] = routeBytes{
			fetched: m.RouteBytes.WithLabelValues(b.Name, "fetched"), served: m.RouteBytes.WithLabelValues(b.Name, "served"),
		}
	}
	return r
}

// find returns the target of a client's bucket, or NoSuchBucket when no route takes it.
func (r *routes) find(bucket string) (target, error) {
	route, ok := r.cfg.Find(bucket)
	if !ok {
		return target{}, &s3api.Error{Code: s3api.ErrNoSuchBucket,
			Fields: []s3api.Field{{Name: "BucketName", Value: bucket}}}
	}
	name := route.Bucket
	if name == "" {
		name = bucket
	}
	return target{
		route: route, store: r.stores[route.Upstream], client: bucket, bucket: name, bytes: r.bytes[route.Name],
		ahead: r.ahead,
	}, nil
}

// isGlob reports whether a route's name stands for many buckets.
func isGlob(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// matchAny reports whether name matches one of the globs (path.Match; bucket names hold no slash).
func matchAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		ok, err := path.Match(g, name)
		return err == nil && ok
	})
}
