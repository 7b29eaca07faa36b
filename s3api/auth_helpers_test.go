package s3api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The example credentials and time of the S3 API reference.
const (
	exampleAccess = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleScope  = "20130524/us-east-1/s3/aws4_request"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

type keyRing map[string]Credential

func (k keyRing) Lookup(accessKey string) (Credential, bool) {
	c, ok := k[accessKey]
	return c, ok
}

var exampleKeys = keyRing{exampleAccess: {AccessKey: exampleAccess, SecretKey: exampleSecret}}

// exampleVerifier knows the example credentials; its clock stands at now.
func exampleVerifier(now time.Time) *Verifier {
	return NewVerifier(exampleKeys, VerifierConfig{Region: "us-east-1", Now: func() time.Time { return now }})
}

// exampleRequest is an unsigned request; headers are "Name: value" lines, Host included.
func exampleRequest(method, target string, headers ...string) *Request {
	path, query, _ := strings.Cut(target, "?")
	h := ParseHeader(strings.Join(headers, "\r\n"))
	return &Request{Method: method, RawPath: path, RawQuery: query, Host: h.Get("host"), Header: h}
}

// withBody sets the body; it is delivered in pieces of odd sizes.
func withBody(r *Request, body string) *Request {
	r.Body, r.ContentLength = &pieces{s: body}, int64(len(body))
	return r
}

// pieces reads a string a few bytes at a time, then fails with err or io.EOF.
type pieces struct {
	s   string
	n   int
	err error
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.s == "" {
		if p.err != nil {
			return 0, p.err
		}
		return 0, io.EOF
	}
	p.n = p.n%1500 + 7
	n := copy(b, p.s[:min(p.n, len(p.s))])
	p.s = p.s[n:]
	return n, nil
}

// fromHTTP is the Request that r would be on the wire.
func fromHTTP(r *http.Request) *Request {
	out := &Request{Method: r.Method, RawPath: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Host: r.Host}
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	out.Header = append(out.Header, Field{"host", out.Host})
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range r.Header {
			if !yield(n) {
				return
			}
		}
	}) {
		for _, v := range r.Header[name] {
			out.Header = append(out.Header, Field{strings.ToLower(name), strings.Trim(v, " \t")})
		}
	}
	return out
}

// signHTTP signs r as the SDK's S3 client does and returns it as a Request.
func signHTTP(t testing.TB, r *http.Request, payloadHash string, at time.Time) *Request {
	t.Helper()
	r.Header.Set("X-Amz-Content-Sha256", payloadHash)
	cred := aws.Credentials{AccessKeyID: exampleAccess, SecretAccessKey: exampleSecret}
	err := v4.NewSigner().SignHTTP(t.Context(), cred, r, payloadHash, "s3", "us-east-1", at,
		func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		t.Fatal(err)
	}
	return fromHTTP(r)
}

// signedPut is a PUT with the headers given, signed at exampleTime, and its Auth.
func signedPut(t testing.TB, body, payloadHash string, headers ...string) (*Request, *Auth) {
	t.Helper()
	return signedRequest(t, "PUT", "/bucket/key", body, payloadHash, headers...)
}

func signedRequest(t testing.TB, method, target, body, payloadHash string, headers ...string) (*Request, *Auth) {
	t.Helper()
	hr, err := http.NewRequestWithContext(t.Context(), method, "http://s3.localhost"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		hr.Header.Add(name, value)
	}
	r := withBody(signHTTP(t, hr, payloadHash, exampleTime), body)
	a, err := exampleVerifier(exampleTime).Verify(r)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r, a
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// exampleSign signs a string with the example key of the day.
func exampleSign(s string) string {
	k := []byte("AWS4" + exampleSecret)
	for part := range strings.SplitSeq(exampleScope, "/") {
		k = mac(k, part)
	}
	return hex.EncodeToString(mac(k, s))
}

// chunkWriter makes aws-chunked bodies, straight from the words of the API reference.
type chunkWriter struct {
	strings.Builder
	previous string // signature; empty when chunks are not signed
}

func (w *chunkWriter) chunk(data string) *chunkWriter {
	w.WriteString(strconv.FormatInt(int64(len(data)), 16))
	if w.previous != "" {
		w.previous = exampleSign(strings.Join([]string{"AWS4-HMAC-SHA256-PAYLOAD", "20130524T000000Z", exampleScope,
			w.previous, sha256Hex(""), sha256Hex(data)}, "\n"))
		w.WriteString(";chunk-signature=" + w.previous)
	}
	w.WriteString("\r\n" + data)
	if data != "" {
		w.WriteString("\r\n")
	}
	return w
}

func (w *chunkWriter) trailer(name, value string) *chunkWriter {
	w.WriteString(name + ":" + value + "\r\n")
	if w.previous != "" {
		sig := exampleSign(strings.Join([]string{"AWS4-HMAC-SHA256-TRAILER", "20130524T000000Z", exampleScope,
			w.previous, sha256Hex(name + ":" + value + "\n")}, "\n"))
		w.WriteString("x-amz-trailer-signature:" + sig + "\r\n")
	}
	return w
}

func (w *chunkWriter) end() string {
	w.WriteString("\r\n")
	return w.String()
}

// signatureOf is the signature in an Authorization header.
func signatureOf(r *Request) string {
	_, sig, _ := strings.Cut(r.Header.Get("authorization"), "Signature=")
	return sig
}

// wantError fails unless err is an *Error with the code and the text in its message, and what it would render is without the
// secret.
func wantError(t *testing.T, err error, code ErrorCode, text string) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *Error %s", err, err, code)
	}
	if e.Code != code || !strings.Contains(e.Error(), text) {
		t.Errorf("error %v, want %s with %q", e, code, text)
	}
	if s := fmt.Sprintf("%+v", *e); strings.Contains(s, exampleSecret) {
		t.Errorf("the secret is in %s", s)
	}
	if e.Code.Status() >= 500 {
		t.Errorf("status of %s is %d", e.Code, e.Code.Status())
	}
	return e
}

// field is the value of an element of the error.
func (e *Error) field(name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
