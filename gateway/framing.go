package gateway

import (
	"strings"

	"github.com/valyala/fasthttp"

	"unistore/s3api"
)

// checkFraming refuses a header that leaves two readings of where the request ends or whom it is for: a proxy
// in front of us may have chosen the other one, and then its next request is this one's body (RFC 9112
// sections 3.2, 5.2, 6.1 and 6.3). raw is the header as it came, h what it holds.
func checkFraming(raw []byte, h s3api.Header, http11 bool) *s3api.Error {
	if folded(raw) {
		return badHTTP()
	}
	hosts, length, coding := 0, "", ""
	for i := range h {
		value := h[i].Value
		switch h[i].Name {
		case "host":
			hosts++
		case "content-length":
			if length != "" && length != value {
				return badHTTP()
			}
			length = value
		case "transfer-encoding":
			if coding != "" {
				return badHTTP()
			}
			coding = value
		}
	}
	switch {
	case hosts > 1, hosts == 0 && http11:
		return badHTTP()
	case coding == "", coding == "identity":
		return nil
	case !strings.EqualFold(coding, "chunked"):
		return &s3api.Error{Code: s3api.ErrNotImplemented, Close: true,
			Message: s3api.ErrNotImplemented.Message() + ": Transfer-Encoding",
			Fields:  []s3api.Field{{Name: "Header", Value: "Transfer-Encoding"}}}
	case length != "":
		return badHTTP()
	}
	return nil
}

// folded reports whether a header line goes on in the next one, an old form that must be refused.
func folded(raw []byte) bool {
	for i := range len(raw) - 1 {
		if raw[i] == '\n' && (raw[i+1] == ' ' || raw[i+1] == '\t') {
			return true
		}
	}
	return false
}

func badHTTP() *s3api.Error {
	return &s3api.Error{Code: s3api.ErrBadRequest, Message: "An error occurred when parsing the HTTP request.", Close: true}
}

const expectContinue = "100-continue"

// received is called with a request's header before anything is read of its body. fasthttp reads the first bytes of
// a body before it calls the handler, so the limit for a client that stands still has to be set here.
//
// A client that waits for 100 Continue is told to go on only if its request would be let in. Otherwise the
// header is changed into that of a request without a body, and handle answers the error.
func (s *server) received(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if length := h.ContentLength(); length == 0 || length == -2 {
		return fasthttp.RequestConfig{}
	}
	if strings.EqualFold(string(h.Peek(fasthttp.HeaderExpect)), expectContinue) {
		if h.IsGet() || h.IsHead() || s.service.welcome(headerOf(h)) {
			h.Set(fasthttp.HeaderExpect, expectContinue) // fasthttp knows it in lower case alone
		} else {
			h.Del(fasthttp.HeaderExpect)
			h.SetContentLength(0)
		}
	}
	return fasthttp.RequestConfig{ReadTimeout: s.bodyIdle} // 0: as for the header
}

// unwelcome reports whether received has turned the request down.
func unwelcome(h *fasthttp.RequestHeader, sent s3api.Header) bool {
	expect, ok := sent.Lookup("expect")
	return ok && strings.EqualFold(expect, expectContinue) && h.ContentLength() == 0 && len(h.Peek(fasthttp.HeaderExpect)) == 0
}
