package gateway

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
)

// idSource makes request ids: 16 upper-case hex digits, unique in the process and very likely beyond.
type idSource struct {
	base uint64
	seq  atomic.Uint64
}

func newIDSource() *idSource {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return &idSource{base: binary.BigEndian.Uint64(b[:])}
}

func (s *idSource) next() string {
	// An odd multiplier is a bijection on 64 bits, so ids do not repeat.
	n := (s.base + s.seq.Add(1)) * 0x9E3779B97F4A7C15
	const digits = "0123456789ABCDEF"
	var b [16]byte
	for i := range b {
		b[i] = digits[n>>60]
		n <<= 4
	}
	return string(b[:])
}
