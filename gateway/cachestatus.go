package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"unistore/cache"
	"unistore/upstream"
)

// Why the upstream was asked: the values of fwd in Cache-Status, RFC 9211 section 2.2.
const (
	fwdMiss    = "miss"    // nothing was known of the object, or none of the range was there
	fwdPartial = "partial" // some of the range was there
	fwdStale   = "stale"   // what was known had to be confirmed by the route's freshness
	fwdRequest = "request" // the client's Cache-Control asked for it
	fwdBypass  = "bypass"  // the request is none for the cache, or the cache could not take part
)

// cacheNote says how the cache has handled a read, for Cache-Status. The zero cacheNote says only that the
// answer is our own.
type cacheNote struct {
	hit       bool
	fwd       string // empty: the upstream was not asked
	status    int    // of the upstream's answer; 0: there was none
	stored    bool
	collapsed bool   // another request's question was ours too
	detail    string // a token
}

// String renders an item of Cache-Status (RFC 9211 section 2).
func (n cacheNote) String() string {
	var b strings.Builder
	b.WriteString("unistore")
	switch {
	case n.hit:
		b.WriteString("; hit")
	case n.fwd != "":
		b.WriteString("; fwd=")
		b.WriteString(n.fwd)
		if n.status != 0 {
			b.WriteString("; fwd-status=")
			b.WriteString(strconv.Itoa(n.status))
		}
	}
	if n.stored {
		b.WriteString("; stored")
	}
	if n.collapsed {
		b.WriteString("; collapsed")
	}
	if n.detail != "" {
		b.WriteString("; detail=")
		b.WriteString(n.detail)
	}
	return b.String()
}

// note says how the attributes came.
func (l learned) note() cacheNote {
	if !l.asked {
		return cacheNote{hit: true}
	}
	return cacheNote{fwd: l.why, status: l.status, collapsed: l.joined}
}

// readNote says how the attributes and then the bytes came. A read that asked for both is noted by the first reason
// and the last answer.
func readNote(l learned, r cache.Result, mode cacheMode) cacheNote {
	n := l.note()
	if r.Source == cache.SourceCache {
		n.detail = residence(r)
		return n
	}
	n.hit = false
	n.status = http.StatusPartialContent
	n.stored = r.Stored && !l.stale
	n.collapsed = n.collapsed || r.Collapsed
	switch {
	case mode.noStore:
		n.fwd = fwdRequest
	case l.asked && (l.why == fwdStale || l.why == fwdRequest):
	case r.Source == cache.SourceBypass:
		n.fwd = fwdBypass
	case r.Partial:
		n.fwd = fwdPartial
	default:
		n.fwd = fwdMiss
	}
	return n
}

// failedNote is of a read whose version was known and whose bytes could not be had.
func failedNote(err error) cacheNote {
	if errors.Is(err, cache.ErrNotCached) {
		return cacheNote{detail: "not-cached"}
	}
	return cacheNote{fwd: fwdMiss, status: answeredWith(err)}
}

// directNote is of a read around the cache that ended with err, or else with status.
func directNote(err error, status int) cacheNote {
	if err != nil {
		status = answeredWith(err)
	}
	return cacheNote{fwd: fwdBypass, status: status}
}

// byteStatus is the upstream's answer to a request for bytes.
func byteStatus(ranged bool) int {
	if ranged {
		return http.StatusPartialContent
	}
	return http.StatusOK
}

// residence says where the bytes of a hit were.
func residence(r cache.Result) string {
	switch {
	case r.Pinned:
		return "pinned"
	case r.Prefetched:
		return "prefetched"
	case r.Memory:
		return "memory"
	}
	return "nvme"
}

// answeredWith is the status that the upstream has most likely answered err with; 0 when it has not answered, or not
// clearly.
func answeredWith(err error) int {
	switch {
	case errors.Is(err, upstream.NotExist), errors.Is(err, upstream.NoBucket), errors.Is(err, upstream.NoVersion):
		return http.StatusNotFound
	case errors.Is(err, upstream.Access):
		return http.StatusForbidden
	case errors.Is(err, upstream.NotModified):
		return http.StatusNotModified
	case errors.Is(err, upstream.Changed):
		return http.StatusPreconditionFailed
	case errors.Is(err, upstream.RangeError):
		return http.StatusRequestedRangeNotSatisfiable
	}
	return 0
}
