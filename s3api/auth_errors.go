package s3api

import (
	"fmt"
	"strconv"
	"time"
)

// badRequest is an InvalidRequest with its own words.
func badRequest(message string) *Error {
	return &Error{Code: ErrInvalidRequest, Message: message}
}

// badArgument is an InvalidArgument that names the argument and its value.
func badArgument(message, name, value string) *Error {
	return &Error{Code: ErrInvalidArgument, Message: message,
		Fields: []Field{{"ArgumentName", name}, {"ArgumentValue", value}}}
}

// errMechanism refuses every signature that is not AWS4-HMAC-SHA256: version 2, and SigV4A.
func errMechanism() *Error {
	return badRequest("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

func errOneMechanism(authorization string) *Error {
	return badArgument("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "+
		"Signature query string parameter or the Authorization header should be specified", "Authorization", authorization)
}

// headerMalformed is an error in the Authorization header; what is wrong follows the service's preamble.
func headerMalformed(what string) *Error {
	return &Error{Code: ErrAuthorizationHeaderMalformed, Message: "The authorization header is malformed; " + what}
}

// queryMalformed is an error in the parameters of a presigned URL.
func queryMalformed(message string) *Error {
	return &Error{Code: ErrAuthorizationQueryParametersError, Message: message}
}

func errMissingParameters() *Error {
	return queryMalformed("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, " +
		"X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
}

func errNoDate() *Error {
	return &Error{Code: ErrAccessDenied, Message: "AWS authentication requires a valid Date or x-amz-date header"}
}

// serverTime is a time in the form of the service's error fields.
func serverTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func errSkewed(timestamp string, now time.Time) *Error {
	return &Error{Code: ErrRequestTimeTooSkewed, Fields: []Field{
		{"RequestTime", timestamp},
		{"ServerTime", serverTime(now)},
		{"MaxAllowedSkewMilliseconds", strconv.FormatInt(maxSkew.Milliseconds(), 10)},
	}}
}

func errExpired(c *claim, now time.Time) *Error {
	return &Error{Code: ErrAccessDenied, Message: "Request has expired", Fields: []Field{
		{"X-Amz-Expires", strconv.FormatInt(int64(c.expires/time.Second), 10)},
		{"Expires", serverTime(c.time.Add(c.expires))},
		{"ServerTime", serverTime(now)},
	}}
}

func errNotYet(c *claim, now time.Time) *Error {
	return &Error{Code: ErrAccessDenied, Message: "Request is not valid yet", Fields: []Field{
		{"X-Amz-Date", c.timestamp},
		{"ServerTime", serverTime(now)},
	}}
}

func errNotSigned(names string) *Error {
	return &Error{Code: ErrAccessDenied, Message: "There were headers present in the request which were not signed",
		Fields: []Field{{"HeadersNotSigned", names}}}
}

// errSignature tells the client what was signed here, as the service does, so that it can compare. Everything in
// it came with the request.
func errSignature(accessKey, provided, stringToSign, canonical string) *Error {
	fields := []Field{
		{"AWSAccessKeyId", accessKey},
		{"StringToSign", stringToSign},
		{"SignatureProvided", provided},
		{"StringToSignBytes", fmt.Sprintf("% x", stringToSign)},
	}
	if canonical != "" {
		fields = append(fields, Field{"CanonicalRequest", canonical},
			Field{"CanonicalRequestBytes", fmt.Sprintf("% x", canonical)})
	}
	return &Error{Code: ErrSignatureDoesNotMatch, Fields: fields}
}
