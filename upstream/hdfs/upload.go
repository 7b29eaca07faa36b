package hdfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// frozen ends the name of the directory of an upload that is being completed: no part comes to it any more.
const frozen = ".complete"

// uploadDir returns where an upload is while parts come.
func (b *Backend) uploadDir(up upstream.Upload) string { return b.uploadsOf(up.Bucket) + "/" + up.ID }

func partName(number int) string { return fmt.Sprintf("%05d", number) }

// partNumber is the inverse of partName.
func partNumber(name string) (int, bool) {
	n, err := strconv.Atoi(name)
	return n, err == nil && name == partName(n)
}

// CreateUpload implements upstream.Multiparter. The upload is a directory whose attributes tell of it; it
// appears complete, by one rename.
func (b *Backend) CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	const op = "CreateUpload"
	if err := semantics.CheckUpload(op, req); err != nil {
		return "", err
	}
	if err := b.begin(ctx, op, loc); err != nil {
		return "", err
	}
	dir, err := b.stageDir(ctx, op)
	if err != nil {
		return "", err
	}
	started := time.Now()
	id := semantics.NewUploadID(started)
	err = b.writePieces(ctx, op, dir, semantics.KeepUpload(loc.Key, started, req))
	if err == nil {
		err = b.nn.Mkdir(ctx, b.uploadsOf(loc.Bucket), true)
	}
	if err == nil {
		err = b.nn.Rename(ctx, dir, b.uploadsOf(loc.Bucket)+"/"+id, false)
	}
	if err != nil {
		b.area.discard(dir)
		return "", fail(op, err)
	}
	return id, nil
}

// upload returns an unfinished upload and its directory, or NoUpload.
func (b *Backend) upload(ctx context.Context, op string, up upstream.Upload) (*semantics.UploadRecord, string, error) {
	if err := alive(ctx, op); err != nil {
		return nil, "", err
	}
	if !validBucket(up.Bucket) {
		return nil, "", upstream.Errorf(upstream.NoBucket, op, "%q", up.Bucket)
	}
	if !semantics.ValidUploadID(up.ID) {
		return nil, "", b.noUpload(ctx, op, up)
	}
	for _, dir := range []string{b.uploadDir(up), b.uploadDir(up) + frozen} {
		record, err := b.readUpload(ctx, dir)
		switch {
		case isMissing(err):
			continue
		case err != nil:
			return nil, "", fail(op, err)
		case record.Key == up.Key:
			return record, dir, nil
		}
	}
	return nil, "", b.noUpload(ctx, op, up)
}

func (b *Backend) noUpload(ctx context.Context, op string, up upstream.Upload) error {
	if err := b.bucket(ctx, op, up.Bucket); err != nil {
		return err
	}
	return upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
}

func (b *Backend) readUpload(ctx context.Context, dir string) (*semantics.UploadRecord, error) {
	data, err := b.readPieces(ctx, dir)
	if err != nil {
		return nil, err
	}
	var record semantics.UploadRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return nil, fmt.Errorf("the state of an upload: %w", err)
	}
	return &record, nil
}

// UploadPart implements upstream.Multiparter.
func (b *Backend) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	const op = "UploadPart"
	record, _, err := b.upload(ctx, op, up)
	if err != nil {
		return upstream.Part{}, err
	}
	if err := semantics.CheckPart(op, number, req.Size, b.Limits()); err != nil {
		return upstream.Part{}, err
	}
	tmp, err := b.stage(ctx, op)
	if err != nil {
		return upstream.Part{}, err
	}
	defer tmp.discard()
	got, err := semantics.Ingest(ctx, op, tmp, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5, Compute: record.Algorithm,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
	if err == nil {
		err = tmp.close()
	}
	if err != nil {
		return upstream.Part{}, transferError(ctx, op, err)
	}
	return b.placePart(ctx, op, up, tmp, upstream.Part{Number: number, Size: req.Size, ETag: got.ETag, Checksums: got.Checksums, ETagMD5: true})
}

// placePart makes a closed file a part, instead of the one that had its number.
func (b *Backend) placePart(ctx context.Context, op string, up upstream.Upload, tmp *staged, part upstream.Part) (upstream.Part, error) {
	status, err := tmp.status(op)
	if err != nil {
		return upstream.Part{}, err
	}
	part.ModTime = timeOf(status)
	if err := b.writePieces(ctx, op, inode(tmp.id), semantics.KeepPart(part)); err != nil {
		return upstream.Part{}, fail(op, err)
	}
	place := func() error {
		return b.nn.Rename(ctx, inode(tmp.id), b.uploadDir(up)+"/"+partName(part.Number), true)
	}
	if err = place(); isMissing(err) { // it has ended, or is about to
		err = b.whenOpen(ctx, op, up, place)
	}
	if err != nil {
		return upstream.Part{}, fail(op, err)
	}
	tmp.done = true
	return part, nil
}

