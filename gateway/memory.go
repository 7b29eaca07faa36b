package gateway

import "unistore/multipart"

const (
	// uploadShare is the part of the process's memory that the buffers of uploads may take. The rest is for Go's
	// collector, which needs about as much again as there is in use, for RocksDB, and for requests.
	uploadShare = 4
	// maxUploadMemory is enough for a dozen uploads at full speed (bytes): more would only wait longer in memory.
	maxUploadMemory = 1 << 30
)

// uploadMemory is the memory for the buffers of all uploads together, in a process that may take so many bytes (0:
// there is no limit). It is never less than one part.
func uploadMemory(process int64) int64 {
	if process <= 0 {
		return multipart.DefaultMemory
	}
	return min(max(process/uploadShare, multipart.DefaultPart), maxUploadMemory)
}
