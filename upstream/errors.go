package upstream

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Code is what went wrong, in the closed set that callers act on. A Code is an error: test with
// errors.Is(err, upstream.NotExist).
type Code uint8

// The codes. Unavailable and Throttled are worth a retry; Corrupted and BadDigest where the bytes are at hand.
const (
	Unavailable    Code = iota // transient: 5xx, transport, parse failure, timeout of the store
	Throttled                  // 429, 503 SlowDown
	NotExist                   // no such key
	NoBucket                   // no such bucket
	NoUpload                   // no such upload
	NoVersion                  // no such version
	Access                     // the store refused our credentials or our right
	Changed                    // a condition failed (412): another version, or it exists
	Conflict                   // 409 ConditionalRequestConflict: a concurrent write won
	NotModified                // 304
	RangeError                 // 416
	InvalidKey                 // the store cannot hold this key
	InvalidPart                // Complete named a part that is not there
	PartOrder                  // Complete's list does not ascend
	TooSmall                   // EntityTooSmall
	TooLarge                   // EntityTooLarge
	TooShort                   // the body ended before its size
	BadDigest                  // checksum or MD5 mismatch
	Corrupted                  // the store has other bytes than were sent
	BucketExists               // taken by somebody else
	BucketOwned                // we own it already
	BucketNotEmpty             //
	NoSpace                    // disk or quota full
	Unsupported                // the store has no such ability
	Invalid                    // the store refused an argument for another reason
	Cancelled                  // our ctx ended
	numCodes
)

var codeNames = [numCodes]string{
	"unavailable", "throttled", "no such key", "no such bucket", "no such upload", "no such version",
	"access denied", "precondition failed", "conflict", "not modified", "range not satisfiable",
	"invalid key", "invalid part", "invalid part order", "too small", "too large", "body too short",
	"bad digest", "corrupted", "bucket exists", "bucket already owned", "bucket not empty", "no space",
	"unsupported", "invalid argument", "cancelled",
}

// Error names the code.
func (c Code) Error() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("upstream code %d", uint8(c))
}

// Label is the code as a metric label: its name with underscores.
func (c Code) Label() string { return strings.ReplaceAll(c.Error(), " ", "_") }

// Codes returns every Code, for tests that a mapping is total.
func Codes() []Code {
	all := make([]Code, numCodes)
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// Error is a failure of a store, wrapped once by the driver. It carries no secret; the key may be in Err.
type Error struct {
	Code      Code
	Op        string // the Backend method
	Message   string // the store's words, or ours
	RequestID string // the store's
	Err       error  // the cause, or nil
	// Unsent: the request never reached the store, so a repeat cannot happen twice.
	Unsent bool
	// Credentials: the store did not know our keys or their signature (Access), whatever they may do.
	Credentials bool
	// RetryAfter is how long the store asked to be left alone; 0 when it did not say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Code.Error()
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.RequestID != "" {
		s += " (upstream request " + e.RequestID + ")"
	}
	return s
}

// Unwrap gives the code and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Err}
}

// Errorf makes an *Error whose cause is made by fmt.Errorf.
func Errorf(code Code, op, format string, args ...any) error {
	return &Error{Code: code, Op: op, Err: fmt.Errorf(format, args...)}
}

// MayHaveActed reports whether a store may have done, or may still do, what failed with err: it did not say that it has not.
func MayHaveActed(err error) bool {
	if err == nil {
		return false
	}
	if failed, ok := errors.AsType[*Error](err); ok && failed.Unsent {
		return false
	}
	code := CodeOf(err)
	return code == Unavailable || code == Cancelled
}

// CodeOf returns err's Code; an error that has none is Unavailable.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if c, ok := errors.AsType[Code](err); ok {
		return c
	}
	return Unavailable
}
