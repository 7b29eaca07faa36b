package s3

import (
	"errors"
	"fmt"
	"io"

	"unistore/upstream"
)

// section is the wanted part of an answer's body: skip bytes are dropped before it, tail bytes
// are left unread after it.
type section struct {
	r    *request
	body io.ReadCloser
	skip int64
	left int64
	tail int64
	err  error
}

func (s *section) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.skip > 0 {
		n, err := io.CopyN(io.Discard, s.body, s.skip)
		s.skip -= n
		if err != nil {
			s.err = s.fail(err)
			return 0, s.err
		}
	}
	if s.left == 0 && s.tail > 0 {
		s.err = io.EOF
		return 0, io.EOF
	}
	if s.left > 0 {
		p = p[:min(int64(len(p)), s.left)]
	} else if len(p) > 1 {
		p = p[:1] // only to see the end
	}
	n, err := s.body.Read(p)
	if int64(n) > s.left {
		s.err = upstream.Errorf(upstream.Unavailable, "Open", "more bytes than announced")
		return 0, s.err
	}
	s.left -= int64(n)
	if err != nil {
		s.err = s.fail(err)
	}
	return n, s.err
}

func (s *section) fail(err error) error {
	if errors.Is(err, io.EOF) && s.left == 0 && s.skip == 0 {
		return io.EOF
	}
	if c := s.r.caller.Err(); c != nil {
		return &upstream.Error{Code: upstream.Cancelled, Op: "Open", Err: c}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%d bytes missing: %w", s.left+s.skip, io.ErrUnexpectedEOF)
	}
	return &upstream.Error{Code: upstream.Unavailable, Op: "Open", Err: err}
}

// Close drops the connection unless the body has been read to its end.
func (s *section) Close() error { return s.body.Close() }
