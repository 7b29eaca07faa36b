package s3

import (
	"errors"
	"fmt"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// byCode maps the codes of S3, and of servers that add their own, to what callers act on. Codes that
// are not here go by the status.
var byCode = wire.Codes(map[string]upstream.Code{
	"XMinioStorageFull":             upstream.NoSpace,
	"XMinioInvalidObjectName":       upstream.InvalidKey,
	"XMinioInvalidResourceName":     upstream.InvalidKey,
	"XMinioParentIsObject":          upstream.InvalidKey,
	"XMinioObjectExistsAsDirectory": upstream.InvalidKey,
	"ObjectParentIsFile":            upstream.InvalidKey, // versitygw posix: "a/b" beside "a"
	"ExistingObjectIsDirectory":     upstream.InvalidKey, // versitygw posix: "a" beside "a/b"
	"DirectoryObjectContainsData":   upstream.InvalidKey, // versitygw posix: a body under "a/"
})

// fail maps an error of the SDK: the caller's cancellation first, then the S3 code, then the status.
func (r *request) fail(err error) error {
	out := &upstream.Error{Op: r.op, Err: err}
	if r.caller.Err() != nil {
		out.Code, out.Err = upstream.Cancelled, r.caller.Err()
		return out
	}
	if errors.Is(err, errCredentials) {
		out.Code, out.Credentials, out.Unsent = upstream.Access, true, true
		return out
	}
	status, h := answerOf(err)
	code, message := "", ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code, message = api.ErrorCode(), api.ErrorMessage()
	}
	if status == 0 { // no answer
		out.Code, out.Unsent = upstream.Unavailable, !r.sent.Load()
		return out
	}
	out.RequestID = h.Get("X-Amz-Request-Id")
	out.RetryAfter = wire.RetryAfter(h)
	out.Code = wire.CodeOf(byCode, status, code, h)
	out.Message, out.Err = wire.Brief(status, code, message), nil
	switch {
	case r.wrongRegion(out, status, code, h):
	case wire.CredentialFault(code):
		out.Code, out.Credentials, out.Message = upstream.Access, true, "the store refused our credentials: "+out.Message
		r.b.cfg.Log.Error().Str("upstream", r.b.cfg.Name).Str("code", code).Str("upstream_request", out.RequestID).
			Msg("the store refuses the configured credentials")
	case status == http.StatusNotFound && bodiless(code):
		return r.notFound(out, code)
	}
	return out
}

// answerOf is the HTTP status and header behind err; 0 when there was no answer.
func answerOf(err error) (int, http.Header) {
	re, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || re.ResponseError == nil || re.Response == nil || re.Response.Response == nil {
		return 0, http.Header{}
	}
	return re.HTTPStatusCode(), re.Response.Header
}

// bodiless reports whether code is what the SDK puts where the answer, to a HEAD, had no document.
func bodiless(code string) bool { return code == "NotFound" || code == "" || code == "UnknownError" }

// notFound tells what a 404 without a document is about. Only a HEAD has none by rights.
func (r *request) notFound(out *upstream.Error, code string) error {
	switch r.op {
	case "StatBucket":
		out.Code = upstream.NoBucket
	case "Stat":
		ok, err := r.b.bucketExists(r.caller, r.loc.Bucket)
		if err != nil {
			return err
		}
		out.Code = upstream.NoBucket
		if ok {
			out.Code = upstream.NotExist
		}
	default:
		out.Code, out.Message = upstream.Unavailable, "404 without an S3 error document "+code
	}
	return out
}

// wrongRegion turns a redirect to another region into words that an operator can act on.
func (r *request) wrongRegion(out *upstream.Error, status int, code string, h http.Header) bool {
	region := h.Get("X-Amz-Bucket-Region")
	redirect := status >= 300 && status < 400 && status != http.StatusNotModified
	if !redirect && (region == "" || region == r.b.cfg.Region || (code != "AuthorizationHeaderMalformed" && status != http.StatusBadRequest)) {
		return false
	}
	out.Code = upstream.Access
	switch {
	case region != "" && region != r.b.cfg.Region:
		out.Message = fmt.Sprintf("the bucket is in region %s, this upstream is configured for %s: set its region (and endpoint)", region, r.b.cfg.Region)
	default:
		out.Message = fmt.Sprintf("the store redirects (%d %s) instead of answering: check endpoint, region and path_style", status, code)
	}
	r.b.cfg.Log.Error().Str("upstream", r.b.cfg.Name).Msg(out.Message)
	return true
}

// bodyFailed gives the failure of a request's body precedence over what the SDK made of it.
func (r *request) bodyFailed(body *upstream.SizedReader, err error) error {
	failed := body.Err()
	if failed == nil {
		return r.fail(err)
	}
	if r.caller.Err() != nil {
		return &upstream.Error{Code: upstream.Cancelled, Op: r.op, Err: errors.Join(r.caller.Err(), failed)}
	}
	code := upstream.TooShort
	if e, ok := errors.AsType[*upstream.Error](failed); ok {
		code = e.Code
	}
	return &upstream.Error{Code: code, Op: r.op, Err: failed}
}
