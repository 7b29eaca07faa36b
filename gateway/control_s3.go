package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"unistore/s3api"
)

// isControl reports whether r is a call of the control API: below its root, by a path-style address.
func (s *service) isControl(r *s3api.Request) bool {
	if !strings.HasPrefix(r.RawPath, "/_unistore/") {
		return false
	}
	op, _ := s3api.Parse(r, s.cfg.BaseDomains) // an error for certain: it is no bucket's name
	bucket, _ := op.Target()
	return bucket == "_unistore"
}

// serveControl answers a call of the control API on the S3 listener. Its answers, refusals of a signature too, are
// JSON. The returned error is for the log.
func (s *service) serveControl(ctx context.Context, x *exchange) (*s3api.Response, error) {
	answer, err := s.callControl(ctx, x)
	if err != nil {
		return s.failControl(x, err)
	}
	status, value := statusOf(answer)
	return jsonResponse(status, value), nil
}

// refuseControl answers a call whose body was not asked for.
func (s *service) refuseControl(x *exchange) (*s3api.Response, error) {
	err := s.admitControl(x)
	if err == nil { // it would be now
		err = &s3api.Error{Code: s3api.ErrServiceUnavailable, Close: true}
	}
	s.countAuth(x, err)
	return s.failControl(x, err)
}

func (s *service) failControl(x *exchange, err error) (*s3api.Response, error) {
	e := controlFailure(err)
	x.code = e.code
	res := jsonResponse(e.status, e.document())
	res.SetIf("Allow", e.allow)
	if x.Method == http.MethodHead {
		res.Body = nil
	}
	return res, err
}

// admitControl authenticates the caller. What he may do depends on the call.
func (s *service) admitControl(x *exchange) error {
	x.name = "Control"
	auth, err := s.verifier.Verify(x.Request)
	if err != nil {
		return err
	}
	if x.who, err = s.keys.identify(auth); err != nil {
		return err
	}
	x.auth = auth
	return nil
}

func (s *service) callControl(ctx context.Context, x *exchange) (any, error) {
	if err := s.admitControl(x); err != nil {
		s.countAuth(x, err)
		return nil, err
	}
	path, ok := strings.CutPrefix(x.RawPath, controlRoot)
	if !ok {
		return nil, &controlError{status: http.StatusNotFound, code: "NotFound", message: "there is no such call"}
	}
	body, err := controlBodyOf(x)
	if err != nil {
		return nil, err
	}
	return s.control.do(ctx, controlRequest{method: x.Method, path: path, query: signedQuery(x), body: body, who: x.who})
}

// controlBodyOf reads the body, whose hash the signature must cover: what it says is a command.
func controlBodyOf(x *exchange) ([]byte, error) {
	if x.Body == nil || x.ContentLength == 0 {
		return nil, nil
	}
	if sum := x.Header.Get("x-amz-content-sha256"); !x.auth.Anonymous && (sum == "" || strings.Contains(sum, "UNSIGNED")) {
		return nil, deniedControl("the signature must cover the body: send its hash in x-amz-content-sha256")
	}
	body, err := x.auth.Body(x.Request)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(body, controlBody+1))
	if err != nil {
		if _, ok := errors.AsType[*s3api.Error](err); !ok {
			return nil, badControl("the body can not be read to its end")
		}
		return nil, err
	}
	if len(text) > controlBody {
		return nil, &controlError{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLarge", message: "the body is too large"}
	}
	return text, nil
}

// signedQuery is the query without what a presigned URL adds to it.
func signedQuery(x *exchange) string {
	if !x.auth.Presigned {
		return x.RawQuery
	}
	var kept []string
	for part := range strings.SplitSeq(x.RawQuery, "&") {
		name, _, _ := strings.Cut(strings.ToLower(part), "=")
		switch {
		case strings.HasPrefix(name, "x-amz-"), name == "awsaccesskeyid", name == "signature", name == "expires":
		default:
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

func jsonResponse(status int, v any) *s3api.Response {
	text, err := json.Marshal(v)
	if err != nil { // none of our types can fail
		status, text = http.StatusServiceUnavailable, []byte(`{"error":{"code":"ServiceUnavailable","message":"the answer can not be written"}}`)
	}
	text = append(text, '\n')
	res := &s3api.Response{Status: status, Body: io.NopCloser(bytes.NewReader(text)), Length: int64(len(text))}
	res.Set("Content-Type", "application/json")
	res.Set("Cache-Control", "no-store")
	return res
}
