package s3api

import (
	"strings"
	"time"
)

// The terms of Signature Version 4, from the S3 API reference, "Authenticating Requests (AWS Signature
// Version 4)".
const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	sigService   = "s3"
	sigTerminal  = "aws4_request"

	headerContentSHA = "x-amz-content-sha256"
	headerDate       = "x-amz-date"
	headerToken      = "x-amz-security-token"
	amzPrefix        = "x-amz-"

	isoLayout = "20060102T150405Z"

	// maxSkew is how far a request's date may be from ours, before or after.
	maxSkew = 15 * time.Minute
	// maxExpires is the longest life of a presigned URL.
	maxExpires = 7 * 24 * time.Hour
	// maxSignedHeaders bounds the work of a canonical request. User metadata is at most 2 KB, so no honest
	// request comes near.
	maxSignedHeaders = 256
)

// mechanism is how a request is signed.
type mechanism int

const (
	unsigned mechanism = iota
	byHeader
	presigned
	presignedV2
)

// claim is what a signed request says of its own signature; nothing in it is verified until checkSignature.
type claim struct {
	mechanism     mechanism
	accessKey     string
	scope         string // DATE/REGION/s3/aws4_request
	date, region  string // parts of scope
	signedHeaders string // names with ";" between
	signature     string // hex
	token         string // session token

	time      time.Time
	timestamp string // time in isoLayout
	expires   time.Duration
	hash      string // the payload hash of the canonical request
	// hashUnsigned: hash came in a header that the signature need not cover; see signatureHolds.
	hashUnsigned bool
}

// malformed is an error in the claim, in the words for its mechanism.
func (c *claim) malformed(what string) *Error {
	if c.mechanism == presigned {
		return queryMalformed("Error parsing the X-Amz-Credential parameter; " + what)
	}
	return headerMalformed(what)
}

// findClaim reads the signature of r, from wherever it stands.
func findClaim(r *Request) (claim, error) {
	var authorization string
	headers := 0
	for i := range r.Header {
		if r.Header[i].Name == "authorization" {
			authorization = r.Header[i].Value
			headers++
		}
	}
	q, found := findQuery(r.RawQuery)
	switch {
	case headers > 1, headers == 1 && found:
		return claim{}, errOneMechanism(authorization)
	case headers == 1:
		return headerClaim(authorization, r.Header)
	case found:
		return q.claim()
	}
	return claim{}, nil
}

// headerClaim reads an Authorization header.
func headerClaim(authorization string, h Header) (claim, error) {
	c := claim{mechanism: byHeader}
	algorithm, rest, ok := strings.Cut(authorization, " ")
	switch {
	case !ok:
		return c, badArgument("Authorization header is invalid -- one and only one ' ' (space) required",
			"Authorization", authorization)
	case algorithm == sigAlgorithm:
	case algorithm == "AWS", strings.HasPrefix(algorithm, "AWS4-"):
		return c, errMechanism()
	default:
		return c, badArgument("Unsupported Authorization Type", "Authorization", authorization)
	}
	credential, err := c.parseComponents(rest)
	if err != nil {
		return c, err
	}
	if err := c.parseCredential(credential); err != nil {
		return c, err
	}
	if err := c.headerTime(h); err != nil {
		return c, err
	}
	c.token = h.Get(headerToken)
	return c, nil
}

// parseComponents reads "Credential=..., SignedHeaders=..., Signature=..." in any order.
func (c *claim) parseComponents(s string) (credential string, err error) {
	for rest, more := s, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		target := (*string)(nil)
		switch name {
		case "Credential":
			target = &credential
		case "SignedHeaders":
			target = &c.signedHeaders
		case "Signature":
			target = &c.signature
		}
		if !ok || target == nil || *target != "" {
			return "", headerMalformed("the authorization component \"" + strings.TrimSpace(part) + "\" is malformed.")
		}
		*target = value
	}
	switch {
	case credential == "":
		return "", headerMalformed("missing Credential.")
	case c.signedHeaders == "":
		return "", headerMalformed("missing SignedHeaders.")
	case c.signature == "":
		return "", headerMalformed("missing Signature.")
	}
	return credential, nil
}

