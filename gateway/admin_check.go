package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"unistore/byterange"
	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/all"
)

// checkTimeout bounds all steps of one upstream.
const checkTimeout = 30 * time.Second

// CheckResult is one step of Check at one upstream.
type CheckResult struct {
	Upstream string        `json:"upstream"`
	Step     string        `json:"step"` // open, auth, list, read
	OK       bool          `json:"ok"`
	Detail   string        `json:"detail"`
	Took     time.Duration `json:"took_ns"`
}

// Check reaches every upstream of cfg as serving would: are the credentials taken, can the buckets of its routes
// be listed, can a range of an object be read. It writes nothing. An upstream whose first steps fail
// has no later ones.
func Check(ctx context.Context, cfg *config.Config) []CheckResult {
	var results []CheckResult
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		c := &checker{name: name, cfg: cfg}
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		c.run(ctx)
		cancel()
		results = append(results, c.results...)
	}
	return results
}

type checker struct {
	name    string
	cfg     *config.Config
	store   *upstream.Store
	results []CheckResult
}

// step runs fn, which returns what it found, and reports whether it went well.
func (c *checker) step(name string, fn func() (string, error)) bool {
	start := time.Now()
	detail, err := fn()
	if err != nil {
		detail = err.Error()
	}
	c.results = append(c.results, CheckResult{c.name, name, err == nil, detail, time.Since(start)})
	return err == nil
}

func (c *checker) run(ctx context.Context) {
	u := c.cfg.Upstreams[c.name]
	opened := c.step("open", func() (string, error) {
		backend, err := all.New(ctx, c.name, u, zerolog.Nop())
		if err != nil {
			return "", err
		}
		c.store = upstream.NewStore(c.name, backend, upstream.StoreConfig{
			Log: zerolog.Nop(), Timeout: u.Timeout, Retries: u.Retries, MaxConnections: u.MaxConnections,
		})
		return u.Type, nil
	})
	if !opened {
		return
	}
	defer c.close()
	var visible []upstream.Bucket
	if !c.step("auth", func() (detail string, err error) {
		visible, err = c.store.ListBuckets(ctx)
		return authDetail(visible, err, c.buckets())
	}) {
		return
	}
	var found upstream.Loc
	var size int64
	if !c.step("list", func() (string, error) { return c.list(ctx, visible, &found, &size) }) || found.Key == "" {
		return
	}
	c.step("read", func() (string, error) { return c.read(ctx, found, size) })
}

func (c *checker) close() {
	if err := c.store.Close(); err != nil {
		c.step("close", func() (string, error) { return "", err })
	}
}

// authDetail judges a ListBuckets. A key pair may well be refused it and yet read its buckets: that is seen
// by the next step, if a route names one.
func authDetail(visible []upstream.Bucket, err error, named []string) (string, error) {
	switch {
	case err == nil:
		return fmt.Sprintf("%d buckets", len(visible)), nil
	case errors.Is(err, upstream.Unsupported), errors.Is(err, upstream.Access) && len(named) > 0:
		return "may not list buckets; trying those of the routes", nil
	}
	return "", err
}

// buckets are those that the routes name at this upstream.
func (c *checker) buckets() []string {
	var names []string
	for _, r := range c.cfg.Buckets {
		name := r.Bucket
		if name == "" && !r.Glob() {
			name = r.Name
		}
		if r.Upstream == c.name && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// list reads a page of each bucket of the routes, or of one that is visible, and finds an object to read.
func (c *checker) list(ctx context.Context, visible []upstream.Bucket, found *upstream.Loc, size *int64) (string, error) {
	names := c.buckets()
	if len(names) == 0 && len(visible) > 0 {
		names = []string{visible[0].Name}
	}
	if len(names) == 0 {
		return "no buckets yet", nil
	}
	objects := 0
	for _, name := range names {
		page, err := c.store.List(ctx, upstream.ListRequest{Bucket: name, MaxKeys: 100})
		if err != nil {
			return "", fmt.Errorf("bucket %s: %w", name, err)
		}
		objects += len(page.Objects)
		for _, o := range page.Objects {
			if found.Key == "" || *size == 0 && o.Size > 0 {
				*found, *size = upstream.Loc{Bucket: name, Key: o.Key}, o.Size
			}
		}
	}
	if objects == 0 {
		return fmt.Sprintf("%d buckets, no objects to read", len(names)), nil
	}
	return fmt.Sprintf("%d buckets, %d objects seen", len(names), objects), nil
}

// read fetches the first bytes of an object by a range.
func (c *checker) read(ctx context.Context, loc upstream.Loc, size int64) (string, error) {
	want := min(size, 4096)
	opts := upstream.OpenOptions{}
	if want > 0 {
		opts.Range = byterange.Closed(0, want-1)
	}
	stream, err := c.store.Open(ctx, loc, opts)
	if err != nil {
		return "", err
	}
	n, err := io.Copy(io.Discard, stream.Body)
	if err = errors.Join(err, stream.Body.Close()); err != nil {
		return "", err
	}
	if n != want {
		return "", fmt.Errorf("asked for %d bytes, got %d", want, n)
	}
	return fmt.Sprintf("%d bytes, ETag %s", n, stream.Attrs.ETag), nil
}
