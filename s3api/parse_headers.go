package s3api

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"unistore/object"
)

const (
	// metaPrefix starts the names of headers that hold user metadata.
	metaPrefix = "x-amz-meta-"
	// maxMetadata is the most bytes that names (without the prefix) and values of user metadata may have
	// together ("Working with object metadata" of the S3 user guide).
	maxMetadata = 2048
)

// header returns the value of name, repeated lines joined as RFC 9110 section 5.3 says.
func (c *call) header(name string) (string, bool) {
	var (
		value string
		found bool
	)
	for _, f := range c.headers {
		if f.Name != name {
			continue
		}
		if found {
			value += ", " + f.Value
		} else {
			value, found = f.Value, true
		}
	}
	return value, found
}

// checkHeaders refuses headers that would change what the operation means and that are not implemented. An
// empty value asks for nothing. x-amz-server-side-encryption is refused whatever it asks for: an
// object must not be thought encrypted that is not.
func (c *call) checkHeaders() {
	for _, f := range c.headers {
		if strings.HasPrefix(f.Name, "x-amz-") && f.Value != "" && c.changesMeaning(f.Name, f.Value) {
			c.fail(notImplementedHeader(f.Name))
		}
	}
}

func notImplementedHeader(name string) *Error {
	return &Error{
		Code:    ErrNotImplemented,
		Message: ErrNotImplemented.Message() + ": " + name,
		Fields:  []Field{{"Header", name}},
	}
}

// refuseHeader fails when name is given.
func (c *call) refuseHeader(name string) {
	if c.headers.Get(name) != "" {
		c.fail(notImplementedHeader(name))
	}
}

var storageClasses = []string{
	standardClass, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR",
	"DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS",
}

func (c *call) changesMeaning(name, value string) bool {
	switch name {
	case "x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner":
		return true // ignoring a safety check is no option; there are no accounts to check
	case "x-amz-if-match-last-modified-time", "x-amz-if-match-size":
		return c.req.Method == "DELETE"
	}
	if strings.HasPrefix(name, "x-amz-server-side-encryption") ||
		strings.HasPrefix(name, "x-amz-copy-source-server-side-encryption") {
		return true
	}
	return (c.req.Method == "PUT" || c.req.Method == "POST") && writeChangesMeaning(name, value)
}

// writeChangesMeaning is about headers that only PUT and POST give a meaning. The two ACLs that say no
// more than that the owner has all rights are accepted, since clients send them by habit.
func writeChangesMeaning(name, value string) bool {
	switch name {
	case "x-amz-acl":
		return value != "private" && value != "bucket-owner-full-control"
	case "x-amz-tagging-directive":
		return value != "COPY"
	case "x-amz-bucket-object-lock-enabled":
		return !strings.EqualFold(value, "false")
	case "x-amz-object-ownership":
		return value != "BucketOwnerEnforced"
	case "x-amz-tagging", "x-amz-website-redirect-location", "x-amz-write-offset-bytes":
		return true
	}
	return strings.HasPrefix(name, "x-amz-grant-") || strings.HasPrefix(name, "x-amz-object-lock-")
}

// storageClass reads x-amz-storage-class; empty when absent.
func (c *call) storageClass() string {
	class := c.headers.Get("x-amz-storage-class")
	if class != "" && !slices.Contains(storageClasses, class) {
		c.fail(&Error{Code: ErrInvalidStorageClass, Fields: []Field{{"StorageClassRequested", class}}})
	}
	return class
}

// objectHeaders reads the headers that are kept with an object.
func (c *call) objectHeaders() object.Headers {
	var h object.Headers
	size := 0
	for _, f := range c.headers {
		dst := contentField(&h, f.Name)
		user, isUser := strings.CutPrefix(f.Name, metaPrefix)
		if dst == nil && !isUser {
			continue
		}
		if !cleanHeaderValue(f.Value) || isUser && !isToken(user) {
			c.fail(badParam(f.Name, f.Value, "Header cannot be represented."))
			continue
		}
		if isUser {
			size += addUser(&h, user, f.Value)
			continue
		}
		if *dst != "" {
			*dst += ", "
		}
		*dst += f.Value
	}
	if size > maxMetadata {
		c.fail(&Error{Code: ErrMetadataTooLarge, Fields: []Field{
			{"Size", strconv.Itoa(size)}, {"MaxSizeAllowed", strconv.Itoa(maxMetadata)},
		}})
	}
	h.ContentEncoding = withoutChunked(h.ContentEncoding)
	return h
}

func contentField(h *object.Headers, name string) *string {
	switch name {
	case "content-type":
		return &h.ContentType
	case "content-encoding":
		return &h.ContentEncoding
	case "content-language":
		return &h.ContentLanguage
	case "content-disposition":
		return &h.ContentDisposition
	case "cache-control":
		return &h.CacheControl
	case "expires":
		return &h.Expires
	}
	return nil
}

// addUser sets one name of the user metadata, values of a repeated one joined, and returns the bytes that it adds.
func addUser(h *object.Headers, name, value string) int {
	if h.User == nil {
		h.User = make(map[string]string)
	}
	old, dup := h.User[name]
	if dup {
		h.User[name] = old + "," + value
		return 1 + len(value)
	}
	h.User[name] = value
	return len(name) + len(value)
}

// withoutChunked takes aws-chunked out of a Content-Encoding: it is of the transfer, not of the object.
func withoutChunked(encoding string) string {
	if !strings.Contains(strings.ToLower(encoding), "aws-chunked") {
		return encoding
	}
	var kept []string
	for e := range strings.SplitSeq(encoding, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

// cleanHeaderValue reports whether s can be kept and sent in a header line: UTF-8, no control characters but tab.
func cleanHeaderValue(s string) bool {
	if !utf8.ValidString(s) {
		return false // stores would put something else in its place
	}
	for i := range len(s) {
		if s[i] < 0x20 && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// isToken reports whether s can be a header's name (token, RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') &&
			!strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
