package local

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"unistore/upstream"
)

// ListBuckets implements upstream.Bucketer.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	const op = "ListBuckets"
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	dir, err := b.root.Open(".")
	if err != nil {
		return nil, fail(op, err)
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fail(op, err)
	}
	slices.Sort(names)
	var all []upstream.Bucket
	for _, name := range names {
		bucket, err := b.StatBucket(ctx, name)
		if errors.Is(err, upstream.NoBucket) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, bucket)
	}
	return all, nil
}

// StatBucket implements upstream.Bucketer.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	const op = "StatBucket"
	if err := alive(ctx, op); err != nil {
		return upstream.Bucket{}, err
	}
	if !validBucket(name) {
		return upstream.Bucket{}, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	info, err := b.root.Lstat(name)
	if isMissing(err) || (err == nil && !info.IsDir()) {
		return upstream.Bucket{}, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	if err != nil {
		return upstream.Bucket{}, fail(op, err)
	}
	return upstream.Bucket{Name: name, Created: birth(b.top, name, info)}, nil
}

// CreateBucket implements upstream.Bucketer.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	const op = "CreateBucket"
	if err := b.writable(ctx, op); err != nil {
		return err
	}
	if !validBucket(name) {
		return upstream.Errorf(upstream.Invalid, op, "%q cannot be a bucket", name)
	}
	unlock, err := b.names.Lock(ctx, name)
	if err != nil {
		return fail(op, err)
	}
	defer unlock()
	if _, err := b.root.Lstat(name); err == nil {
		return upstream.Errorf(upstream.BucketOwned, op, "%q", name)
	}
	if err := b.forget(name); err != nil { // of a bucket that another program removed
		return fail(op, err)
	}
	err = b.root.Mkdir(name, dirPerm)
	if errors.Is(err, os.ErrExist) {
		return upstream.Errorf(upstream.BucketOwned, op, "%q", name)
	}
	return fail(op, errors.Join(err, b.top.Sync()))
}

// DeleteBucket implements upstream.Bucketer. Unfinished uploads go with the bucket.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	const op = "DeleteBucket"
	if err := b.writable(ctx, op); err != nil {
		return err
	}
	k, err := b.open(ctx, op, name)
	if err != nil {
		return err
	}
	defer k.close()
	unlock, err := b.names.Lock(ctx, name)
	if err != nil {
		return fail(op, err)
	}
	defer unlock()
	holds, err := holdsObject(ctx, k.place(nil), "")
	if err != nil {
		return fail(op, err)
	}
	if holds {
		return upstream.Errorf(upstream.BucketNotEmpty, op, "%q", name)
	}
	if err := removeEmpty(ctx, k.place(nil)); err != nil {
		return fail(op, err)
	}
	err = unix.Unlinkat(int(b.top.Fd()), name, unix.AT_REMOVEDIR)
	switch {
	case isErrno(err, unix.ENOTEMPTY, unix.EEXIST): // written to just now, or holds what is no object
		return upstream.Errorf(upstream.BucketNotEmpty, op, "%q", name)
	case isErrno(err, unix.ENOENT):
		return upstream.Errorf(upstream.NoBucket, op, "%q", name)
	case err != nil:
		return fail(op, err)
	}
	return fail(op, errors.Join(b.top.Sync(), b.forget(name)))
}

// forget removes the uploads and the metadata of a bucket.
func (b *Backend) forget(name string) error {
	for _, dir := range []string{uploadsDir, metaDir} {
		if err := b.area.discard(dir + "/" + name); err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}

// removeEmpty removes the directories below one that hold nothing. Those that do hold something stay,
// without an error.
func removeEmpty(ctx context.Context, at place) error {
	return visit(at, func(in *spot) error {
		entries, err := in.dir.ReadDir(-1)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !e.IsDir() {
				continue
			}
			if err := in.descend(func() error { return removeEmpty(ctx, in.below(e.Name())) }); err != nil {
				return err
			}
			err := unix.Unlinkat(int(in.dir.Fd()), e.Name(), unix.AT_REMOVEDIR)
			if err != nil && !isMissing(err) && !isErrno(err, unix.ENOTEMPTY, unix.EEXIST) {
				return err
			}
		}
		return nil
	})
}
