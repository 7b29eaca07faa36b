package hdfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// An upload is completed in steps, each of which is one call of the NameNode, so that a crash between them
// leaves a state from which CompleteUpload goes on and which AbortUpload can remove:
//
//  1. the directory is renamed (frozen): no part comes or is replaced any more
//  2. an empty file wholeFile is made; the ETag of the object to be is in its name
//  3. the list of parts is written to the file planFile
//  4. concat moves the blocks of all parts to the former: it is empty or whole, never in between
//  5. it gets its record and is renamed to its place: a plan without its whole means that it is done
//  6. the directory is removed
//
// Two processes that complete the same upload at once do the same steps with the same result.
const (
	planFile  = "plan."
	wholeFile = "whole."
)

// plan is what an upload becomes, as JSON.
type plan struct {
	Version int                    `json:"v"`
	ETag    string                 `json:"etag"`
	Size    int64                  `json:"size"`
	Parts   []semantics.PartRecord `json:"parts"`
	Times   []int64                `json:"times"` // when each part was stored, in milliseconds
}

// assembly is how far the completion of an upload has got.
type assembly struct {
	dir   string
	files map[int]*wire.FileStatus // of parts
	whole *wire.FileStatus         // with all bytes, or nil
	etag  string                   // of whole
	parts map[int]upstream.Part    // that whole was made of
	// placed: the object has got to its place.
	placed bool
}

// assembly looks at the directory of an upload.
func (b *Backend) assembly(ctx context.Context, dir string) (*assembly, error) {
	entries, err := b.readDir(ctx, dir)
	if err != nil {
		return nil, err
	}
	a := &assembly{dir: dir, files: partFiles(entries), parts: map[int]upstream.Part{}}
	wholes := map[string]*wire.FileStatus{}
	for _, s := range entries {
		if etag, ok := strings.CutPrefix(string(s.GetPath()), wholeFile); ok {
			wholes[etag] = s
		}
	}
	for _, s := range entries {
		if etag, ok := strings.CutPrefix(string(s.GetPath()), planFile); ok && wholes[etag] == nil {
			a.placed = true
		}
	}
	for etag, s := range wholes {
		if s.GetLength() == 0 {
			continue
		}
		p, err := b.readPlan(ctx, dir, etag)
		if err != nil {
			return nil, err
		}
		if p.Size != int64(s.GetLength()) {
			return nil, fmt.Errorf("an assembled upload has %d of %d bytes", s.GetLength(), p.Size)
		}
		a.whole, a.etag = s, etag
		for i, part := range p.Parts {
			a.parts[part.Number] = part.Part(time.UnixMilli(p.Times[i]).UTC())
		}
	}
	return a, nil
}

// CompleteUpload implements upstream.Multiparter.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	const op = "CompleteUpload"
	unlock, err := b.ends.Lock(ctx, up.ID) // one end for each upload
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	defer unlock()
	record, dir, err := b.upload(ctx, op, up)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := b.begin(ctx, op, up.Loc); err != nil {
		return object.Attrs{}, err
	}
	if dir == b.uploadDir(up) {
		if err := b.nn.Rename(ctx, dir, dir+frozen, false); err != nil {
			return object.Attrs{}, fail(op, err)
		}
		dir += frozen
	}
	attrs, err := b.completeFrozen(ctx, op, up, dir, record, req)
	if err != nil {
		b.thaw(ctx, up, err)
		return object.Attrs{}, err
	}
	// The object is there; what stays behind does no harm and can be aborted.
	if _, err := b.nn.Delete(ctx, dir, true); err != nil && !isMissing(err) {
		b.area.discard(dir)
	}
	return attrs, nil
}

// thaw opens an upload again whose completion was refused, unless its parts are one file by now.
func (b *Backend) thaw(ctx context.Context, up upstream.Upload, cause error) {
	switch upstream.CodeOf(cause) {
	case upstream.Unavailable, upstream.Cancelled, upstream.NoUpload:
		return // it may be under way elsewhere, or be tried again
	}
	dir := b.uploadDir(up)
	a, err := b.assembly(ctx, dir+frozen)
	if err == nil && a.whole == nil {
		err = b.nn.Rename(ctx, dir+frozen, dir, false)
	}
	if err != nil {
		b.log.Warn().Err(err).Str("upload", up.ID).Msg("an upload takes no parts any more: it can be completed or aborted")
	}
}

