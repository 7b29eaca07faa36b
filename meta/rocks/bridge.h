#pragma once

#include <stddef.h>
#include <stdint.h>

#include "rocksdb/c.h"

#ifdef __cplusplus
extern "C" {
#endif

// The version of the library. The result is valid for the life of the process.
const char* unistore_rocksdb_version(void);

// Copies records from it on into buf, each as key length, value length (both uint32_t) and the bytes,
// and moves it behind them. Returns the bytes used. Zero with a valid it means that the next record alone
// needs *need bytes.
size_t unistore_rocksdb_read(rocksdb_iterator_t* it, char* buf, size_t cap, size_t* need);

#ifdef __cplusplus
}
#endif