// whenOpen calls place after a completion that is under way, which may have been refused.
func (b *Backend) whenOpen(ctx context.Context, op string, up upstream.Upload, place func() error) error {
	unlock, err := b.ends.Lock(ctx, up.ID)
	if err != nil {
		return err
	}
	defer unlock()
	_, dir, err := b.upload(ctx, op, up)
	if err != nil {
		return err
	}
	if dir != b.uploadDir(up) {
		return upstream.Errorf(upstream.Unavailable, op, "upload %q is being completed", up.ID)
	}
	return place()
}

// AbortUpload implements upstream.Multiparter.
func (b *Backend) AbortUpload(ctx context.Context, up upstream.Upload) error {
	const op = "AbortUpload"
	unlock, err := b.ends.Lock(ctx, up.ID) // not in the middle of CompleteUpload
	if err != nil {
		return fail(op, err)
	}
	defer unlock()
	_, dir, err := b.upload(ctx, op, up)
	if err != nil {
		return err
	}
	removed, err := b.nn.Delete(ctx, dir, true)
	if isMissing(err) || (err == nil && !removed) {
		return upstream.Errorf(upstream.NoUpload, op, "%q", up.ID)
	}
	return fail(op, err)
}

// partFiles returns the files of an upload's parts by number.
func partFiles(entries []*wire.FileStatus) map[int]*wire.FileStatus {
	files := map[int]*wire.FileStatus{}
	for _, s := range entries {
		if n, ok := partNumber(string(s.GetPath())); ok && isFile(s) {
			files[n] = s
		}
	}
	return files
}

// readParts returns what is known of the files of parts, except those that are gone.
func (b *Backend) readParts(ctx context.Context, files map[int]*wire.FileStatus, numbers []int) (map[int]upstream.Part, error) {
	found := make([]*upstream.Part, len(numbers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, n := range numbers {
		s := files[n]
		if s == nil {
			continue
		}
		group.Go(func() error {
			data, err := b.readPieces(ctx, inode(s.GetFileId()))
			if isMissing(err) {
				return nil
			}
			if err != nil {
				return err
			}
			var r semantics.PartRecord
			if err := json.Unmarshal(data, &r); err != nil || r.Number != n || r.Size != int64(s.GetLength()) {
				return errors.Join(fmt.Errorf("the file of part %d is damaged", n), err)
			}
			part := r.Part(timeOf(s))
			found[i] = &part
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	parts := map[int]upstream.Part{}
	for _, p := range found {
		if p != nil {
			parts[p.Number] = *p
		}
	}
	return parts, nil
}

// ListParts implements upstream.Multiparter.
func (b *Backend) ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error) {
	const op = "ListParts"
	record, dir, err := b.upload(ctx, op, up)
	if err != nil {
		return upstream.PartsPage{}, err
	}
	a, err := b.assembly(ctx, dir)
	if err != nil {
		return upstream.PartsPage{}, fail(op, err)
	}
	var numbers []int
	for n := range a.files {
		numbers = append(numbers, n)
	}
	for n := range a.parts {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	start, _ := slices.BinarySearch(numbers, after+1)
	page := upstream.PartsPage{StorageClass: record.StorageClass}
	numbers = numbers[start:]
	if len(numbers) > limit {
		page.More, numbers = true, numbers[:limit]
	}
	parts, err := b.readParts(ctx, a.files, numbers)
	if err != nil {
		return upstream.PartsPage{}, fail(op, err)
	}
	for _, n := range numbers {
		if p, ok := parts[n]; ok {
			page.Parts = append(page.Parts, p)
		} else if p, ok := a.parts[n]; ok {
			page.Parts = append(page.Parts, p)
		}
	}
	return page, nil
}

// ListUploads implements upstream.Multiparter.
func (b *Backend) ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error) {
	const op = "ListUploads"
	if err := b.bucket(ctx, op, req.Bucket); err != nil {
		return upstream.UploadsPage{}, err
	}
	entries, err := b.readDir(ctx, b.uploadsOf(req.Bucket))
	if err != nil {
		return upstream.UploadsPage{}, fail(op, err)
	}
	infos := make([]*upstream.UploadInfo, len(entries))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, s := range entries {
		group.Go(func() error {
			record, err := b.readUpload(gctx, inode(s.GetFileId()))
			if err != nil {
				if gctx.Err() == nil && !isMissing(err) {
					b.log.Warn().Err(err).Msg("an upload cannot be listed")
				}
				return gctx.Err()
			}
			infos[i] = &upstream.UploadInfo{
				Key: record.Key, ID: strings.TrimSuffix(string(s.GetPath()), frozen),
				Started: time.Unix(0, record.Started).UTC(), StorageClass: record.StorageClass,
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return upstream.UploadsPage{}, fail(op, err)
	}
	var all []upstream.UploadInfo
	for _, info := range infos {
		if info != nil {
			all = append(all, *info)
		}
	}
	return semantics.PageUploads(req, all), nil
}
