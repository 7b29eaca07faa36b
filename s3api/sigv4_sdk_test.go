package s3api

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

// hostile makes strings of what breaks encoders.
type hostile struct{ *rand.Rand }

func newHostile(t *testing.T) hostile {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return hostile{rand.New(rand.NewPCG(seed, 4))}
}

var hostilePieces = []string{"a", "B", "7", "/", "//", ".", "..", "~", "_", "-", "+", "*", "%", "%20", "%2F", "%zz", " ",
	"  ", "&", "=", "?", "#", ";", ":", "@", "$", "!", "'", "(", ")", ",", "[", "]", "\"", "<", ">", "\\", "^", "`", "{", "|",
	"}", "é", "漢字", "😀", "\x7f", "\x01", "\xff"}

func (h hostile) text(n int) string {
	var b strings.Builder
	for range h.IntN(n) {
		b.WriteString(hostilePieces[h.IntN(len(hostilePieces))])
	}
	return b.String()
}

// request is a random unsigned request of the SDK.
func (h hostile) request(t *testing.T) *http.Request {
	key := h.text(12)
	r, err := http.NewRequestWithContext(t.Context(), []string{"GET", "PUT", "POST", "HEAD", "DELETE"}[h.IntN(5)],
		"http://bucket.s3.localhost:9000/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Path, r.URL.RawPath = "/b/"+key, "/b/"+httpbinding.EscapePath(key, false)
	q := url.Values{}
	for range h.IntN(5) {
		q.Add(h.text(4), h.text(6))
	}
	r.URL.RawQuery = q.Encode()
	for _, name := range []string{"X-Amz-Meta-A", "X-Amz-Acl", "Content-Type", "Range", "X-Amz-Meta-Zeta", "Cache-Control"} {
		for range h.IntN(3) {
			value := strings.Map(func(c rune) rune { // what may stand in a header line
				if c < ' ' || c == 0x7f {
					return -1
				}
				return c
			}, h.text(6))
			r.Header.Add(name, value)
		}
	}
	return r
}

// Whatever the SDK signs is verified, in its own escaping of path and query and in others.
func TestVerifySDK(t *testing.T) {
	h := newHostile(t)
	v := exampleVerifier(exampleTime)
	for i := range 2000 {
		hr := h.request(t)
		sent := hr.URL.RawQuery // the signer writes it anew
		r := signHTTP(t, hr, unsignedPayload, exampleTime)
		forms := []*Request{r}
		other := *r
		other.RawQuery = sent
		forms = append(forms, &other)
		escaped := *r
		escaped.RawPath, escaped.RawQuery = escapeAll(r.RawPath, "/"), escapeAll(strings.ReplaceAll(r.RawQuery, "+", "%20"), "&=")
		forms = append(forms, &escaped)
		for j, f := range forms {
			if _, err := v.Verify(f); err != nil {
				t.Fatalf("request %d form %d %s %s?%s: %v", i, j, f.Method, f.RawPath, f.RawQuery, err)
			}
		}
	}
}

// escapeAll escapes every byte that is not part of an escape already, in lower case, but those in keep.
func escapeAll(s, keep string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			b.WriteString(s[i:min(i+3, len(s))])
			i += 2
		case strings.IndexByte(keep, s[i]) >= 0:
			b.WriteByte(s[i])
		default:
			b.WriteString("%" + digits[s[i]>>4:][:1] + digits[s[i]&15:][:1])
		}
	}
	return b.String()
}

func TestVerifySDKPresigned(t *testing.T) {
	h := newHostile(t)
	v := exampleVerifier(exampleTime.Add(time.Minute))
	cred := aws.Credentials{AccessKeyID: exampleAccess, SecretAccessKey: exampleSecret}
	for i := range 1000 {
		hr := h.request(t)
		q := hr.URL.Query()
		q.Set("X-Amz-Expires", "600")
		hr.URL.RawQuery = q.Encode()
		uri, signed, err := v4.NewSigner().PresignHTTP(t.Context(), cred, hr, unsignedPayload, "s3", "us-east-1", exampleTime,
			func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true; o.DisableHeaderHoisting = i%2 == 0 })
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		got := fromHTTP(&http.Request{Method: hr.Method, URL: u, Header: signed})
		a, err := v.Verify(got)
		if err != nil {
			t.Fatalf("request %d %s: %v", i, uri, err)
		}
		if !a.Presigned || a.payload.mode != payloadUnsigned {
			t.Fatalf("Auth %+v", a)
		}
	}
}

