#pragma once
#ifdef __cplusplus
extern "C" {
#endif

// The result is valid for the life of the process.
const char* unistore_rocksdb_version(void);

#ifdef __cplusplus
}
#endif
