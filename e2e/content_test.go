//go:build e2e

package e2e

import (
	"bytes"
	"crypto/md5"
	le "encoding/binary" // binary is the one under test
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
)

// content is bytes that can be computed at any offset: what an object should hold, without keeping it.
type content struct {
	seed uint64
	size int64
}

// word is the 8 bytes at 8*i, by splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
func (c content) word(i int64) uint64 {
	z := c.seed*0xd1342543de82ef95 + (uint64(i)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// fill writes the bytes at off to p.
func (c content) fill(p []byte, off int64) {
	var w [8]byte
	for len(p) > 0 {
		le.LittleEndian.PutUint64(w[:], c.word(off/8))
		n := copy(p, w[off%8:])
		p, off = p[n:], off+int64(n)
		for len(p) >= 8 {
			le.LittleEndian.PutUint64(p, c.word(off/8))
			p, off = p[8:], off+8
		}
	}
}

func (c content) bytes() []byte {
	p := make([]byte, c.size)
	c.fill(p, 0)
	return p
}

// etag is S3's ETag of a single PUT, in quotes.
func (c content) etag() string {
	sum := md5.Sum(c.bytes())
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// errWrongBytes is the one unforgivable result.
type errWrongBytes struct{ at int64 }

func (e errWrongBytes) Error() string { return fmt.Sprintf("wrong bytes at or after offset %d", e.at) }

// compare reads r to its end and compares it with the bytes from off on. It returns how many came, and
// errWrongBytes or r's error.
func (c content) compare(r io.Reader, off int64) (int64, error) {
	var got, want [64 << 10]byte
	total := int64(0)
	for {
		n, err := r.Read(got[:])
		if off+total+int64(n) > c.size {
			return total, errWrongBytes{c.size}
		}
		c.fill(want[:n], off+total)
		if !bytes.Equal(got[:n], want[:n]) {
			return total, errWrongBytes{off + total}
		}
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// full reports whether the whole counts are to be run, not the quick ones.
func full() bool { return os.Getenv("UNISTORE_E2E_FULL") == "1" }

// count is the number of rounds: quick, or all with UNISTORE_E2E_FULL=1.
func count(quick, all int) int {
	if full() {
		return all
	}
	return quick
}

// seedOf returns the seed of a random test: UNISTORE_E2E_SEED, or the one given.
func seedOf(t *testing.T, seed uint64) uint64 {
	t.Helper()
	if s := os.Getenv("UNISTORE_E2E_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("UNISTORE_E2E_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("seed %d (UNISTORE_E2E_SEED)", seed)
	return seed
}
