#include "bridge.h"

#include <cstring>
#include <string>

#include "rocksdb/version.h"

const char* unistore_rocksdb_version(void) {
  static const std::string version = ROCKSDB_NAMESPACE::GetRocksVersionAsString(true);
  return version.c_str();
}

size_t unistore_rocksdb_read(rocksdb_iterator_t* it, char* buf, size_t cap, size_t* need) {
  size_t used = 0;
  for (; rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
    size_t klen = 0, vlen = 0;
    const char* key = rocksdb_iter_key(it, &klen);
    const char* value = rocksdb_iter_value(it, &vlen);
    const uint32_t lengths[2] = {static_cast<uint32_t>(klen), static_cast<uint32_t>(vlen)};
    *need = sizeof(lengths) + klen + vlen;
    if (*need > cap - used) {
      break;
    }
    std::memcpy(buf + used, lengths, sizeof(lengths));
    used += sizeof(lengths);
    if (klen > 0) {
      std::memcpy(buf + used, key, klen);
    }
    if (vlen > 0) {
      std::memcpy(buf + used + klen, value, vlen);
    }
    used += klen + vlen;
  }
  return used;
}
