package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	ossV4      = "OSS4-HMAC-SHA256"
	ossRequest = "aliyun_v4_request"
	ossTime    = "20060102T150405Z"
)

// ossSubresources belong to the resource of a V1 signature
// (help.aliyun.com, "Include signatures in the Authorization header (V1)", CanonicalizedResource).
var ossSubresources = []string{
	"acl", "uploads", "location", "cors", "logging", "website", "referer", "lifecycle", "delete", "append", "tagging",
	"objectMeta", "uploadId", "partNumber", "security-token", "position", "img", "style", "styleName", "replication",
	"replicationProgress", "replicationLocation", "cname", "bucketInfo", "comp", "qos", "live", "status", "vod",
	"startTime", "endTime", "symlink", "x-oss-process", "response-content-type", "x-oss-traffic-limit",
	"response-content-language", "response-expires", "response-cache-control", "response-content-disposition",
	"response-content-encoding", "udf", "restore", "callback", "callback-var", "qosInfo", "policy", "stat", "encryption",
	"versions", "versioning", "versionId", "requestPayment", "sequential", "inventory", "inventoryId",
	"continuation-token", "asyncFetch", "worm", "wormId", "wormExtend", "x-oss-request-payer",
}

// verifyOSS knows V4 (help.aliyun.com, "Include signatures in the Authorization header (V4)") and V1.
func verifyOSS(e *Emulator, c *call) *failure {
	authorization := c.r.Header.Get("Authorization")
	if !strings.HasPrefix(authorization, ossV4+" ") {
		return e.verifyDated(c, dated{scheme: "OSS", resource: c.resource(c.key), signed: ossSubresources})
	}
	a, ok := parseOSS(strings.TrimPrefix(authorization, ossV4+" "))
	if !ok {
		return fail(http.StatusBadRequest, "InvalidArgument", "The Authorization header is malformed.")
	}
	secret, f := e.secret(a.accessKey)
	if f != nil {
		return f
	}
	date := c.r.Header.Get("x-oss-date")
	t, err := time.Parse(ossTime, date)
	if f := e.fresh(t, err); f != nil {
		return f
	}
	if !strings.HasPrefix(date, a.day) || (e.cfg.Region != "" && a.region != e.cfg.Region) {
		return fail(http.StatusForbidden, "SignatureDoesNotMatch", "Invalid signing date or region in Authorization header.")
	}
	return same(a.signature, a.expected(c, secret))
}

// expected is the signature that c should have.
func (a ossAuthorization) expected(c *call, secret string) string {
	steps := []string{a.day, a.region, "oss", ossRequest}
	hashed := sha256.Sum256([]byte(canonicalOSS(c, a.additional)))
	text := strings.Join([]string{ossV4, c.r.Header.Get("x-oss-date"), strings.Join(steps, "/"), hex.EncodeToString(hashed[:])}, "\n")
	key := []byte("aliyun_v4" + secret)
	for _, step := range steps {
		key = macSHA256(key, step)
	}
	return hex.EncodeToString(macSHA256(key, text))
}

type ossAuthorization struct {
	accessKey, day, region, signature string
	additional                        []string // headers, lower case
}

// parseOSS reads "Credential=AK/DAY/REGION/oss/aliyun_v4_request, AdditionalHeaders=a;b, Signature=HEX".
func parseOSS(s string) (a ossAuthorization, ok bool) {
	for field := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			parts := strings.Split(value, "/")
			if len(parts) != 5 || parts[3] != "oss" || parts[4] != ossRequest {
				return a, false
			}
			a.accessKey, a.day, a.region = parts[0], parts[1], parts[2]
		case "AdditionalHeaders":
			a.additional = strings.Split(strings.ToLower(value), ";")
		case "Signature":
			a.signature = value
		}
	}
	return a, a.accessKey != "" && a.day != "" && a.signature != ""
}

// canonicalOSS is the canonical request of V4.
func canonicalOSS(c *call, additional []string) string {
	slices.Sort(additional)
	var lines []pair
	for name, values := range c.r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-oss-") || lower == "content-type" || lower == "content-md5" || slices.Contains(additional, lower) {
			lines = append(lines, pair{lower, strings.TrimSpace(strings.Join(values, ","))})
		}
	}
	if slices.Contains(additional, "host") {
		lines = append(lines, pair{"host", c.r.Host})
	}
	var params []pair
	for _, p := range c.query {
		params = append(params, pair{escape(p.name, ""), escape(p.value, "")})
	}
	payload := c.r.Header.Get("x-oss-content-sha256")
	if payload == "" {
		payload = "UNSIGNED-PAYLOAD"
	}
	return strings.Join([]string{
		c.r.Method, escape(c.resource(c.key), "/"), joinSorted(params, withoutEmpty, "&"),
		joinSorted(lines, headerLine, ""), strings.Join(additional, ";"), payload,
	}, "\n")
}
