package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/hdfs/internal/datanode"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// file is an object: one version of it, whatever happens to its name.
type file struct {
	path   string // where it was found
	status *wire.FileStatus
	record *semantics.Record
}

// attrs returns the attributes for a caller.
func (f *file) attrs(checksums bool) object.Attrs {
	attrs := f.record.Attrs(timeOf(f.status))
	if !checksums {
		attrs.Checksums = nil
	}
	return attrs
}

// find returns the object of a key, or NotExist, NoBucket.
func (b *Backend) find(ctx context.Context, op string, loc upstream.Loc) (*file, error) {
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	p, err := pathOf(op, loc.Key)
	if err != nil {
		return nil, err
	}
	if !validBucket(loc.Bucket) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", loc.Bucket)
	}
	f, err := b.findIn(ctx, b.dir(loc.Bucket, p.dirs), p, loc.Key)
	if err != nil {
		return nil, fail(op, err)
	}
	if f != nil {
		return f, nil
	}
	if err := b.bucket(ctx, op, loc.Bucket); err != nil {
		return nil, err
	}
	return nil, upstream.Errorf(upstream.NotExist, op, "%q", loc.Key)
}

// findIn returns an object under the name it has in its directory, or nil. It looks for plain first: an object
// moves from plain to aside, never back.
func (b *Backend) findIn(ctx context.Context, dir string, p keyPath, key string) (*file, error) {
	for {
		f, gone, err := b.look(ctx, dir, p, key)
		if err != nil || !gone {
			return f, err
		}
		// It was replaced while it was looked at: there is another one, or none.
	}
}

func (b *Backend) look(ctx context.Context, dir string, p keyPath, key string) (f *file, gone bool, err error) {
	for _, name := range []string{p.plain, p.aside} {
		s, err := b.info(ctx, dir+"/"+name)
		if err != nil {
			return nil, false, err
		}
		if !isFile(s) {
			continue
		}
		r, err := b.readRecord(ctx, key, s)
		if isMissing(err) {
			return nil, true, nil
		}
		return &file{path: dir + "/" + name, status: s, record: r}, false, err
	}
	return nil, false, nil
}

// The extended attributes that hold a record: the first, and those that continue it.
const (
	xattrName = "unistore"
	// xattrPiece is how much one holds; the NameNode's limit is 16 KiB with the name
	// (dfs.namenode.fs-limits.max-xattr-size).
	xattrPiece = 12 << 10
	// maxPieces is less than the 32 attributes that an inode can have (max-xattrs-per-inode).
	maxPieces = 28
)

func pieceName(i int) string {
	if i == 0 {
		return xattrName
	}
	return fmt.Sprintf("%s.%d", xattrName, i)
}

// readRecord returns the record of a file, or one for a file that another program has written.
func (b *Backend) readRecord(ctx context.Context, key string, s *wire.FileStatus) (*semantics.Record, error) {
	data, err := b.readPieces(ctx, inode(s.GetFileId()))
	if err != nil {
		return nil, err
	}
	if r := semantics.ParseRecord(data, stampOf(s)); r != nil {
		return r, nil
	}
	return semantics.ForeignRecord(key, stampOf(s)), nil
}

// readPieces returns what writePieces has written, or nil.
func (b *Backend) readPieces(ctx context.Context, path string) ([]byte, error) {
	all, err := b.nn.XAttrs(ctx, path)
	if err != nil {
		return nil, err
	}
	var data []byte
	for i := range maxPieces {
		piece, ok := all[pieceName(i)]
		if !ok {
			break
		}
		data = append(data, piece...)
	}
	return data, nil
}

// writePieces keeps v as JSON in attributes of a path that nobody reads yet. When it is too much for them,
// it fails with TooLarge.
func (b *Backend) writePieces(ctx context.Context, op, path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxPieces*xattrPiece {
		return upstream.Errorf(upstream.TooLarge, op, "%d bytes of metadata", len(data))
	}
	for i := 0; i == 0 || len(data) > 0; i++ {
		n := min(len(data), xattrPiece)
		if err := b.nn.SetXAttr(ctx, path, pieceName(i), data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Stat implements upstream.Backend.
func (b *Backend) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	const op = "Stat"
	f, err := b.find(ctx, op, loc)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return object.Attrs{}, err
	}
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
	for {
		f, err := b.find(ctx, op, loc)
		if err != nil {
			return nil, err
		}
		if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
			return nil, err
		}
		attrs := f.attrs(opts.Checksums)
		r, err := semantics.Select(op, attrs, f.record.PartSizes(), opts)
		if err != nil {
			return nil, err
		}
		body, err := b.openFile(ctx, f.status, r)
		if isMissing(err) { // replaced or deleted since it was found
			continue
		}
		if err != nil {
			return nil, fail(op, err)
		}
		return &upstream.Stream{Attrs: attrs, Range: r, Body: body}, nil
	}
}

