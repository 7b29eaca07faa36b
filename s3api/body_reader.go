package s3api

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net"
	"strconv"

	"unistore/checksum"
)

// source is the raw body. It maps the errors of the connection and knows when the body was cut short.
type source struct {
	r    io.Reader
	size int64 // Content-Length, or -1
	got  int64
	err  error // of the next Read
}

// Read implements io.Reader. It never returns an error together with bytes. Its errors are io.EOF and *Error.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.got += int64(n)
	if err == nil {
		return n, nil
	}
	s.err = s.explain(err)
	if n > 0 {
		return n, nil
	}
	return 0, s.err
}

// explain maps an error of the connection. Only io.EOF itself is an end: one that is wrapped tells of broken framing.
func (s *source) explain(err error) error {
	if err == io.EOF && s.got >= s.size {
		return io.EOF
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return closing(&Error{Code: ErrRequestTimeout})
	}
	return closing(errBytes(s.size, s.got))
}

// finish implements decoder: a plain body is nothing but its bytes. An error that came with the last of them counts.
func (s *source) finish() error {
	if errors.Is(s.err, io.EOF) {
		return nil
	}
	return s.err
}

// closing marks the error of a connection that must not be read any more.
func closing(e *Error) *Error {
	e.Close = true
	return e
}

// errBytes is an IncompleteBody that tells how many bytes were missing; a negative count is not known.
func errBytes(expected, provided int64) *Error {
	e := &Error{Code: ErrIncompleteBody}
	if expected >= 0 {
		e.Fields = []Field{
			{"NumberBytesExpected", strconv.FormatInt(expected, 10)},
			{"NumberBytesProvided", strconv.FormatInt(provided, 10)},
		}
	}
	return e
}

// decoder delivers the decoded bytes of a body.
type decoder interface {
	// Read is io.Reader's, but never returns an error together with bytes.
	Read(p []byte) (int, error)
	// finish reads and verifies what follows the last decoded byte. It is called once, after that byte has been hashed.
	finish() error
}

// check is a checksum that the body must have.
type check struct {
	sum  hash.Hash
	want []byte
	fail func(got []byte) *Error
}

// bodyReader hashes a body as it is read and holds its last byte back until everything holds.
type bodyReader struct {
	src  *source
	dec  decoder
	left int64 // decoded bytes not delivered yet; -1 when not known

	hashes map[string]hash.Hash // by name, so that no algorithm runs twice
	checks []check

	held    byte // the last byte read, when left is -1 and holding
	holding bool
	err     error // of every later Read, once set
}

// hash returns the body's hash of that name: MD5 or a name of package checksum.
func (b *bodyReader) hash(name string) hash.Hash {
	if h, ok := b.hashes[name]; ok {
		return h
	}
	h, ok := checksum.New(name)
	if !ok {
		h = md5.New()
	}
	if b.hashes == nil {
		b.hashes = make(map[string]hash.Hash, 2)
	}
	b.hashes[name] = h
	return h
}

// verify sets up the checks of everything that is known before the body.
func (b *bodyReader) verify(pay payload, p promises) {
	if pay.mode == payloadHash {
		want := hex.EncodeToString(pay.sum[:])
		b.checks = append(b.checks, check{b.hash(checksum.SHA256), pay.sum[:], func(got []byte) *Error {
			return &Error{Code: ErrXAmzContentSHA256Mismatch, Fields: []Field{
				{"ClientComputedContentSHA256", want},
				{"S3ComputedContentSHA256", hex.EncodeToString(got)},
			}}
		}})
	}
	if p.checksum != nil {
		alg := p.checksum.Algorithm
		b.checks = append(b.checks, check{b.hash(alg), p.raw, func([]byte) *Error { return errChecksum(alg) }})
	}
	if p.md5 != "" {
		b.checks = append(b.checks, check{b.hash("MD5"), p.rawMD5, func(got []byte) *Error {
			return &Error{Code: ErrBadDigest, Fields: []Field{
				{"ExpectedDigest", p.md5},
				{"CalculatedDigest", base64.StdEncoding.EncodeToString(got)},
			}}
		}})
	}
}

func errChecksum(alg string) *Error {
	return &Error{Code: ErrBadDigest, Message: "The " + alg + " you specified did not match the calculated checksum."}
}

// Read implements io.Reader; see Body.
func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left < 0 {
		return b.readUnknown(p)
	}
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.dec.Read(p)
	b.write(p[:n])
	b.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF): // bytes were left
		return 0, b.fail(errBytes(b.src.size, b.src.got))
	case err != nil:
		return 0, b.fail(err)
	case b.left == 0:
		if err := b.finish(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// readUnknown reads a body that ends where its transfer coding ends: one byte is always held back, since any may be the
// last.
func (b *bodyReader) readUnknown(p []byte) (int, error) {
	for {
		n, err := b.readHolding(p)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			continue
		case !errors.Is(err, io.EOF):
			return 0, b.fail(err)
		}
		if err := b.finish(); err != nil {
			return 0, err
		}
		if !b.holding {
			return 0, io.EOF
		}
		p[0] = b.held
		return 1, nil
	}
}

// readHolding reads once and delivers the held byte and all new ones but the last.
func (b *bodyReader) readHolding(p []byte) (int, error) {
	if !b.holding {
		n, err := b.dec.Read(p)
		b.write(p[:n])
		if n > 0 {
			b.held, b.holding = p[n-1], true
			n--
		}
		return n, err
	}
	if len(p) == 1 {
		var next [1]byte
		n, err := b.dec.Read(next[:])
		b.write(next[:n])
		if n > 0 {
			p[0], b.held = b.held, next[0]
		}
		return n, err
	}
	n, err := b.dec.Read(p[1:])
	b.write(p[1 : 1+n])
	if n > 0 {
		p[0], b.held = b.held, p[n]
	}
	return n, err
}

// write hashes decoded bytes.
func (b *bodyReader) write(p []byte) {
	if len(p) == 0 {
		return
	}
	for _, h := range b.hashes {
		_, _ = h.Write(p) // a hash.Hash never fails
	}
}

// finish verifies everything once the last byte has been read. When all holds, later Reads get io.EOF.
func (b *bodyReader) finish() error {
	if err := b.dec.finish(); err != nil {
		return b.fail(err)
	}
	for _, c := range b.checks {
		if got := c.sum.Sum(nil); subtle.ConstantTimeCompare(got, c.want) != 1 {
			return b.fail(c.fail(got))
		}
	}
	b.err = io.EOF
	return nil
}

// fail makes err the error of every later Read. What has not been read of the raw body is not worth reading.
func (b *bodyReader) fail(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && !e.Close && b.src.got != b.src.size {
		failed := *e
		failed.Close = true
		err = &failed
	}
	b.err = err
	return err
}
