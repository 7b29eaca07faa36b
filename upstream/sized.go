package upstream

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

var errStopped = errors.New("the request of this body has ended")

// SizedReader is the request body that drivers read: exactly Size bytes of a source, the last of
// them only after the source has reported io.EOF, so that whatever commits at the right length
// cannot commit a body that is too long or whose verification fails at its end.
//
// It is safe for concurrent use: an HTTP client may still be reading a body when the call that it
// belongs to has returned.
type SizedReader struct {
	size int64
	mu   struct {
		sync.Mutex
		src     io.Reader
		left    int64
		eof     bool // src has reported io.EOF
		stopped bool
	}
	started atomic.Bool
	done    atomic.Bool
	failed  atomic.Pointer[error]
}

// NewSizedReader wraps src, which should deliver size bytes.
func NewSizedReader(src io.Reader, size int64) *SizedReader {
	r := &SizedReader{size: size}
	r.mu.src, r.mu.left = src, size
	return r
}

// Size is the number of bytes that a complete body has.
func (r *SizedReader) Size() int64 { return r.size }

// Err is the first failure of the source, as the source returned it, or an *Error with TooShort
// or Invalid for a source of the wrong length; nil as long as there is none.
func (r *SizedReader) Err() error {
	if p := r.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// Started reports whether anything has been asked of the source.
func (r *SizedReader) Started() bool { return r.started.Load() }

// Done reports whether the whole body has been delivered and its end confirmed.
func (r *SizedReader) Done() bool { return r.done.Load() }

// Stop keeps the source from being read again; it waits for a Read under way.
func (r *SizedReader) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.stopped = true
}

// Read returns io.EOF after the last byte, and the first failure from then on.
func (r *SizedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.stopped {
		return 0, errStopped
	}
	if err := r.Err(); err != nil {
		return 0, err
	}
	if r.Done() {
		return 0, io.EOF
	}
	if len(p) == 0 && r.mu.left > 0 {
		return 0, nil
	}
	r.started.Store(true)
	p = p[:min(int64(len(p)), r.mu.left)]
	n, err := r.fillLocked(p)
	if err != nil {
		return n, r.fail(err)
	}
	if int64(n) == r.mu.left {
		if err := r.confirmEndLocked(); err != nil {
			return 0, r.fail(err)
		}
		r.done.Store(true)
	}
	r.mu.left -= int64(n)
	if n == 0 && r.Done() {
		return 0, io.EOF
	}
	return n, nil
}

// fillLocked reads once into p, and notes io.EOF instead of returning it.
func (r *SizedReader) fillLocked(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for range 100 {
		n, err := r.mu.src.Read(p)
		if err == io.EOF {
			r.mu.eof = true
			if int64(n) < r.mu.left {
				return 0, Errorf(TooShort, "Read", "%d of %d bytes: %w", r.size-r.mu.left+int64(n), r.size, io.ErrUnexpectedEOF)
			}
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (r *SizedReader) confirmEndLocked() error {
	var one [1]byte
	for range 100 {
		if r.mu.eof {
			return nil
		}
		n, err := r.mu.src.Read(one[:])
		switch {
		case n > 0:
			return Errorf(Invalid, "Read", "the body has more than %d bytes", r.size)
		case err == io.EOF:
			r.mu.eof = true
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

func (r *SizedReader) fail(err error) error {
	r.failed.CompareAndSwap(nil, &err)
	return err
}
