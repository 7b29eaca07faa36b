package s3api_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unistore/byterange"
	"unistore/s3api"
)

var baseDomains = []string{"s3.localhost", "deep.s3.localhost"}

// compareSpecs lets cmp look at byterange.Spec, which has no exported fields.
var compareSpecs = cmp.Comparer(func(a, b byterange.Spec) bool { return a == b })

// newRequest makes a request of "METHOD TARGET" and header lines.
func newRequest(line string, headers ...string) *s3api.Request {
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	h := s3api.ParseHeader(strings.Join(headers, "\r\n"))
	return &s3api.Request{Method: method, RawPath: path, RawQuery: query, Host: h.Get("host"), Header: h}
}

func parse(t *testing.T, line string, headers ...string) (s3api.Operation, error) {
	t.Helper()
	op, err := s3api.Parse(newRequest(line, headers...), baseDomains)
	if op == nil {
		t.Fatalf("%s: no operation", line)
	}
	return op, err
}

// wantError fails unless err is an *Error of code, and returns it.
func wantError(t *testing.T, what string, err error, code s3api.ErrorCode) *s3api.Error {
	t.Helper()
	e, ok := errors.AsType[*s3api.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("%s: error %v, want %s", what, err, code)
	}
	return e
}

func field(e *s3api.Error, name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
