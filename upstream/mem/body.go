package mem

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync/atomic"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// body streams the bytes of one version until ctx is done or it is closed.
type body struct {
	ctx    context.Context
	r      *bytes.Reader
	closed atomic.Bool
}

func newBody(ctx context.Context, data []byte) *body {
	return &body{ctx: ctx, r: bytes.NewReader(data)}
}

func (b *body) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, os.ErrClosed
	}
	if err := alive(b.ctx, "Read"); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

func (b *body) Close() error {
	b.closed.Store(true)
	return nil
}

// maxReserve bounds the memory that is set aside on a client's word about the size of its body.
const maxReserve = 64 << 20

// ingest reads a whole body into memory and verifies it.
func ingest(ctx context.Context, op string, b semantics.Body) ([]byte, semantics.Ingested, error) {
	var buf bytes.Buffer
	buf.Grow(int(min(b.Size, maxReserve)))
	got, err := semantics.Ingest(ctx, op, &buf, b)
	if err != nil {
		return nil, got, err
	}
	return buf.Bytes(), got, nil
}

var _ io.ReadCloser = (*body)(nil)
var _ upstream.Backend = (*Backend)(nil)
