package local

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// staged is a file in the hidden area, on its way to become an object.
type staged struct {
	b    *Backend
	f    *os.File
	name string // in the area
	side string // the sidecar that was written for it, or ""
	done bool   // it has become an object
}

func (b *Backend) stage() (*staged, error) {
	name := b.area.name()
	f, err := b.create(name)
	if err != nil {
		return nil, err
	}
	return &staged{b: b, f: f, name: name}, nil
}

// discard closes the file, and removes it unless it has become an object.
func (s *staged) discard() {
	_ = s.f.Close() // synced before
	if s.done {
		return
	}
	// Its name may be gone already: moved or linked. What cannot be removed is left to the next start.
	if err := s.b.area.remove(s.name); err != nil {
		s.b.log.Warn().Err(err).Msg("an unfinished write stays behind")
	}
	if s.side != "" {
		_ = s.b.root.Remove(s.side)
	}
}

// condition is what must hold of the object that a write replaces.
type condition struct {
	ifMatch     string
	ifNoneMatch bool
}

// Put implements upstream.Backend.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	const op = "Put"
	k, tmp, err := b.begin(ctx, op, loc)
	if err != nil {
		return object.Attrs{}, err
	}
	defer k.close()
	defer tmp.discard()
	got, err := semantics.Ingest(ctx, op, tmp.f, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	r := &semantics.Record{
		ETag: got.ETag, Headers: semantics.KeepHeaders(req.Headers), Checksums: semantics.KeepSums(got.Checksums), StorageClass: req.StorageClass,
	}
	return b.commit(ctx, op, k, loc.Key, tmp, r, condition{req.IfMatch, req.IfNoneMatch})
}

// begin opens the bucket of a write and stages a file. The caller closes the one and discards the other.
func (b *Backend) begin(ctx context.Context, op string, loc upstream.Loc) (*bucket, *staged, error) {
	if err := b.writable(ctx, op); err != nil {
		return nil, nil, err
	}
	if _, err := pathOf(op, loc.Key); err != nil {
		return nil, nil, err
	}
	if limit := b.Limits().MaxKey; len(loc.Key) > limit {
		return nil, nil, upstream.Errorf(upstream.InvalidKey, op, "a key of %d bytes, at most %d", len(loc.Key), limit)
	}
	k, err := b.open(ctx, op, loc.Bucket)
	if err != nil {
		return nil, nil, err
	}
	tmp, err := b.stage()
	if err != nil {
		k.close()
		return nil, nil, fail(op, err)
	}
	return k, tmp, nil
}

// commit makes a staged file, which has all its bytes, the object of key, if the condition holds.
// r becomes its record.
func (b *Backend) commit(ctx context.Context, op string, k *bucket, key string, tmp *staged,
	r *semantics.Record, cond condition) (object.Attrs, error) {
	var err error
	if tmp.side, err = b.attach(ctx, tmp.f, k, key, r); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	if err := tmp.f.Sync(); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(tmp.f.Fd()), &st); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	if !r.Describes(kept(stampOf(&st))) { // a file system that changes times behind our back
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, op, "the file system changed the staged file")
	}
	p, err := pathOf(op, key)
	if err != nil {
		return object.Attrs{}, err
	}
	b.point(pointStaged, k.name, key)
	touched, err := b.place(ctx, op, k, key, p, tmp, cond)
	if err == nil {
		b.point(pointPlaced, k.name, key)
		err = k.sync(p.dirs, touched...)
	}
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	attrs := attrsOf(r, stampOf(&st))
	attrs.ETagMD5 = true
	return attrs, nil
}

// placeTries bounds how often a write starts again because directories came or went under it.
const placeTries = 1000

// errAgain says that directories have changed under a write.
var errAgain = errors.New("the directory has changed")

