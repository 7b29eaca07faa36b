// Package faults injects failures on purpose, deterministically: a Set holds the active faults, and
// code with something to break asks it by name at the point where it would break.
// A nil *Set injects nothing and costs one comparison.
package faults

import "time"

// The names that may be set.
const (
	UploadLastPartFirst = "upload.last-part-first"
	UploadPartError     = "upload.part-error"
	UploadCompleteError = "upload.complete-error"
	UpstreamLatency     = "upstream.latency"
	UpstreamBandwidth   = "upstream.bandwidth"
	UpstreamError       = "upstream.error"
	UpstreamReset       = "upstream.reset"
	UpstreamTruncate    = "upstream.truncate"
	UpstreamCorrupt     = "upstream.corrupt"
	UpstreamETagChange  = "upstream.etag-change"
	CacheWriteError     = "cache.write-error"
	CacheReadError      = "cache.read-error"
	CacheCorruptPage    = "cache.corrupt-page"
	MetaError           = "meta.error"
	ProcessKill         = "process.kill"
)

// Fault is one active fault. Zero fields do not narrow or delay.
type Fault struct {
	Name string `json:"name"`
	// Where it applies; empty is everywhere. Operation is compared without case; Bucket and Key are globs
	// (path.Match on the whole string, where "*" and "?" also match "/").
	Upstream  string `json:"upstream,omitempty"`
	Operation string `json:"operation,omitempty"` // an upstream operation or a named point
	Bucket    string `json:"bucket,omitempty"`
	Key       string `json:"key,omitempty"`
	// How often: after Skip matches, with Probability (0 means always), at most Count times (0: no limit).
	Skip        int64   `json:"skip,omitempty"`
	Count       int64   `json:"count,omitempty"`
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`
	// What it does, as far as the name uses it.
	Delay  time.Duration `json:"delay,omitempty"`  // latency
	Rate   int64         `json:"rate,omitempty"`   // bytes a second and connection
	Total  int64         `json:"total,omitempty"`  // bytes a second over all connections
	Status int           `json:"status,omitempty"` // HTTP status of upstream.error
	Error  string        `json:"error,omitempty"`  // ENOSPC, EIO
	After  int64         `json:"after,omitempty"`  // bytes let through before reset, truncate, corrupt
}

// Scope is where code stands when it asks.
type Scope struct {
	Upstream, Operation, Bucket, Key string
}
