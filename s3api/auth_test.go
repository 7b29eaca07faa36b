package s3api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// presign is a presigned URL's Request, made at exampleTime.
func presign(t testing.TB, method, target string, cred aws.Credentials, header http.Header) *Request {
	t.Helper()
	hr, err := http.NewRequestWithContext(t.Context(), method, "http://s3.localhost"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		hr.Header = header
	}
	hash := unsignedPayload
	if h := hr.URL.Query().Get("X-Amz-Content-Sha256") + header.Get("X-Amz-Content-Sha256"); h != "" {
		hash = h
	}
	uri, signed, err := v4.NewSigner().PresignHTTP(t.Context(), cred, hr, hash, "s3", "us-east-1", exampleTime,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping, o.DisableHeaderHoisting = true, true })
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return fromHTTP(&http.Request{Method: method, URL: u, Header: signed})
}

var exampleAWS = aws.Credentials{AccessKeyID: exampleAccess, SecretAccessKey: exampleSecret}

// setHeader replaces or appends a header line.
func setHeader(r *Request, name, value string) {
	for i := range r.Header {
		if r.Header[i].Name == name {
			r.Header[i].Value = value
			return
		}
	}
	r.Header = append(r.Header, Field{name, value})
}

// dropHeader removes the lines of a name.
func dropHeader(r *Request, name string) {
	h := Header{}
	for _, f := range r.Header {
		if f.Name != name {
			h = append(h, f)
		}
	}
	r.Header = h
}

func TestVerifyMalformedHeader(t *testing.T) {
	const (
		scope = exampleAccess + "/" + exampleScope
		rest  = ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=00"
	)
	tests := []struct {
		name, value string
		code        ErrorCode
		text        string
	}{
		{"empty", "", ErrInvalidArgument, "space"},
		{"no space", "AWS4-HMAC-SHA256", ErrInvalidArgument, "space"},
		{"basic", "Basic Zm9vOmJhcg==", ErrInvalidArgument, "Unsupported Authorization Type"},
		{"bearer", "Bearer x", ErrInvalidArgument, "Unsupported Authorization Type"},
		{"version 2", "AWS " + exampleAccess + ":frJIUN8DYpKDtOLCwo//yllqDzg=", ErrInvalidRequest, "Please use AWS4-HMAC-SHA256"},
		{"version 4a", "AWS4-ECDSA-P256-SHA256 Credential=" + scope + rest, ErrInvalidRequest, "Please use AWS4-HMAC-SHA256"},
		{"nothing", "AWS4-HMAC-SHA256 ", ErrAuthorizationHeaderMalformed, "is malformed"},
		{"no credential", "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=00", ErrAuthorizationHeaderMalformed, "missing Credential"},
		{"no headers", "AWS4-HMAC-SHA256 Credential=" + scope + ", Signature=00", ErrAuthorizationHeaderMalformed, "missing SignedHeaders"},
		{"no signature", "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host", ErrAuthorizationHeaderMalformed, "missing Signature"},
		{"twice", "AWS4-HMAC-SHA256 Credential=" + scope + rest + ", Signature=11", ErrAuthorizationHeaderMalformed, "component"},
		{"unknown component", "AWS4-HMAC-SHA256 Credential=" + scope + rest + ", Foo=11", ErrAuthorizationHeaderMalformed, "Foo=11"},
		{"short credential", "AWS4-HMAC-SHA256 Credential=" + exampleAccess + "/20130524/us-east-1/s3" + rest, ErrAuthorizationHeaderMalformed, "mal-formed"},
		{"no key", "AWS4-HMAC-SHA256 Credential=/" + exampleScope + rest, ErrAuthorizationHeaderMalformed, "mal-formed"},
		{"bad date", "AWS4-HMAC-SHA256 Credential=A/2013052/us-east-1/s3/aws4_request" + rest, ErrAuthorizationHeaderMalformed, "yyyyMMdd"},
		{"date of no calendar", "AWS4-HMAC-SHA256 Credential=A/20130231/us-east-1/s3/aws4_request" + rest, ErrAuthorizationHeaderMalformed, "yyyyMMdd"},
		{"other date", "AWS4-HMAC-SHA256 Credential=A/20130525/us-east-1/s3/aws4_request" + rest, ErrAuthorizationHeaderMalformed, "Invalid credential date"},
		{"bad service", "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/sts/aws4_request" + rest, ErrAuthorizationHeaderMalformed, "incorrect service"},
		{"bad terminal", "AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws3_request" + rest, ErrAuthorizationHeaderMalformed, "incorrect terminal"},
		{"region", "AWS4-HMAC-SHA256 Credential=A/20130524/eu-west-1/s3/aws4_request" + rest, ErrAuthorizationHeaderMalformed, "the region 'eu-west-1' is wrong; expecting 'us-east-1'"},
		{"unknown key", "AWS4-HMAC-SHA256 Credential=A/" + exampleScope + rest, ErrInvalidAccessKeyId, ""},
		{"bad signature", "AWS4-HMAC-SHA256 Credential=" + scope + rest, ErrSignatureDoesNotMatch, ""},
		{"host not signed", "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=x-amz-date, Signature=00", ErrAccessDenied, "not signed"},
		{"too many headers", "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=host" + strings.Repeat(";a", 1000) + ", Signature=00", ErrAuthorizationHeaderMalformed, "too many"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := exampleRequest("GET", "/b/k", "Host: h", "x-amz-date: 20130524T000000Z", "x-amz-content-sha256: UNSIGNED-PAYLOAD")
			r.Header = append(r.Header, Field{"authorization", tt.value})
			_, err := exampleVerifier(exampleTime).Verify(r)
			e := wantError(t, err, tt.code, tt.text)
			if tt.name == "region" && e.field("Region") != "us-east-1" {
				t.Errorf("fields %+v", e.Fields)
			}
		})
	}
}