// A client that does not escape what S3 does signs either what it sends or S3's form.
func TestVerifyPathForms(t *testing.T) {
	for _, tt := range []struct{ sent, signed string }{
		{"/b/a+b*c~d", "/b/a%2Bb%2Ac~d"},
		{"/b/a+b*c~d", "/b/a+b*c~d"},
		{"/b/a%2Bb%2Ac%7Ed", "/b/a%2Bb%2Ac~d"},
		{"/b/a%2bb", "/b/a%2Bb"},
		{"/b/a%2Fb//./../c", "/b/a/b//./../c"},
		{"/b/(x)!$&',;=:@", "/b/%28x%29%21%24%26%27%2C%3B%3D%3A%40"},
		{"/b/\xc3\xa9", "/b/%C3%A9"},
		{"", "/"},
	} {
		r := exampleRequest("GET", tt.sent, "Host: h", "x-amz-date: 20130524T000000Z", "x-amz-content-sha256: UNSIGNED-PAYLOAD")
		canonical := "GET\n" + tt.signed + "\n\nhost:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20130524T000000Z\n\n" +
			"host;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
		sig := exampleSign("AWS4-HMAC-SHA256\n20130524T000000Z\n" + exampleScope + "\n" + sha256Hex(canonical))
		r.Header = append(r.Header, Field{"authorization", "AWS4-HMAC-SHA256 Credential=" + exampleAccess + "/" + exampleScope +
			", SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + sig})
		if _, err := exampleVerifier(exampleTime).Verify(r); err != nil {
			t.Errorf("%q signed as %q: %v", tt.sent, tt.signed, err)
		}
	}
}

// No single byte of what is signed may change.
func TestVerifyMutations(t *testing.T) {
	h := newHostile(t)
	for range 60 {
		hr := h.request(t)
		r := signHTTP(t, hr, sha256Hex("x"), exampleTime)
		v := exampleVerifier(exampleTime)
		if _, err := v.Verify(r); err != nil {
			t.Fatal(err)
		}
		signed := ";" + hr.Header.Get("Authorization") + ";"
		mutate := func(what string, s *string, same func(a, b string) bool) {
			if *s == "" {
				return
			}
			old := *s
			i := h.IntN(len(old))
			*s = old[:i] + string(rune('a'+h.IntN(26))) + old[i+1:]
			if !same(old, *s) {
				if _, err := v.Verify(r); err == nil {
					t.Fatalf("%s changed from %q to %q and verified", what, old, *s)
				}
			}
			*s = old
		}
		equal := func(a, b string) bool { return a == b }
		mutate("method", &r.Method, equal)
		mutate("path", &r.RawPath, func(a, b string) bool { return string(appendPath(nil, a)) == string(appendPath(nil, b)) })
		mutate("host", &r.Host, equal)
		mutate("query", &r.RawQuery, func(a, b string) bool {
			s := scratch{}
			return string(s.appendQuery(nil, a, false)) == string(s.appendQuery(nil, b, false))
		})
		for i := range r.Header {
			name := r.Header[i].Name
			if name == "host" { // Request.Host counts
				continue
			}
			if strings.Contains(signed, ";"+name+";") || name == "authorization" || strings.HasPrefix(name, amzPrefix) {
				mutate(name, &r.Header[i].Value, func(a, b string) bool {
					return string(appendCollapsed(nil, a)) == string(appendCollapsed(nil, b))
				})
			}
		}
	}
}

// Every byte of the signature counts, not only a sample.
func TestVerifySignatureBytes(t *testing.T) {
	r, _ := signedPut(t, "", unsignedPayload)
	v := exampleVerifier(exampleTime)
	for i := range r.Header {
		if r.Header[i].Name != "authorization" {
			continue
		}
		good := r.Header[i].Value
		start := strings.Index(good, "Signature=") + len("Signature=")
		for at := start; at < len(good); at++ {
			for _, c := range []string{"0", "f", "F", "", "00"} {
				if bad := good[:at] + c + good[at+1:]; bad != good {
					r.Header[i].Value = bad
					if _, err := v.Verify(r); err == nil {
						t.Fatalf("%q verified", bad)
					}
				}
			}
		}
		r.Header[i].Value = good
	}
	if _, err := v.Verify(r); err != nil {
		t.Error(err)
	}
}
