package local

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// Delete implements upstream.Backend.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	const op = "Delete"
	if err := b.writable(ctx, op); err != nil {
		return err
	}
	k, err := b.open(ctx, op, loc.Bucket)
	if err != nil {
		return err
	}
	defer k.close()
	left, removed, err := b.delete(ctx, op, k, loc.Key, opts)
	if err != nil || !removed {
		return err
	}
	return fail(op, k.sync(left, len(left)))
}

// DeleteBatch implements upstream.BatchDeleter. Each directory is synced once.
func (b *Backend) DeleteBatch(ctx context.Context, name string, keys []string) ([]error, error) {
	const op = "DeleteBatch"
	if err := b.writable(ctx, op); err != nil {
		return nil, err
	}
	k, err := b.open(ctx, op, name)
	if err != nil {
		return nil, err
	}
	defer k.close()
	errs := make([]error, len(keys))
	touched := map[string][]string{}
	for i, key := range keys {
		left, removed, err := b.delete(ctx, op, k, key, upstream.DeleteOptions{})
		if errs[i] = err; removed {
			touched[k.place(left).path()] = left
		}
	}
	for _, dirs := range touched {
		if err := k.sync(dirs, len(dirs)); err != nil {
			return nil, fail(op, err)
		}
	}
	return errs, alive(ctx, op)
}

// delete removes an object and the directories that it leaves empty. If there was one, the directory left
// must be synced.
func (b *Backend) delete(ctx context.Context, op string, k *bucket, key string, opts upstream.DeleteOptions) (
	left []string, removed bool, err error) {
	p, err := pathOf(op, key)
	if err != nil {
		return nil, false, err
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return nil, false, err
	}
	unlock, err := b.keys.Lock(ctx, k.name+"/"+key)
	if err != nil {
		return nil, false, fail(op, err)
	}
	defer unlock()
	dir, err := k.place(p.dirs).open()
	if isMissing(err) || leavesBucket(err) {
		return nil, false, semantics.CheckDelete(op, opts.IfMatch, "", false)
	}
	if err != nil {
		return nil, false, fail(op, err)
	}
	defer func() { _ = dir.Close() }()
	if opts.IfMatch != "" {
		if err := b.checkDelete(op, k, dir, p, key, opts.IfMatch); err != nil {
			return nil, false, err
		}
	}
	removed, err = b.removeObject(k, dir, p, key)
	if err != nil || !removed {
		return nil, removed, fail(op, err)
	}
	left, err = k.prune(p.dirs)
	return left, true, fail(op, err)
}

func (b *Backend) checkDelete(op string, k *bucket, dir *os.File, p keyPath, key, ifMatch string) error {
	f, err := b.findIn(k, &spot{k.place(p.dirs), dir}, p, key)
	if err != nil {
		return fail(op, err)
	}
	if f == nil {
		return semantics.CheckDelete(op, ifMatch, "", false)
	}
	defer func() { _ = f.Close() }()
	return semantics.CheckDelete(op, ifMatch, f.record.ETag, true)
}

// removeObject removes both names that an object can have. Aside comes first and again last: should both
// be there (a crash, another program), the stale one must not come to light; and the object may
// be moved aside meanwhile.
func (b *Backend) removeObject(k *bucket, dir *os.File, p keyPath, key string) (removed bool, err error) {
	for _, name := range []string{p.aside, p.plain, p.aside} {
		var st unix.Stat_t
		err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if isErrno(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFLNK {
			continue
		}
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
		switch {
		case isErrno(err, unix.ENOENT, unix.EISDIR): // moved aside since
		case err != nil:
			return removed, err
		default:
			removed = true
			b.dropSidecar(k, key, stampOf(&st))
		}
	}
	return removed, nil
}

// prune removes directories as long as they are empty, the innermost first, and returns those left.
// A writer that has just made one of them makes it again.
func (k *bucket) prune(dirs []string) (left []string, err error) {
	c := k.chain(dirs)
	defer c.close()
	for len(dirs) > 0 {
		last := len(dirs) - 1
		parent, err := c.at(last).open()
		if err == nil {
			// Not os.Root.Remove: it would remove an object that has taken the directory's place.
			err = unix.Unlinkat(int(parent.Fd()), dirs[last], unix.AT_REMOVEDIR)
			_ = parent.Close()
		}
		switch {
		case err == nil, isMissing(err):
			dirs = dirs[:last]
		case isErrno(err, unix.ENOTEMPTY, unix.EEXIST, unix.EBUSY, unix.EACCES, unix.EPERM):
			return dirs, nil
		default:
			return dirs, err
		}
	}
	return dirs, nil
}
