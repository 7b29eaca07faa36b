package rocks

// #cgo LDFLAGS: -lrocksdb
// #include "version.h"
import "C"

// Version returns the version of the RocksDB library in use, such as "7.8.3".
func Version() string { return C.GoString(C.unistore_rocksdb_version()) }
