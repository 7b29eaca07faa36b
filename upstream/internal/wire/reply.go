package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

// maxSkip bounds what is read and dropped from a server that ignores Range.
const maxSkip = 16 << 20

// Reply is a good answer to a GET, to be compared with its question.
type Reply struct {
	Caller context.Context
	Op     string
	Status int
	Header http.Header
	Length int64 // of Body; -1 when it is not known
	Body   io.ReadCloser
	// Attrs reads the object's attributes, given its size.
	Attrs func(h http.Header, size int64) object.Attrs
}

// Stream checks the answer and cuts from it what opts ask for. The Body stays the caller's after an error.
func (r Reply) Stream(opts upstream.OpenOptions) (*upstream.Stream, error) {
	sent, size, err := Delivered(r.Status, r.Header, r.Length)
	if err != nil {
		return nil, upstream.Errorf(upstream.Unavailable, r.Op, "%w", err)
	}
	attrs := r.Attrs(r.Header, size)
	if attrs.ETag == "" {
		return nil, upstream.Errorf(upstream.Unavailable, r.Op, "GET without ETag")
	}
	if r.Status == http.StatusPartialContent && sent.Len != size {
		attrs.Checksums = nil // of what was sent, not of the object
	}
	want := sent
	if opts.PartNumber == 0 {
		if want, err = opts.Range.Resolve(size); err != nil {
			return nil, &upstream.Error{Code: upstream.RangeError, Op: r.Op, Err: err}
		}
	}
	if want != sent && (r.Status == http.StatusPartialContent || want.Off > maxSkip) {
		return nil, upstream.Errorf(upstream.Unavailable, r.Op, "asked for bytes %+v, was sent %+v", want, sent)
	}
	return &upstream.Stream{
		Attrs: attrs,
		Range: want,
		Body: &section{
			caller: r.Caller, op: r.Op, body: r.Body,
			skip: want.Off - sent.Off, left: want.Len, tail: sent.End() - want.End(),
		},
	}, nil
}

// emptyETag is that of an object without bytes: their MD5.
const emptyETag = `"d41d8cd98f00b204e9800998ecf8427e"`

// Delivered is what part of the object an answer carries, and the object's size.
func Delivered(status int, h http.Header, length int64) (sent byterange.Range, size int64, err error) {
	switch status {
	case http.StatusOK:
		if length < 0 {
			return sent, 0, errors.New("200 without Content-Length")
		}
		return byterange.Range{Len: length}, length, nil
	case http.StatusPartialContent:
		if length == 0 && strings.HasSuffix(h.Get("Content-Range"), "/0") {
			return sent, 0, nil // MinIO, for the last bytes of an empty object: "bytes 0--1/0"
		}
		if length == 0 && h.Get("Content-Range") == "" && h.Get("ETag") == emptyETag {
			return sent, 0, nil // MinIO, for part 1 of an empty object
		}
		sent, size, ok := ParseContentRange(h.Get("Content-Range"))
		if !ok || (length >= 0 && length != sent.Len) {
			return sent, 0, errors.New("206 with Content-Range " + strconv.Quote(h.Get("Content-Range")) + " and Content-Length " + strconv.FormatInt(length, 10))
		}
		return sent, size, nil
	default:
		return sent, 0, errors.New("status " + strconv.Itoa(status))
	}
}

// ParseContentRange reads "bytes FIRST-LAST/SIZE" (RFC 9110 section 14.4); SIZE must be known.
func ParseContentRange(v string) (r byterange.Range, size int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes ")
	span, total, ok2 := strings.Cut(v, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return r, 0, false
	}
	a, err1 := parseDigits(first)
	b, err2 := parseDigits(last)
	size, err3 := parseDigits(total)
	if err1 != nil || err2 != nil || err3 != nil || b < a || b >= size {
		return r, 0, false
	}
	return byterange.Range{Off: a, Len: b - a + 1}, size, true
}

// parseDigits is ParseInt without signs.
func parseDigits(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// section is the wanted part of an answer's body: skip bytes are dropped before it, tail bytes
// are left unread after it.
type section struct {
	caller context.Context
	op     string
	body   io.ReadCloser
	skip   int64
	left   int64
	tail   int64
	err    error
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
		s.err = upstream.Errorf(upstream.Unavailable, s.op, "more bytes than announced")
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
	if c := s.caller.Err(); c != nil {
		return &upstream.Error{Code: upstream.Cancelled, Op: s.op, Err: c}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%d bytes missing: %w", s.left+s.skip, io.ErrUnexpectedEOF)
	}
	return &upstream.Error{Code: upstream.Unavailable, Op: s.op, Err: err}
}

// Close drops the connection unless the body has been read to its end.
func (s *section) Close() error { return s.body.Close() }