// Changes of a good request, and what they are answered.
func TestVerifyRefusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Request)
		code   ErrorCode
		text   string
	}{
		{"two headers", func(r *Request) { r.Header = append(r.Header, Field{"authorization", "AWS4-HMAC-SHA256 x"}) }, ErrInvalidArgument, "Only one auth mechanism"},
		{"header and query", func(r *Request) { r.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" }, ErrInvalidArgument, "Only one auth mechanism"},
		{"no date", func(r *Request) { dropHeader(r, "x-amz-date") }, ErrAccessDenied, "valid Date or x-amz-date"},
		{"bad date", func(r *Request) { setHeader(r, "x-amz-date", "yesterday") }, ErrAccessDenied, "valid Date or x-amz-date"},
		{"no content hash", func(r *Request) { dropHeader(r, headerContentSHA) }, ErrInvalidRequest, "Missing required header for this request: x-amz-content-sha256"},
		{"bad content hash", func(r *Request) { setHeader(r, headerContentSHA, "STREAMING-LALA") }, ErrInvalidArgument, "x-amz-content-sha256 must be"},
		{"short content hash", func(r *Request) { setHeader(r, headerContentSHA, "e3b0c442") }, ErrInvalidArgument, "x-amz-content-sha256 must be"},
		{"other content hash", func(r *Request) { setHeader(r, headerContentSHA, sha256Hex("other")) }, ErrSignatureDoesNotMatch, ""},
		{"unsigned amz header", func(r *Request) { setHeader(r, "x-amz-copy-source", "b/k") }, ErrAccessDenied, "There were headers present in the request which were not signed"},
		{"repeated signed header", func(r *Request) { r.Header = append(r.Header, Field{"x-amz-date", "20130524T000001Z"}) }, ErrSignatureDoesNotMatch, ""},
		{"token", func(r *Request) { setHeader(r, headerToken, "t") }, ErrAccessDenied, "not signed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := signedPut(t, "", unsignedPayload)
			tt.change(r)
			_, err := exampleVerifier(exampleTime).Verify(r)
			e := wantError(t, err, tt.code, tt.text)
			if tt.name == "unsigned amz header" && e.field("HeadersNotSigned") != "x-amz-copy-source" {
				t.Errorf("fields %+v", e.Fields)
			}
		})
	}
	r, _ := signedPut(t, "", unsignedPayload)
	setHeader(r, "accept-encoding", "gzip")
	setHeader(r, "x-forwarded-for", "10.0.0.1")
	if _, err := exampleVerifier(exampleTime).Verify(r); err != nil {
		t.Errorf("unsigned headers that are not x-amz-*: %v", err)
	}
}

