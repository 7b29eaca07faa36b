package emulator

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// call is one request on its way through the emulator.
type call struct {
	w      http.ResponseWriter
	r      *http.Request
	id     string
	quirks Quirks
	fault  Fault

	bucket string // empty: the service
	key    string // decoded; empty: the bucket
	// rawKey is the key as it was on the wire.
	rawKey string
	// virtual: the bucket was named by the host.
	virtual bool
	query   query
	op      Operation
}

// query is a decoded query string, in the order of the request.
type query []param

type param struct {
	name, value string
	bare        bool // without "="
}

func (q query) find(name string) (string, bool) {
	for _, p := range q {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

func (q query) get(name string) string { v, _ := q.find(name); return v }

func (q query) has(name string) bool { _, ok := q.find(name); return ok }

// parseQuery decodes a query string; unlike url.ParseQuery it keeps the order, and ";" is a character.
func parseQuery(raw string) (query, error) {
	var q query
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, eq := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		q = append(q, param{name: name, value: value, bare: !eq})
	}
	return q, nil
}

// ServeHTTP implements http.Handler.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := e.newCall(w, r)
	if f := e.resolve(c); f != nil {
		e.writeFailure(c, f)
		return
	}
	if f := e.vendor.verify(e, c); f != nil {
		e.count("refused")
		e.writeFailure(c, f)
		return
	}
	serve := e.route(c)
	e.count(string(c.op))
	e.withFault(c, func() {
		if f := serve(c); f != nil {
			e.writeFailure(c, f)
		}
	})
}

func (e *Emulator) newCall(w http.ResponseWriter, r *http.Request) *call {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.nextID++
	c := &call{w: w, r: r, quirks: e.mu.quirks, id: fmt.Sprintf("EMULATOR%016X", e.mu.nextID)}
	h := w.Header()
	h.Set("Server", "UniStore-emulator-"+e.vendor.name)
	h.Set(e.vendor.prefix+"request-id", c.id)
	switch e.cfg.Dialect {
	case OBS:
		h.Set("x-obs-id-2", "emulator")
	case COS:
		h.Set("x-cos-trace-id", "ZW11bGF0b3I=")
	case OSS:
		h.Set("x-oss-server-time", "1")
	}
	return c
}

func (e *Emulator) count(op string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.calls[op]++
}

// resolve finds bucket, key and query.
func (e *Emulator) resolve(c *call) *failure {
	q, err := parseQuery(c.r.URL.RawQuery)
	if err != nil {
		return fail(http.StatusBadRequest, "InvalidURI", err.Error())
	}
	c.query = q
	path, raw := strings.TrimPrefix(c.r.URL.Path, "/"), strings.TrimPrefix(c.r.URL.EscapedPath(), "/")
	if c.bucket, c.virtual = e.hostBucket(c.r.Host); c.virtual {
		c.key, c.rawKey = path, raw
		return nil
	}
	c.bucket, c.key, _ = strings.Cut(path, "/")
	_, c.rawKey, _ = strings.Cut(raw, "/")
	if c.bucket != "" && c.quirks.NoPathStyle {
		return fail(http.StatusForbidden, "SecondLevelDomainForbidden",
			"The bucket you are attempting to access must be addressed using OSS third level domain.")
	}
	return nil
}

// hostBucket returns the bucket that a host names, if it names one.
func (e *Emulator) hostBucket(host string) (string, bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if slices.Contains(e.vendor.service, host) {
		return "", false
	}
	for _, domain := range e.cfg.Domains {
		if name, ok := strings.CutSuffix(host, "."+domain); ok && name != "" {
			return name, true
		}
	}
	return "", false
}

// header is the vendor's header called name without its prefix.
func (e *Emulator) header(c *call, name string) string { return c.r.Header.Get(e.vendor.prefix + name) }
