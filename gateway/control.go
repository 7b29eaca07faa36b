package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"unistore/prefetch"
	"unistore/s3api"
)

const (
	// controlRoot is where the control API is, on both listeners; no legal bucket is called so.
	controlRoot = "/_unistore/v1/"
	// controlBody is the most that the body of a control request may have: bytes.
	controlBody = 1 << 20
)

// control is the control API, whoever carries its requests and has authenticated the caller.
type control struct {
	state   controlState
	queries *prefetch.Registry // nil: prefetching is not enabled
}

// controlState is what the control API asks the gateway. Its methods are safe for concurrent use; buckets
// and keys are the client's. An error that is no *controlError is a fault of ours.
type controlState interface {
	cacheState() cacheState
	upstreamStates(ctx context.Context) []upstreamState
	usage(ctx context.Context, bucket, prefix string) (usageState, error)
	invalidate(ctx context.Context, what invalidation) (dropState, error)
	residency(files []fileQuery) []fileResidency
	uploads(ctx context.Context, f uploadFilter, who identity, limit int) (list []uploadState, more bool, err error)
	abortUploads(ctx context.Context, list []uploadState) abortState
}

// controlRequest is one call.
type controlRequest struct {
	method string
	path   string // behind controlRoot, as sent
	query  string // as sent
	body   []byte // at most controlBody
	who    identity

	name string // of the query in the path
}

// split returns the path with a query's name, which it takes out, as a star.
func (r *controlRequest) split() (string, error) {
	rest, ok := strings.CutPrefix(r.path, "queries/")
	if !ok {
		return r.path, nil
	}
	name, action, found := strings.Cut(rest, "/")
	name, err := url.PathUnescape(name)
	if err != nil || !validQuery(name) {
		return "", badControl("the path names no query")
	}
	r.name = name
	if found {
		return "queries/*/" + action, nil
	}
	return "queries/*", nil
}

// controlAnswer is an answer with another status than 200.
type controlAnswer struct {
	status int
	value  any
}

// statusOf takes an answer of do apart.
func statusOf(answer any) (status int, value any) {
	if a, ok := answer.(controlAnswer); ok {
		return a.status, a.value
	}
	return http.StatusOK, answer
}

// controlError is a call that failed. The code is S3's where S3 has one for it.
type controlError struct {
	status        int
	code, message string
	allow         string // of a 405
}

func (e *controlError) Error() string { return e.message }

func badControl(format string, args ...any) error {
	return &controlError{status: http.StatusBadRequest, code: "InvalidRequest", message: fmt.Sprintf(format, args...)}
}

func deniedControl(message string) error {
	return &controlError{status: http.StatusForbidden, code: string(s3api.ErrAccessDenied), message: message}
}

// controlCall is one call of the API. It returns what to answer as JSON.
type controlCall func(c *control, ctx context.Context, r controlRequest) (any, error)

// controlCalls are the calls by path and method.
var controlCalls = map[string]map[string]controlCall{
	"cache":      {http.MethodGet: (*control).getCache},
	"upstreams":  {http.MethodGet: (*control).getUpstreams},
	"invalidate": {http.MethodPost: (*control).postInvalidate},
	"residency":  {http.MethodPost: (*control).postResidency},

	"queries":         {http.MethodGet: (*control).getQueries, http.MethodPost: (*control).postQuery},
	"queries/*":       {http.MethodGet: (*control).getQuery, http.MethodDelete: (*control).deleteQuery},
	"queries/*/files": {http.MethodPost: (*control).postQueryFiles},
	"queries/*/renew": {http.MethodPost: (*control).postQueryRenew},

	"uploads":       {http.MethodGet: (*control).getUploads},
	"uploads/abort": {http.MethodPost: (*control).postAbortUploads},
}

// do carries out one call and returns status and what to send as JSON.
func (c *control) do(ctx context.Context, r controlRequest) (any, error) {
	path, err := r.split()
	if err != nil {
		return nil, err
	}
	calls, ok := controlCalls[path]
	if !ok {
		return nil, &controlError{status: http.StatusNotFound, code: "NotFound", message: "there is no such call"}
	}
	call, ok := calls[r.method]
	if !ok {
		return nil, &controlError{status: http.StatusMethodNotAllowed, code: string(s3api.ErrMethodNotAllowed),
			message: "the call does not know this method", allow: strings.Join(slices.Sorted(keysOf(calls)), ", ")}
	}
	if r.who.query != "" && !r.mintedMay(path) {
		return nil, deniedControl("temporary credentials may only read here, and see no query but their own")
	}
	return call(c, ctx, r)
}

// mintedMay reports whether temporary credentials, which live no longer than their query, may make the call: they look, and
// change nothing.
func (r *controlRequest) mintedMay(path string) bool {
	if path == "queries/*" && r.name != r.who.query {
		return false
	}
	return r.method == http.MethodGet || path == "residency"
}

func keysOf[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// controlFailure makes err the error to answer; what we did not foresee says no more than that.
func controlFailure(err error) *controlError {
	if e, ok := errors.AsType[*controlError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*s3api.Error](err); ok {
		message := e.Message
		if message == "" {
			message = e.Code.Message()
		}
		return &controlError{status: e.Code.Status(), code: string(e.Code), message: message}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &controlError{status: http.StatusServiceUnavailable, code: string(s3api.ErrServiceUnavailable), message: "the call was cut short"}
	}
	return &controlError{status: http.StatusServiceUnavailable, code: string(s3api.ErrServiceUnavailable), message: "the gateway could not do it now; its log says why"}
}

// document is the body of an error's answer.
func (e *controlError) document() any {
	type inner struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	return struct {
		Error inner `json:"error"`
	}{inner{e.code, e.message}}
}

// decode reads the JSON object of a body into v, which knows every field that there may be.
func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return badControl("the body is empty; send a JSON object")
		}
		return badControl("the body is not the JSON that the call takes: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badControl("the body has more than one JSON value")
	}
	return nil
}

// parameters reads a query of which only the named parameters are known, each once.
func parameters(raw string, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badControl("the query string is malformed")
	}
	out := map[string]string{}
	for name, v := range values {
		if !slices.Contains(known, name) {
			return nil, badControl("unknown parameter %q", name)
		}
		if len(v) > 1 {
			return nil, badControl("parameter %q is given more than once", name)
		}
		out[name] = v[0]
	}
	return out, nil
}

// noParameters refuses a query.
func noParameters(r controlRequest) error {
	_, err := parameters(r.query)
	return err
}
