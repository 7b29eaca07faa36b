// Package columns says where the columns of a Parquet file are, from the file's end alone. It reads no data. What does not
// parse is an error, never a panic.
package columns

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxFooter is the longest footer that is read: bytes.
const MaxFooter = 16 << 20

// MaxChunks bounds row groups, and these times columns: a layout takes some MiB at most.
const MaxChunks = 1 << 18

// trailer is the length of a footer's own length and the magic behind it.
const trailer = 8

// ErrFormat says that it is no Parquet file that we can read: another format, encrypted, too large, or damaged.
var ErrFormat = errors.New("not a readable Parquet footer")

// Chunk is the bytes of one column in one row group, its dictionary included.
type Chunk struct{ Off, Len int64 }

// End is the offset behind the chunk.
func (c Chunk) End() int64 { return c.Off + c.Len }

// Layout is where the columns of a file are.
type Layout struct {
	Schema uint64    // equal for files with the same columns in the same order
	Groups [][]Chunk // by row group and column
}

// FooterLength returns how many bytes at the end of a file its footer takes, trailer included, by the file's last bytes (at
// least 8).
func FooterLength(tail []byte) (int64, error) {
	if len(tail) < trailer || string(tail[len(tail)-4:]) != "PAR1" {
		return 0, ErrFormat
	}
	n := int64(binary.LittleEndian.Uint32(tail[len(tail)-trailer:])) + trailer
	if n > MaxFooter {
		return 0, fmt.Errorf("%w: a footer of %d bytes", ErrFormat, n)
	}
	return n, nil
}

// Parse reads the layout of a file of size bytes from its tail, which holds at least the whole footer.
func Parse(tail []byte, size int64) (*Layout, error) {
	n, err := FooterLength(tail)
	if err != nil {
		return nil, err
	}
	if n > int64(len(tail)) {
		return nil, fmt.Errorf("%w: %d of %d bytes", ErrFormat, len(tail), n)
	}
	return parse(tail[int64(len(tail))-n:len(tail)-trailer], size)
}

// Bytes is about how much memory a layout takes.
func (l *Layout) Bytes() (n int64) {
	for _, chunks := range l.Groups {
		n += 24 + 16*int64(len(chunks))
	}
	return n
}

// Touched returns the row group that the bytes [off, off+n) are in, and those of its columns of which they hold half or the
// beginning. None: they are no columns'.
func (l *Layout) Touched(off, n int64) (group int, columns []int) {
	for g, chunks := range l.Groups {
		for c, chunk := range chunks {
			from, to := max(off, chunk.Off), min(off+n, chunk.End())
			if to <= from || from > chunk.Off && 2*(to-from) < chunk.Len {
				continue
			}
			if len(columns) == 0 {
				group = g
			}
			if g == group {
				columns = append(columns, c)
			}
		}
		if len(columns) > 0 {
			return group, columns
		}
	}
	return 0, nil
}

// ChunkEnd returns the end of the chunk that holds the byte at off; off itself when none does.
func (l *Layout) ChunkEnd(off int64) int64 {
	for _, chunks := range l.Groups {
		for _, c := range chunks {
			if c.Off <= off && off < c.End() {
				return c.End()
			}
		}
	}
	return off
}
