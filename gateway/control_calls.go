package gateway

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"unistore/byterange"
	"unistore/s3api"
)

const (
	// maxFiles and maxRanges bound one POST /residency: files, and ranges of a file.
	maxFiles  = 10_000
	maxRanges = 1_000
)

// unrestricted reports whether the caller's globs allow every bucket.
func (w identity) unrestricted() bool { return slices.Contains(w.buckets, "*") }

// seesRoute reports whether the caller may use a bucket of the route of this name. Two globs that meet only in
// names which neither matches as text are not seen to do so: in doubt the answer is no.
func (w identity) seesRoute(name string) bool {
	return w.unrestricted() || w.mayUse(name) ||
		slices.ContainsFunc(w.buckets, func(g string) bool { return matchAny([]string{name}, g) })
}

// usageState is what the cache holds of a bucket or a prefix in it.
type usageState struct {
	Bucket  string `json:"bucket"`
	Prefix  string `json:"prefix"`
	Objects int    `json:"objects"`        // known ones
	Size    int64  `json:"size_bytes"`     // of these
	Blocks  int    `json:"blocks"`         // resident
	Bytes   int64  `json:"resident_bytes"` // on disk
}

func (c *control) getCache(ctx context.Context, r controlRequest) (any, error) {
	params, err := parameters(r.query, "bucket", "prefix")
	if err != nil {
		return nil, err
	}
	state := c.state.cacheState()
	if !r.who.unrestricted() {
		state.Directory = ""
	}
	state.Routes = slices.DeleteFunc(state.Routes, func(b routeState) bool { return !r.who.seesRoute(b.Route) })
	if bucket, ok := params["bucket"]; ok {
		if err := r.who.forControl(bucket); err != nil {
			return nil, err
		}
		u, err := c.state.usage(ctx, bucket, params["prefix"])
		if err != nil {
			return nil, err
		}
		state.Usage = &u
	} else if _, ok := params["prefix"]; ok {
		return nil, badControl("a prefix needs its bucket")
	}
	return state, nil
}

// forControl refuses a bucket that the caller may not use.
func (w identity) forControl(bucket string) error {
	if bucket == "" {
		return badControl("bucket is empty")
	}
	if !w.mayUse(bucket) {
		return deniedControl("the access key has no right to this bucket")
	}
	return nil
}

func (c *control) getUpstreams(ctx context.Context, r controlRequest) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	seen := []upstreamState{}
	for _, u := range c.state.upstreamStates(ctx) {
		if r.who.unrestricted() || slices.ContainsFunc(u.routes, r.who.seesRoute) {
			seen = append(seen, u)
		}
	}
	return map[string]any{"upstreams": seen}, nil
}

// invalidation is what POST /invalidate takes: a bucket with a key or a prefix, or all.
type invalidation struct {
	Bucket string  `json:"bucket"`
	Key    *string `json:"key"`
	Prefix *string `json:"prefix"` // empty is the whole bucket
	All    bool    `json:"all"`    // everything in the cache
}

// dropState is its answer.
type dropState struct {
	Objects int   `json:"objects"`
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
}

func (c *control) postInvalidate(ctx context.Context, r controlRequest) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	var what invalidation
	if err := decode(r.body, &what); err != nil {
		return nil, err
	}
	if r.who.readOnly {
		return nil, deniedControl("the access key is read-only")
	}
	switch {
	case what.All:
		if what.Bucket != "" || what.Key != nil || what.Prefix != nil {
			return nil, badControl("all goes without bucket, key and prefix")
		}
		if !r.who.unrestricted() {
			return nil, deniedControl("the access key has no right to every bucket")
		}
	case (what.Key == nil) == (what.Prefix == nil):
		return nil, badControl(`give bucket with either key or prefix ("" for the whole bucket), or "all": true`)
	case what.Key != nil && *what.Key == "":
		return nil, badControl("key is empty")
	default:
		if err := r.who.forControl(what.Bucket); err != nil {
			return nil, err
		}
	}
	return c.state.invalidate(ctx, what)
}

// fileQuery asks how much of an object, or of ranges of it, is resident.
type fileQuery struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	// Ranges are FIRST-LAST (both included), FIRST- or -LENGTH; none is the whole object.
	Ranges []string `json:"ranges"`

	specs []byterange.Spec
}

// fileResidency is the answer for one file, in the order of the question.
type fileResidency struct {
	Bucket   string `json:"bucket"`
	Key      string `json:"key"`
	Known    bool   `json:"known"`          // size and version are; else nothing is resident
	Size     int64  `json:"size"`           // of the object
	Bytes    int64  `json:"bytes"`          // in the ranges
	Resident int64  `json:"resident_bytes"` // of these
}

func (c *control) postResidency(_ context.Context, r controlRequest) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	var q struct {
		Files []fileQuery `json:"files"`
	}
	if err := decode(r.body, &q); err != nil {
		return nil, err
	}
	if q.Files == nil {
		return nil, badControl("files is missing")
	}
	if len(q.Files) > maxFiles {
		return nil, badControl("%d files; at most %d are taken", len(q.Files), maxFiles)
	}
	for i := range q.Files {
		if err := q.Files[i].check(r.who); err != nil {
			return nil, err
		}
	}
	out := struct {
		Files    []fileResidency `json:"files"`
		Bytes    int64           `json:"bytes"`
		Resident int64           `json:"resident_bytes"`
	}{Files: c.state.residency(q.Files)}
	for _, f := range out.Files {
		out.Bytes += f.Bytes
		out.Resident += f.Resident
	}
	return out, nil
}

func (f *fileQuery) check(who identity) error {
	if err := who.forControl(f.Bucket); err != nil {
		return err
	}
	if err := s3api.CheckKey(f.Key); err != nil {
		return badControl("%q is no key", f.Key)
	}
	if len(f.Ranges) > maxRanges {
		return badControl("%d ranges of one file; at most %d are taken", len(f.Ranges), maxRanges)
	}
	if f.Ranges == nil {
		f.specs = []byterange.Spec{byterange.All()}
	}
	for _, text := range f.Ranges {
		spec, ok := parseRange(text)
		if !ok {
			return badControl("%q is no range; write FIRST-LAST, FIRST- or -LENGTH", text)
		}
		f.specs = append(f.specs, spec)
	}
	return nil
}

// parseRange reads FIRST-LAST, FIRST- or -LENGTH.
func parseRange(text string) (byterange.Spec, bool) {
	first, last, ok := strings.Cut(text, "-")
	a, okA := parseOffset(first)
	b, okB := parseOffset(last)
	switch {
	case !ok:
		return byterange.Spec{}, false
	case first == "" && okB:
		return byterange.Suffix(b), true
	case last == "" && okA:
		return byterange.From(a), true
	}
	return byterange.Closed(a, b), okA && okB && a <= b
}

// parseOffset reads digits and nothing else.
func parseOffset(text string) (int64, bool) {
	if strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}
