package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// uploadFile is the name of an upload's state in its directory.
const uploadFile = "upload.json"

// CreateUpload implements upstream.Multiparter.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	const op = "CreateUpload"
	if err := semantics.CheckUpload(op, req); err != nil {
		return "", err
	}
	k, tmp, err := b.begin(ctx, op, loc)
	if err != nil {
		return "", err
	}
	defer k.close()
	defer tmp.discard()
	started := time.Now()
	state := semantics.KeepUpload(loc.Key, started, req)
	if err := json.NewEncoder(tmp.f).Encode(&state); err != nil {
		return "", fail(op, err)
	}
	if err := tmp.f.Sync(); err != nil {
		return "", fail(op, err)
	}
	// The directory appears complete, by one rename.
	id, dir := semantics.NewUploadID(started), b.area.path+"/"+b.area.name()
	parent := uploadsDir + "/" + loc.Bucket
	err = errors.Join(
		b.root.Mkdir(dir, privatePerm),
		b.root.Rename(b.area.path+"/"+tmp.name, dir+"/"+uploadFile),
		b.syncPath(dir),
		b.root.MkdirAll(parent, privatePerm),
	)
	if err == nil {
		if err = b.root.Rename(dir, parent+"/"+id); err == nil {
			b.point(pointUpload, loc.Bucket, loc.Key)
			err = errors.Join(b.syncPath(parent), b.syncPath(uploadsDir))
		}
	}
	if err != nil {
		return "", fail(op, errors.Join(err, b.root.RemoveAll(dir)))
	}
	return id, nil
}

func uploadPath(up upstream.Upload) string { return uploadsDir + "/" + up.Bucket + "/" + up.ID }

func partName(number int) string { return fmt.Sprintf("%05d", number) }

