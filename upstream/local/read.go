package local

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// file is an open object: one version of it, whatever happens to its name.
type file struct {
	*os.File
	stamp  semantics.Stamp
	name   string // in its directory: keyPath.plain or aside
	record *semantics.Record
	// foreign: the record is synthesised, since another program has written the file.
	foreign bool
}

// find opens the object of a key, or returns NotExist. The caller closes it.
func (b *Backend) find(op string, k *bucket, key string) (*file, error) {
	p, err := pathOf(op, key)
	if err != nil {
		return nil, err
	}
	at := k.place(p.dirs)
	dir, err := at.open()
	if isMissing(err) || leavesBucket(err) {
		return nil, upstream.Errorf(upstream.NotExist, op, "%q", key)
	}
	if err != nil {
		return nil, fail(op, err)
	}
	defer func() { _ = dir.Close() }()
	f, err := b.findIn(k, &spot{at, dir}, p, key)
	if err != nil {
		return nil, fail(op, err)
	}
	if f == nil {
		return nil, upstream.Errorf(upstream.NotExist, op, "%q", key)
	}
	return f, nil
}

// leavesBucket reports that a symbolic link led out of the bucket. (The error of os.Root is of no
// exported value: it is the one that has no errno.)
func leavesBucket(err error) bool {
	_, hasErrno := errors.AsType[syscall.Errno](err)
	_, isPath := errors.AsType[*os.PathError](err)
	return isPath && !hasErrno || isErrno(err, syscall.ELOOP)
}

// maxLooks bounds how often findIn looks again at a file that another program keeps changing.
const maxLooks = 10

// findIn opens an object in its directory with its record, or returns nil when there is none.
//
// A file without a valid record may be another program's, or may have been replaced, and its sidecar
// removed, since it was opened. The name tells: if it still leads to the same version, it is the former.
func (b *Backend) findIn(k *bucket, in *spot, p keyPath, key string) (*file, error) {
	var last semantics.Stamp
	for try := 1; ; try++ {
		f, err := openEither(in, p)
		if err != nil || f == nil {
			return nil, err
		}
		f.record, err = b.readRecord(f.File, k, key, f.stamp)
		if err == nil && f.record == nil && (f.stamp == last || try == maxLooks) {
			f.record, f.foreign = semantics.ForeignRecord(key, f.stamp), true
		}
		if err == nil && f.record != nil {
			return f, nil
		}
		if cerr := f.Close(); err != nil || cerr != nil {
			return nil, errors.Join(err, cerr)
		}
		last = f.stamp
	}
}

// openEither opens an object under the name it has. It looks for plain first: an object moves from plain
// to aside, never back.
func openEither(in *spot, p keyPath) (*file, error) {
	for _, name := range []string{p.plain, p.aside} {
		f, err := openFile(in, name)
		if f != nil || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// openFile opens a regular file, or returns nil when name is none: missing, a directory, special, or a
// symbolic link that does not lead to a regular file in the bucket.
func openFile(in *spot, name string) (*file, error) {
	// O_NONBLOCK: a named pipe must not hold us up.
	fd, err := openat(in.dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	var f *os.File
	switch {
	case err == nil:
		f = os.NewFile(uintptr(fd), name)
	case isErrno(err, unix.ELOOP): // a symbolic link: os.Root follows it as far as it may go
		if f, err = in.root.OpenFile(in.below(name).path(), os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
			return nil, nil
		}
	case isMissing(err) || isErrno(err, unix.ENXIO, unix.ENODEV): // a socket, a device
		return nil, nil
	default:
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, f.Close()
	}
	return &file{File: f, stamp: stampOf(&st), name: name}, nil
}

func openat(dir *os.File, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openVersion opens the object of a request that may name a version.
func (b *Backend) openVersion(ctx context.Context, op string, loc upstream.Loc, version string) (*file, error) {
	k, err := b.open(ctx, op, loc.Bucket)
	if err != nil {
		return nil, err
	}
	defer k.close()
	f, err := b.find(op, k, loc.Key)
	if err != nil {
		return nil, err
	}
	if err := semantics.CheckVersion(op, version); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// attrs returns the attributes for a caller.
func (f *file) attrs(checksums bool) object.Attrs {
	attrs := attrsOf(f.record, f.stamp)
	if !checksums {
		attrs.Checksums = nil
	}
	return attrs
}

// Stat implements upstream.Backend.
func (b *Backend) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	const op = "Stat"
	f, err := b.openVersion(ctx, op, loc, opts.VersionID)
	if err != nil {
		return object.Attrs{}, err
	}
	defer func() { _ = f.Close() }()
	attrs := f.attrs(opts.Checksums)
	if opts.PartNumber != 0 {
		r, err := semantics.PartRange(op, opts.PartNumber, attrs.Size, f.record.PartSizes())
		if err != nil {
			return object.Attrs{}, err
		}
		attrs.Size = r.Len
	}
	return attrs, nil
}

// Open implements upstream.Backend.
func (b *Backend) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	const op = "Open"
	f, err := b.openVersion(ctx, op, loc, opts.VersionID)
	if err != nil {
		return nil, err
	}
	attrs := f.attrs(opts.Checksums)
	r, err := semantics.Select(op, attrs, f.record.PartSizes(), opts)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &upstream.Stream{Attrs: attrs, Range: r, Body: f.body(ctx, r)}, nil
}

// body streams r of f, and closes f when it is closed.
func (f *file) body(ctx context.Context, r byterange.Range) *body {
	return &body{ctx: ctx, f: f.File, off: r.Off, left: r.Len, stamp: f.stamp}
}

// body is a section of one version of a file. Another program may change a file in place; therefore
// the last bytes come only if size and modification time are still those of the version.
type body struct {
	ctx       context.Context
	f         *os.File
	off, left int64
	stamp     semantics.Stamp
}

func (b *body) Read(p []byte) (int, error) {
	const op = "Read"
	if err := alive(b.ctx, op); err != nil {
		return 0, err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.f.ReadAt(p[:min(int64(len(p)), b.left)], b.off)
	if n == 0 && errors.Is(err, io.EOF) {
		return 0, upstream.Errorf(upstream.Unavailable, op, "the file was cut: %w", io.ErrUnexpectedEOF)
	}
	if n == 0 {
		return 0, fail(op, err)
	}
	if int64(n) == b.left {
		if err := unchanged(b.f, b.stamp); err != nil {
			return 0, fail(op, err)
		}
	}
	b.off += int64(n)
	b.left -= int64(n)
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error { return b.f.Close() }

// unchanged fails when an open file is no longer the version that it was.
func unchanged(f *os.File, s semantics.Stamp) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != s.Size || info.ModTime().UnixNano() != s.MTime {
		return upstream.Errorf(upstream.Unavailable, "Read", "the file was changed while it was read")
	}
	return nil
}
