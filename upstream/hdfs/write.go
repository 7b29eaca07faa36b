package hdfs

import (
	"context"
	"errors"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// condition is what must hold of the object that a write replaces.
type condition struct {
	ifMatch     string
	ifNoneMatch bool
}

// Put implements upstream.Backend.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	const op = "Put"
	if err := b.begin(ctx, op, loc); err != nil {
		return object.Attrs{}, err
	}
	tmp, err := b.stage(ctx, op)
	if err != nil {
		return object.Attrs{}, err
	}
	defer tmp.discard()
	got, err := semantics.Ingest(ctx, op, tmp, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
	if err == nil {
		err = tmp.close()
	}
	if err != nil {
		return object.Attrs{}, transferError(ctx, op, err)
	}
	r := &semantics.Record{
		ETag: got.ETag, Headers: semantics.KeepHeaders(req.Headers), Checksums: semantics.KeepSums(got.Checksums), StorageClass: req.StorageClass,
	}
	status, err := tmp.status(op)
	if err != nil {
		return object.Attrs{}, err
	}
	attrs, err := b.commit(ctx, op, loc, status, r, condition{req.IfMatch, req.IfNoneMatch})
	if err == nil {
		tmp.done = true
	}
	return attrs, err
}

// begin checks where a write wants to go, before anything is written.
func (b *Backend) begin(ctx context.Context, op string, loc upstream.Loc) error {
	if err := alive(ctx, op); err != nil {
		return err
	}
	if _, err := pathOf(op, loc.Key); err != nil {
		return err
	}
	if limit := b.Limits().MaxKey; len(loc.Key) > limit {
		return upstream.Errorf(upstream.InvalidKey, op, "a key of %d bytes, at most %d", len(loc.Key), limit)
	}
	return b.bucket(ctx, op, loc.Bucket)
}

// commit makes a closed file of the hidden area the object at loc, if the condition holds. r becomes its
// record.
func (b *Backend) commit(ctx context.Context, op string, loc upstream.Loc, status *wire.FileStatus,
	r *semantics.Record, cond condition) (object.Attrs, error) {
	r.Describe(stampOf(status))
	if err := b.writePieces(ctx, op, inode(status.GetFileId()), r); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	if err := b.place(ctx, op, loc, status.GetFileId(), cond); err != nil {
		return object.Attrs{}, fail(op, err)
	}
	attrs := r.Attrs(timeOf(status))
	attrs.ETagMD5 = true
	return attrs, nil
}

// placeTries bounds how often a write starts again because directories came or went under it.
const placeTries = 1000

// errAgain says that directories have changed under a write.
var errAgain = errors.New("the directory has changed")

// place renames the file with an inode to the object at loc.
func (b *Backend) place(ctx context.Context, op string, loc upstream.Loc, id uint64, cond condition) error {
	p, err := pathOf(op, loc.Key)
	if err != nil {
		return err
	}
	unlock, err := b.keys.Lock(ctx, loc.Bucket+"/"+loc.Key)
	if err != nil {
		return err
	}
	defer unlock()
	for range placeTries {
		if err := alive(ctx, op); err != nil {
			return err
		}
		err := b.tryPlace(ctx, op, loc, p, id, cond)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errAgain) {
			return err
		}
	}
	return upstream.Errorf(upstream.Unavailable, op, "the directory of %q comes and goes", loc.Key)
}

