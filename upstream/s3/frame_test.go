package s3

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"unistore/upstream/internal/wire"
)

// counted counts the Reads that it gets.
type counted struct {
	io.Reader
	reads int
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// Framing comes in few pieces when the body is there, and never waits for a body that is not.
func TestFramesComeInLargePieces(t *testing.T) {
	const size = 1<<20 + 5
	src := &counted{Reader: strings.NewReader(strings.Repeat("x", size))}
	f, ok := newFramed(src, size, trailerAlgorithm)
	if !ok {
		t.Fatal("no framing")
	}
	total, pieces := int64(0), 0
	buf := make([]byte, 100_000)
	for {
		n, err := f.Read(buf)
		total, pieces = total+int64(n), pieces+1
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := f.length(size); total != want || int64(pieces) > want/int64(len(buf))+2 {
		t.Errorf("%d bytes in %d pieces, want %d", total, pieces, want)
	}
	full, _ := newFramed(strings.NewReader(strings.Repeat("x", 40*frameChunk)), 40*frameChunk, trailerAlgorithm)
	wide := make([]byte, wire.BodyWrite)
	for sent := int64(0); sent < full.length(40*frameChunk); {
		n, err := full.Read(wide)
		if sent += int64(n); err != nil || n < frameChunk && sent < full.length(40*frameChunk) {
			t.Fatalf("a write of %d bytes, %v", n, err)
		}
	}
	slow := &counted{Reader: iotest.OneByteReader(strings.NewReader("0123456789"))}
	f, _ = newFramed(slow, 10, trailerAlgorithm)
	if n, err := f.Read(buf); err != nil || slow.reads != 1 || string(buf[:n]) != "a\r\n0" {
		t.Errorf("%q, %v after %d Reads of the body", buf[:n], err, slow.reads)
	}
	f, _ = newFramed(strings.NewReader("short"), 10, trailerAlgorithm)
	if _, err := io.ReadAll(f); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short body: %v", err)
	}
}