func TestSignatureErrorFields(t *testing.T) {
	r, _ := signedPut(t, "", unsignedPayload)
	given := signatureOf(r)
	r.RawPath = "/bucket/other"
	_, err := exampleVerifier(exampleTime).Verify(r)
	e := wantError(t, err, ErrSignatureDoesNotMatch, "")
	if e.field("AWSAccessKeyId") != exampleAccess || e.field("SignatureProvided") != given {
		t.Errorf("fields %+v", e.Fields)
	}
	canonical := e.field("CanonicalRequest")
	if !strings.HasPrefix(canonical, "PUT\n/bucket/other\n\n") || !strings.HasSuffix(canonical, "\nUNSIGNED-PAYLOAD") {
		t.Errorf("canonical request %q", canonical)
	}
	if want := "AWS4-HMAC-SHA256\n20130524T000000Z\n" + exampleScope + "\n" + sha256Hex(canonical); e.field("StringToSign") != want {
		t.Errorf("string to sign %q, want %q", e.field("StringToSign"), want)
	}
	if b := e.field("StringToSignBytes"); !strings.HasPrefix(b, "41 57 53 34 2d") {
		t.Errorf("bytes %q", b)
	}
}

func TestVerifySkew(t *testing.T) {
	for _, tt := range []struct {
		offset time.Duration
		ok     bool
	}{{0, true}, {15 * time.Minute, true}, {-15 * time.Minute, true}, {15*time.Minute + time.Second, false}, {-15*time.Minute - time.Second, false}, {24 * time.Hour, false}} {
		r, _ := signedPut(t, "", unsignedPayload)
		_, err := exampleVerifier(exampleTime.Add(tt.offset)).Verify(r)
		if tt.ok {
			if err != nil {
				t.Errorf("%v: %v", tt.offset, err)
			}
			continue
		}
		e := wantError(t, err, ErrRequestTimeTooSkewed, "")
		if e.field("MaxAllowedSkewMilliseconds") != "900000" || e.field("RequestTime") != "20130524T000000Z" {
			t.Errorf("fields %+v", e.Fields)
		}
	}
}

// Date stands for x-amz-date, in every form of HTTP.
func TestVerifyDateHeader(t *testing.T) {
	for _, date := range []string{"Fri, 24 May 2013 00:00:00 GMT", "Fri, 24 May 2013 00:00:00 +0000", "Fri, 24 May 2013 02:00:00 +0200",
		"Friday, 24-May-13 00:00:00 GMT", "Fri May 24 00:00:00 2013", "20130524T000000Z"} {
		r := exampleRequest("GET", "/b/k", "Host: h", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "Date: "+date)
		canonical := "GET\n/b/k\n\ndate:" + date + "\nhost:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n\n" +
			"date;host;x-amz-content-sha256\nUNSIGNED-PAYLOAD"
		sig := exampleSign("AWS4-HMAC-SHA256\n20130524T000000Z\n" + exampleScope + "\n" + sha256Hex(canonical))
		setHeader(r, "authorization", "AWS4-HMAC-SHA256 Signature="+sig+",Credential="+exampleAccess+"/"+exampleScope+
			",SignedHeaders=date;host;x-amz-content-sha256")
		if _, err := exampleVerifier(exampleTime).Verify(r); err != nil {
			t.Errorf("%q: %v", date, err)
		}
	}
}

func TestPresignedTimes(t *testing.T) {
	r := presign(t, "GET", "/b/k?X-Amz-Expires=600", exampleAWS, nil)
	for _, tt := range []struct {
		offset time.Duration
		text   string
	}{{0, ""}, {600 * time.Second, ""}, {601 * time.Second, "Request has expired"}, {time.Hour, "Request has expired"},
		{-15 * time.Minute, ""}, {-15*time.Minute - time.Second, "Request is not valid yet"}} {
		_, err := exampleVerifier(exampleTime.Add(tt.offset)).Verify(r)
		if tt.text == "" {
			if err != nil {
				t.Errorf("%v: %v", tt.offset, err)
			}
			continue
		}
		wantError(t, err, ErrAccessDenied, tt.text)
	}
}

