package gateway

import (
	"context"
	"errors"

	"unistore/byterange"
	"unistore/cache"
	"unistore/multipart"
	"unistore/s3api"
	"unistore/upstream"
)

// s3Codes maps every upstream.Code to the S3 error that the client sees. NotExist of a key is refined by
// the operation; Access never says more than that access was denied.
var s3Codes = map[upstream.Code]s3api.ErrorCode{
	upstream.Unavailable:    s3api.ErrServiceUnavailable,
	upstream.Throttled:      s3api.ErrSlowDown,
	upstream.NotExist:       s3api.ErrNoSuchKey,
	upstream.NoBucket:       s3api.ErrNoSuchBucket,
	upstream.NoUpload:       s3api.ErrNoSuchUpload,
	upstream.NoVersion:      s3api.ErrNoSuchVersion,
	upstream.Access:         s3api.ErrAccessDenied,
	upstream.Changed:        s3api.ErrPreconditionFailed,
	upstream.Conflict:       s3api.ErrConditionalRequestConflict,
	upstream.NotModified:    s3api.ErrNotModified,
	upstream.RangeError:     s3api.ErrInvalidRange,
	upstream.InvalidKey:     s3api.ErrInvalidArgument,
	upstream.InvalidPart:    s3api.ErrInvalidPart,
	upstream.PartOrder:      s3api.ErrInvalidPartOrder,
	upstream.TooSmall:       s3api.ErrEntityTooSmall,
	upstream.TooLarge:       s3api.ErrEntityTooLarge,
	upstream.TooShort:       s3api.ErrIncompleteBody,
	upstream.BadDigest:      s3api.ErrBadDigest,
	upstream.Corrupted:      s3api.ErrServiceUnavailable,
	upstream.BucketExists:   s3api.ErrBucketAlreadyExists,
	upstream.BucketOwned:    s3api.ErrBucketAlreadyOwnedByYou,
	upstream.BucketNotEmpty: s3api.ErrBucketNotEmpty,
	upstream.NoSpace:        s3api.ErrInsufficientStorage,
	upstream.Unsupported:    s3api.ErrNotImplemented,
	upstream.Invalid:        s3api.ErrInvalidRequest,
	upstream.Cancelled:      s3api.ErrServiceUnavailable,
}

// messages are our words where the code's own would mislead.
var messages = map[upstream.Code]string{
	upstream.Unavailable: "The upstream store did not answer. Please try again.",
	upstream.Access:      "The upstream store denied the gateway access.",
	upstream.InvalidKey:  "The upstream store can not hold this key.",
	upstream.Unsupported: "The upstream store of this bucket does not implement this operation.",
	upstream.Invalid:     "The upstream store refused the request.",
	upstream.NoSpace:     "The upstream store is full.",
	upstream.Corrupted:   "The upstream store took other bytes than were sent. Please try again.",
	upstream.Cancelled:   "The request was cancelled.",
}

// toS3 is the one place where an error becomes an S3 error. Errors that are S3 errors
// already, such as those of a request's body, pass through.
func toS3(err error) *s3api.Error {
	if e, ok := errors.AsType[*s3api.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, cache.ErrNotCached):
		return &s3api.Error{Code: s3api.ErrGatewayTimeout, Message: "Not in the cache, and only-if-cached was asked for."}
	case errors.Is(err, cache.ErrChanged): // again and again: the client has set no condition that could fail
		return &s3api.Error{Code: s3api.ErrServiceUnavailable, Message: "The object keeps changing. Please try again.",
			Header: s3api.Header{{Name: "Retry-After", Value: "1"}}}
	case errors.Is(err, byterange.ErrUnsatisfiable):
		return &s3api.Error{Code: s3api.ErrInvalidRange}
	case errors.Is(err, multipart.ErrBadID):
		return &s3api.Error{Code: s3api.ErrNoSuchUpload}
	}
	code, ok := codeOf(err)
	if !ok {
		return &s3api.Error{Code: s3api.ErrInternalError}
	}
	out := &s3api.Error{Code: s3Codes[code], Message: messages[code]}
	if code == upstream.Throttled || code == upstream.Unavailable || code == upstream.Corrupted {
		out.Header = s3api.Header{{Name: "Retry-After", Value: "1"}}
	}
	return out
}

// badVersion names the version id as what a store did not understand, where one was asked for.
func badVersion(err error, id string) error {
	if id == "" || isS3(err) || !errors.Is(err, upstream.Invalid) {
		return err
	}
	return &s3api.Error{Code: s3api.ErrInvalidArgument, Message: "Invalid version id specified",
		Fields: []s3api.Field{{Name: "ArgumentName", Value: "versionId"}, {Name: "ArgumentValue", Value: id}}}
}

// codeOf finds the upstream code in err's chain; false when err is not a store's failure at all.
func codeOf(err error) (upstream.Code, bool) {
	if _, ok := errors.AsType[*upstream.Error](err); ok {
		return upstream.CodeOf(err), true
	}
	if _, ok := errors.AsType[upstream.Code](err); ok {
		return upstream.CodeOf(err), true
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return upstream.Cancelled, true
	}
	return 0, false
}
