package local

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// List implements upstream.Backend. It walks the tree in the order of keys, and reads only directories
// that the page needs.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	const op = "List"
	k, err := b.open(ctx, op, req.Bucket)
	if err != nil {
		return upstream.ListPage{}, err
	}
	defer k.close()
	w := &walk{ctx: ctx, b: b, k: k, page: semantics.NewPage(req)}
	base := req.Prefix[:strings.LastIndexByte(req.Prefix, '/')+1]
	dirs, err := dirPath(op, base)
	if err != nil { // a prefix that no key of ours has
		return upstream.ListPage{}, nil
	}
	if err := w.directory(k.place(dirs), base); err != nil {
		return upstream.ListPage{}, fail(op, err)
	}
	return w.page.Done(), nil
}

// walk lists one page.
type walk struct {
	ctx  context.Context
	b    *Backend
	k    *bucket
	page *semantics.Page
}

// entry is what a directory holds of keys: an object, or a directory of them.
type entry struct {
	name    string // on disk
	segment string // what it adds to the key
	dir     bool
}

// directory adds to the page what is in a directory whose keys begin with base.
func (w *walk) directory(at place, base string) error {
	return visit(at, func(in *spot) error {
		entries, err := w.entries(in, base)
		if err != nil {
			return err
		}
		return w.add(in, entries, base)
	})
}

// add adds entries of a directory until the page is full.
func (w *walk) add(in *spot, entries []entry, base string) error {
	for _, e := range entries {
		if w.page.Full() {
			return nil
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		full := base + e.segment
		if !e.dir {
			if err := w.object(in, e, full); err != nil {
				return err
			}
			continue
		}
		if w.page.Skip(full) {
			continue
		}
		if err := in.descend(func() error { return w.subdirectory(in.below(e.name), full) }); err != nil {
			return err
		}
	}
	return nil
}

// subdirectory adds a directory, as one line if it is a common prefix.
func (w *walk) subdirectory(at place, full string) error {
	cp, rolls := w.page.Rolls(full)
	if !rolls {
		return w.directory(at, full)
	}
	holds, err := holdsObject(w.ctx, at, full)
	if holds {
		w.page.AddPrefix(cp)
	}
	return err
}

// object adds one object, unless it is gone.
func (w *walk) object(in *spot, e entry, key string) error {
	if !w.page.Wants(key) {
		return nil
	}
	p := keyPath{plain: e.name, aside: asideOf(e.name)}
	if strings.HasPrefix(e.name, escapeObject) {
		p.plain, p.aside = nameOf(e.segment), e.name
	}
	f, err := w.b.findIn(w.k, in, p, key)
	if isErrno(err, unix.EACCES, unix.EPERM) { // listed, though it cannot be read
		return w.unreadable(in.dir, e, key)
	}
	if err != nil || f == nil {
		return err
	}
	w.page.Add(key, f.attrs(false))
	return f.Close()
}

func (w *walk) unreadable(dir *os.File, e entry, key string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), e.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		w.page.Add(key, attrsOf(semantics.ForeignRecord(key, stampOf(&st)), stampOf(&st)))
	}
	return err
}

// entries returns what the page may need of a directory, in the order of keys.
//
// While an object is moved aside, a directory that is read may show it under both names or none. So
// what was read during a move is read again.
func (w *walk) entries(in *spot, base string) ([]entry, error) {
	for {
		ended := w.b.asides.ended.Load()
		quiet := w.b.asides.running.Load() == 0
		var found []entry
		err := scan(w.ctx, in, base, func(e entry) bool {
			full := base + e.segment
			if e.dir && !w.page.Skip(full) || !e.dir && full > w.page.After() && !w.page.Skip(full) {
				found = append(found, e)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if quiet && w.b.asides.running.Load() == 0 && w.b.asides.ended.Load() == ended {
			return inOrder(found), nil
		}
		runtime.Gosched()
		if _, err := in.dir.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
}

// inOrder sorts entries by segment, which is the order of their keys, since each directory's segment
// is the beginning of its keys and of no other's. An object that has both its names appears once.
func inOrder(entries []entry) []entry {
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.segment, b.segment) })
	return slices.CompactFunc(entries, func(a, b entry) bool { return a.dir == b.dir && a.segment == b.segment })
}

// scan calls more for every entry of a directory that keys lead to, until it returns false.
func scan(ctx context.Context, in *spot, base string, more func(entry) bool) error {
	const batch = 1024
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := in.dir.ReadDir(batch)
		for _, d := range list {
			e := entry{name: d.Name(), dir: d.IsDir()}
			var ok bool
			if e.segment, ok = segmentOf(e.name, e.dir); !ok || !isEntry(in.place, d) {
				continue
			}
			if !e.dir && !utf8.ValidString(base+e.segment) {
				continue
			}
			if !more(e) {
				return nil
			}
		}
		switch {
		case errors.Is(err, io.EOF), isMissing(err): // the latter: removed meanwhile
			return nil
		case err != nil:
			return err
		}
	}
}

// isEntry reports whether d is a directory, a regular file, or a link to one that stays in the bucket.
func isEntry(at place, d fs.DirEntry) bool {
	switch {
	case d.IsDir(), d.Type().IsRegular():
		return true
	case d.Type()&fs.ModeSymlink == 0:
		return false
	}
	info, err := at.root.Stat(at.below(d.Name()).path())
	return err == nil && info.Mode().IsRegular()
}

// holdsObject reports whether there is an object in a directory or below it. It reads no more than it
// needs for that.
func holdsObject(ctx context.Context, at place, base string) (found bool, err error) {
	err = visit(at, func(in *spot) error {
		var below []entry
		err := scan(ctx, in, base, func(e entry) bool {
			if e.dir {
				below = append(below, e)
			}
			found = found || !e.dir
			return !found
		})
		for _, e := range below {
			if found || err != nil {
				break
			}
			err = in.descend(func() error {
				found, err = holdsObject(ctx, in.below(e.name), base+e.segment)
				return err
			})
		}
		return err
	})
	return found, err
}
