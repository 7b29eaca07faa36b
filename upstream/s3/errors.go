package s3

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"unistore/upstream"
)

// byCode maps the codes of S3, and of servers that add their own, to what callers act on. Codes that
// are not here go by the status.
var byCode = map[string]upstream.Code{
	"NoSuchKey":                     upstream.NotExist,
	"NoSuchBucket":                  upstream.NoBucket,
	"NoSuchUpload":                  upstream.NoUpload,
	"NoSuchVersion":                 upstream.NoVersion,
	"InvalidRange":                  upstream.RangeError,
	"PreconditionFailed":            upstream.Changed,
	"ConditionalRequestConflict":    upstream.Conflict,
	"OperationAborted":              upstream.Conflict,
	"FileAlreadyExists":             upstream.Changed,
	"BucketAlreadyExists":           upstream.BucketExists,
	"BucketAlreadyOwnedByYou":       upstream.BucketOwned,
	"BucketNotEmpty":                upstream.BucketNotEmpty,
	"InvalidPart":                   upstream.InvalidPart,
	"InvalidPartOrder":              upstream.PartOrder,
	"EntityTooSmall":                upstream.TooSmall,
	"EntityTooLarge":                upstream.TooLarge,
	"BadDigest":                     upstream.BadDigest,
	"InvalidDigest":                 upstream.BadDigest,
	"XAmzContentChecksumMismatch":   upstream.BadDigest,
	"XAmzContentSHA256Mismatch":     upstream.BadDigest,
	"IncompleteBody":                upstream.TooShort,
	"SlowDown":                      upstream.Throttled,
	"SlowDownRead":                  upstream.Throttled,
	"SlowDownWrite":                 upstream.Throttled,
	"TooManyRequests":               upstream.Throttled,
	"RequestLimitExceeded":          upstream.Throttled,
	"ServiceBusy":                   upstream.Throttled,
	"RequestTimeout":                upstream.Unavailable,
	"InternalError":                 upstream.Unavailable,
	"NotImplemented":                upstream.Unsupported,
	"MethodNotAllowed":              upstream.Unsupported,
	"QuotaExceeded":                 upstream.NoSpace,
	"InsufficientStorage":           upstream.NoSpace,
	"XMinioStorageFull":             upstream.NoSpace,
	"KeyTooLongError":               upstream.InvalidKey,
	"InvalidURI":                    upstream.InvalidKey,
	"XMinioInvalidObjectName":       upstream.InvalidKey,
	"XMinioInvalidResourceName":     upstream.InvalidKey,
	"XMinioParentIsObject":          upstream.InvalidKey,
	"XMinioObjectExistsAsDirectory": upstream.InvalidKey,
	"ObjectParentIsFile":            upstream.InvalidKey, // versitygw posix: "a/b" beside "a"
	"ExistingObjectIsDirectory":     upstream.InvalidKey, // versitygw posix: "a" beside "a/b"
	"DirectoryObjectContainsData":   upstream.InvalidKey, // versitygw posix: a body under "a/"
}

// credentialCodes are faults of our own keys or clock: the client of the gateway can do nothing
// about them and must not be told.
var credentialCodes = map[string]bool{
	"InvalidAccessKeyId": true, "SignatureDoesNotMatch": true, "RequestTimeTooSkewed": true,
	"ExpiredToken": true, "InvalidToken": true, "TokenRefreshRequired": true, "InvalidSecurity": true,
	"AuthorizationHeaderMalformed": true, "XAmzContentSHA256NotSupported": true, "AccountProblem": true,
	"InvalidClientTokenId": true, "MissingAuthenticationToken": true, "UnrecognizedClientException": true,
}

// fail maps an error of the SDK: the caller's cancellation first, then the S3 code, then the status.
func (r *request) fail(err error) error {
	out := &upstream.Error{Op: r.op, Err: err}
	if r.caller.Err() != nil {
		out.Code, out.Err = upstream.Cancelled, r.caller.Err()
		return out
	}
	if errors.Is(err, errCredentials) {
		out.Code, out.Unsent = upstream.Access, true
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
	out.RetryAfter = retryAfter(h)
	out.Code = codeOf(status, code, h)
	out.Message, out.Err = brief(status, code, message), nil
	switch {
	case r.wrongRegion(out, status, code, h):
	case credentialCodes[code]:
		out.Code, out.Message = upstream.Access, "the store refused our credentials: "+code
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

func codeOf(status int, code string, h http.Header) upstream.Code {
	if c, ok := byCode[code]; ok {
		return c
	}
	switch status {
	case http.StatusNotModified:
		return upstream.NotModified
	case http.StatusPreconditionFailed:
		return upstream.Changed
	case http.StatusRequestedRangeNotSatisfiable:
		return upstream.RangeError
	case http.StatusUnauthorized, http.StatusForbidden:
		return upstream.Access
	case http.StatusConflict:
		return upstream.Conflict
	case http.StatusTooManyRequests:
		return upstream.Throttled
	case http.StatusServiceUnavailable:
		if h.Get("Retry-After") != "" {
			return upstream.Throttled
		}
		return upstream.Unavailable
	case http.StatusInsufficientStorage:
		return upstream.NoSpace
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return upstream.Unsupported
	case http.StatusRequestURITooLong:
		return upstream.InvalidKey
	case http.StatusRequestEntityTooLarge:
		return upstream.TooLarge
	case http.StatusNotFound, http.StatusRequestTimeout:
		return upstream.Unavailable // a 404 that no S3 server wrote; notFound looks closer at the others
	}
	if status >= 400 && status < 500 {
		return upstream.Invalid
	}
	return upstream.Unavailable
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

// brief is the store's words, bounded.
func brief(status int, code, message string) string {
	const most = 300
	message = strings.ToValidUTF8(message, "?")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "..."
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", status, code, message))
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