func (b *Backend) completeFrozen(ctx context.Context, op string, up upstream.Upload, dir string,
	record *semantics.UploadRecord, req upstream.CompleteRequest) (object.Attrs, error) {
	a, err := b.assembly(ctx, dir)
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	if a.placed {
		b.area.discard(dir)
		return object.Attrs{}, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	parts, err := b.selectParts(ctx, op, a, req)
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	r, err := semantics.PlanObject(op, record, parts, req)
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	if a.whole != nil && a.etag != r.ETag {
		return object.Attrs{}, upstream.Errorf(upstream.InvalidPart, op, "the upload was completed with other parts")
	}
	status := a.whole
	if status == nil {
		if status, err = b.assemble(ctx, op, a, parts, r.ETag); err != nil {
			return object.Attrs{}, fail(op, err)
		}
	}
	attrs, err := b.commit(ctx, op, up.Loc, status, r, condition{req.IfMatch, req.IfNoneMatch})
	return attrs, fail(op, err)
}

// selectParts returns the parts that a request names, be they files or in the whole already.
func (b *Backend) selectParts(ctx context.Context, op string, a *assembly, req upstream.CompleteRequest) ([]upstream.Part, error) {
	numbers := make([]int, len(req.Parts))
	for i, p := range req.Parts {
		numbers[i] = p.Number
	}
	parts, err := b.readParts(ctx, a.files, numbers)
	if err != nil {
		return nil, err
	}
	if a.whole != nil {
		parts = a.parts
	}
	return semantics.SelectParts(op, req, b.Limits().MinPart, func(number int) (upstream.Part, bool, error) {
		p, ok := parts[number]
		return p, ok, nil
	})
}

// assemble makes one file of parts, and returns its status.
func (b *Backend) assemble(ctx context.Context, op string, a *assembly, parts []upstream.Part, etag string) (*wire.FileStatus, error) {
	whole := a.dir + "/" + wholeFile + etag
	if _, err := b.createEmpty(ctx, whole); err != nil && !exists(err) {
		return nil, err
	}
	if err := b.writePlan(ctx, op, a.dir, parts, etag); err != nil {
		return nil, err
	}
	var sources []string
	for _, p := range parts {
		if p.Size > 0 { // concat refuses empty files
			sources = append(sources, a.dir+"/"+partName(p.Number))
		}
	}
	if len(sources) > 0 {
		err := b.nn.Concat(ctx, whole, sources)
		if concatRefused(err) {
			b.log.Debug().Err(err).Msg("parts are copied: concat was refused")
			err = b.copyParts(ctx, op, a, parts, whole)
		}
		if err != nil {
			return nil, err
		}
	}
	s, err := b.nn.Info(ctx, whole)
	if err == nil && int64(s.GetLength()) != semantics.Size(parts) {
		err = fmt.Errorf("the parts have %d bytes, the whole has %d", semantics.Size(parts), s.GetLength())
	}
	return s, err
}

// concatRefused reports that the cluster can not concatenate these files, rather than not now: they are in a
// snapshot or an encryption zone, block sizes or policies differ, the method is missing.
func concatRefused(err error) bool {
	if !answered(err) || isMissing(err) {
		return false
	}
	return namenode.Is(err, "HadoopIllegalArgumentException", "SnapshotException", "UnsupportedOperationException",
		"RpcNoSuchMethodException", "IOException", "IllegalArgumentException", "UnresolvedPathException")
}

// copyParts makes the whole by copying, under another name until it is complete.
func (b *Backend) copyParts(ctx context.Context, op string, a *assembly, parts []upstream.Part, whole string) error {
	tmp, err := b.stage(ctx, op)
	if err != nil {
		return err
	}
	defer tmp.discard()
	for _, p := range parts {
		s := a.files[p.Number]
		body, err := b.openFile(ctx, s, byterange.Range{Len: p.Size})
		if err != nil {
			return err
		}
		_, err = semantics.Ingest(ctx, op, tmp, semantics.Body{Reader: body, Size: p.Size})
		_ = body.Close()
		if err != nil {
			return transferError(ctx, op, err)
		}
	}
	if err := tmp.close(); err != nil {
		return transferError(ctx, op, err)
	}
	if _, err := tmp.status(op); err != nil {
		return err
	}
	if err := b.nn.Rename(ctx, inode(tmp.id), whole, true); err != nil {
		return err
	}
	tmp.done = true
	return nil
}

// writePlan writes the list of parts, once.
func (b *Backend) writePlan(ctx context.Context, op, dir string, parts []upstream.Part, etag string) error {
	p := plan{Version: semantics.RecordVersion, ETag: etag, Size: semantics.Size(parts)}
	for _, part := range parts {
		p.Parts = append(p.Parts, semantics.KeepPart(part))
		p.Times = append(p.Times, part.ModTime.UnixMilli())
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	tmp, err := b.stage(ctx, op)
	if err != nil {
		return err
	}
	defer tmp.discard()
	_, err = io.Copy(tmp, bytes.NewReader(data))
	if err == nil {
		err = tmp.close()
	}
	if err != nil {
		return transferError(ctx, op, err)
	}
	if err := b.nn.Rename(ctx, inode(tmp.id), dir+"/"+planFile+etag, true); err != nil {
		return err
	}
	tmp.done = true
	return nil
}

func (b *Backend) readPlan(ctx context.Context, dir, etag string) (*plan, error) {
	s, err := b.nn.Info(ctx, dir+"/"+planFile+etag)
	if err != nil || s == nil {
		return nil, errors.Join(err, errors.New("an assembled upload has no list of parts"))
	}
	body, err := b.openFile(ctx, s, byterange.Range{Len: int64(s.GetLength())})
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	var p plan
	if err := json.NewDecoder(body).Decode(&p); err != nil {
		return nil, fmt.Errorf("the list of parts of an upload: %w", err)
	}
	if p.Version != semantics.RecordVersion || p.ETag != etag || len(p.Times) != len(p.Parts) {
		return nil, errors.New("the list of parts of an upload is not one")
	}
	return &p, nil
}
