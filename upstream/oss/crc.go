package oss

import (
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"

	"unistore/upstream"
)

// crcHeader has the checksum of the whole object, or of the part that was sent.
const crcHeader = "X-Oss-Hash-Crc64ecma"

var crcTable = crc64.MakeTable(crc64.ECMA)

// crcOf is the checksum that an answer tells, if it does.
func crcOf(h http.Header) (uint64, bool) {
	sum, err := strconv.ParseUint(h.Get(crcHeader), 10, 64)
	return sum, err == nil
}

// summed computes the checksum of what is read. Sum is for when the reading has ended.
type summed struct {
	src io.Reader
	sum atomic.Uint64
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.sum.Store(crc64.Update(s.sum.Load(), crcTable, p[:n]))
	return n, err
}

// agrees compares OSS's checksum of a body with ours. OSS may not tell one.
func (s *summed) agrees(op string, h http.Header) error {
	if said, ok := crcOf(h); ok && said != s.sum.Load() {
		return upstream.Errorf(upstream.Corrupted, op, "OSS says crc64ecma %d of bytes whose checksum is %d", said, s.sum.Load())
	}
	return nil
}

// checkedBody is the body of a whole object. The last byte comes only if the checksum is right.
type checkedBody struct {
	io.ReadCloser
	op   string
	left int64
	sum  uint64
	want uint64
	err  error
}

func (c *checkedBody) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.ReadCloser.Read(p)
	c.sum = crc64.Update(c.sum, crcTable, p[:n])
	c.left -= int64(n)
	if c.left <= 0 && c.sum != c.want {
		c.err = upstream.Errorf(upstream.Unavailable, c.op, "the bytes have crc64ecma %d, the object has %d", c.sum, c.want)
		return max(n-1, 0), c.err
	}
	if err != nil {
		c.err = err
	}
	return n, err
}
