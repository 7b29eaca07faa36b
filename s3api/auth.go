package s3api

import (
	"crypto/subtle"
	"time"
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
	Region string // empty: us-east-1
	// AnyRegion accepts signatures scoped to another region: clients often have their own default.
	AnyRegion bool
	Anonymous bool // accept unsigned requests
	// BaseDomains as for Parse; what Signature Version 2 signs names the bucket of the host.
	BaseDomains []string
	Now         func() time.Time // nil: time.Now
}

// Auth is the outcome of authentication: who asks, and how the body is to be verified.
type Auth struct {
	AccessKey string // empty when anonymous
	Anonymous bool
	Presigned bool

	payload payload
	// chain begins the signatures of the body's chunks; its key is nil when anonymous.
	chain chain
}

// Verifier authenticates requests by Signature Version 4, in the Authorization header or in the query of
// a presigned URL. It is safe for concurrent use.
type Verifier struct {
	creds Credentials
	cfg   VerifierConfig
	keys  keyCache
}

// NewVerifier returns a Verifier that knows the keys of creds.
func NewVerifier(creds Credentials, cfg VerifierConfig) *Verifier {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{creds: creds, cfg: cfg}
}

// Verify authenticates r without reading its body. Every error is an *Error.
//
// Signature Version 2 is accepted in presigned URLs alone, see sigv2_query.go: in the header
// every SDK since 2014 has version 4.
func (v *Verifier) Verify(r *Request) (*Auth, error) {
	c, err := findClaim(r)
	if err != nil {
		return nil, err
	}
	switch c.mechanism {
	case unsigned:
		return v.anonymous(r)
	case presignedV2:
		return v.verifyV2(r)
	}
	if err := v.checkScope(&c); err != nil {
		return nil, err
	}
	now := v.cfg.Now()
	if err := c.checkTime(now); err != nil {
		return nil, err
	}
	pay, err := c.findPayload(r)
	if err != nil {
		return nil, err
	}
	if err := c.checkCovered(r.Header); err != nil {
		return nil, err
	}
	cred, ok := v.creds.Lookup(c.accessKey)
	if !ok {
		return nil, &Error{Code: ErrInvalidAccessKeyId, Fields: []Field{{"AWSAccessKeyId", c.accessKey}}}
	}
	key, known := v.keys.get(&c, cred.SecretKey)
	if err := c.checkSignature(r, key); err != nil {
		return nil, err
	}
	if !known { // only after the signature held, so strangers cannot flush the cache
		v.keys.put(&c, key)
	}
	if err := checkToken(cred, c.token, now); err != nil {
		return nil, err
	}
	return &Auth{
		AccessKey: cred.AccessKey,
		Presigned: c.mechanism == presigned,
		payload:   pay,
		chain:     chain{key: key, timestamp: c.timestamp, scope: c.scope, seed: c.signature},
	}, nil
}

// anonymous admits a request without a signature. Its content hash, if it has one, still holds.
func (v *Verifier) anonymous(r *Request) (*Auth, error) {
	if !v.cfg.Anonymous {
		return nil, &Error{Code: ErrAccessDenied}
	}
	pay := payload{mode: payloadUnsigned}
	if value, ok := r.Header.Lookup(headerContentSHA); ok {
		var err error
		if pay, err = parsePayload(value); err != nil {
			return nil, err
		}
		if pay.mode.signedChunks() {
			return nil, badRequest("Anonymous requests don't support this x-amz-content-sha256 value. " +
				"Please use UNSIGNED-PAYLOAD or STREAMING-UNSIGNED-PAYLOAD-TRAILER.")
		}
	}
	return &Auth{Anonymous: true, payload: pay}, nil
}

// checkScope verifies that the credential is for this region.
func (v *Verifier) checkScope(c *claim) error {
	if v.cfg.AnyRegion || c.region == v.cfg.Region {
		return nil
	}
	err := c.malformed("the region '" + c.region + "' is wrong; expecting '" + v.cfg.Region + "'")
	err.Fields = append(err.Fields, Field{"Region", v.cfg.Region})
	return err
}

// checkToken verifies the session token of a request whose signature holds.
func checkToken(cred Credential, token string, now time.Time) error {
	if subtle.ConstantTimeCompare([]byte(cred.SessionToken), []byte(token)) != 1 {
		return &Error{Code: ErrInvalidToken}
	}
	if !cred.Expires.IsZero() && !now.Before(cred.Expires) {
		return &Error{Code: ErrExpiredToken}
	}
	return nil
}
