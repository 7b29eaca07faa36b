package hdfs

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// List implements upstream.Backend. It walks the tree in the order of keys, which is not the NameNode's, and
// reads only directories that the page needs, but those whole.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	const op = "List"
	if err := b.bucket(ctx, op, req.Bucket); err != nil {
		return upstream.ListPage{}, err
	}
	w := &walk{ctx: ctx, b: b, page: semantics.NewPage(req)}
	base := req.Prefix[:strings.LastIndexByte(req.Prefix, '/')+1]
	dirs, err := dirPath(op, base)
	if err != nil { // a prefix that no key of ours has
		return upstream.ListPage{}, nil
	}
	if err := w.directory(b.dir(req.Bucket, dirs), base); err != nil {
		return upstream.ListPage{}, fail(op, err)
	}
	page := w.page.Done()
	page.Objects, err = w.complete(op, req.Bucket, page.Objects)
	return page, fail(op, err)
}

// walk lists one page.
type walk struct {
	ctx   context.Context
	b     *Backend
	page  *semantics.Page
	files []*wire.FileStatus // of the objects on the page, in their order
}

// entry is what a directory holds of keys: an object, or a directory of them.
type entry struct {
	status  *wire.FileStatus
	segment string // what it adds to the key
	dir     bool
	aside   bool // the object's second name
}

// directory adds to the page what is in a directory whose keys begin with base.
func (w *walk) directory(dir, base string) error {
	entries, err := w.entries(dir, base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if w.page.Full() {
			return nil
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		full := base + e.segment
		switch {
		case !e.dir:
			if w.page.Wants(full) {
				w.page.Add(full, object.Attrs{Size: int64(e.status.GetLength()), ModTime: timeOf(e.status)})
				w.files = append(w.files, e.status)
			}
		case !w.page.Skip(full):
			if err := w.subdirectory(dir+"/"+string(e.status.GetPath()), full); err != nil {
				return err
			}
		}
	}
	return nil
}

// subdirectory adds a directory, as one line if it is a common prefix.
func (w *walk) subdirectory(dir, full string) error {
	cp, rolls := w.page.Rolls(full)
	if !rolls {
		return w.directory(dir, full)
	}
	holds, err := w.b.holdsObject(w.ctx, dir)
	if holds {
		w.page.AddPrefix(cp)
	}
	return err
}

// complete gives the objects of the page their ETags, which are with the files. One that was replaced
// meanwhile is looked up by its key, and left out when it is gone.
func (w *walk) complete(op, bucket string, objects []upstream.ListedObject) ([]upstream.ListedObject, error) {
	gone := make([]bool, len(objects))
	group, ctx := errgroup.WithContext(w.ctx)
	group.SetLimit(parallel)
	for i := range objects {
		group.Go(func() error {
			r, err := w.b.readRecord(ctx, objects[i].Key, w.files[i])
			status := w.files[i]
			if isMissing(err) {
				var f *file
				f, err = w.b.find(ctx, op, upstream.Loc{Bucket: bucket, Key: objects[i].Key})
				if err != nil && (upstream.CodeOf(err) == upstream.NotExist || upstream.CodeOf(err) == upstream.NoBucket) {
					gone[i] = true
					return nil
				}
				if err == nil {
					r, status = f.record, f.status
				}
			}
			if err != nil {
				return err
			}
			attrs := r.Attrs(timeOf(status))
			attrs.Headers, attrs.HeadersKnown, attrs.Checksums = object.Headers{}, false, nil
			objects[i].Attrs = attrs
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	kept := objects[:0]
	for i, o := range objects {
		if !gone[i] {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// entries returns what the page may need of a directory, in the order of keys.
//
// While an object is moved aside, a directory that is read in several calls may show it under both names or
// none. So what was read during a move by this process is read again.
func (w *walk) entries(dir, base string) ([]entry, error) {
	for {
		ended := w.b.asides.ended.Load()
		quiet := w.b.asides.running.Load() == 0
		all, err := w.b.readDir(w.ctx, dir)
		if err != nil {
			return nil, err
		}
		if !quiet || w.b.asides.running.Load() != 0 || w.b.asides.ended.Load() != ended {
			if err := w.ctx.Err(); err != nil {
				return nil, err
			}
			runtime.Gosched()
			continue
		}
		var found []entry
		for _, s := range all {
			e := entry{status: s, dir: isDir(s), aside: strings.HasPrefix(string(s.GetPath()), escapeObject)}
			var ok bool
			if e.segment, ok = segmentOf(string(s.GetPath()), e.dir); !ok || !e.dir && !isFile(s) {
				continue
			}
			full := base + e.segment
			if e.dir && !w.page.Skip(full) || !e.dir && full > w.page.After() && !w.page.Skip(full) {
				found = append(found, e)
			}
		}
		return inOrder(found), nil
	}
}

// inOrder sorts entries by segment, which is the order of their keys, since each directory's segment is the
// beginning of its keys and of no other's. An object that has both its names appears once, under the first.
func inOrder(entries []entry) []entry {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.segment, b.segment), compareBool(a.aside, b.aside))
	})
	return slices.CompactFunc(entries, func(a, b entry) bool { return a.dir == b.dir && a.segment == b.segment })
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
