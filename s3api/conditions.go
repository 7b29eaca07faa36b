package s3api

import (
	"slices"
	"strings"
	"time"
)

// weakTag starts a weak ETag in Conditions.IfMatch; it matches nothing, for If-Match compares
// strongly (RFC 9110 section 13.1.1).
const weakTag = "W/"

// Check evaluates c against the current version of an object, in the order of RFC 9110 section 13.2.2. The error is an
// *Error: PreconditionFailed, or NotModified with the header lines of a 304. etag is without quotes.
func (c Conditions) Check(etag string, modTime time.Time) error {
	if name := c.failed(etag, modTime); name != "" {
		return preconditionFailed(name)
	}
	if c.unchanged(etag, modTime) == "" {
		return nil
	}
	return &Error{Code: ErrNotModified, Header: Header{
		{"ETag", quoteETag(etag)}, {"Last-Modified", formatHTTPTime(modTime)},
	}}
}

// Any reports whether there is a condition.
func (c Conditions) Any() bool {
	return len(c.IfMatch) > 0 || len(c.IfNoneMatch) > 0 || !c.IfModifiedSince.IsZero() || !c.IfUnmodifiedSince.IsZero()
}

// CheckCopy evaluates c against the source of a copy: whatever does not hold is
// PreconditionFailed.
func (c Conditions) CheckCopy(etag string, modTime time.Time) error {
	name := c.failed(etag, modTime)
	if name == "" {
		name = c.unchanged(etag, modTime)
	}
	if name == "" {
		return nil
	}
	return preconditionFailed("x-amz-copy-source-" + name)
}

func preconditionFailed(condition string) *Error {
	return &Error{Code: ErrPreconditionFailed, Fields: []Field{{"Condition", condition}}}
}

// failed names the condition for the object to be as it was that does not hold. If-Unmodified-Since
// does not count beside If-Match.
func (c Conditions) failed(etag string, modTime time.Time) string {
	if len(c.IfMatch) > 0 {
		if !matches(c.IfMatch, etag) {
			return "If-Match"
		}
		return ""
	}
	if !c.IfUnmodifiedSince.IsZero() && seconds(modTime).After(c.IfUnmodifiedSince) {
		return "If-Unmodified-Since"
	}
	return ""
}

// unchanged names the condition for the object to have changed that does not hold. If-Modified-Since does not count
// beside If-None-Match.
func (c Conditions) unchanged(etag string, modTime time.Time) string {
	if len(c.IfNoneMatch) > 0 {
		if matches(c.IfNoneMatch, etag) {
			return "If-None-Match"
		}
		return ""
	}
	if !c.IfModifiedSince.IsZero() && !seconds(modTime).After(c.IfModifiedSince) {
		return "If-Modified-Since"
	}
	return ""
}

func matches(list []string, etag string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, etag)
}

// seconds is what Last-Modified can say of t, and so what clients compare with.
func seconds(t time.Time) time.Time { return t.Truncate(time.Second) }

// conditions reads the conditional headers of a read; prefix is x-amz-copy-source- for those of a copy's
// source.
func (c *call) conditions(prefix string) Conditions {
	var cond Conditions
	if value, ok := c.header(prefix + "if-match"); ok {
		cond.IfMatch = parseETags(value)
	}
	if value, ok := c.header(prefix + "if-none-match"); ok {
		cond.IfNoneMatch = parseETags(value)
		for i, tag := range cond.IfNoneMatch { // compares weakly (RFC 9110 section 13.1.2)
			cond.IfNoneMatch[i] = strings.TrimPrefix(tag, weakTag)
		}
	}
	cond.IfModifiedSince = parseHTTPTime(c.headers.Get(prefix + "if-modified-since"))
	cond.IfUnmodifiedSince = parseHTTPTime(c.headers.Get(prefix + "if-unmodified-since"))
	return cond
}

// parseETags splits a list of ETags and takes their quotes off. Tags without quotes are taken too, as S3 does; weak
// ones keep their W/.
func parseETags(list string) []string {
	var tags []string
	for list = strings.TrimLeft(list, ", \t"); list != ""; list = strings.TrimLeft(list, ", \t") {
		weak := ""
		if strings.HasPrefix(list, weakTag+`"`) {
			weak, list = weakTag, list[len(weakTag):]
		}
		var tag string
		if list[0] == '"' {
			tag, list, _ = strings.Cut(list[1:], `"`)
		} else {
			tag, list, _ = strings.Cut(list, ",")
			tag = strings.TrimRight(tag, " \t")
		}
		tags = append(tags, weak+tag)
	}
	return tags
}

// parseHTTPTime reads the three formats of RFC 9110 section 5.6.7; zero for anything else.
func parseHTTPTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	for _, layout := range []string{httpTime, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// writeConditions reads the conditions of a write. S3 knows If-Match with one ETag, and If-None-Match: *; what
// it does not know is refused, since an ignored condition overwrites.
func (c *call) writeConditions() (ifMatch string, ifNoneMatch bool) {
	c.refuseHeader("if-modified-since")
	c.refuseHeader("if-unmodified-since")
	ifMatch = c.singleETag("if-match", false)
	if value, ok := c.header("if-none-match"); ok && value != "" {
		if value != "*" || ifMatch != "" {
			c.fail(notImplementedHeader("if-none-match"))
		}
		ifNoneMatch = true
	}
	return ifMatch, ifNoneMatch
}

// singleETag reads a header that holds one strong ETag, or "*" where star is set; empty when absent.
func (c *call) singleETag(name string, star bool) string {
	value, _ := c.header(name)
	tags := parseETags(value)
	if len(tags) == 0 {
		return ""
	}
	if len(tags) > 1 || tags[0] == "" || tags[0] == "*" && !star || strings.HasPrefix(tags[0], weakTag) {
		c.fail(notImplementedHeader(name))
	}
	return tags[0]
}
