package s3api

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxKeyLength is the most bytes a key may have, in UTF-8 ("Creating object key names" of the S3 user guide).
const MaxKeyLength = 1024

// Names that S3 keeps for itself ("Bucket naming rules" of the S3 user guide).
var (
	reservedBucketPrefixes = []string{"xn--", "sthree-"}
	reservedBucketSuffixes = []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"}
)

// CheckBucket returns an *Error InvalidBucketName unless name keeps the naming rules for general purpose buckets.
func CheckBucket(name string) error {
	if validBucket(name) {
		return nil
	}
	return &Error{Code: ErrInvalidBucketName, Fields: []Field{{"BucketName", name}}}
}

func validBucket(name string) bool {
	if len(name) < 3 || len(name) > 63 || strings.Contains(name, "..") || isIPv4(name) {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		inner := i > 0 && i < len(name)-1
		if !alnum && (!inner || c != '-' && c != '.') {
			return false
		}
	}
	for _, p := range reservedBucketPrefixes {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, s := range reservedBucketSuffixes {
		if strings.HasSuffix(name, s) {
			return false
		}
	}
	return true
}

// isIPv4 reports whether name has the form of an address: four groups of digits.
func isIPv4(name string) bool {
	groups := strings.Split(name, ".")
	if len(groups) != 4 {
		return false
	}
	for _, g := range groups {
		if g == "" || strings.Trim(g, "0123456789") != "" {
			return false
		}
	}
	return true
}

// CheckKey returns an *Error (KeyTooLongError, InvalidURI, InvalidArgument) unless key is a key: not
// empty, at most MaxKeyLength bytes, valid UTF-8, without NUL. Everything else is legal, "..", "//" and
// control characters included.
func CheckKey(key string) error {
	switch {
	case key == "":
		return &Error{Code: ErrInvalidArgument, Message: "A key must be specified."}
	case len(key) > MaxKeyLength:
		return &Error{Code: ErrKeyTooLongError, Fields: []Field{
			{"Size", strconv.Itoa(len(key))}, {"MaxSizeAllowed", strconv.Itoa(MaxKeyLength)},
		}}
	case !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0:
		return &Error{Code: ErrInvalidURI}
	}
	return nil
}