// tryPlace does one attempt of place, after the condition: the NameNode compares and replaces in one step, so
// that it holds against other processes too.
func (b *Backend) tryPlace(ctx context.Context, op string, loc upstream.Loc, p keyPath, id uint64, cond condition) error {
	dir := b.dir(loc.Bucket, p.dirs)
	src := inode(id)
	if cond.ifMatch != "" {
		return b.replace(ctx, op, loc, p, id, cond)
	}
	if cond.ifNoneMatch {
		old, err := b.findIn(ctx, dir, p, loc.Key)
		if err != nil {
			return err
		}
		if old != nil {
			return semantics.CheckWrite(op, "", true, old.record.ETag, true)
		}
	}
	err := b.nn.Rename(ctx, src, dir+"/"+p.plain, !cond.ifNoneMatch)
	switch {
	case err == nil:
		return nil
	case exists(err):
		return errAgain
	case isMissing(err):
		return b.prepare(ctx, op, loc, p, id)
	case !clashes(err):
		return err
	}
	// The name is a directory's, or was a moment ago.
	at, err := b.info(ctx, dir+"/"+p.plain)
	if err != nil {
		return err
	}
	if !isDir(at) {
		return errAgain
	}
	err = b.nn.Rename(ctx, src, dir+"/"+p.aside, !cond.ifNoneMatch)
	if exists(err) || isMissing(err) {
		return b.unlessMoved(ctx, errAgain, id)
	}
	return err
}

// replace renames the file onto the inode of the version that must still be there.
func (b *Backend) replace(ctx context.Context, op string, loc upstream.Loc, p keyPath, id uint64, cond condition) error {
	old, err := b.findIn(ctx, b.dir(loc.Bucket, p.dirs), p, loc.Key)
	if err != nil {
		return err
	}
	etag := ""
	if old != nil {
		etag = old.record.ETag
	}
	if err := semantics.CheckWrite(op, cond.ifMatch, cond.ifNoneMatch, etag, old != nil); err != nil {
		return err
	}
	err = b.nn.Rename(ctx, inode(id), inode(old.status.GetFileId()), true)
	if isMissing(err) {
		return b.unlessMoved(ctx, errAgain, id)
	}
	return err
}

// unlessMoved returns err, or another error when the file that is to be placed is gone.
func (b *Backend) unlessMoved(ctx context.Context, err error, id uint64) error {
	s, ierr := b.info(ctx, inode(id))
	if ierr != nil {
		return ierr
	}
	if s == nil {
		return errors.New("the staged file is gone")
	}
	return err
}

// prepare makes the directories of an object, and moves objects aside that have their names.
func (b *Backend) prepare(ctx context.Context, op string, loc upstream.Loc, p keyPath, id uint64) error {
	if err := b.unlessMoved(ctx, errAgain, id); !errors.Is(err, errAgain) {
		return err
	}
	dir := b.bucketPath(loc.Bucket)
	if len(p.dirs) == 0 { // then it is the bucket that is missing
		if err := b.bucket(ctx, op, loc.Bucket); err != nil {
			return err
		}
		return errAgain
	}
	for _, name := range p.dirs {
		err := b.makeDir(ctx, op, dir, name)
		if isMissing(err) {
			if err := b.bucket(ctx, op, loc.Bucket); err != nil {
				return err
			}
			return errAgain
		}
		if err != nil {
			return err
		}
		dir += "/" + name
	}
	return errAgain // now it will do
}

// makeDir makes a directory in another one, which must exist.
func (b *Backend) makeDir(ctx context.Context, op, parent, name string) error {
	for range placeTries {
		err := b.nn.Mkdir(ctx, parent+"/"+name, false)
		if !exists(err) {
			return err
		}
		if err := b.moveAside(ctx, op, parent, name); err != nil {
			return err
		}
	}
	return errAgain
}

// moveAside renames an object that has the name a directory needs. It does not lock the object's key: to
// those who hold it the object is where it was or aside, and they look again when they miss it.
func (b *Backend) moveAside(ctx context.Context, op, parent, name string) error {
	s, err := b.info(ctx, parent+"/"+name)
	if err != nil || s == nil || isDir(s) {
		return err
	}
	aside, ok := asideOf(name)
	if !isFile(s) || !ok {
		return upstream.Errorf(upstream.InvalidKey, op, "%q is in the way: neither a directory nor an object", name)
	}
	b.asides.running.Add(1)
	defer func() { b.asides.ended.Add(1); b.asides.running.Add(-1) }()
	// By its inode: a directory that takes its name meanwhile stays where it is.
	err = b.nn.Rename(ctx, inode(s.GetFileId()), parent+"/"+aside, true)
	if isMissing(err) || exists(err) { // gone, or aside already
		return nil
	}
	return err
}
