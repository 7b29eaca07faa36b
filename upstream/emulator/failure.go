package emulator

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
)

// failure is an error answer of the store.
type failure struct {
	status  int
	code    string
	message string
}

func fail(status int, code, message string) *failure {
	return &failure{status: status, code: code, message: message}
}

func invalid(message string) *failure {
	return fail(http.StatusBadRequest, "InvalidArgument", message)
}

func malformed() *failure {
	return fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
}

func denied(message string) *failure { return fail(http.StatusForbidden, "AccessDenied", message) }

// Failures that several operations share.
var (
	errNoBucket  = fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist.")
	errNoKey     = fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	errNoUpload  = fail(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	errNoVersion = fail(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
	errNotHere   = fail(http.StatusNotImplemented, "NotImplemented", "The emulator does not implement this request.")
	errMethod    = fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
)

// errorXML is the vendors' error document; fields that a vendor lacks are empty.
type errorXML struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string `xml:",omitempty"` // COS
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId,omitempty"`  // OSS, OBS
	EC        string `xml:",omitempty"`        // OSS
	TraceID   string `xml:"TraceId,omitempty"` // COS
}

func (e *Emulator) errorDocument(c *call, f *failure) []byte {
	doc := errorXML{Code: f.code, Message: f.message, RequestID: c.id}
	switch e.cfg.Dialect {
	case OSS:
		doc.HostID, doc.EC = c.r.Host, "0000-00000000"
	case OBS:
		doc.HostID = "emulator"
	case COS:
		doc.Resource, doc.TraceID = c.r.Host+c.r.URL.Path, "ZW11bGF0b3I="
	}
	return document(doc)
}

// writeFailure answers with f. The error of a HEAD is in a header, if at all.
func (e *Emulator) writeFailure(c *call, f *failure) {
	h := c.w.Header()
	if f.status == http.StatusNotModified {
		c.w.WriteHeader(f.status)
		return
	}
	doc := e.errorDocument(c, f)
	if f.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if e.cfg.Dialect == OSS {
		h.Set("x-oss-ec", "0000-00000000")
	}
	if c.r.Method == http.MethodHead {
		if c.quirks.HeadErrors && e.cfg.Dialect == OSS {
			h.Set("x-oss-err", base64.StdEncoding.EncodeToString(doc))
		}
		if c.quirks.HeadErrors && e.cfg.Dialect == OBS {
			h.Set("x-obs-error-code", f.code)
			h.Set("x-obs-error-message", f.message)
		}
		c.w.WriteHeader(f.status)
		return
	}
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	c.w.WriteHeader(f.status)
	_, _ = c.w.Write(doc) // the client is gone: nobody to tell
}

// document is v as an XML document.
func document(v any) []byte {
	out, err := xml.Marshal(v)
	if err != nil {
		panic(err) // a type of this package that XML cannot hold
	}
	return append([]byte(xml.Header), out...)
}
