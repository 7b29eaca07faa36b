package multipart

import (
	"context"
	"errors"
	"io"

	"unistore/upstream"
)

// opPut is the operation that errors of this package name.
const opPut = "Put"

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
// The caller has reserved the memory. The error is an *upstream.Error; what was read before it is lost.
func (c *cutter) next(ctx context.Context, n int64, mem *pool) (d data, last bool, err error) {
	if c.size >= 0 {
		n = min(n, max(c.size-c.at, 0))
	}
	for {
		block := mem.take()
		block = block[:min(int64(len(block)), n-d.size)]
		filled, err := c.fill(ctx, block)
		if err != nil {
			return data{}, false, bodyError(ctx, err)
		}
		if filled > 0 {
			d.blocks = append(d.blocks, block[:filled])
			d.size += int64(filled)
		}
		if c.ended() || d.size == n {
			break
		}
	}
	c.at += d.size
	if err := c.checkLength(); err != nil {
		return data{}, false, err
	}
	return d, c.ended(), nil
}

func (c *cutter) ended() bool { return c.eof && c.ahead == 0 }

// fill reads into buf until it is full and one more byte, or the end, is known.
func (c *cutter) fill(ctx context.Context, buf []byte) (filled int, err error) {
	if c.ahead == 1 && len(buf) > 0 {
		buf[0] = c.one[0]
		filled, c.ahead = 1, 0
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
