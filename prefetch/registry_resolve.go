package prefetch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"unistore/byterange"
	"unistore/cache"
)

// Entry is one file, or all files below a prefix, of a registration.
type Entry struct {
	Bucket string
	Key    string
	Prefix *string          // instead of Key
	ETag   string           // when set: that version or none
	Specs  []byterange.Spec // none: all of the object
}

// Rejection is a reason of a Failure that a Resolver knows.
type Rejection string

// Error implements error.
func (r Rejection) Error() string { return string(r) }

// The rejections of the Registry itself.
const (
	rejectVersion Rejection = "the object has another version"
	rejectRange   Rejection = "no byte of the ranges is in the object"
	rejectFit     Rejection = "it does not fit into what the cache may hold for it"
	rejectMany    Rejection = "the query has too many files"
	rejectTime    Rejection = "it was not found out in time; send it again"
	rejectChanged Rejection = "the object was changed"
	rejectKept    Rejection = "the cache could not keep it"
	rejectPinned  Rejection = "it is there, and could not be pinned"
	rejectStore   Rejection = "the upstream failed"
)

// reason is what a client is told of err.
func reason(err error) string {
	if r, ok := errors.AsType[Rejection](err); ok {
		return string(r)
	}
	switch {
	case errors.Is(err, cache.ErrChanged):
		return string(rejectChanged)
	case errors.Is(err, cache.ErrNotKept):
		return string(rejectKept)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return string(rejectTime)
	}
	return string(rejectStore)
}

// resolve looks the entries up, side by side and for a bounded time.
func (g *Registry) resolve(ctx context.Context, q *query, entries []Entry) (files []*file, rejected []Failure) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	g.mu.Lock()
	room := maxQueryFiles - len(q.files)
	g.mu.Unlock()
	found := make([][]*file, len(entries))
	failed := make([][]Failure, len(entries))
	next := make(chan int)
	var all sync.WaitGroup
	for range min(resolveSide, len(entries)) {
		all.Go(func() {
			for i := range next {
				found[i], failed[i] = g.lookUp(ctx, &entries[i], room)
			}
		})
	}
	for i := range entries {
		next <- i
	}
	close(next)
	all.Wait()
	free := g.room(q)
	for i := range entries {
		rejected = append(rejected, failed[i]...)
		for _, f := range found[i] {
			n := int64(0)
			for _, r := range f.ranges {
				n += r.Len
			}
			switch {
			case len(files) >= room:
				rejected = append(rejected, Failure{f.bucket, f.key, string(rejectMany)})
			case n > free:
				rejected = append(rejected, Failure{f.bucket, f.key, string(rejectFit)})
			default:
				free -= n
				files = append(files, f)
			}
		}
	}
	return files, rejected
}

// room returns how many more bytes q may register: with hard pins what these may still hold, else what the cache holds.
func (g *Registry) room(q *query) int64 {
	s := g.cfg.Cache.Stats()
	limit := s.Capacity
	if q.pin == cache.PinHard {
		limit = s.PinLimit
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, o := range g.mu.queries {
		if o == q || q.pin == cache.PinHard && o.pin == cache.PinHard {
			limit -= o.total
		}
	}
	return max(limit, 0)
}

// lookUp finds the files of one entry, at most about limit.
func (g *Registry) lookUp(ctx context.Context, e *Entry, limit int) ([]*file, []Failure) {
	if e.Prefix == nil {
		t, err := g.cfg.Resolver.Resolve(ctx, e.Bucket, e.Key)
		if err != nil {
			return nil, []Failure{{e.Bucket, e.Key, reason(err)}}
		}
		f, err := e.file(e.Key, t)
		if err != nil {
			return nil, []Failure{{e.Bucket, e.Key, reason(err)}}
		}
		return []*file{f}, nil
	}
	var files []*file
	for after := ""; ; {
		page, next, err := g.cfg.Resolver.List(ctx, e.Bucket, *e.Prefix, after)
		if err != nil {
			return files, []Failure{{e.Bucket, *e.Prefix, reason(err)}}
		}
		for _, o := range page {
			if f, err := e.file(o.Key, Target{Key: o.At, ETag: o.ETag, Size: o.Size}); err == nil {
				f.at, f.target = o.At, nil
				files = append(files, f)
			}
		}
		switch {
		case next == "" && len(files) == 0:
			return nil, []Failure{{e.Bucket, *e.Prefix, "there is nothing below the prefix"}}
		case next == "", len(files) > limit:
			return files, nil
		}
		after = next
	}
}

// file makes the file of e for a version.
func (e *Entry) file(key string, t Target) (*file, error) {
	if e.ETag != "" && e.ETag != t.ETag {
		return nil, rejectVersion
	}
	f := &file{bucket: e.Bucket, key: key, etag: t.ETag, size: t.Size, at: t.Key, target: &t}
	specs := e.Specs
	if specs == nil {
		specs = []byterange.Spec{byterange.All()}
	}
	f.ranges = Union(specs, t.Size)
	if len(f.ranges) == 0 {
		return nil, rejectRange
	}
	return f, nil
}

// Union resolves specs for an object of size bytes into ranges that ascend and do not touch.
func Union(specs []byterange.Spec, size int64) []byterange.Range {
	var ranges []byterange.Range
	for _, spec := range specs {
		if r, err := spec.Resolve(size); err == nil && !r.Empty() {
			ranges = append(ranges, r)
		}
	}
	slices.SortFunc(ranges, func(a, b byterange.Range) int {
		switch {
		case a.Off < b.Off:
			return -1
		case a.Off > b.Off:
			return 1
		}
		return 0
	})
	var out []byterange.Range
	for _, r := range ranges {
		if n := len(out); n > 0 && r.Off <= out[n-1].End() {
			out[n-1].Len = max(out[n-1].End(), r.End()) - out[n-1].Off
			continue
		}
		out = append(out, r)
	}
	return out
}
