package cache

import (
	"context"
	"io"
	"time"

	"unistore/byterange"
	"unistore/object"
)

// Key names an object as the routes resolve it: the upstream's name in the configuration, the bucket on it and
// the full key in that bucket. Two routes to the same place share the cache.
type Key struct {
	Upstream, Bucket, Key string
}

// Entry is what is known of an object's current version.
type Entry struct {
	Attrs   object.Attrs
	Checked time.Time // when the upstream last confirmed it
}

// Token is a moment in the history of a Key, taken by Begin before the upstream is asked. Learn with a
// Token from before a Forget of the same key does nothing, so that an answer which
// was under way during a write can not bring the old version back.
type Token uint64

// FetchFunc opens bytes r of one version at the upstream, with If-Match. It fails with an error that matches
// ErrChanged when that version is gone. The body delivers exactly r.Len bytes or an error. The
// cache closes the body. ctx belongs to the fill, not to any reader; Wanted tells when one joins a fill ahead of readers.
type FetchFunc func(ctx context.Context, r byterange.Range) (io.ReadCloser, error)

// First is an upstream response that is already under way: the request that taught the object's
// attributes. The cache owns and closes Body, whatever Read returns.
type First struct {
	Range byterange.Range // what Body delivers
	Body  io.ReadCloser
}

// ReadRequest asks for bytes of one version.
type ReadRequest struct {
	Key   Key
	Attrs object.Attrs    // the version: Size and ETag
	Range byterange.Range // not empty, inside the object
	Fetch FetchFunc
	First *First // or nil
	// NoStore serves around the cache: nothing is stored, residents may be used.
	NoStore bool
	// OnlyCached fails with ErrNotCached instead of asking the upstream.
	OnlyCached bool
	// Pin pins what is read; nil pins nothing. The read is the same whatever becomes of it: see Result.Pin.
	Pin *PinRequest
	// Passed is told how far the reader has come in the object, and how long it has waited for fills in all; by the goroutine that
	// reads, often. nil: nobody is.
	Passed func(pos int64, stalled time.Duration)

	uncounted bool // by no metric, and not as a use of the blocks
}

// Source says where the first page of a read comes from.
type Source uint8

// The sources.
const (
	SourceCache  Source = iota // every page of the range is resident
	SourceFill                 // at least one page comes from the upstream, through the cache
	SourceBypass               // from the upstream around the cache
)

// Result is what is known about a read when its first byte is ready.
type Result struct {
	Source    Source
	Partial   bool // some pages were resident, some not
	Collapsed bool // the first missing page was already being filled for somebody else
	Stored    bool // what is fetched will be kept
	Memory    bool // all pages were verified before in this run (page-cache warm is likely)
	Pinned    bool // of a read from the cache: all blocks were pinned before, by any query
	// Prefetched: of a read from the cache, which is the first of blocks that prefetching has brought.
	Prefetched bool
	Pin        PinResult
}
