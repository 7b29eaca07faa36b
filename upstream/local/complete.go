package local

import (
	"context"
	"errors"
	"io"
	"os"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// copyStep is how much is copied between two looks at the context.
const copyStep = 64 << 20

// CompleteUpload implements upstream.Multiparter.
func (b *Backend) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	const op = "CompleteUpload"
	if err := b.writable(ctx, op); err != nil {
		return object.Attrs{}, err
	}
	unlock, err := b.names.Lock(ctx, up.ID) // one end for each upload
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	defer unlock()
	state, err := b.upload(ctx, op, up)
	if err != nil {
		return object.Attrs{}, err
	}
	parts, r, err := b.plan(op, up, state, req)
	if err != nil {
		return object.Attrs{}, fail(op, err)
	}
	k, tmp, err := b.begin(ctx, op, up.Loc)
	if err != nil {
		return object.Attrs{}, err
	}
	defer k.close()
	defer tmp.discard()
	for _, p := range parts {
		if err := b.appendPart(ctx, op, tmp.f, up, p); err != nil {
			return object.Attrs{}, fail(op, err)
		}
	}
	attrs, err := b.commit(ctx, op, k, up.Key, tmp, r, condition{req.IfMatch, req.IfNoneMatch})
	if err != nil {
		return object.Attrs{}, err
	}
	b.point(pointCompleted, up.Bucket, up.Key)
	// The object is there; parts that stay behind do no harm and can be aborted.
	if err := b.area.discard(uploadPath(up)); err != nil {
		b.log.Warn().Err(err).Str("upload", up.ID).Msg("a completed upload stays behind")
	}
	return attrs, nil
}

// plan returns the parts of the object to be, and its record.
func (b *Backend) plan(op string, up upstream.Upload, state *semantics.UploadRecord, req upstream.CompleteRequest) (
	[]upstream.Part, *semantics.Record, error) {
	parts, err := semantics.SelectParts(op, req, b.Limits().MinPart, func(number int) (upstream.Part, bool, error) {
		f, p, err := b.openPart(up, number)
		if f == nil || err != nil {
			return p, false, err
		}
		return p, true, f.Close()
	})
	if err != nil {
		return nil, nil, err
	}
	r, err := semantics.PlanObject(op, state, parts, req)
	return parts, r, err
}

// appendPart copies a part to the end of dst. Should another have taken its number since the plan was
// made, it fails with InvalidPart.
func (b *Backend) appendPart(ctx context.Context, op string, dst *os.File, up upstream.Upload, want upstream.Part) error {
	f, have, err := b.openPart(up, want.Number)
	if err != nil {
		return err
	}
	if f == nil {
		return upstream.Errorf(upstream.InvalidPart, op, "part %d", want.Number)
	}
	defer func() { _ = f.Close() }()
	if have.ETag != want.ETag || have.Size != want.Size {
		return upstream.Errorf(upstream.InvalidPart, op, "part %d was replaced", want.Number)
	}
	return copyBytes(ctx, op, dst, f, want.Size)
}

// copyBytes copies n bytes from one file to another, where the system can without moving them through
// this process (copy_file_range).
func copyBytes(ctx context.Context, op string, dst, src *os.File, n int64) error {
	for n > 0 {
		if err := alive(ctx, op); err != nil {
			return err
		}
		got, err := io.CopyN(dst, src, min(n, copyStep))
		n -= got
		if errors.Is(err, io.EOF) {
			return upstream.Errorf(upstream.Unavailable, op, "the file was cut: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
