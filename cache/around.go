package cache

import (
	"errors"
	"io"

	"unistore/byterange"
)

// around is a read from the upstream past the cache: a body of its own, at the client's speed.
type around struct {
	body io.ReadCloser // nil: to be opened at the reader's position
	off  int64         // of the body's next byte
	left int64         // bytes that the body still has
	buf  *pageBuf
}

// goAround makes the reader go on without the cache, from where it is.
func (r *Reader) goAround() { r.goAroundWith(nil) }

// goAroundWith does so with the response that is under way, when there is one.
func (r *Reader) goAroundWith(first *First) {
	if r.around != nil {
		first.close()
		return
	}
	r.leaveAll()
	r.around = &around{}
	if first == nil {
		return
	}
	if !first.Range.Contains(byterange.Range{Off: r.pos, Len: 1}) {
		first.close()
		return
	}
	r.around.body, r.around.off, r.around.left = first.Body, first.Range.Off, first.Range.Len
}

// close lets go of the body and the buffer. a may be nil.
func (a *around) close() {
	if a == nil {
		return
	}
	a.closeBody()
	if a.buf != nil {
		pageBufs.Put(a.buf)
		a.buf = nil
	}
}

func (a *around) closeBody() {
	if a.body != nil {
		_ = a.body.Close() // after an error or in the middle: it has nothing to say
		a.body = nil
	}
}

// nextAround returns the next bytes of the upstream's body. A body that breaks is opened again where it broke.
func (r *Reader) nextAround() (*span, error) {
	a := r.around
	if a.buf == nil {
		a.buf = pageBufs.Get().(*pageBuf)
	}
	for {
		if a.body != nil && a.left == 0 {
			a.closeBody()
		}
		if a.body == nil {
			rng := byterange.Range{Off: r.pos, Len: r.end - r.pos}
			body, err := r.req.Fetch(r.ctx, rng)
			if err != nil {
				return nil, err
			}
			a.body, a.off, a.left = body, rng.Off, rng.Len
		}
		data, err := r.readAround()
		if err == nil {
			return &span{r: r, mem: data, n: int64(len(data))}, nil
		}
		a.closeBody()
		if ctxErr := r.ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		if r.failures++; r.failures >= maxFailures || errors.Is(err, ErrChanged) {
			return nil, err
		}
	}
}

// maxIdleReads is how often a body may deliver neither a byte nor an error, as in package bufio.
const maxIdleReads = 100

// readAround reads on to the reader's position and returns the bytes there. The last bytes of a body are given
// only after its end was seen, where an upstream may still report that they were wrong.
func (r *Reader) readAround() ([]byte, error) {
	a := r.around
	for idle := 0; ; {
		want := min(int64(len(a.buf)), a.left, r.end-a.off)
		if a.off < r.pos {
			want = min(want, r.pos-a.off)
		}
		n, err := a.body.Read(a.buf[:want])
		if n == 0 && err == nil {
			if idle++; idle == maxIdleReads {
				return nil, io.ErrNoProgress
			}
			continue
		}
		skip := a.off < r.pos
		a.off += int64(n)
		a.left -= int64(n)
		switch {
		case n == 0:
			return nil, endedEarly(err)
		case a.left == 0 && err == nil:
			err = atEnd(a.body)
		case a.left == 0 && errors.Is(err, io.EOF):
			err = nil
		case errors.Is(err, io.EOF):
			err = nil // too early: the next Read says so
		}
		if a.left == 0 && err != nil {
			return nil, err
		}
		if !skip {
			return a.buf[:n], nil
		}
	}
}
