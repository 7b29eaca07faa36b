package meta

import (
	"encoding/binary"
	"hash/crc32"
)

// Every value is: one byte of version, the fields, the CRC32C (4 bytes, little endian) of all before it.
// Numbers are varints, strings and lists have their length before them.
const recordVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// writer builds one record.
type writer struct {
	buf []byte
}

func (w *writer) start() {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, recordVersion)
	}
}

func (w *writer) byte(v byte) {
	w.start()
	w.buf = append(w.buf, v)
}

func (w *writer) uint(v uint64) {
	w.start()
	w.buf = binary.AppendUvarint(w.buf, v)
}

func (w *writer) int(v int64) {
	w.start()
	w.buf = binary.AppendVarint(w.buf, v)
}

func (w *writer) bytes(v []byte) {
	w.start()
	w.buf = append(w.buf, v...)
}

func (w *writer) string(v string) {
	w.uint(uint64(len(v)))
	w.buf = append(w.buf, v...)
}

func (w *writer) crc(v uint32) {
	w.start()
	w.buf = binary.LittleEndian.AppendUint32(w.buf, v)
}

// seal ends the record and returns it.
func (w *writer) seal() []byte {
	w.start()
	w.buf = binary.LittleEndian.AppendUint32(w.buf, crc32.Checksum(w.buf, castagnoli))
	return w.buf
}

// reader takes one record apart. After a fault every read gives zero; end reports it.
type reader struct {
	buf []byte
	bad bool
}

// open checks version and checksum of raw, which the reader refers to.
func open(raw []byte) *reader {
	n := len(raw) - 4
	if n < 1 || raw[0] != recordVersion || binary.LittleEndian.Uint32(raw[n:]) != crc32.Checksum(raw[:n], castagnoli) {
		return &reader{bad: true}
	}
	return &reader{buf: raw[1:n]}
}

func (r *reader) fail() {
	r.bad = true
	r.buf = nil
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.buf)) {
		r.fail()
		return nil
	}
	v := r.buf[:n]
	r.buf = r.buf[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.bytes(1); len(v) == 1 {
		return v[0]
	}
	return 0
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *reader) string() string { return string(r.bytes(r.uint())) }

// count reads the length of a list whose elements take at least one byte each.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.buf)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) crc() uint32 {
	if v := r.bytes(4); len(v) == 4 {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

// end returns ErrCorrupt unless the whole record was read without fault.
func (r *reader) end() error {
	if r.bad || len(r.buf) != 0 {
		return ErrCorrupt
	}
	return nil
}
