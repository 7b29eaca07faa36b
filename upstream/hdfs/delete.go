package hdfs

import (
	"cmp"
	"context"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/internal/semantics"
)

// Delete implements upstream.Backend. The NameNode compares IfMatch and deletes in one step.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	const op = "Delete"
	if err := alive(ctx, op); err != nil {
		return err
	}
	p, err := pathOf(op, loc.Key)
	if err != nil { // there cannot be such an object
		return cmp.Or(b.bucket(ctx, op, loc.Bucket), semantics.CheckDelete(op, opts.IfMatch, "", false))
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return err
	}
	if !validBucket(loc.Bucket) {
		return upstream.Errorf(upstream.NoBucket, op, "%q", loc.Bucket)
	}
	unlock, err := b.keys.Lock(ctx, loc.Bucket+"/"+loc.Key)
	if err != nil {
		return fail(op, err)
	}
	defer unlock()
	var removed bool
	if opts.IfMatch != "" {
		removed, err = b.deleteVersion(ctx, op, loc, p, opts.IfMatch)
	} else {
		removed, err = b.deleteNames(ctx, b.dir(loc.Bucket, p.dirs), p)
	}
	if err != nil {
		return fail(op, err)
	}
	if !removed {
		return b.bucket(ctx, op, loc.Bucket)
	}
	return fail(op, b.prune(ctx, loc.Bucket, p.dirs))
}

// deleteNames removes both names that an object can have. Aside comes first and again last: should both be
// there, the stale one must not come to light; and the object may be moved aside meanwhile.
func (b *Backend) deleteNames(ctx context.Context, dir string, p keyPath) (removed bool, err error) {
	for _, name := range []string{p.aside, p.plain, p.aside} {
		// Of a directory that has the name this removes at most an empty one.
		ok, err := b.nn.Delete(ctx, dir+"/"+name, false)
		if err != nil && !isMissing(err) && !namenode.Is(err, "PathIsNotEmptyDirectoryException") {
			return removed, err
		}
		removed = removed || ok
	}
	return removed, nil
}

// deleteVersion removes the object if it is the version with an ETag.
func (b *Backend) deleteVersion(ctx context.Context, op string, loc upstream.Loc, p keyPath, etag string) (removed bool, err error) {
	dir := b.dir(loc.Bucket, p.dirs)
	old, err := b.findIn(ctx, dir, p, loc.Key)
	if err != nil {
		return false, err
	}
	if old == nil {
		if err := b.bucket(ctx, op, loc.Bucket); err != nil {
			return false, err
		}
		return false, semantics.CheckDelete(op, etag, "", false)
	}
	if err := semantics.CheckDelete(op, etag, old.record.ETag, true); err != nil {
		return false, err
	}
	if old.path == dir+"/"+p.plain { // then what is aside is stale, and must not come to light
		stale, err := b.info(ctx, dir+"/"+p.aside)
		if err != nil {
			return false, err
		}
		if isFile(stale) && stale.GetFileId() != old.status.GetFileId() {
			if _, err := b.nn.Delete(ctx, inode(stale.GetFileId()), false); err != nil && !isMissing(err) {
				return false, err
			}
		}
	}
	removed, err = b.nn.Delete(ctx, inode(old.status.GetFileId()), false)
	if isMissing(err) || (err == nil && !removed) {
		return false, upstream.Errorf(upstream.Changed, op, "another version")
	}
	return removed, err
}

// prune removes directories as long as they are empty, the innermost first. A writer that has just made one of
// them makes it again.
func (b *Backend) prune(ctx context.Context, bucket string, dirs []string) error {
	for depth := len(dirs); depth > 0; depth-- {
		s, err := b.info(ctx, b.dir(bucket, dirs[:depth]))
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if !isDir(s) || s.GetChildrenNum() > 0 {
			return nil
		}
		// By its inode: an object that takes its name meanwhile stays.
		_, err = b.nn.Delete(ctx, inode(s.GetFileId()), false)
		if namenode.Is(err, "PathIsNotEmptyDirectoryException") || namenode.Is(err, "AccessControlException") {
			return nil
		}
		if err != nil && !isMissing(err) {
			return err
		}
	}
	return nil
}
