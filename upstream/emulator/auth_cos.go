package emulator

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// verifyCOS checks the one signature of COS (cloud.tencent.com/document/product/436/7778): the client
// names the headers and parameters that it has signed.
func verifyCOS(e *Emulator, c *call) *failure {
	fields := map[string]string{}
	for field := range strings.SplitSeq(c.r.Header.Get("Authorization"), "&") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	if fields["q-sign-algorithm"] != "sha1" {
		return denied("The Authorization header has no q-sign-algorithm=sha1.")
	}
	secret, f := e.secret(fields["q-ak"])
	if f != nil {
		return f
	}
	if f := e.freshCOS(fields["q-sign-time"]); f != nil {
		return f
	}
	if f := e.freshCOS(fields["q-key-time"]); f != nil {
		return f
	}
	want, f := expectedCOS(c, fields, secret)
	if f != nil {
		return f
	}
	return same(fields["q-signature"], want)
}

// expectedCOS is the signature that c should have.
func expectedCOS(c *call, fields map[string]string, secret string) (string, *failure) {
	headers, f := cosHeaders(c, fields["q-header-list"])
	if f != nil {
		return "", f
	}
	params, f := cosParams(c, fields["q-url-param-list"])
	if f != nil {
		return "", f
	}
	request := strings.ToLower(c.r.Method) + "\n" + c.r.URL.Path + "\n" + params + "\n" + headers + "\n"
	hashed := sha1.Sum([]byte(request))
	text := "sha1\n" + fields["q-sign-time"] + "\n" + hex.EncodeToString(hashed[:]) + "\n"
	key := hex.EncodeToString(macSHA1(secret, fields["q-key-time"]))
	return hex.EncodeToString(macSHA1(key, text)), nil
}

// freshCOS checks a validity "START;END" in Unix seconds.
func (e *Emulator) freshCOS(span string) *failure {
	first, last, _ := strings.Cut(span, ";")
	start, err := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	now, skew := e.cfg.Now().Unix(), int64(maxSkew.Seconds())
	switch {
	case err != nil || err2 != nil:
		return denied("The signature has no valid time.")
	case now > end:
		return denied("Request has expired")
	case start > now+skew:
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	return nil
}

// cosHeaders are the signed headers "name=value", encoded and sorted.
func cosHeaders(c *call, list string) (string, *failure) {
	var pairs []pair
	for name := range strings.SplitSeq(list, ";") {
		switch name {
		case "":
			continue
		case "host":
			pairs = append(pairs, pair{"host", escape(c.r.Host, "")})
		case "content-length":
			pairs = append(pairs, pair{"content-length", strconv.FormatInt(max(c.r.ContentLength, 0), 10)})
		default:
			values := c.r.Header.Values(name)
			if len(values) == 0 {
				return "", same("", "a header that is signed is missing")
			}
			pairs = append(pairs, pair{escape(name, ""), escape(values[0], "")})
		}
	}
	return joinSorted(pairs, withValue, "&"), nil
}

// cosParams are the signed parameters "name=value", encoded and sorted.
func cosParams(c *call, list string) (string, *failure) {
	names := strings.Split(list, ";")
	var pairs []pair
	for _, p := range c.query {
		name := strings.ToLower(escape(p.name, ""))
		if slices.Contains(names, name) || slices.Contains(names, strings.ToLower(p.name)) {
			pairs = append(pairs, pair{name, escape(p.value, "")})
		}
	}
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(pairs, func(p pair) bool { return p.name == name }) {
			return "", same("", "a parameter that is signed is missing")
		}
	}
	return joinSorted(pairs, withValue, "&"), nil
}

func withValue(p pair) string { return p.name + "=" + p.value }