// upload returns the state of an unfinished upload, or NoUpload.
func (b *Backend) upload(ctx context.Context, op string, up upstream.Upload) (*semantics.UploadRecord, error) {
	k, err := b.open(ctx, op, up.Bucket)
	if err != nil {
		return nil, err
	}
	k.close()
	if !semantics.ValidUploadID(up.ID) {
		return nil, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	state, err := b.readUpload(up)
	if isMissing(err) || (err == nil && state.Key != up.Key) {
		return nil, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	return state, fail(op, err)
}

func (b *Backend) readUpload(up upstream.Upload) (*semantics.UploadRecord, error) {
	data, err := b.root.ReadFile(uploadPath(up) + "/" + uploadFile)
	if err != nil {
		return nil, err
	}
	var state semantics.UploadRecord
	if err := json.Unmarshal(data, &state); err != nil {
		return nil, fmt.Errorf("the state of upload %s: %w", up.ID, err)
	}
	return &state, nil
}

// UploadPart implements upstream.Multiparter.
func (b *Backend) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	return b.storePart(ctx, "UploadPart", up, number, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
}

func (b *Backend) storePart(ctx context.Context, op string, up upstream.Upload, number int, body semantics.Body) (upstream.Part, error) {
	if err := b.writable(ctx, op); err != nil {
		return upstream.Part{}, err
	}
	state, err := b.upload(ctx, op, up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := semantics.CheckPart(op, number, body.Size, b.Limits()); err != nil {
		return upstream.Part{}, err
	}
	tmp, err := b.stage()
	if err != nil {
		return upstream.Part{}, fail(op, err)
	}
	defer tmp.discard()
	body.Compute = state.Algorithm
	got, err := semantics.Ingest(ctx, op, tmp.f, body)
	if err != nil {
		return upstream.Part{}, fail(op, err)
	}
	part := upstream.Part{Number: number, Size: body.Size, ETag: got.ETag, Checksums: got.Checksums}
	if err := errors.Join(writeTrailer(tmp.f, part), tmp.f.Sync()); err != nil {
		return upstream.Part{}, fail(op, err)
	}
	if part, err = readTrailer(tmp.f); err != nil {
		return upstream.Part{}, fail(op, err)
	}
	err = b.root.Rename(b.area.path+"/"+tmp.name, uploadPath(up)+"/"+partName(number))
	if err == nil {
		tmp.done = true
		b.point(pointPart, up.Bucket, up.Key)
		err = b.syncPath(uploadPath(up))
	}
	part.ETagMD5 = true
	if isMissing(err) { // ended meanwhile
		return upstream.Part{}, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	return part, fail(op, err)
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	const op = "AbortUpload"
	if err := b.writable(ctx, op); err != nil {
		return err
	}
	unlock, err := b.names.Lock(ctx, up.ID) // not in the middle of CompleteUpload
	if err != nil {
		return fail(op, err)
	}
	defer unlock()
	if _, err := b.upload(ctx, op, up); err != nil {
		return err
	}
	err = b.area.discard(uploadPath(up))
	if isMissing(err) {
		return upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	return fail(op, err)
}

// openPart opens a part, or returns nil when there is none. The caller closes it.
func (b *Backend) openPart(up upstream.Upload, number int) (*os.File, upstream.Part, error) {
	f, err := b.root.Open(uploadPath(up) + "/" + partName(number))
	if isMissing(err) {
		return nil, upstream.Part{}, nil
	}
	if err != nil {
		return nil, upstream.Part{}, err
	}
	p, err := readTrailer(f)
	if err != nil {
		return nil, p, errors.Join(err, f.Close())
	}
	return f, p, nil
}

// partNumbers returns the numbers of an upload's parts, ascending.
func (b *Backend) partNumbers(up upstream.Upload) ([]int, error) {
	dir, err := b.root.Open(uploadPath(up))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil && name == partName(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	const op = "ListParts"
	state, err := b.upload(ctx, op, up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	numbers, err := b.partNumbers(up)
	if isMissing(err) {
		return upstream.PartsPage{}, upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	if err != nil {
		return upstream.PartsPage{}, fail(op, err)
	}
	page := upstream.PartsPage{StorageClass: state.StorageClass}
	start, _ := slices.BinarySearch(numbers, after+1)
	for _, n := range numbers[start:] {
		if len(page.Parts) >= limit {
			page.More = true
			break
		}
		if err := alive(ctx, op); err != nil {
			return upstream.PartsPage{}, err
		}
		f, p, err := b.openPart(up, n)
		if err != nil {
			return upstream.PartsPage{}, fail(op, err)
		}
		if f != nil {
			_ = f.Close() // only read
			page.Parts = append(page.Parts, p)
		}
	}
	return page, nil
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	const op = "ListUploads"
	k, err := b.open(ctx, op, req.Bucket)
	if err != nil {
		return upstream.UploadsPage{}, err
	}
	k.close()
	dir, err := b.root.Open(uploadsDir + "/" + req.Bucket)
	if isMissing(err) {
		return upstream.UploadsPage{}, nil
	}
	if err != nil {
		return upstream.UploadsPage{}, fail(op, err)
	}
	defer func() { _ = dir.Close() }()
	ids, err := dir.Readdirnames(-1)
	if err != nil && !isMissing(err) {
		return upstream.UploadsPage{}, fail(op, err)
	}
	var all []upstream.UploadInfo
	for _, id := range ids {
		if err := alive(ctx, op); err != nil {
			return upstream.UploadsPage{}, err
		}
		state, err := b.readUpload(upstream.Upload{Loc: upstream.Loc{Bucket: req.Bucket}, ID: id})
		if isMissing(err) {
			continue
		}
		if err != nil {
			b.log.Warn().Err(err).Msg("an upload cannot be listed")
			continue
		}
		all = append(all, upstream.UploadInfo{
			Key: state.Key, ID: id, Started: time.Unix(0, state.Started).UTC(), StorageClass: state.StorageClass,
		})
	}
	return semantics.PageUploads(req, all), nil
}
