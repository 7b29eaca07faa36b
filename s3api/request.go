package s3api

import (
	"io"
	"strings"
)

// Request is an HTTP request as it came from the wire. Nothing in it is decoded or normalised, since
// signatures cover the raw bytes. Its strings do not alias buffers of the server.
type Request struct {
	Method   string
	RawPath  string // as sent, without the query; starts with "/"
	RawQuery string // as sent, without "?"
	Host     string // the Host header
	Header   Header
	// Body is the raw body (aws-chunked still encoded); its Read fails once the request is over.
	// nil is an empty body.
	Body          io.Reader
	ContentLength int64 // -1 when the body is sent with Transfer-Encoding: chunked
	RemoteAddr    string
	TLS           bool
}

// Field is one header line. Name is lower case; Value is without surrounding white space.
type Field struct {
	Name, Value string
}

// Header is the header lines in the order they came, repeated names included.
type Header []Field

// Get returns the first value of name (lower case), or "".
func (h Header) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup returns the first value of name (lower case) and whether it is there.
func (h Header) Lookup(name string) (string, bool) {
	for i := range h {
		if h[i].Name == name {
			return h[i].Value, true
		}
	}
	return "", false
}

// ParseHeader splits raw header lines (as on the wire, CRLF or LF, without the request line) into a
// Header. The fields are parts of raw. Lines without a colon are dropped.
func ParseHeader(raw string) Header {
	h := make(Header, 0, 16)
	for len(raw) > 0 {
		line := raw
		if i := strings.IndexByte(raw, '\n'); i >= 0 {
			line, raw = raw[:i], raw[i+1:]
		} else {
			raw = ""
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		h = append(h, Field{Name: strings.ToLower(name), Value: strings.Trim(value, " \t\r")})
	}
	return h
}

// Response is what the HTTP rim sends. The rim adds x-amz-request-id, x-amz-id-2, Date and Server.
type Response struct {
	Status int
	Header Header // names as they should be sent
	// Body is nil for none. If it is an io.WriterTo that is used. The rim closes it, sent or not; Close is
	// how the sender learns that the client left.
	Body io.ReadCloser
	// Length of Body; it becomes Content-Length. For an answer to HEAD, or with a nil
	// Body, it is sent all the same unless it is negative.
	Length int64
}

// Set appends a header line.
func (r *Response) Set(name, value string) {
	r.Header = append(r.Header, Field{Name: name, Value: value})
}

// SetIf appends a header line when value is not empty.
func (r *Response) SetIf(name, value string) {
	if value != "" {
		r.Set(name, value)
	}
}
