package s3api

import (
	"crypto/hmac"
	"crypto/sha1" // what the version is made of; as an HMAC, SHA-1 is not known to be weak
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Presigned URLs of Signature Version 2 (S3 developer guide, "Signing and authenticating REST requests", query
// string request authentication). Version 1 of awscli presigns so against any endpoint that is not
// AWS's own, hence they are accepted; version 2 in an Authorization header is not.

// v2Resources are the query parameters that are part of what version 2 signs.
var v2Resources = []string{
	"acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
	"requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding",
	"response-content-language", "response-content-type", "response-expires", "restore", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// v2Claim is what a version 2 URL says of its own signature.
type v2Claim struct {
	accessKey, signature, token string
	expires                     int64 // Unix time, s
	expiresText                 string
	resources                   []string // NAME or NAME=VALUE, of v2Resources
	amz                         []string // NAME:VALUE of x-amz-* parameters and headers
}

// parseV2 reads a raw query that holds AWSAccessKeyId or Signature.
func parseV2(r *Request) (v2Claim, error) {
	var c v2Claim
	for part := range strings.SplitSeq(r.RawQuery, "&") {
		name, raw, hasValue := strings.Cut(part, "=")
		value := unescapeQuery(raw)
		switch {
		case name == "AWSAccessKeyId":
			c.accessKey = value
		case name == "Signature":
			c.signature = value
		case name == "Expires":
			c.expiresText = value
		case slices.Contains(v2Resources, name) && hasValue && raw != "":
			c.resources = append(c.resources, name+"="+value)
		case slices.Contains(v2Resources, name):
			c.resources = append(c.resources, name)
		case strings.HasPrefix(strings.ToLower(name), amzPrefix):
			c.amz = append(c.amz, strings.ToLower(name)+":"+value)
			if strings.EqualFold(name, headerToken) {
				c.token = value
			}
		}
	}
	if c.accessKey == "" || c.signature == "" || c.expiresText == "" {
		return c, &Error{Code: ErrAccessDenied,
			Message: "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"}
	}
	var err error
	if c.expires, err = strconv.ParseInt(c.expiresText, 10, 64); err != nil {
		return c, &Error{Code: ErrAccessDenied, Message: "Invalid date (should be seconds since epoch): " + c.expiresText}
	}
	return c, nil
}

// stringToSign renders what the URL's maker signed. bucket is set for virtual-host-style requests.
func (c *v2Claim) stringToSign(r *Request, bucket string) string {
	amz := slices.Clone(c.amz)
	values := map[string][]string{}
	for _, f := range r.Header {
		if strings.HasPrefix(f.Name, amzPrefix) {
			values[f.Name] = append(values[f.Name], f.Value)
		}
	}
	for name, v := range values {
		amz = append(amz, name+":"+strings.Join(v, ","))
	}
	slices.Sort(amz)
	resources := slices.Sorted(slices.Values(c.resources))
	var b strings.Builder
	for _, s := range []string{r.Method, r.Header.Get("content-md5"), r.Header.Get("content-type"), c.expiresText} {
		b.WriteString(s + "\n")
	}
	for _, line := range amz {
		b.WriteString(line + "\n")
	}
	if bucket != "" {
		b.WriteString("/" + bucket)
	}
	b.WriteString(r.RawPath)
	for i, s := range resources {
		b.WriteByte("?&"[min(i, 1)])
		b.WriteString(s)
	}
	return b.String()
}

// verifyV2 authenticates a presigned URL of Signature Version 2.
func (v *Verifier) verifyV2(r *Request) (*Auth, error) {
	c, err := parseV2(r)
	if err != nil {
		return nil, err
	}
	now := v.cfg.Now()
	if now.Unix() > c.expires {
		return nil, &Error{Code: ErrAccessDenied, Message: "Request has expired", Fields: []Field{
			{"Expires", serverTime(time.Unix(c.expires, 0))}, {"ServerTime", serverTime(now)}}}
	}
	cred, ok := v.creds.Lookup(c.accessKey)
	if !ok {
		return nil, &Error{Code: ErrInvalidAccessKeyId, Fields: []Field{{"AWSAccessKeyId", c.accessKey}}}
	}
	bucket, _ := hostBucket(r.Host, v.cfg.BaseDomains)
	toSign := c.stringToSign(r, bucket)
	mac := hmac.New(sha1.New, []byte(cred.SecretKey))
	mac.Write([]byte(toSign))
	sum := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !equalConstantTime([]byte(sum), c.signature) {
		return nil, errSignature(c.accessKey, c.signature, toSign, "")
	}
	if err := checkToken(cred, c.token, now); err != nil {
		return nil, err
	}
	return &Auth{AccessKey: cred.AccessKey, Presigned: true, payload: payload{mode: payloadUnsigned}}, nil
}
