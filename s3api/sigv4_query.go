package s3api

import (
	"strconv"
	"strings"
	"time"
)

// queryAuth is the parameters of a presigned URL, decoded; of repeated ones the first.
type queryAuth struct {
	algorithm, credential, date, expires, signedHeaders, signature *string
	token, hash                                                    string
	v2                                                             bool
}

// findQuery collects the signature parameters of a raw query; found is false when it has none.
func findQuery(raw string) (q queryAuth, found bool) {
	if !strings.Contains(raw, "X-Amz-") && !strings.Contains(raw, "Signature=") {
		return q, false
	}
	for more := true; more; {
		var part string
		part, raw, more = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(part, "=")
		found = q.set(name, value) || found
	}
	return q, found
}

// set keeps one parameter; it reports whether its presence makes the request a presigned one.
func (q *queryAuth) set(name, value string) bool {
	var target **string
	switch name {
	case "X-Amz-Algorithm":
		target = &q.algorithm
	case "X-Amz-Credential":
		target = &q.credential
	case "X-Amz-Date":
		target = &q.date
	case "X-Amz-Expires":
		target = &q.expires
	case "X-Amz-SignedHeaders":
		target = &q.signedHeaders
	case "X-Amz-Signature":
		target = &q.signature
	case "X-Amz-Security-Token":
		if q.token == "" {
			q.token = unescapeQuery(value)
		}
		return false
	case "X-Amz-Content-Sha256", headerContentSHA:
		if q.hash == "" {
			q.hash = unescapeQuery(value)
		}
		return false
	case "AWSAccessKeyId", "Signature":
		q.v2 = true
		return true
	default:
		return false
	}
	if *target == nil {
		decoded := unescapeQuery(value)
		*target = &decoded
	}
	return true
}

// claim reads the collected parameters.
func (q *queryAuth) claim() (claim, error) {
	c := claim{mechanism: presigned, token: q.token, hash: q.hash}
	if q.v2 && q.algorithm == nil {
		return claim{mechanism: presignedV2}, nil
	}
	for _, p := range []*string{q.algorithm, q.credential, q.date, q.expires, q.signedHeaders, q.signature} {
		if p == nil || *p == "" {
			return c, errMissingParameters()
		}
	}
	if *q.algorithm != sigAlgorithm {
		return c, queryMalformed(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	}
	if err := c.parseCredential(*q.credential); err != nil {
		return c, err
	}
	if len(*q.date) != len(isoLayout) || !c.parseTime(*q.date) {
		return c, queryMalformed(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	if c.timestamp[:8] != c.date {
		return c, queryMalformed(`Invalid credential date "` + c.date + `". This date is not the same as X-Amz-Date: "` +
			c.timestamp[:8] + `".`)
	}
	var err error
	if c.expires, err = parseExpires(*q.expires); err != nil {
		return c, err
	}
	c.signedHeaders, c.signature = *q.signedHeaders, *q.signature
	return c, nil
}

// parseExpires reads X-Amz-Expires: 1 second to 7 days.
func parseExpires(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil && !isDigits(strings.TrimPrefix(s, "-")):
		return 0, queryMalformed("X-Amz-Expires should be a number")
	case strings.HasPrefix(s, "-"):
		return 0, queryMalformed("X-Amz-Expires must be non-negative")
	case err == nil && n == 0:
		return 0, queryMalformed("X-Amz-Expires must be at least 1 second")
	case err != nil || n > int64(maxExpires/time.Second):
		return 0, queryMalformed("X-Amz-Expires must be less than a week (in seconds); " +
			"that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(n) * time.Second, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
