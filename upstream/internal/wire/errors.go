package wire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"unistore/upstream"
)

// codes map what S3, and the stores that took its words over, call an error to what callers act on.
var codes = map[string]upstream.Code{
	"NoSuchKey":                        upstream.NotExist,
	"NoSuchBucket":                     upstream.NoBucket,
	"NoSuchUpload":                     upstream.NoUpload,
	"NoSuchVersion":                    upstream.NoVersion,
	"InvalidRange":                     upstream.RangeError,
	"PreconditionFailed":               upstream.Changed,
	"ConditionalRequestConflict":       upstream.Conflict,
	"OperationAborted":                 upstream.Conflict,
	"FileAlreadyExists":                upstream.Changed, // OSS and COS: forbid-overwrite
	"ObjectAlreadyExists":              upstream.Changed,
	"BucketAlreadyExists":              upstream.BucketExists,
	"BucketAlreadyOwnedByYou":          upstream.BucketOwned,
	"BucketNotEmpty":                   upstream.BucketNotEmpty,
	"InvalidPart":                      upstream.InvalidPart,
	"InvalidPartOrder":                 upstream.PartOrder,
	"EntityTooSmall":                   upstream.TooSmall,
	"EntityTooLarge":                   upstream.TooLarge,
	"BadDigest":                        upstream.BadDigest,
	"InvalidDigest":                    upstream.BadDigest,
	"XAmzContentChecksumMismatch":      upstream.BadDigest,
	"XAmzContentSHA256Mismatch":        upstream.BadDigest,
	"IncompleteBody":                   upstream.TooShort,
	"SlowDown":                         upstream.Throttled,
	"SlowDownRead":                     upstream.Throttled,
	"SlowDownWrite":                    upstream.Throttled,
	"TooManyRequests":                  upstream.Throttled,
	"RequestLimitExceeded":             upstream.Throttled,
	"QpsLimitExceeded":                 upstream.Throttled,
	"DownloadTrafficRateLimitExceeded": upstream.Throttled,
	"UploadTrafficRateLimitExceeded":   upstream.Throttled,
	"ServiceBusy":                      upstream.Throttled,
	"RequestTimeout":                   upstream.Unavailable,
	"InternalError":                    upstream.Unavailable,
	"NotImplemented":                   upstream.Unsupported,
	"MethodNotAllowed":                 upstream.Unsupported,
	"QuotaExceeded":                    upstream.NoSpace,
	"InsufficientStorage":              upstream.NoSpace,
	"InsufficientStorageSpace":         upstream.NoSpace,
	"KeyTooLongError":                  upstream.InvalidKey,
	"KeyTooLong":                       upstream.InvalidKey,
	"InvalidObjectName":                upstream.InvalidKey,
	"InvalidURI":                       upstream.InvalidKey,
}

// credentialCodes are faults of our own keys or clock: the client of the gateway can do nothing
// about them and must not be told.
var credentialCodes = map[string]bool{
	"InvalidAccessKeyId": true, "SignatureDoesNotMatch": true, "RequestTimeTooSkewed": true, "RequestIsExpired": true,
	"ExpiredToken": true, "InvalidToken": true, "TokenRefreshRequired": true, "InvalidSecurity": true, "InvalidSecurityToken": true,
	"AuthorizationHeaderMalformed": true, "XAmzContentSHA256NotSupported": true, "AccountProblem": true, "NotSignedUp": true,
	"InvalidClientTokenId": true, "MissingAuthenticationToken": true, "UnrecognizedClientException": true,
	"InvalidAccessKeyIdError": true, "AccessForbidden": true, "AccessKeyDisabled": true, "InvalidCredential": true,
}

// Codes returns the common mapping with more added to it.
func Codes(more map[string]upstream.Code) map[string]upstream.Code {
	all := maps.Clone(codes)
	maps.Copy(all, more)
	return all
}

// CredentialFault reports whether code is a fault of the keys or the clock that we sign with.
func CredentialFault(code string) bool { return credentialCodes[code] }

// Vendor is how one store speaks of errors.
type Vendor struct {
	Upstream string // its name, in logs
	Log      zerolog.Logger
	Codes    map[string]upstream.Code // of Codes
	// Names of header lines. ErrorCode and ErrorMessage say what a document would, in answers to HEAD; empty where
	// the store has none.
	RequestID, ErrorCode, ErrorMessage string
}

