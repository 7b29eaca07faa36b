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
	rejectFull    Rejection = "the gateway has too many registered files"
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

// resolve looks the entries up, side by side and for a bounded time. Room for the files is reserved: the caller's.
func (g *Registry) resolve(ctx context.Context, q *query, entries []Entry) (files []*file, rejected []Failure) {
	ctx, cancel := context.WithTimeout(ctx, resolveTime)
	defer cancel()
	found := make([][]*file, len(entries))
	failed := make([]*Failure, len(entries))
	next := make(chan int)
	var all sync.WaitGroup
	for range min(resolveSide, len(entries)) {
		all.Go(func() {
			for i := range next {
				found[i], failed[i] = g.lookUp(ctx, q, &entries[i])
			}
		})
	}
	for i := range entries {
		next <- i
	}
	close(next)
	all.Wait()
	room, refused := g.room(q), 0
	for i := range entries {
		if failed[i] != nil {
			rejected = append(rejected, *failed[i])
		}
		for _, f := range found[i] {
			if n := f.bytes(); n <= room {
				room -= n
				files = append(files, f)
				continue
			}
			refused++
			rejected = append(rejected, Failure{f.bucket, f.key, string(rejectFit)})
		}
	}
	g.free(q, refused)
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

// lookUp finds the files of one entry, as far as there is room for them, which is reserved then.
func (g *Registry) lookUp(ctx context.Context, q *query, e *Entry) ([]*file, *Failure) {
	if e.Prefix != nil {
		return g.list(ctx, q, e)
	}
	got, why := g.reserve(q, 1)
	if got == 0 {
		return nil, &Failure{e.Bucket, e.Key, string(why)}
	}
	t, err := g.cfg.Resolver.Resolve(ctx, e.Bucket, e.Key)
	var f *file
	if err == nil {
		f, err = e.file(e.Key, t)
	}
	if err != nil {
		g.free(q, 1)
		return nil, &Failure{e.Bucket, e.Key, reason(err)}
	}
	return []*file{f}, nil
}

// list is lookUp of a prefix. It lists no further when there is no more room.
func (g *Registry) list(ctx context.Context, q *query, e *Entry) (files []*file, failed *Failure) {
	for after := ""; ; {
		if full, why := g.full(q); full {
			return files, &Failure{e.Bucket, *e.Prefix, string(why)}
		}
		page, next, err := g.cfg.Resolver.List(ctx, e.Bucket, *e.Prefix, after)
		if err != nil {
			return files, &Failure{e.Bucket, *e.Prefix, reason(err)}
		}
		var found []*file
		for _, o := range page {
			if f, err := e.file(o.Key, Target{Key: o.At, ETag: o.ETag, Size: o.Size}); err == nil {
				f.target = nil // its headers are not known
				found = append(found, f)
			}
		}
		got, why := g.reserve(q, len(found))
		files = append(files, found[:got]...)
		switch {
		case got < len(found):
			return files, &Failure{e.Bucket, *e.Prefix, string(why)}
		case next == "" && len(files) == 0:
			return nil, &Failure{e.Bucket, *e.Prefix, "there is nothing below the prefix"}
		case next == "":
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