func TestPresignedMalformed(t *testing.T) {
	good := presign(t, "GET", "/b/k?X-Amz-Expires=600", exampleAWS, nil).RawQuery
	replace := func(name, value string) string {
		parts := strings.Split(good, "&")
		for i, p := range parts {
			if strings.HasPrefix(p, name+"=") {
				parts[i] = name + "=" + value
			}
		}
		return strings.Join(parts, "&")
	}
	drop := func(name string) string {
		return strings.ReplaceAll(strings.ReplaceAll("&"+good, "&"+name+"=", "&x="), "&&", "&")
	}
	credential := func(s string) string { return replace("X-Amz-Credential", url.QueryEscape(s)) }
	tests := []struct {
		query string
		code  ErrorCode
		text  string
	}{
		{drop("X-Amz-Algorithm"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{drop("X-Amz-Credential"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{drop("X-Amz-Date"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{drop("X-Amz-Expires"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{drop("X-Amz-SignedHeaders"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{drop("X-Amz-Signature"), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{replace("X-Amz-Signature", ""), ErrAuthorizationQueryParametersError, "requires the X-Amz-Algorithm"},
		{replace("X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"), ErrAuthorizationQueryParametersError, "X-Amz-Algorithm only supports"},
		{replace("X-Amz-Date", "20130524"), ErrAuthorizationQueryParametersError, "ISO8601"},
		{replace("X-Amz-Date", "20130525T000000Z"), ErrAuthorizationQueryParametersError, "Invalid credential date"},
		{replace("X-Amz-Expires", "x"), ErrAuthorizationQueryParametersError, "should be a number"},
		{replace("X-Amz-Expires", "-1"), ErrAuthorizationQueryParametersError, "non-negative"},
		{replace("X-Amz-Expires", "-99999999999999999999"), ErrAuthorizationQueryParametersError, "non-negative"},
		{replace("X-Amz-Expires", "0"), ErrAuthorizationQueryParametersError, "at least 1"},
		{replace("X-Amz-Expires", "604801"), ErrAuthorizationQueryParametersError, "less than a week"},
		{replace("X-Amz-Expires", "99999999999999999999"), ErrAuthorizationQueryParametersError, "less than a week"},
		{replace("X-Amz-Expires", "601"), ErrSignatureDoesNotMatch, ""},
		{replace("X-Amz-SignedHeaders", "range"), ErrAccessDenied, "not signed"},
		{credential("x"), ErrAuthorizationQueryParametersError, "mal-formed"},
		{credential("A/20130524/us-west-2/s3/aws4_request"), ErrAuthorizationQueryParametersError, "the region 'us-west-2' is wrong; expecting 'us-east-1'"},
		{credential("A/20130524/us-east-1/sqs/aws4_request"), ErrAuthorizationQueryParametersError, "incorrect service"},
		{credential("A/" + exampleScope), ErrInvalidAccessKeyId, ""},
		{good + "&versionId=1", ErrSignatureDoesNotMatch, ""},
		{strings.Replace(good, "X-Amz-Signature=", "X-Amz-Signature=0", 1), ErrSignatureDoesNotMatch, ""},
		{"AWSAccessKeyId=" + exampleAccess + "&Expires=1369353600&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D", ErrSignatureDoesNotMatch, ""},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := presign(t, "GET", "/b/k?X-Amz-Expires=600", exampleAWS, nil)
			r.RawQuery = tt.query
			_, err := exampleVerifier(exampleTime).Verify(r)
			wantError(t, err, tt.code, tt.text)
		})
	}
}

// A presigned request may carry a content hash that the URL does not know; it must hold all the same.
func TestPresignedContentHash(t *testing.T) {
	inQuery := "X-Amz-Content-Sha256=" + sha256Hex("right") + "&"
	tests := []struct {
		name, header, value, query string
		verify, body               ErrorCode
	}{
		{"none", "", "wrong", "", "", ""},
		{"in the header, not signed, right", sha256Hex("right"), "right", "", "", ""},
		{"in the header, not signed, wrong", sha256Hex("right"), "wrong", "", "", ErrXAmzContentSHA256Mismatch},
		{"unsigned payload in the header", unsignedPayload, "any", "", "", ""},
		{"streaming in the header", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "any", "", ErrSignatureDoesNotMatch, ""},
		{"malformed in the header", "lala", "any", "", ErrInvalidArgument, ""},
		{"in the query", "", "right", inQuery, "", ""},
		{"in the query, wrong", "", "wrong", inQuery, "", ErrXAmzContentSHA256Mismatch},
		{"query and header differ", sha256Hex("x"), "right", inQuery, ErrXAmzContentSHA256Mismatch, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := presign(t, "PUT", "/b/k?"+tt.query+"X-Amz-Expires=600", exampleAWS, nil)
			if tt.header != "" {
				setHeader(r, headerContentSHA, tt.header)
			}
			a, err := exampleVerifier(exampleTime).Verify(withBody(r, tt.value))
			if tt.verify != "" {
				wantError(t, err, tt.verify, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantBody(t, a, r, tt.value, tt.body, "")
		})
	}
}

// A signed hash header is the hash of the canonical request.
func TestPresignedSignedHash(t *testing.T) {
	for body, code := range map[string]ErrorCode{"right": "", "wrong": ErrXAmzContentSHA256Mismatch} {
		r := presign(t, "PUT", "/b/k?X-Amz-Expires=600", exampleAWS, http.Header{"X-Amz-Content-Sha256": {sha256Hex("right")}})
		a, err := exampleVerifier(exampleTime).Verify(withBody(r, body))
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, a, r, body, code, "")
	}
	r := presign(t, "PUT", "/b/k?X-Amz-Expires=600", exampleAWS, http.Header{"X-Amz-Content-Sha256": {sha256Hex("right")}})
	setHeader(r, headerContentSHA, sha256Hex("wrong"))
	_, err := exampleVerifier(exampleTime).Verify(r)
	wantError(t, err, ErrSignatureDoesNotMatch, "")
}

func TestSessionTokens(t *testing.T) {
	keys := keyRing{
		"TEMP":    {AccessKey: "TEMP", SecretKey: "s", SessionToken: "token", Expires: exampleTime.Add(time.Hour)},
		"EXPIRED": {AccessKey: "EXPIRED", SecretKey: "s", SessionToken: "token", Expires: exampleTime},
		"PLAIN":   {AccessKey: "PLAIN", SecretKey: "s"},
	}
	v := NewVerifier(keys, VerifierConfig{Now: func() time.Time { return exampleTime }})
	tests := []struct {
		key, token string
		code       ErrorCode
	}{
		{"TEMP", "token", ""}, {"TEMP", "wrong", ErrInvalidToken}, {"TEMP", "", ErrInvalidToken},
		{"EXPIRED", "token", ErrExpiredToken}, {"PLAIN", "", ""}, {"PLAIN", "token", ErrInvalidToken},
	}
	for _, tt := range tests {
		cred := aws.Credentials{AccessKeyID: tt.key, SecretAccessKey: "s", SessionToken: tt.token}
		hr, err := http.NewRequestWithContext(t.Context(), "GET", "http://h/b/k", nil)
		if err != nil {
			t.Fatal(err)
		}
		hr.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
		if err := v4.NewSigner().SignHTTP(t.Context(), cred, hr, unsignedPayload, "s3", "us-east-1", exampleTime); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*Request{fromHTTP(hr), presign(t, "GET", "/b/k?X-Amz-Expires=60", cred, nil)} {
			a, err := v.Verify(r)
			switch {
			case tt.code != "":
				wantError(t, err, tt.code, "")
			case err != nil:
				t.Errorf("%+v: %v", tt, err)
			case a.AccessKey != tt.key:
				t.Errorf("access key %q", a.AccessKey)
			}
		}
	}
}

func TestAnonymous(t *testing.T) {
	strict := exampleVerifier(exampleTime)
	open := NewVerifier(exampleKeys, VerifierConfig{Anonymous: true})
	_, err := strict.Verify(exampleRequest("GET", "/b/k", "Host: h"))
	wantError(t, err, ErrAccessDenied, "")

	a, err := open.Verify(exampleRequest("GET", "/b/k", "Host: h", "x-amz-meta-a: b"))
	if err != nil || !a.Anonymous || a.AccessKey != "" {
		t.Fatalf("%+v, %v", a, err)
	}
	for value, code := range map[string]ErrorCode{
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": ErrInvalidRequest, "lala": ErrInvalidArgument,
	} {
		_, err = open.Verify(exampleRequest("PUT", "/b/k", "Host: h", "x-amz-content-sha256: "+value))
		wantError(t, err, code, "")
	}
	for body, code := range map[string]ErrorCode{"right": "", "wrong": ErrXAmzContentSHA256Mismatch} {
		r := withBody(exampleRequest("PUT", "/b/k", "Host: h", "x-amz-content-sha256: "+sha256Hex("right")), body)
		a, err := open.Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, a, r, body, code, "")
	}
	// A bad signature is refused even where none is needed.
	r, _ := signedPut(t, "", unsignedPayload)
	r.RawPath += "x"
	_, err = NewVerifier(exampleKeys, VerifierConfig{Anonymous: true, Now: func() time.Time { return exampleTime }}).Verify(r)
	wantError(t, err, ErrSignatureDoesNotMatch, "")
}

func TestAnyRegion(t *testing.T) {
	r, _ := signedPut(t, "", unsignedPayload) // us-east-1
	cfg := VerifierConfig{Region: "cn-north-4", Now: func() time.Time { return exampleTime }}
	_, err := NewVerifier(exampleKeys, cfg).Verify(r)
	wantError(t, err, ErrAuthorizationHeaderMalformed, "cn-north-4")
	cfg.AnyRegion = true
	if _, err := NewVerifier(exampleKeys, cfg).Verify(r); err != nil {
		t.Error(err)
	}
}

// A changed secret is in force at once, and strangers cannot fill the cache.
func TestKeyCache(t *testing.T) {
	keys := keyRing{exampleAccess: exampleKeys[exampleAccess]}
	v := NewVerifier(keys, VerifierConfig{Now: func() time.Time { return exampleTime }, AnyRegion: true})
	r, _ := signedPut(t, "", unsignedPayload)
	for range 2 {
		if _, err := v.Verify(r); err != nil {
			t.Fatal(err)
		}
	}
	keys[exampleAccess] = Credential{AccessKey: exampleAccess, SecretKey: "changed"}
	_, err := v.Verify(r)
	wantError(t, err, ErrSignatureDoesNotMatch, "")
	keys[exampleAccess] = exampleKeys[exampleAccess]
	for i := range 100 {
		bad, _ := signedPut(t, "", unsignedPayload)
		setHeader(bad, "authorization", strings.Replace(bad.Header.Get("authorization"), "us-east-1", fmt.Sprint("r", i), 1))
		_, err := v.Verify(bad)
		wantError(t, err, ErrSignatureDoesNotMatch, "")
	}
	if n := len(v.keys.mu.keys); n != 1 {
		t.Errorf("%d keys are cached", n)
	}
	for i := range maxKeys + 10 {
		v.keys.put(&claim{accessKey: fmt.Sprint(i)}, &signingKey{})
	}
	if n := len(v.keys.mu.keys); n != maxKeys {
		t.Errorf("%d keys are cached, at most %d may be", n, maxKeys)
	}
}

// An access key may hold slashes.
func TestSlashInAccessKey(t *testing.T) {
	keys := keyRing{"a/b": {AccessKey: "a/b", SecretKey: "s"}}
	r := presign(t, "GET", "/b/k?X-Amz-Expires=60", aws.Credentials{AccessKeyID: "a/b", SecretAccessKey: "s"}, nil)
	v := NewVerifier(keys, VerifierConfig{Now: func() time.Time { return exampleTime }})
	if a, err := v.Verify(r); err != nil || a.AccessKey != "a/b" {
		t.Errorf("%+v, %v", a, err)
	}
}
