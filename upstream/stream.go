package upstream

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"

	"unistore/byterange"
)

// checkStream compares what the store answered with what was asked. A store that ignores a range or
// a condition must not get its bytes served under another name.
func checkStream(st *Stream, opts OpenOptions) error {
	switch {
	case st == nil || st.Body == nil:
		return Errorf(Unavailable, "Open", "the driver returned no stream")
	case st.Range.Off < 0 || st.Range.Len < 0 || st.Range.End() > st.Attrs.Size:
		return Errorf(Unavailable, "Open", "range %+v of an object of %d bytes", st.Range, st.Attrs.Size)
	case opts.IfMatch != "" && st.Attrs.ETag != opts.IfMatch:
		return &Error{Code: Changed, Op: "Open", Message: "the store answered with another version"}
	case opts.PartNumber != 0:
		return nil
	}
	want, err := opts.Range.Resolve(st.Attrs.Size)
	if errors.Is(err, byterange.ErrUnsatisfiable) {
		return &Error{Code: RangeError, Op: "Open", Err: err}
	}
	if want != st.Range {
		return Errorf(Unavailable, "Open", "the store answered with range %+v, asked for %+v", st.Range, want)
	}
	return nil
}

// streamBody is the Body of a Stream: it holds its attempt's slot until Close, cancels the request
// when a Read makes no progress for idle, and makes a wrong length an error.
type streamBody struct {
	a    *attempt
	body io.ReadCloser
	idle time.Duration

	left int64 // bytes that Read still owes
	err  error // what ended the stream; Read repeats it

	closeOnce sync.Once
	closeErr  error
}

func newStreamBody(a *attempt, st *Stream) *streamBody {
	return &streamBody{a: a, body: st.Body, idle: a.s.cfg.IdleTimeout, left: st.Range.Len}
}

func (b *streamBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		b.err = b.atEnd()
		return 0, b.err
	}
	n, err := b.read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.a.s.in.Add(float64(n))
	switch {
	case err == nil:
	case err == io.EOF && b.left == 0:
		b.err = io.EOF
	case err == io.EOF:
		b.err = Errorf(Unavailable, "Open", "%d bytes missing: %w", b.left, io.ErrUnexpectedEOF)
	default:
		b.err = b.fail(err)
	}
	return n, b.err
}

// atEnd makes sure that the store has no more bytes than it announced.
func (b *streamBody) atEnd() error {
	var one [1]byte
	for range 100 {
		n, err := b.read(one[:])
		switch {
		case n > 0:
			return Errorf(Unavailable, "Open", "the store sent more bytes than it announced")
		case err == io.EOF:
			return io.EOF
		case err != nil:
			return b.fail(err)
		}
	}
	return b.fail(io.ErrNoProgress)
}

func (b *streamBody) read(p []byte) (int, error) {
	b.a.watch.Reset(b.idle)
	n, err := b.body.Read(p)
	b.a.watch.Stop()
	return n, err
}

func (b *streamBody) fail(err error) error { return b.a.settle(err) }

// Close cancels what is left and frees the slot. It may be called while a Read is under way.
func (b *streamBody) Close() error {
	b.closeOnce.Do(func() {
		b.a.cancel(fs.ErrClosed)
		b.closeErr = b.body.Close()
		b.a.end(nil)
	})
	return b.closeErr
}
