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
const checkTimeout = time.Minute

// What became of a step.
const (
	CheckOK       = "ok"
	CheckFailed   = "failed"
	CheckNotTried = "not tried"
)

// CheckResult is one step of Check at one upstream.
type CheckResult struct {
	Upstream string        `json:"upstream"`
	Step     string        `json:"step"`   // one of checkSteps
	OK       bool          `json:"ok"`     // Result is CheckOK
	Result   string        `json:"result"` // CheckOK, CheckFailed or CheckNotTried
	Detail   string        `json:"detail"` // what was found, what failed, or why it was not tried
	Error    *CheckError   `json:"error,omitempty"`
	Took     time.Duration `json:"took_ns"`
}

// CheckError is a failure as the store put it.
type CheckError struct {
	Code      string `json:"code"`                 // of package upstream
	Message   string `json:"message,omitempty"`    // the store's: status, code, words
	RequestID string `json:"request_id,omitempty"` // the store's
}

// checkSteps are all steps, in their order. Every upstream has a result for each.
var checkSteps = []string{"open", "reach", "auth", "list", "read", "write", "condition", "multipart", "delete"}

// CheckOptions say what Check may do.
type CheckOptions struct {
	// Write allows it to write, and delete, objects of its own in a bucket that a route names.
	Write bool
}

// Check reaches every upstream of cfg as serving would: does it answer, are the credentials taken, can the buckets of its
// routes be listed, can a range of an object be read; and if it may, can objects be written whole and in parts, are
// conditions of writes kept. An upstream whose first steps fail is not asked for the later ones.
func Check(ctx context.Context, cfg *config.Config, opts CheckOptions) []CheckResult {
	var results []CheckResult
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		c := &checker{name: name, cfg: cfg, opts: opts}
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
	opts    CheckOptions
	store   *upstream.Store
	results []CheckResult
}

// notTried is the error of a step that was left out, and why.
type notTried string

func (n notTried) Error() string { return string(n) }

// step runs fn, which returns what it found, and reports whether it went well.
func (c *checker) step(name string, fn func() (string, error)) bool {
	start := time.Now()
	detail, err := fn()
	c.note(name, detail, err, time.Since(start))
	return err == nil
}

func (c *checker) note(name, detail string, err error, took time.Duration) {
	r := CheckResult{Upstream: c.name, Step: name, Result: CheckOK, OK: err == nil, Detail: detail, Took: took}
	if err != nil {
		r.Result, r.Detail = CheckFailed, err.Error()
	}
	if _, ok := errors.AsType[notTried](err); ok {
		r.Result = CheckNotTried
	} else if e, ok := errors.AsType[*upstream.Error](err); ok {
		r.Error = &CheckError{Code: e.Code.Error(), Message: e.Message, RequestID: e.RequestID}
	}
	c.results = append(c.results, r)
}

// rest notes every step that has no result yet.
func (c *checker) rest(why string) {
	for _, name := range checkSteps {
		if !slices.ContainsFunc(c.results, func(r CheckResult) bool { return r.Step == name }) {
			c.note(name, "", notTried(why), 0)
		}
	}
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
		c.rest("the upstream could not be opened")
		return
	}
	defer c.close()
	visible, ok := c.reach(ctx)
	if !ok {
		c.rest("the store was not reached, or refused")
		return
	}
	var found upstream.Loc
	var size int64
	if !c.step("list", func() (string, error) { return c.list(ctx, visible, &found, &size) }) {
		c.rest("the listing failed")
		return
	}
	c.step("read", func() (string, error) {
		if found.Key == "" {
			return "", notTried("no object was found")
		}
		return c.read(ctx, found, size)
	})
	c.writes(ctx)
}

func (c *checker) close() {
	if err := c.store.Close(); err != nil {
		c.step("close", func() (string, error) { return "", err })
	}
}

// reach lists the buckets, which tells whether the store answers and whether it takes the credentials. A key pair may
// well be refused the listing and yet read its buckets: that is seen by the next step, if a route names one.
func (c *checker) reach(ctx context.Context) (visible []upstream.Bucket, ok bool) {
	start := time.Now()
	visible, err := c.store.ListBuckets(ctx)
	took := time.Since(start)
	e, _ := errors.AsType[*upstream.Error](err)
	switch {
	case err == nil:
		c.note("reach", "it answers", nil, took)
		c.note("auth", fmt.Sprintf("%d buckets", len(visible)), nil, took)
	case e == nil || e.Code == upstream.Unavailable || e.Code == upstream.Throttled || e.Code == upstream.Cancelled:
		c.note("reach", "", err, took)
		return nil, false
	case e.Code == upstream.Unsupported, e.Code == upstream.Access && !e.Credentials && len(c.buckets()) > 0:
		c.note("reach", "it answers", nil, took)
		c.note("auth", "may not list buckets; trying those of the routes", nil, took)
	default:
		c.note("reach", "it answers", nil, took)
		c.note("auth", "", err, took)
		return nil, false
	}
	return visible, true
}

// buckets are those that the routes name at this upstream.
func (c *checker) buckets() []string {
	var names []string
	for _, r := range c.cfg.Buckets {
		if name := named(r); r.Upstream == c.name && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// named is the bucket at the upstream that a route names, or empty.
func named(r config.Route) string {
	if r.Bucket == "" && !r.Glob() {
		return r.Name
	}
	return r.Bucket
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
