package emulator

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far the date of a request may be from the store's, with all three vendors.
const maxSkew = 15 * time.Minute

func mac(h func() hash.Hash, key []byte, data string) []byte {
	m := hmac.New(h, key)
	_, _ = m.Write([]byte(data)) // a hash does not fail
	return m.Sum(nil)
}

func macSHA1(key, data string) []byte { return mac(sha1.New, []byte(key), data) }

func macSHA256(key []byte, data string) []byte { return mac(sha256.New, key, data) }

// secret returns the secret key of an access key.
func (e *Emulator) secret(accessKey string) (string, *failure) {
	secret, ok := e.cfg.Credentials[accessKey]
	if !ok {
		return "", fail(http.StatusForbidden, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
	}
	return secret, nil
}

// same compares a signature with the one that should be there.
func same(got, want string) *failure {
	if hmac.Equal([]byte(got), []byte(want)) {
		return nil
	}
	return fail(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
}

// fresh checks the date of a request.
func (e *Emulator) fresh(t time.Time, err error) *failure {
	switch {
	case err != nil:
		return denied("A valid date is required in the Date or the vendor's date header.")
	case e.cfg.Now().Sub(t).Abs() > maxSkew:
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	return nil
}

// escape percent-encodes all but RFC 3986's unreserved characters and those of keep.
func escape(s, keep string) string {
	const digits = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(s) {
		b := s[i]
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-_.~"+keep, b) >= 0 {
			out.WriteByte(b)
			continue
		}
		out.Write([]byte{'%', digits[b>>4], digits[b&15]})
	}
	return out.String()
}

// resource is "/bucket/key" with the key as given, "/bucket/" or "/".
func (c *call) resource(key string) string {
	if c.bucket == "" {
		return "/"
	}
	return "/" + c.bucket + "/" + key
}

// dated is the scheme that OSS V1 and OBS have in common:
// base64(HMAC-SHA1(secret, METHOD\nContent-MD5\nContent-Type\nDate\n headers resource)).
type dated struct {
	scheme   string // of the Authorization header
	resource string // without sub-resources
	// signed are the sub-resources that belong to the resource.
	signed []string
	// shadowed: with the vendor's own date header the line of the date is empty; otherwise its value is there.
	shadowed bool
}

func (e *Emulator) verifyDated(c *call, d dated) *failure {
	credential, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), d.scheme+" ")
	accessKey, signature, ok2 := strings.Cut(credential, ":")
	if !ok || !ok2 {
		return denied("The Authorization header is not of the form " + d.scheme + " AccessKey:Signature.")
	}
	secret, f := e.secret(accessKey)
	if f != nil {
		return f
	}
	date, own := c.r.Header.Get("Date"), e.header(c, "date")
	if own != "" {
		date = own
	}
	if f := e.fresh(http.ParseTime(date)); f != nil {
		return f
	}
	return same(signature, e.expected(c, d, secret))
}

// expected is the signature that c should have.
func (e *Emulator) expected(c *call, d dated, secret string) string {
	h, line, own := c.r.Header, c.r.Header.Get("Date"), e.header(c, "date")
	if own != "" {
		line = own
		if d.shadowed {
			line = ""
		}
	}
	text := strings.Join([]string{c.r.Method, h.Get("Content-Md5"), h.Get("Content-Type"), line, ""}, "\n") +
		e.vendorLines(h) + d.resource + c.subresources(d.signed)
	return base64.StdEncoding.EncodeToString(macSHA1(secret, text))
}

// pair is one header line or parameter that is signed.
type pair struct{ name, value string }

// joinSorted writes pairs in the order of their names, each by format, with sep between them.
func joinSorted(pairs []pair, format func(pair) string, sep string) string {
	slices.SortStableFunc(pairs, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	out := make([]string, len(pairs))
	for i, p := range pairs {
		out[i] = format(p)
	}
	return strings.Join(out, sep)
}

func headerLine(p pair) string { return p.name + ":" + p.value + "\n" }

// vendorLines are the lines "name:value" of all headers of the vendor, sorted.
func (e *Emulator) vendorLines(h http.Header) string {
	var lines []pair
	for name, values := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, e.vendor.prefix) {
			lines = append(lines, pair{name, strings.TrimSpace(strings.Join(values, ","))})
		}
	}
	return joinSorted(lines, headerLine, "")
}

// subresources are those of the query that are signed, with their decoded values.
func (c *call) subresources(signed []string) string {
	var parts []pair
	for _, p := range c.query {
		if slices.Contains(signed, p.name) {
			parts = append(parts, pair{p.name, p.value})
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "?" + joinSorted(parts, withoutEmpty, "&")
}

// withoutEmpty writes name=value, and of an empty value the name alone.
func withoutEmpty(p pair) string {
	if p.value == "" {
		return p.name
	}
	return p.name + "=" + p.value
}
