#include "version.h"

#include <string>

#include "rocksdb/version.h"

// RocksDB's C interface does not tell its version.
const char* unistore_rocksdb_version(void) {
  static const std::string version = ROCKSDB_NAMESPACE::GetRocksVersionAsString(true);
  return version.c_str();
}
