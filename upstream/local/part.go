package local

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// A part is one file: its bytes, a trailer in JSON, the length of the trailer (4 bytes, big endian),
// and the magic. So a part and what is known of it are replaced by one rename, on every file system.

const (
	partMagic = "USPART1\n"
	partTail  = 4 + len(partMagic)
	// maxTrailer bounds what is read as a trailer; five checksums need less than 1 KiB.
	maxTrailer = 64 << 10
)

// errPart says that a file is no part.
var errPart = errors.New("the file of a part is damaged")

// writeTrailer ends the file of a part. The file is at its end.
func writeTrailer(f *os.File, p upstream.Part) error {
	data, err := json.Marshal(semantics.KeepPart(p))
	if err != nil {
		return err
	}
	data = binary.BigEndian.AppendUint32(data, uint32(len(data)))
	_, err = f.Write(append(data, partMagic...))
	return err
}

// readTrailer returns what is known of a part.
func readTrailer(f *os.File) (upstream.Part, error) {
	info, err := f.Stat()
	if err != nil {
		return upstream.Part{}, err
	}
	var tail [partTail]byte
	if _, err := f.ReadAt(tail[:], info.Size()-int64(partTail)); err != nil {
		return upstream.Part{}, errors.Join(errPart, err)
	}
	n := int64(binary.BigEndian.Uint32(tail[:4]))
	start := info.Size() - int64(partTail) - n
	if string(tail[4:]) != partMagic || n > maxTrailer || start < 0 {
		return upstream.Part{}, errPart
	}
	var t semantics.PartRecord
	if err := json.NewDecoder(io.NewSectionReader(f, start, n)).Decode(&t); err != nil {
		return upstream.Part{}, errors.Join(errPart, err)
	}
	if t.Size != start {
		return upstream.Part{}, errPart
	}
	return t.Part(info.ModTime().UTC().Truncate(time.Millisecond)), nil
}
