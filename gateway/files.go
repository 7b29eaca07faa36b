package gateway

import "unistore/config"

const (
	// handleShare is the part of the file descriptors that open block files may take; minHandles and maxHandles bound it.
	// Beyond maxHandles, opening a file is cheap enough.
	handleShare            = 16
	minHandles, maxHandles = 16, 4096
	// otherFiles are for RocksDB (at most 64 tables, and its logs), the listeners, the admin side and its clients, and
	// idle connections to upstreams.
	otherFiles = 512
)

// fileShares divides the file descriptors of the process.
type fileShares struct {
	connections int // of clients
	handles     int // open block files
}

// shareFiles divides limit descriptors when upstreams may have that many requests under way. Clients get what the rest
// does not need, and never less than half: with few descriptors everything is scarce, and what finds none is
// served around the cache or refused with SlowDown.
func shareFiles(limit, upstreams int) fileShares {
	handles := min(max(limit/handleShare, minHandles), maxHandles)
	reserve := min(handles+upstreams+otherFiles, limit/2)
	return fileShares{connections: max(limit-reserve, 1), handles: handles}
}

// upstreamRequests is how many requests to upstreams can be under way.
func upstreamRequests(upstreams map[string]config.Upstream) int {
	n := 0
	for _, u := range upstreams {
		n += u.MaxConnections
	}
	return n
}
