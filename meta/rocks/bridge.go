package rocks

// #cgo LDFLAGS: -lrocksdb
// #include "bridge.h"
import "C"

import (
	"encoding/binary"
	"errors"
	"reflect"
	"sync"
	"unsafe"

	"github.com/linxGnu/grocksdb"
)

const (
	// firstRead is small: most scans are short or stop soon. Each further read is four times larger.
	firstRead = 4 * kib
	// fullRead makes the cost of a call into C vanish.
	fullRead = 256 * kib
)

var readBuffers = sync.Pool{New: func() any { return new([fullRead]byte) }}

// Version returns the version of the RocksDB library in use, such as "7.8.3".
func Version() string { return C.GoString(C.unistore_rocksdb_version()) }

// walk calls fn for the records from it on. grocksdb costs four calls into C and four allocations a record;
// the start of the gateway walks millions.
func walk(it *grocksdb.Iterator, fn func(key, value []byte) error) error {
	handle := reflect.ValueOf(it).Elem().FieldByName("c")
	if !handle.IsValid() || handle.Kind() != reflect.Pointer {
		return errors.New("this version of grocksdb hides its iterator")
	}
	raw := (*C.rocksdb_iterator_t)(handle.UnsafePointer())
	pooled, _ := readBuffers.Get().(*[fullRead]byte)
	defer readBuffers.Put(pooled)
	buf := pooled[:]
	for size := firstRead; it.Valid(); size = min(4*size, len(buf)) {
		var need C.size_t
		used := C.unistore_rocksdb_read(raw, (*C.char)(unsafe.Pointer(&buf[0])), C.size_t(size), &need)
		if used == 0 && it.Valid() {
			if int(need) > len(buf) {
				buf = make([]byte, need)
			}
			used = C.unistore_rocksdb_read(raw, (*C.char)(unsafe.Pointer(&buf[0])), C.size_t(len(buf)), &need)
		}
		if err := deliver(buf[:used], fn); err != nil {
			return err
		}
	}
	return nil
}

// deliver calls fn for each record of what unistore_rocksdb_read left in data.
func deliver(data []byte, fn func(key, value []byte) error) error {
	for len(data) > 0 {
		klen := int(binary.NativeEndian.Uint32(data))
		vlen := int(binary.NativeEndian.Uint32(data[4:]))
		data = data[8:]
		if err := fn(data[:klen:klen], data[klen:klen+vlen:klen+vlen]); err != nil {
			return err
		}
		data = data[klen+vlen:]
	}
	return nil
}
