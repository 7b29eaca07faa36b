package multipart

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"unistore/upstream"
)

// pieces cuts src into pieces of n bytes and returns their lengths and what they held together.
func pieces(c *cutter, n int64) (lens []int, all []byte, err error) {
	mem := newPool(1<<30, 30)
	for {
		d, last, err := c.next(context.Background(), n, mem)
		if err != nil {
			return lens, all, err
		}
		lens = append(lens, int(d.size))
		for _, b := range d.blocks {
			all = append(all, b...)
		}
		if last {
			return lens, all, nil
		}
	}
}

func TestCutter(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"EOF with data": iotest.DataErrReader,
		"halves":        iotest.HalfReader,
	}
	const part = 100
	tests := []struct {
		size int
		want []int
	}{
		{0, []int{0}}, {1, []int{1}}, {99, []int{99}}, {100, []int{100}}, {101, []int{100, 1}},
		{200, []int{100, 100}}, {201, []int{100, 100, 1}}, {299, []int{100, 100, 99}},
	}
	for name, wrap := range readers {
		for _, tt := range tests {
			want := body(tt.size)
			for _, known := range []bool{true, false} {
				size := int64(-1)
				if known {
					size = int64(tt.size)
				}
				lens, got, err := pieces(&cutter{src: wrap(bytes.NewReader(want)), size: size}, part)
				if err != nil || !slices.Equal(lens, tt.want) || !bytes.Equal(got, want) {
					t.Errorf("%s, %d bytes, known %v: %v, %v, want %v", name, tt.size, known, lens, err, tt.want)
				}
			}
		}
	}
}

// A part takes no more blocks than it has bytes for, but one to look ahead with, and its blocks can be read again.
func TestCutterTakesBlocks(t *testing.T) {
	const block, part = 64, 1000
	for _, size := range []int{0, 1, block - 1, block, block + 1, part - 1, part, part + 1} {
		want := body(size)[:min(size, part)]
		d, _, err := (&cutter{src: bytes.NewReader(body(size)), size: -1}).next(t.Context(), part, newPool(1<<20, block))
		if err != nil || len(d.blocks) != (len(want)+block-1)/block {
			t.Errorf("%d bytes: %d blocks, %v", size, len(d.blocks), err)
		}
		r := d.reader()
		for range 2 {
			if err := iotest.TestReader(r, want); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			r.Rewind()
		}
	}
}

func TestCutterFailures(t *testing.T) {
	broken := errors.New("broken")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		src  io.Reader
		size int64
		want error
	}{
		{"short", t.Context(), bytes.NewReader(body(5)), 6, upstream.TooShort},
		{"short at a piece's end", t.Context(), bytes.NewReader(body(4)), 8, upstream.TooShort},
		{"long", t.Context(), bytes.NewReader(body(7)), 6, upstream.Invalid},
		{"long at a piece's end", t.Context(), bytes.NewReader(body(9)), 8, upstream.Invalid},
		{"own error", t.Context(), io.MultiReader(bytes.NewReader(body(3)), iotest.ErrReader(broken)), -1, broken},
		{"own error has a code", t.Context(), iotest.ErrReader(broken), -1, upstream.Invalid},
		{"cut", t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF), -1, upstream.TooShort},
		{"another store's code", t.Context(), iotest.ErrReader(upstream.Errorf(upstream.Access, "Open", "no")), -1, upstream.Access},
		{"body cancelled", t.Context(), iotest.ErrReader(context.Canceled), -1, upstream.Cancelled},
		{"never a byte", t.Context(), empties{}, -1, io.ErrNoProgress},
		{"ctx", cancelled, bytes.NewReader(body(5)), 5, context.Canceled},
	}
	for _, tt := range tests {
		c := &cutter{src: tt.src, size: tt.size}
		var err error
		for last := false; err == nil && !last; {
			_, last, err = c.next(tt.ctx, 4, newPool(1<<20, 3))
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// empties reads nothing, for ever.
type empties struct{}

func (empties) Read([]byte) (int, error) { return 0, nil }