// Fail says what became of a call: the caller's own cancellation first, then what the answer means, then that
// there was none. err is what the SDK made of it, kept only where there was no answer: the words of SDKs may hold what the
// log must not.
func (v Vendor) Fail(x *Exchange, op string, err error) *upstream.Error {
	if c := x.caller.Err(); c != nil {
		return &upstream.Error{Code: upstream.Cancelled, Op: op, Err: c}
	}
	a := x.Answer()
	if a.Status == 0 {
		return &upstream.Error{Code: upstream.Unavailable, Op: op, Err: cause(err), Unsent: !x.Sent()}
	}
	if a.Status < 300 { // the SDK could not read a good answer
		return &upstream.Error{Code: upstream.Unavailable, Op: op, Err: cause(err), RequestID: a.Header.Get(v.RequestID)}
	}
	return v.Refusal(op, a)
}

// cause keeps of an SDK's error what errors.Is can find, without words that name the request's URL.
func cause(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

// FailBody is Fail for a call with a body, whose own failure goes before what the SDK made of it.
func (v Vendor) FailBody(x *Exchange, op string, body *upstream.SizedReader, err error) *upstream.Error {
	failed := body.Err()
	if failed == nil {
		return v.Fail(x, op, err)
	}
	if c := x.caller.Err(); c != nil {
		return &upstream.Error{Code: upstream.Cancelled, Op: op, Err: errors.Join(c, failed)}
	}
	code := upstream.TooShort
	if e, ok := errors.AsType[*upstream.Error](failed); ok {
		code = e.Code
	}
	return &upstream.Error{Code: code, Op: op, Err: failed}
}

// Refusal maps an answer of 300 or more. That a HEAD's 404 is about the key and not the bucket is assumed.
func (v Vendor) Refusal(op string, a Answer) *upstream.Error {
	code, message := a.Error.Code, a.Error.Message
	if code == "" && v.ErrorCode != "" {
		code, message = a.Header.Get(v.ErrorCode), a.Header.Get(v.ErrorMessage)
	}
	out := &upstream.Error{
		Op: op, Code: CodeOf(v.Codes, a.Status, code, a.Header), Message: Brief(a.Status, code, message),
		RequestID: a.Header.Get(v.RequestID), RetryAfter: RetryAfter(a.Header),
	}
	if out.RequestID == "" {
		out.RequestID = a.Error.RequestID
	}
	switch {
	case CredentialFault(code):
		out.Code, out.Credentials, out.Message = upstream.Access, true, "the store refused our credentials: "+out.Message
		v.Log.Error().Str("upstream", v.Upstream).Str("code", code).Str("upstream_request", out.RequestID).
			Msg("the store refuses the configured credentials")
	case a.Status >= 300 && a.Status < 400 && a.Status != http.StatusNotModified:
		out.Code = upstream.Access
		out.Message = "the store redirects instead of answering: check endpoint and region: " + out.Message
		v.Log.Error().Str("upstream", v.Upstream).Int("status", a.Status).Msg("the store redirects: check endpoint and region")
	case a.Status == http.StatusNotFound && code == "":
		out.Code = upstream.NotExist
		if op == "StatBucket" {
			out.Code = upstream.NoBucket
		} else if op != "Stat" {
			out.Code, out.Message = upstream.Unavailable, "404 without an error document"
		}
	}
	return out
}

// CodeOf maps an answer of 300 or more: by the code if known has it, else by the status.
func CodeOf(known map[string]upstream.Code, status int, code string, h http.Header) upstream.Code {
	if c, ok := known[code]; ok {
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
		return upstream.Unavailable // a 404 that no object store wrote
	}
	if status >= 400 && status < 500 {
		return upstream.Invalid
	}
	return upstream.Unavailable
}

// Brief is the store's words, bounded.
func Brief(status int, code, message string) string {
	const most = 300
	message = strings.ToValidUTF8(message, "?")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + "..."
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", status, code, message))
}

// RetryAfter reads the header of that name: seconds or a date (RFC 9110 section 10.2.3).
func RetryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(time.Duration(n)*time.Second, 0)
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