// parseCredential reads ACCESSKEY/DATE/REGION/s3/aws4_request. An access key may contain a slash.
func (c *claim) parseCredential(s string) error {
	cut := len(s)
	var parts [4]string // from the right: terminal, service, region, date
	for i := range parts {
		slash := strings.LastIndexByte(s[:cut], '/')
		if slash < 0 {
			return c.malformed(`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
		}
		parts[i], cut = s[slash+1:cut], slash
	}
	c.accessKey, c.scope = s[:cut], s[cut+1:]
	c.date, c.region = parts[3], parts[2]
	switch {
	case c.accessKey == "":
		return c.malformed(`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	case parts[0] != sigTerminal:
		return c.malformed(`incorrect terminal "` + parts[0] + `". This endpoint uses "aws4_request".`)
	case parts[1] != sigService:
		return c.malformed(`incorrect service "` + parts[1] + `". This endpoint belongs to "s3".`)
	case !isDate(c.date):
		return c.malformed(`incorrect date format "` + c.date + `". This date in the credential must be in the format "yyyyMMdd".`)
	}
	return nil
}

// isDate reports whether s is a yyyyMMdd of the calendar.
func isDate(s string) bool {
	_, err := time.Parse("20060102", s)
	return err == nil && len(s) == 8
}

// headerTime reads X-Amz-Date, or Date when there is none.
func (c *claim) headerTime(h Header) error {
	value, ok := h.Lookup(headerDate)
	if !ok {
		value = h.Get("date")
	}
	if !c.parseTime(value) {
		return errNoDate()
	}
	if c.timestamp[:8] != c.date {
		return headerMalformed(`Invalid credential date "` + c.date + `". This date is not the same as X-Amz-Date: "` +
			c.timestamp[:8] + `".`)
	}
	return nil
}

// dateLayouts are the forms of a Date header besides isoLayout: RFC 9110 section 5.6.7, and numeric zones.
var dateLayouts = []string{
	"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC1123Z, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC,
}

// parseTime sets time and timestamp; it is false when s is no date.
func (c *claim) parseTime(s string) bool {
	if t, err := time.Parse(isoLayout, s); err == nil && len(s) == len(isoLayout) {
		c.time, c.timestamp = t, s
		return true
	}
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			c.time = t.UTC()
			c.timestamp = c.time.Format(isoLayout)
			return len(c.timestamp) == len(isoLayout)
		}
	}
	return false
}

// checkTime verifies that the request is of now.
func (c *claim) checkTime(now time.Time) error {
	if c.mechanism == presigned {
		switch {
		case c.time.Sub(now) > maxSkew:
			return errNotYet(c, now)
		case now.After(c.time.Add(c.expires)):
			return errExpired(c, now)
		}
		return nil
	}
	if d := now.Sub(c.time); d > maxSkew || d < -maxSkew {
		return errSkewed(c.timestamp, now)
	}
	return nil
}

// findPayload reads what the request says of its body, and the hash that stands for it in the canonical
// request.
func (c *claim) findPayload(r *Request) (payload, error) {
	value, ok := r.Header.Lookup(headerContentSHA)
	switch {
	case !ok && c.mechanism == byHeader:
		return payload{}, badRequest("Missing required header for this request: x-amz-content-sha256")
	case ok && c.hash != "" && c.hash != value:
		return payload{}, &Error{Code: ErrXAmzContentSHA256Mismatch}
	case ok:
		c.hash = value
		c.hashUnsigned = c.mechanism == presigned && !hasToken(c.signedHeaders, headerContentSHA)
	case c.hash == "":
		c.hash = unsignedPayload
	}
	return parsePayload(c.hash)
}

// checkCovered verifies that the signature covers Host and every x-amz-* header, so that nobody on the way can
// add one. x-amz-content-sha256 is in the canonical request by itself.
func (c *claim) checkCovered(h Header) error {
	if strings.Count(c.signedHeaders, ";") >= maxSignedHeaders {
		return c.malformed("too many SignedHeaders.")
	}
	var missing []string
	if !hasToken(c.signedHeaders, "host") {
		missing = append(missing, "host")
	}
	for i := range h {
		name := h[i].Name
		if strings.HasPrefix(name, amzPrefix) && name != headerContentSHA && !hasToken(c.signedHeaders, name) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return errNotSigned(strings.Join(missing, ", "))
	}
	return nil
}

// hasToken reports whether the ";" separated list has the lower-case name.
func hasToken(list, name string) bool {
	for more := true; more; {
		var token string
		token, list, more = strings.Cut(list, ";")
		if len(token) == len(name) && strings.EqualFold(token, name) {
			return true
		}
	}
	return false
}