// openFile streams r of one version of a file. The caller closes the body.
func (b *Backend) openFile(ctx context.Context, s *wire.FileStatus, r byterange.Range) (*body, error) {
	ctx, cancel := context.WithCancel(ctx)
	f := &body{b: b, ctx: ctx, cancel: cancel, status: s, off: r.Off, left: r.Len}
	if err := f.locate(); err != nil {
		cancel()
		return nil, err
	}
	return f, nil
}

// body is a section of one version of a file. Another program may change a file in place; therefore the last
// bytes come only if size and modification time are still those of the version.
type body struct {
	b         *Backend
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	status    *wire.FileStatus
	off, left int64
	blocks    []*wire.LocatedBlock
	r         *datanode.Reader // of the block at off, or nil
	from      string           // the DataNode that was asked last
	order     []*wire.DatanodeInfo
	tried     int             // replicas in order that were asked since the last byte
	failed    map[string]bool // DataNodes
	relocated bool            // the NameNode was asked anew since the last byte
	last      error           // of the replica before
}

// locate asks the NameNode where the blocks are.
func (f *body) locate() error {
	if f.left == 0 {
		return nil
	}
	const op = "Open"
	found, err := f.b.nn.Locations(f.ctx, inode(f.status.GetFileId()), f.off, f.left)
	switch {
	case err != nil:
		return err
	case found.FileEncryptionInfo != nil:
		return upstream.Errorf(upstream.Unsupported, op, "the file is in an encryption zone")
	case found.EcPolicy != nil:
		return upstream.Errorf(upstream.Unsupported, op, "the file is erasure-coded")
	}
	f.blocks = found.GetBlocks()
	return nil
}

// Read implements io.Reader.
func (f *body) Read(p []byte) (int, error) {
	const op = "Read"
	if err := f.ctx.Err(); err != nil {
		return 0, fail(op, err)
	}
	if f.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := f.readBlock(p[:min(int64(len(p)), f.left)])
		if n == 0 && err == nil {
			continue // the end of a block
		}
		if n == 0 {
			return 0, transferError(f.ctx, op, err)
		}
		f.tried, f.relocated = 0, false
		f.off += int64(n)
		f.left -= int64(n)
		if f.left == 0 {
			if err := f.unchanged(); err != nil {
				f.left += int64(n) // not delivered
				return 0, transferError(f.ctx, op, err)
			}
		}
		return n, nil
	}
}

// readBlock reads from the block at off, from one replica after another. It returns 0, nil at the end of one.
func (f *body) readBlock(p []byte) (int, error) {
	for {
		if f.r == nil {
			if err := f.openReplica(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := f.r.Read(p)
		if n > 0 {
			return n, nil
		}
		f.r.Close()
		f.r = nil
		if errors.Is(err, io.EOF) {
			return 0, nil
		}
		if cerr := f.ctx.Err(); cerr != nil {
			return 0, cerr
		}
		f.fails(err)
	}
}

// openReplica opens the next replica of the block at off that has not failed yet, and may leave f.r nil
// when that one fails.
func (f *body) openReplica() error {
	block := f.blockAt()
	if f.tried == 0 {
		f.order = f.replicas(block)
	}
	if block == nil || f.tried >= len(f.order) {
		return f.relocate()
	}
	node := f.order[f.tried]
	f.tried++
	f.from = nodeID(node)
	start := f.off - int64(block.GetOffset())
	n := min(int64(block.GetB().GetNumBytes())-start, f.left)
	r, err := datanode.NewReader(f.ctx, f.b.reads, node, block, start, n)
	if cerr := f.ctx.Err(); cerr != nil {
		if err == nil {
			r.Close()
		}
		return cerr
	}
	if err != nil {
		f.fails(err)
		return nil
	}
	f.r = r
	return nil
}

func (f *body) blockAt() *wire.LocatedBlock {
	for _, block := range f.blocks {
		start := int64(block.GetOffset())
		if start <= f.off && f.off < start+int64(block.GetB().GetNumBytes()) {
			return block
		}
	}
	return nil
}

// relocatePause lets a DataNode that has just come back report to the NameNode.
const relocatePause = 300 * time.Millisecond

// relocate looks for other replicas when all that were known have failed; once.
func (f *body) relocate() error {
	if f.relocated {
		if f.last == nil {
			return fmt.Errorf("no DataNode has the block at byte %d", f.off)
		}
		return fmt.Errorf("no DataNode gives the block at byte %d: %w", f.off, f.last)
	}
	f.relocated, f.tried = true, 0
	timer := time.NewTimer(relocatePause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
	err := f.locate()
	if isMissing(err) {
		return fmt.Errorf("the version is gone: %w", err)
	}
	return err
}

// unchanged fails when the file is no longer the version that was opened. One that is deleted or replaced still
// is: its blocks do not change any more.
func (f *body) unchanged() error {
	s, err := f.b.nn.Info(f.ctx, inode(f.status.GetFileId()))
	if namenode.Is(err, "FileNotFoundException") {
		return nil
	}
	if err == nil && s != nil && stampOf(s) != stampOf(f.status) {
		return errors.New("the file was changed while it was read")
	}
	return err
}

// Close implements io.Closer. It may be called while a Read is under way, which then fails.
func (f *body) Close() error {
	f.cancel()
	return nil
}