// place renames a staged file to the object of key. It returns the directories that must be synced, as
// depths of p.dirs.
func (b *Backend) place(ctx context.Context, op string, k *bucket, key string, p keyPath, tmp *staged, cond condition) ([]int, error) {
	unlock, err := b.keys.Lock(ctx, k.name+"/"+key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range placeTries {
		if err := alive(ctx, op); err != nil {
			return nil, err
		}
		touched, err := b.tryPlace(op, k, key, p, tmp, cond)
		if err == nil {
			return touched, nil
		}
		if !errors.Is(err, errAgain) {
			_, _ = k.prune(p.dirs) // those that were made for nothing
			return nil, err
		}
		if _, err := b.root.Lstat(k.name); isMissing(err) {
			return nil, upstream.Errorf(upstream.NoBucket, op, "%q", k.name)
		}
	}
	return nil, upstream.Errorf(upstream.Unavailable, op, "the directory of %q comes and goes", key)
}

func (b *Backend) tryPlace(op string, k *bucket, key string, p keyPath, tmp *staged, cond condition) ([]int, error) {
	dir, touched, err := b.makeDirs(op, k, p.dirs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	old, err := b.findIn(k, &spot{k.place(p.dirs), dir}, p, key)
	if err != nil {
		return nil, err
	}
	target, etag := p.plain, ""
	if old != nil {
		target, etag = old.name, old.record.ETag
		if err := old.Close(); err != nil {
			return nil, err
		}
	} else if isDir(dir, p.plain) {
		target = p.aside
	}
	if err := semantics.CheckWrite(op, cond.ifMatch, cond.ifNoneMatch, etag, old != nil); err != nil {
		return nil, err
	}
	linked := func() { b.point(pointLinked, k.name, key) }
	if err := tmp.moveTo(dir, target, cond.ifNoneMatch, linked); err != nil {
		return nil, err
	}
	if old != nil {
		b.dropSidecar(k, key, old.stamp)
	}
	return append(touched, len(p.dirs)), nil
}

// moveTo renames the file into a directory. With create, it fails with errAgain when the name is taken; linked is called
// while the file has both names.
func (s *staged) moveTo(dir *os.File, name string, create bool, linked func()) error {
	from, to := int(s.b.area.dir.Fd()), int(dir.Fd())
	var err error
	if create {
		// A link, since a rename that replaces nothing is not portable.
		err = unix.Linkat(from, s.name, to, name, 0)
	}
	if !create || isErrno(err, unix.EPERM, unix.ENOTSUP, unix.ENOSYS) {
		// Where there are no links, the lock of the key alone keeps two writers apart.
		err = unix.Renameat(from, s.name, to, name)
	}
	switch {
	case err == nil:
		s.done = true
		if create { // its other name; should it stay, the next start removes it
			linked()
			_ = unix.Unlinkat(from, s.name, 0)
		}
		return nil
	case isErrno(err, unix.ENOENT, unix.EISDIR, unix.ENOTDIR, unix.EEXIST, unix.ENOTEMPTY, unix.EBUSY):
		return errAgain
	default:
		return err
	}
}

func isDir(dir *os.File, name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// makeDirs opens a directory of the bucket, after making it and those above it where they are missing. It
// returns the depths of the directories that got an entry.
func (b *Backend) makeDirs(op string, k *bucket, dirs []string) (dir *os.File, touched []int, err error) {
	dir, err = k.place(dirs).open()
	switch {
	case err == nil:
		return dir, nil, nil
	case leavesBucket(err):
		return nil, nil, upstream.Errorf(upstream.InvalidKey, op, "a symbolic link in the way: %w", err)
	case !isMissing(err):
		return nil, nil, err
	}
	dir, err = k.place(nil).open()
	if err != nil {
		return nil, nil, err
	}
	for i, name := range dirs {
		next, made, err := b.makeDir(op, dir, name)
		_ = dir.Close()
		if err != nil {
			return nil, nil, err
		}
		if made {
			touched = append(touched, i)
		}
		dir = next
	}
	return dir, touched, nil
}

// makeDir opens a directory in parent, after making it when it is missing, and moving a file that has its
// name aside.
func (b *Backend) makeDir(op string, parent *os.File, name string) (dir *os.File, made bool, err error) {
	for range placeTries {
		fd, err := openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if err == nil {
			return os.NewFile(uintptr(fd), name), made, nil
		}
		switch {
		case isErrno(err, unix.ENOENT):
			err = unix.Mkdirat(int(parent.Fd()), name, dirPerm)
			if isErrno(err, unix.ENOENT) { // parent itself is gone
				return nil, false, errAgain
			}
			if isErrno(err, unix.EEXIST) {
				err = nil
			}
		case isErrno(err, unix.ENOTDIR, unix.ELOOP):
			err = b.moveAside(op, parent, name)
		}
		if err != nil {
			return nil, false, err
		}
		made = true
	}
	return nil, false, errAgain
}

// moveAside renames an object that has the name a directory needs. It does not lock the object's key: to
// those who hold it the object is where it was or aside, and they look again when they miss it.
func (b *Backend) moveAside(op string, parent *os.File, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(int(parent.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case isErrno(err, unix.ENOENT):
		return nil
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil
	}
	if _, ok := segmentOf(name, false); st.Mode&unix.S_IFMT != unix.S_IFREG || !ok {
		return upstream.Errorf(upstream.InvalidKey, op, "%q is in the way: neither a directory nor an object", name)
	}
	b.asides.running.Add(1)
	defer func() { b.asides.ended.Add(1); b.asides.running.Add(-1) }()
	err = unix.Renameat(int(parent.Fd()), name, int(parent.Fd()), asideOf(name))
	if isErrno(err, unix.ENOENT) {
		return nil
	}
	return err
}

// sync makes the entries of directories on a path durable, those of the given depths. One that is gone
// needs it no more.
func (k *bucket) sync(dirs []string, depths ...int) error {
	c := k.chain(dirs)
	defer c.close()
	for _, depth := range depths {
		f, err := c.at(depth).open()
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
