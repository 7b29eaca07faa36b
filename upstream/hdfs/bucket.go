package hdfs

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
)

// createdName is the attribute that holds when a bucket was made: HDFS knows when a directory was changed
// only. In milliseconds, decimal.
const createdName = "unistore.created"

// parallel bounds the calls that one operation has under way.
const parallel = 16

// readDir returns all entries of a directory, in the NameNode's order; none when it is not there.
func (b *Backend) readDir(ctx context.Context, dir string) ([]*wire.FileStatus, error) {
	var all []*wire.FileStatus
	var after []byte
	for {
		page, more, err := b.nn.List(ctx, dir, after)
		if isMissing(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if len(page) == 1 && len(page[0].GetPath()) == 0 { // a file has taken its place
			return nil, nil
		}
		all = append(all, page...)
		if !more || len(page) == 0 {
			return all, nil
		}
		after = page[len(page)-1].GetPath()
	}
}

// ListBuckets implements upstream.Bucketer.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	const op = "ListBuckets"
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	entries, err := b.readDir(ctx, b.root+"/")
	if err != nil {
		return nil, fail(op, err)
	}
	entries = slices.DeleteFunc(entries, func(s *wire.FileStatus) bool { return !isDir(s) || !validBucket(string(s.GetPath())) })
	all := make([]upstream.Bucket, len(entries))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, s := range entries {
		group.Go(func() error {
			created, err := b.created(ctx, s)
			all[i] = upstream.Bucket{Name: string(s.GetPath()), Created: created}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fail(op, err)
	}
	slices.SortFunc(all, func(a, b upstream.Bucket) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// created returns when a bucket was made, as far as that is known.
func (b *Backend) created(ctx context.Context, s *wire.FileStatus) (time.Time, error) {
	all, err := b.nn.XAttrs(ctx, inode(s.GetFileId()))
	if err != nil && !isMissing(err) {
		return time.Time{}, err
	}
	if ms, err := strconv.ParseInt(string(all[createdName]), 10, 64); err == nil {
		return time.UnixMilli(ms).UTC(), nil
	}
	return timeOf(s), nil
}

// StatBucket implements upstream.Bucketer.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	const op = "StatBucket"
	s, err := b.bucketStatus(ctx, op, name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	created, err := b.created(ctx, s)
	return upstream.Bucket{Name: name, Created: created}, fail(op, err)
}

// CreateBucket implements upstream.Bucketer.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	const op = "CreateBucket"
	if err := alive(ctx, op); err != nil {
		return err
	}
	if !validBucket(name) {
		return upstream.Errorf(upstream.Invalid, op, "%q cannot be a bucket", name)
	}
	if there, err := b.info(ctx, b.bucketPath(name)); err != nil {
		return fail(op, err)
	} else if there != nil {
		return upstream.Errorf(upstream.BucketOwned, op, "%q", name)
	}
	// Read before the bucket is there: those that begin in it afterwards are not among them.
	stale, err := b.readDir(ctx, b.uploadsOf(name))
	if err != nil {
		return fail(op, err)
	}
	if err := b.placeBucket(ctx, op, name); err != nil {
		return err
	}
	for _, s := range stale { // uploads to a bucket that another program removed
		dir := inode(s.GetFileId())
		if _, err := b.nn.Delete(ctx, dir, true); err != nil && !isMissing(err) {
			b.area.discard(dir)
		}
	}
	return nil
}

// placeBucket makes a bucket appear with its attribute, or fails with BucketOwned.
func (b *Backend) placeBucket(ctx context.Context, op, name string) error {
	dir, err := b.stageDir(ctx, op)
	if err != nil {
		return err
	}
	now := strconv.AppendInt(nil, time.Now().UnixMilli(), 10)
	err = b.nn.SetXAttr(ctx, dir, createdName, now)
	if err == nil {
		err = b.nn.Rename(ctx, dir, b.bucketPath(name), false)
	}
	if err != nil {
		b.area.discard(dir)
	}
	if exists(err) || clashes(err) {
		return upstream.Errorf(upstream.BucketOwned, op, "%q", name)
	}
	return fail(op, err)
}

// stageDir makes a directory in the hidden area. The caller renames it, or discards it.
func (b *Backend) stageDir(ctx context.Context, op string) (string, error) {
	if _, err := b.area.make(ctx, false); err != nil {
		return "", fail(op, err)
	}
	dir := b.area.name()
	if err := b.nn.Mkdir(ctx, dir, true); err != nil {
		b.area.discard(dir)
		return "", fail(op, err)
	}
	return dir, nil
}

func (b *Backend) uploadsOf(bucket string) string { return b.root + uploadsDir + "/" + bucket }

// DeleteBucket implements upstream.Bucketer. Unfinished uploads go with the bucket.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	const op = "DeleteBucket"
	s, err := b.bucketStatus(ctx, op, name)
	if err != nil {
		return err
	}
	holds, err := b.holdsObject(ctx, b.bucketPath(name))
	if err != nil {
		return fail(op, err)
	}
	if holds {
		return upstream.Errorf(upstream.BucketNotEmpty, op, "%q", name)
	}
	if err := b.removeEmpty(ctx, b.bucketPath(name)); err != nil {
		return fail(op, err)
	}
	removed, err := b.nn.Delete(ctx, inode(s.GetFileId()), false)
	switch {
	case namenode.Is(err, "PathIsNotEmptyDirectoryException"): // written to just now, or holds what is no object
		return upstream.Errorf(upstream.BucketNotEmpty, op, "%q", name)
	case isMissing(err), err == nil && !removed:
		return upstream.Errorf(upstream.NoBucket, op, "%q", name)
	case err != nil:
		return fail(op, err)
	}
	_, err = b.nn.Delete(ctx, b.uploadsOf(name), true)
	if isMissing(err) {
		err = nil
	}
	return fail(op, err)
}

// removeEmpty removes the directories below one that hold nothing. Those that do hold something stay, without
// an error.
func (b *Backend) removeEmpty(ctx context.Context, dir string) error {
	entries, err := b.readDir(ctx, dir)
	if err != nil {
		return err
	}
	for _, s := range entries {
		if !isDir(s) {
			continue
		}
		if err := b.removeEmpty(ctx, dir+"/"+string(s.GetPath())); err != nil {
			return err
		}
		_, err := b.nn.Delete(ctx, inode(s.GetFileId()), false)
		if err != nil && !isMissing(err) && !namenode.Is(err, "PathIsNotEmptyDirectoryException") {
			return err
		}
	}
	return nil
}

// holdsObject reports whether there is an object in a directory or below it.
func (b *Backend) holdsObject(ctx context.Context, dir string) (bool, error) {
	entries, err := b.readDir(ctx, dir)
	if err != nil {
		return false, err
	}
	for _, s := range entries {
		if _, ok := segmentOf(string(s.GetPath()), false); ok && isFile(s) {
			return true, nil
		}
	}
	for _, s := range entries {
		name := string(s.GetPath())
		if _, ok := segmentOf(name, true); !ok || !isDir(s) {
			continue
		}
		if holds, err := b.holdsObject(ctx, dir+"/"+name); holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}
