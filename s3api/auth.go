package s3api

import (
	"io"
	"time"

	"unistore/object"
)

// Credential is a key pair that may sign requests.
type Credential struct {
	AccessKey, SecretKey string
	// SessionToken, when set, must come with the request (x-amz-security-token).
	SessionToken string
	Expires      time.Time // zero: never
}

// Credentials finds key pairs. Lookup is called on every request and must be fast; it is safe for
// concurrent use.
type Credentials interface {
	Lookup(accessKey string) (Credential, bool)
}

// VerifierConfig sets up a Verifier.
type VerifierConfig struct {
	Region string
	// AnyRegion accepts signatures scoped to another region: clients often have their own default.
	AnyRegion bool
	Anonymous bool // accept unsigned requests
	Now       func() time.Time
}

// Auth is the outcome of authentication: who asks, and how the body is to be verified.
type Auth struct {
	AccessKey string // empty when anonymous
	Anonymous bool
	Presigned bool

	payload payloadMode
}

// Body is a request's decoded body.
//
// Reader delivers the object's bytes: aws-chunked framing removed; content hash, chunk signatures, trailing
// checksums, x-amz-checksum-* and Content-MD5 verified. The last byte is delivered
// only after all of them hold; a failure is an *Error from Read (BadDigest, SignatureDoesNotMatch,
// XAmzContentSHA256Mismatch, IncompleteBody, ...) and stays the error of every later Read.
type Body struct {
	io.Reader
	Size     int64            // decoded; -1 when not known
	Checksum *object.Checksum // promised in a header, or nil
	MD5      string           // Content-MD5 as sent (base64), or empty
	// Trailing returns, after io.EOF, the verified checksums of the trailer; nil when there is no trailer.
	Trailing func() []object.Checksum
}
