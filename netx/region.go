package netx

import (
	"errors"
	"io"
	"os"
)

// FileRegion is the next Len bytes of File at Off, as a body. It never moves File's own position: any number of
// regions and goroutines share one handle. Sending or reading it advances Off and reduces Len. Closing
// File meanwhile is safe: the region fails. It is deliberately no io.WriterTo, which would keep
// io.Copy from Conn.ReadFrom.
type FileRegion struct {
	File     *os.File
	Off, Len int64
	// KeepErr puts a FileError into Err: Conn.ReadFrom ends early without an error then, so that a bufio.Writer in
	// between, which keeps any error for good, can go on with bytes from elsewhere.
	KeepErr bool
	Err     error
}

// FileError is a failure of the file of a FileRegion; the connection is sound. A file that ends before
// the region does is io.ErrUnexpectedEOF.
type FileError struct{ Err error }

func (e *FileError) Error() string { return "netx: read file region: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Read copies from the region. It returns io.EOF at its end.
func (r *FileRegion) Read(p []byte) (int, error) {
	if r.Len <= 0 {
		return 0, io.EOF
	}
	n, err := r.peek(p)
	r.advance(n)
	return n, err
}

// peek reads without advancing. Len is above 0.
func (r *FileRegion) peek(p []byte) (int, error) {
	p = p[:min(int64(len(p)), r.Len)]
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.File.ReadAt(p, r.Off)
	switch {
	case n > 0: // an error comes back with the next bytes
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, &FileError{io.ErrUnexpectedEOF}
	}
	return 0, &FileError{err}
}

func (r *FileRegion) advance(n int) {
	r.Off += int64(n)
	r.Len -= int64(n)
}
