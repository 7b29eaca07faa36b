package semantics

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"sync"

	"unistore/checksum"
	"unistore/object"
	"unistore/upstream"
)

// The two meanings that S3 gives to a checksum of an object made of parts.
const (
	FullObject = "FULL_OBJECT"
	Composite  = "COMPOSITE"
)

// copyBuffer is the unit in which bodies are read: one write and one hash update each.
const copyBuffer = 256 << 10

var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Body is what a client sends: fields as in upstream.PutRequest.
type Body struct {
	Reader   io.Reader
	Size     int64
	Checksum *object.Checksum
	Trailing func() []object.Checksum
	MD5      string
	// TrailingAlgorithm as in upstream.PutRequest.
	TrailingAlgorithm string
	// Compute names an algorithm whose checksum is wanted even if the client sent none, or is empty.
	Compute string
}

// Ingested is what is known of a body once it has been read and verified.
type Ingested struct {
	ETag      string // hex MD5
	Checksums []object.Checksum
}

// Ingest copies b to dst up to io.EOF and verifies size, MD5 and checksum on the way.
// It fails with TooShort, BadDigest, Cancelled, with Invalid for a body that is longer than its size or
// fails for a reason of its own (which errors.Is still finds), or with an error of dst.
func Ingest(ctx context.Context, op string, dst io.Writer, b Body) (Ingested, error) {
	sums, err := newSums(op, b)
	if err != nil {
		return Ingested{}, err
	}
	if err := copyBody(ctx, op, io.MultiWriter(sums.md5, sums), dst, b); err != nil {
		return Ingested{}, err
	}
	digest := sums.md5.Sum(nil)
	if b.MD5 != "" {
		want, err := base64.StdEncoding.DecodeString(b.MD5)
		if err != nil || !bytes.Equal(want, digest) {
			return Ingested{}, upstream.Errorf(upstream.BadDigest, op, "Content-MD5 does not match the body")
		}
	}
	kept, err := sums.verify(op, b)
	if err != nil {
		return Ingested{}, err
	}
	return Ingested{ETag: hex.EncodeToString(digest), Checksums: kept}, nil
}

// sums hashes a body with every algorithm that is asked for.
type sums struct {
	md5    hash.Hash
	hashes map[string]hash.Hash // by algorithm
}

func newSums(op string, b Body) (*sums, error) {
	s := &sums{md5: md5.New(), hashes: map[string]hash.Hash{}}
	wanted := []string{b.Compute, b.TrailingAlgorithm}
	if b.Checksum != nil {
		wanted = append(wanted, b.Checksum.Algorithm)
	}
	for _, alg := range wanted {
		if alg == "" || s.hashes[alg] != nil {
			continue
		}
		h, ok := checksum.New(alg)
		if !ok {
			return nil, upstream.Errorf(upstream.Invalid, op, "unknown checksum algorithm %q", alg)
		}
		s.hashes[alg] = h
	}
	return s, nil
}

func (s *sums) Write(p []byte) (int, error) {
	for _, h := range s.hashes {
		_, _ = h.Write(p) // a hash.Hash never fails
	}
	return len(p), nil
}

// verify compares what was hashed with what the client promised, and returns all that is known.
// A trailing checksum of an algorithm that was not hashed has been verified by the body's reader.
func (s *sums) verify(op string, b Body) ([]object.Checksum, error) {
	var promised []object.Checksum
	if b.Checksum != nil {
		promised = append(promised, *b.Checksum)
	}
	if b.Trailing != nil {
		promised = append(promised, b.Trailing()...)
	}
	known := map[string]string{}
	for alg, h := range s.hashes {
		known[alg] = checksum.Encode(h)
	}
	for _, p := range promised {
		if got, ok := known[p.Algorithm]; ok && got != p.Value {
			return nil, upstream.Errorf(upstream.BadDigest, op, "%s checksum does not match the body", p.Algorithm)
		}
		known[p.Algorithm] = p.Value
	}
	kept := make([]object.Checksum, 0, len(known))
	for alg, value := range known {
		kept = append(kept, object.Checksum{Algorithm: alg, Value: value, Type: FullObject})
	}
	slices.SortFunc(kept, func(a, b object.Checksum) int { return cmpString(a.Algorithm, b.Algorithm) })
	return kept, nil
}

func copyBody(ctx context.Context, op string, sums, dst io.Writer, b Body) error {
	buf, ok := buffers.Get().(*[copyBuffer]byte)
	if !ok {
		buf = new([copyBuffer]byte)
	}
	defer buffers.Put(buf)
	var got int64
	for empty := 0; empty < 100; empty++ {
		if err := ctx.Err(); err != nil {
			return upstream.Errorf(upstream.Cancelled, op, "%w", err)
		}
		n, err := b.Reader.Read(buf[:])
		if n > 0 {
			empty = 0
			if got += int64(n); got > b.Size {
				return upstream.Errorf(upstream.Invalid, op, "the body is longer than its %d bytes", b.Size)
			}
			_, _ = sums.Write(buf[:n])
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && got < b.Size:
			return upstream.Errorf(upstream.TooShort, op, "%d of %d bytes", got, b.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return bodyError(ctx, op, err)
		}
	}
	return bodyError(ctx, op, io.ErrNoProgress)
}

// bodyError gives the failure of a client's body a code. A body that is another store's stream keeps
// the code of that store.
func bodyError(ctx context.Context, op string, err error) error {
	code := upstream.Invalid
	inner, coded := errors.AsType[*upstream.Error](err)
	switch {
	case ctx.Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = upstream.Cancelled
	case coded:
		code = inner.Code
	case errors.Is(err, io.ErrUnexpectedEOF):
		code = upstream.TooShort
	}
	return upstream.Errorf(code, op, "reading the body: %w", err)
}
