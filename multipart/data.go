package multipart

import (
	"io"

	"unistore/upstream"
)

// data is the bytes of a part, in blocks of a pool.
type data struct {
	blocks [][]byte // none is empty
	size   int64
}

// writeTo hands every block to w, a hash, which never fails.
func (d data) writeTo(w io.Writer) {
	for _, b := range d.blocks {
		_, _ = w.Write(b)
	}
}

// reader reads d, as often as is wanted.
func (d data) reader() *dataReader { return &dataReader{data: d} }

// dataReader is an upstream.Replayer over data.
type dataReader struct {
	data
	block int // the one to read from
	at    int // in it
}

var _ upstream.Replayer = (*dataReader)(nil)

// Read implements io.Reader.
func (r *dataReader) Read(p []byte) (int, error) {
	if r.block == len(r.blocks) {
		return 0, io.EOF
	}
	n := copy(p, r.blocks[r.block][r.at:])
	r.at += n
	if r.at == len(r.blocks[r.block]) {
		r.block, r.at = r.block+1, 0
	}
	return n, nil
}

// Rewind implements upstream.Replayer.
func (r *dataReader) Rewind() { r.block, r.at = 0, 0 }
