package gateway

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"unistore/cache"
	"unistore/s3api"
)

// The request headers of pins. They are usually not signed, so they grant nothing: a query belongs to the access key that
// names it, and what one key pins no other can release or renew. One that can not be read is ignored and counted, and
// the request is served as if it were not there.
const (
	headerQuery = "unistore-query" // ID[;ttl=SECONDS]
	headerPin   = "unistore-pin"   // hard|soft[;ttl=SECONDS]
	headerUnpin = "unistore-unpin" // ID
)

// maxQueryID is the longest name of a query, in bytes.
const maxQueryID = 128

// pinning is what a request asks of pins, and what became of it.
type pinning struct {
	request *cache.PinRequest // nil: to pin nothing
	result  cache.PinResult
	done    bool // the read was tried
}

// pins does what h asks of leases, and returns what the read of x is to pin; nil for nothing. A
// release comes before a pin in the same request. h may be nil.
func (s *service) pins(x *exchange, h *pinHeaders) *pinning {
	if h == nil {
		return nil
	}
	if h.unpin != "" {
		s.cache.Unpin(scopedQuery(x.who, h.unpin))
	}
	if h.kind == cache.PinNone {
		if h.query != "" && h.queryTTL > 0 {
			s.cache.Renew(scopedQuery(x.who, h.query), h.queryTTL)
		}
		return nil
	}
	ttl := h.pinTTL
	if ttl == 0 {
		ttl = h.queryTTL
	}
	return &pinning{request: &cache.PinRequest{Query: x.query, Kind: h.kind, TTL: ttl}}
}

// scopedQuery names a query in the cache: by its access key, so that keys do not touch each other's, and its own
// name, which has no space; without one it is the key's own.
func scopedQuery(who identity, id string) string {
	if id == "" {
		id = who.accessKey
	}
	return who.accessKey + " " + id
}

// pinHeaders are the headers of pins that could be read.
type pinHeaders struct {
	query, unpin     string
	kind             cache.PinKind
	queryTTL, pinTTL time.Duration // 0: none was given
}

// pinHeaders reads and counts them. nil: there are none.
func (s *service) pinHeaders(h s3api.Header) *pinHeaders {
	var out *pinHeaders
	for _, f := range h {
		if !strings.HasPrefix(f.Name, "unistore-") {
			continue
		}
		if out == nil {
			out = &pinHeaders{}
		}
		if !out.read(f) {
			s.metrics.HintsIgnored.WithLabelValues(f.Name).Inc()
		}
	}
	return out
}

// restrictPins takes out, and counts, what temporary credentials may not ask for: another query than their own, renewing
// it, and releases.
func (s *service) restrictPins(h *pinHeaders, who identity) {
	if h.query != "" && (h.query != who.query || h.queryTTL > 0) {
		h.query, h.queryTTL = "", 0
		s.metrics.HintsIgnored.WithLabelValues(headerQuery).Inc()
	}
	if h.unpin != "" {
		h.unpin = ""
		s.metrics.HintsIgnored.WithLabelValues(headerUnpin).Inc()
	}
}

// read takes in one header. A second one of a name is not read: which of them is meant is anybody's guess. Names that
// are none of pins are for others to read.
func (h *pinHeaders) read(f s3api.Field) bool {
	switch f.Name {
	case headerQuery:
		id, ttl, ok := parseItem(f.Value)
		if !ok || !validQuery(id) || h.query != "" {
			return false
		}
		h.query, h.queryTTL = id, ttl
	case headerPin:
		word, ttl, ok := parseItem(f.Value)
		kind := map[string]cache.PinKind{"hard": cache.PinHard, "soft": cache.PinSoft}[word]
		if !ok || kind == cache.PinNone || h.kind != cache.PinNone {
			return false
		}
		h.kind, h.pinTTL = kind, ttl
	case headerUnpin:
		id, _, ok := parseItem(f.Value)
		if !ok || !validQuery(id) || h.unpin != "" {
			return false
		}
		h.unpin = id
	}
	return true
}

// parseItem reads a token or a quoted string with parameters (after RFC 9651 section 3.3). Of these only ttl counts,
// in whole seconds from 1 on; what is more than the cache allows is cut there.
func parseItem(v string) (word string, ttl time.Duration, ok bool) {
	word, params, _ := strings.Cut(v, ";")
	word = strings.TrimSpace(word)
	if inner, quoted := strings.CutPrefix(word, `"`); quoted {
		if word, quoted = strings.CutSuffix(inner, `"`); !quoted {
			return "", 0, false
		}
	}
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if name != "ttl" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 {
			return "", 0, false
		}
		ttl = time.Duration(min(n, int64(cache.MaxPinTTL/time.Second))) * time.Second
	}
	return word, ttl, word != ""
}

// validQuery reports whether id can name a query: 1 to maxQueryID printable ASCII characters without space, quote,
// comma and semicolon.
func validQuery(id string) bool {
	if id == "" || len(id) > maxQueryID {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == ',' || c == ';' {
			return false
		}
	}
	return true
}

// auditID returns the unit of work that the Referer of S3A's auditing names: the job (ji) where the engine has set one,
// else the filesystem instance (fs), which is a process's connection to a bucket. The span (id) would be a query for
// every open file. Empty: it is no such header.
func auditID(referer string) string {
	if !strings.Contains(referer, "op=") {
		return ""
	}
	u, err := url.Parse(referer)
	if err != nil {
		return ""
	}
	q := u.Query()
	if !q.Has("op") || !q.Has("id") {
		return ""
	}
	for _, name := range []string{"ji", "fs"} {
		if id := q.Get(name); validQuery(id) {
			return id
		}
	}
	return ""
}

// pinRequest returns what the read of x is to pin; nil for nothing.
func (x *exchange) pinRequest() *cache.PinRequest {
	if x.pin == nil {
		return nil
	}
	return x.pin.request
}

// pinned sets what Unistore-Pin-Status will say.
func (x *exchange) pinned(r cache.PinResult) {
	if x.pin != nil {
		x.pin.result, x.pin.done = r, true
	}
}

// String renders Unistore-Pin-Status: what was pinned, in bytes of the range read, and until when (Unix seconds); or
// refused, and how many bytes of the range are not pinned.
func (p *pinning) String() string {
	r := p.result
	if r.Refused > 0 {
		return "refused; bytes=" + strconv.FormatInt(r.Refused, 10)
	}
	status := p.request.Kind.String() + "; bytes=" + strconv.FormatInt(r.Bytes, 10)
	if r.Until.IsZero() { // of an empty range
		return status
	}
	return status + "; until=" + strconv.FormatInt(r.Until.Unix(), 10)
}
