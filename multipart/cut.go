package multipart

import (
	"context"
	"errors"
	"io"

	"unistore/upstream"
)

// opPut is the operation that errors of this package name.
const opPut = "Put"

// What a body of unknown length gets for its first piece, before it has shown that it is longer. After
// secondBuffer comes the whole piece.
const (
	firstBuffer  = 64 << 10
	secondBuffer = 1 << 20
)

// cutter reads a body in order and cuts it. It looks one byte ahead, so that a piece is known to be the
// last when it is returned. One goroutine uses it.
type cutter struct {
	src   io.Reader
	size  int64 // what src should deliver, or -1
	at    int64 // bytes returned
	ahead int   // 1 when byte holds the next byte
	one   [1]byte
	eof   bool
}

// next returns the next n bytes, or fewer when the body ends before, and whether it ends here.
// Buffers come from mem. The error is an *upstream.Error.
func (c *cutter) next(ctx context.Context, n int64, mem *pool) (data []byte, last bool, err error) {
	if c.size >= 0 {
		n = min(n, max(c.size-c.at, 0))
	}
	buf := c.firstBuffer(n, mem)
	filled := 0
	for {
		if filled, err = c.fill(ctx, buf, filled); err != nil {
			return nil, false, bodyError(ctx, err)
		}
		if c.ended() || int64(filled) == n {
			break
		}
		grown := n
		if int64(filled) < secondBuffer {
			grown = min(n, secondBuffer)
		}
		bigger := mem.buffer(grown)
		copy(bigger, buf)
		buf = bigger
	}
	c.at += int64(filled)
	if err := c.checkLength(); err != nil {
		return nil, false, err
	}
	return buf[:filled], c.ended(), nil
}

// firstBuffer is the buffer to start a piece of at most n bytes with: all of it, unless the body is
// of unknown length and may be short.
func (c *cutter) firstBuffer(n int64, mem *pool) []byte {
	if c.size < 0 && c.at == 0 {
		n = min(n, firstBuffer)
	}
	return mem.buffer(n)
}

func (c *cutter) ended() bool { return c.eof && c.ahead == 0 }

// fill reads into buf from offset filled on until buf is full and one more byte, or the end, is known.
func (c *cutter) fill(ctx context.Context, buf []byte, filled int) (int, error) {
	if c.ahead == 1 && filled < len(buf) {
		buf[filled] = c.one[0]
		filled++
		c.ahead = 0
	}
	for filled < len(buf) && !c.eof {
		n, err := c.read(ctx, buf[filled:])
		filled += n
		if err != nil {
			return filled, err
		}
	}
	if c.ahead == 0 && !c.eof {
		n, err := c.read(ctx, c.one[:])
		c.ahead = n
		return filled, err
	}
	return filled, nil
}

// read reads at least one byte, or notes the end.
func (c *cutter) read(ctx context.Context, p []byte) (int, error) {
	for range 100 { // empty reads are legal, but not for ever
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		n, err := c.src.Read(p)
		if err == io.EOF {
			c.eof = true
			err = nil
		}
		if n > 0 || c.eof || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (c *cutter) checkLength() error {
	switch {
	case c.size < 0:
	case c.ended() && c.at < c.size:
		return upstream.Errorf(upstream.TooShort, opPut, "%d of %d bytes", c.at, c.size)
	case !c.ended() && c.at >= c.size:
		return upstream.Errorf(upstream.Invalid, opPut, "the body is longer than its %d bytes", c.size)
	}
	return nil
}

// bodyError gives the failure of a body a code; errors.Is and errors.As find the failure itself. A body
// that is another store's stream keeps the code of that store.
func bodyError(ctx context.Context, err error) error {
	inner, coded := errors.AsType[*upstream.Error](err)
	code := upstream.Invalid
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = upstream.Cancelled
	case coded:
		code = inner.Code
	case errors.Is(err, io.ErrUnexpectedEOF):
		code = upstream.TooShort
	}
	return upstream.Errorf(code, opPut, "reading the body: %w", err)
}
