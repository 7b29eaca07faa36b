package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"unistore/config"
)

// controlKeys are the credentials of the tests of the control API.
var controlKeys = []config.Credential{
	{AccessKey: "AKTEST", SecretKey: config.NewSecret("secret"), Buckets: []string{"*"}},
	{AccessKey: "AKTEAM", SecretKey: config.NewSecret("secret"), Buckets: []string{"team-*"}},
	{AccessKey: "AKREAD", SecretKey: config.NewSecret("secret"), Buckets: []string{"*"}, ReadOnly: true},
}

// callControl calls the control API on the S3 listener; change, when not nil, adapts the request after signing.
func (g *testGateway) callControl(method, path, body, key string, change func(*http.Request)) (int, string, http.Header) {
	g.t.Helper()
	return g.callControlAs(aws.Credentials{AccessKeyID: key, SecretAccessKey: "secret"}, method, path, body, change)
}

// callControlAs is callControl with any credentials.
func (g *testGateway) callControlAs(creds aws.Credentials, method, path, body string, change func(*http.Request)) (int, string, http.Header) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+"/_unistore/v1/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	hash := hex.EncodeToString(sum[:])
	req.Header.Set("x-amz-content-sha256", hash)
	sign := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := sign.SignHTTP(g.t.Context(), creds, req, hash, "s3", "us-east-1", time.Now()); err != nil {
		g.t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	return g.send(req)
}

func (g *testGateway) send(req *http.Request) (int, string, http.Header) {
	g.t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// operator calls the control API on the admin listener.
func (g *testGateway) operator(method, path, body string) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.AdminAddress()+"/_unistore/v1/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	code, text, _ := g.send(req)
	return code, text
}

// controlGateway has two buckets of the team in one place, under prefixes, and another bucket.
func controlGateway(t *testing.T) *testGateway {
	t.Helper()
	g := startGateway(t, t.TempDir(), func(cfg *config.Config) {
		cfg.Credentials = controlKeys
		other := cfg.Upstreams["disk"]
		other.Root += "-other"
		cfg.Upstreams["other"] = other
		ttl := config.Freshness{TTL: time.Hour}
		cfg.Buckets = []config.Route{
			{Name: "team-a", Upstream: "disk", Bucket: "shared", Prefix: "a/", Freshness: ttl},
			{Name: "team-b", Upstream: "disk", Bucket: "shared", Prefix: "b/", Freshness: ttl},
			{Name: "shared", Upstream: "disk", Freshness: ttl},
			{Name: "closed", Upstream: "other", Freshness: ttl},
		}
	})
	g.bucket("shared")
	g.bucket("closed")
	return g
}

func TestControlRefusals(t *testing.T) {
	g := controlGateway(t)
	g.put("team-a", "k", []byte("data"))
	many := `{"files":[` + strings.Repeat(`{"bucket":"team-a","key":"k"},`, maxFiles) + `{"bucket":"team-a","key":"k"}]}`
	manyRanges := `{"files":[{"bucket":"team-a","key":"k","ranges":[` + strings.Repeat(`"0-1",`, maxRanges) + `"0-1"]}]}`
	unsign := func(r *http.Request) { r.Header.Del("Authorization") }
	tests := []struct {
		name               string
		method, path, body string
		key                string
		change             func(*http.Request)
		status             int
		code               string
	}{
		{"no signature", "GET", "cache", "", "AKTEST", unsign, 403, "AccessDenied"},
		{"no signature, and no body before a 100", "POST", "invalidate", `{"all":true}`, "AKTEST", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Expect", "100-continue")
			r.Body = io.NopCloser(neverRead{t})
		}, 403, "AccessDenied"},
		{"unknown key", "GET", "cache", "", "AKNONE", nil, 403, "InvalidAccessKeyId"},
		{"other method than signed", "GET", "cache", "", "AKTEST", func(r *http.Request) { r.Method = "POST" }, 403, "SignatureDoesNotMatch"},
		{"other body than signed", "POST", "invalidate", `{"bucket":"team-a","key":"k"}`, "AKTEST",
			func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"bucket":"team-a","key":"l"}`)) }, 400, "XAmzContentSHA256Mismatch"},
		{"unknown call", "GET", "nothing", "", "AKTEST", nil, 404, "NotFound"},
		{"later issue", "GET", "migrations", "", "AKTEST", nil, 404, "NotFound"},
		{"faults are for the operator", "GET", "faults", "", "AKTEST", nil, 404, "NotFound"},
		{"verification too", "POST", "cache/verify", "", "AKTEST", nil, 404, "NotFound"},
		{"below a call", "GET", "cache/x", "", "AKTEST", nil, 404, "NotFound"},
		{"wrong method", "POST", "cache", "", "AKTEST", nil, 405, "MethodNotAllowed"},
		{"wrong method of a POST", "GET", "invalidate", "", "AKTEST", nil, 405, "MethodNotAllowed"},
		{"unknown parameter", "GET", "cache?verbose=1", "", "AKTEST", nil, 400, "InvalidRequest"},
		{"parameter twice", "GET", "cache?bucket=a&bucket=b", "", "AKTEST", nil, 400, "InvalidRequest"},
		{"prefix alone", "GET", "cache?prefix=b", "", "AKTEST", nil, 400, "InvalidRequest"},
		{"empty bucket", "GET", "cache?bucket=", "", "AKTEST", nil, 400, "InvalidRequest"},
		{"bucket of others", "GET", "cache?bucket=closed", "", "AKTEAM", nil, 403, "AccessDenied"},
		{"no such bucket", "GET", "cache?bucket=nowhere", "", "AKTEST", nil, 404, "NoSuchBucket"},
		{"parameter of a POST", "POST", "invalidate?bucket=team-a", `{"bucket":"team-a","key":"k"}`, "AKTEST", nil, 400, "InvalidRequest"},

		{"empty body", "POST", "invalidate", "", "AKTEST", nil, 400, "InvalidRequest"},
		{"no JSON", "POST", "invalidate", "bucket=team-a", "AKTEST", nil, 400, "InvalidRequest"},
		{"no object", "POST", "invalidate", `["team-a"]`, "AKTEST", nil, 400, "InvalidRequest"},
		{"two values", "POST", "invalidate", `{"all":true}{"all":true}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"unknown field", "POST", "invalidate", `{"bucket":"team-a","key":"k","force":true}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"wrong type", "POST", "invalidate", `{"bucket":"team-a","key":7}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"deep", "POST", "invalidate", strings.Repeat("[", 100_000), "AKTEST", nil, 400, "InvalidRequest"},
		{"too large", "POST", "invalidate", strings.Repeat(" ", controlBody+1), "AKTEST", nil, 413, "RequestEntityTooLarge"},
		{"bucket alone", "POST", "invalidate", `{"bucket":"team-a"}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"key and prefix", "POST", "invalidate", `{"bucket":"team-a","key":"k","prefix":""}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"empty key", "POST", "invalidate", `{"bucket":"team-a","key":""}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"key alone", "POST", "invalidate", `{"key":"k"}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"all and a bucket", "POST", "invalidate", `{"all":true,"bucket":"team-a"}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"all by a part", "POST", "invalidate", `{"all":true}`, "AKTEAM", nil, 403, "AccessDenied"},
		{"others' bucket", "POST", "invalidate", `{"bucket":"closed","prefix":""}`, "AKTEAM", nil, 403, "AccessDenied"},
		{"the bucket behind", "POST", "invalidate", `{"bucket":"shared","prefix":""}`, "AKTEAM", nil, 403, "AccessDenied"},
		{"read-only", "POST", "invalidate", `{"bucket":"team-a","key":"k"}`, "AKREAD", nil, 403, "AccessDenied"},
		{"no route", "POST", "invalidate", `{"bucket":"nowhere","key":"k"}`, "AKTEST", nil, 404, "NoSuchBucket"},

		{"no files", "POST", "residency", `{}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"too many files", "POST", "residency", many, "AKTEST", nil, 400, "InvalidRequest"},
		{"too many ranges", "POST", "residency", manyRanges, "AKTEST", nil, 400, "InvalidRequest"},
		{"no key", "POST", "residency", `{"files":[{"bucket":"team-a"}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"no bucket", "POST", "residency", `{"files":[{"key":"k"}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"one of others", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k"},{"bucket":"closed","key":"k"}]}`, "AKTEAM", nil, 403, "AccessDenied"},
		{"range backwards", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k","ranges":["2-1"]}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"range of nothing", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k","ranges":["-"]}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"signed number", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k","ranges":["+1-2"]}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"range beyond numbers", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k","ranges":["0-9223372036854775808"]}]}`, "AKTEST", nil, 400, "InvalidRequest"},
		{"unknown field of a file", "POST", "residency", `{"files":[{"bucket":"team-a","key":"k","range":"0-1"}]}`, "AKTEST", nil, 400, "InvalidRequest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, body, header := g.callControl(tt.method, tt.path, tt.body, tt.key, tt.change)
			var e struct {
				Error struct{ Code, Message string }
			}
			d := json.NewDecoder(strings.NewReader(body))
			d.DisallowUnknownFields()
			if err := d.Decode(&e); err != nil {
				t.Fatalf("%d %s: %v", status, body, err)
			}
			if status != tt.status || e.Error.Code != tt.code || e.Error.Message == "" {
				t.Errorf("%d %s, want %d %s", status, body, tt.status, tt.code)
			}
			if header.Get("Content-Type") != "application/json" || header.Get("Cache-Control") != "no-store" || header.Get("x-amz-request-id") == "" {
				t.Errorf("header %v", header)
			}
			if status == 405 && header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if tt.change != nil || strings.Contains(tt.name, "operator") || strings.Contains(tt.path, "verify") || status == 403 || status == 413 {
				return // the operator may, or his connection is cut
			}
			if code, text := g.operator(tt.method, tt.path, tt.body); code != status {
				t.Errorf("on the admin listener: %d %s", code, text)
			}
		})
	}
	t.Run("unsigned body", func(t *testing.T) {
		body := `{"bucket":"team-a","key":"k"}`
		req, _ := http.NewRequestWithContext(t.Context(), "POST", g.url+"/_unistore/v1/invalidate", strings.NewReader(body))
		req.Header.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
		creds := aws.Credentials{AccessKeyID: "AKTEST", SecretAccessKey: "secret"}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		if status, text, _ := g.send(req); status != 403 || !strings.Contains(text, "cover the body") {
			t.Errorf("%d %s", status, text)
		}
	})
	if _, status, err := g.get("team-a", "k", ""); err != nil {
		t.Errorf("a read after all that: %s, %v", status, err)
	}
}

// neverRead is a body that must not be sent.
type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("the body was asked for")
	return 0, io.EOF
}

// A virtual-host-style address names an object, whatever it is called; HEAD has no body.
func TestControlIsPathStyleOnly(t *testing.T) {
	g := controlGateway(t)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", g.url+"/_unistore/v1/cache", nil)
	req.Host = "shared.s3.localhost"
	empty := sha256.Sum256(nil)
	req.Header.Set("x-amz-content-sha256", hex.EncodeToString(empty[:]))
	creds := aws.Credentials{AccessKeyID: "AKTEST", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(empty[:]), "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if status, text, _ := g.send(req); status != 404 || !strings.Contains(text, "<Code>NoSuchKey</Code>") {
		t.Errorf("%d %s", status, text)
	}
	status, text, header := g.callControl("HEAD", "cache", "", "AKTEST", nil)
	if status != 405 || text != "" || header.Get("Allow") != "GET" {
		t.Errorf("HEAD: %d %q %v", status, text, header)
	}
}

func decodeJSON[T any](t *testing.T, status int, text string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); status != 200 || err != nil {
		t.Fatalf("%d %s: %v", status, text, err)
	}
	return v
}

func TestControlSeesWhatTheCallerMay(t *testing.T) {
	g := controlGateway(t)
	g.put("team-a", "k", bytesOf(1, 100_000))
	if _, _, err := g.get("team-a", "k", ""); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key               string
		routes, upstreams int
		directory         bool
	}{{"AKTEST", 4, 2, true}, {"AKREAD", 4, 2, true}, {"AKTEAM", 2, 1, false}} {
		status, text, _ := g.callControl("GET", "cache?bucket=team-a", "", tt.key, nil)
		state := decodeJSON[cacheState](t, status, text)
		if len(state.Routes) != tt.routes || (state.Directory != "") != tt.directory {
			t.Errorf("%s: %s", tt.key, text)
		}
		want := usageState{Bucket: "team-a", Objects: 1, Size: 100_000, Blocks: 1, Bytes: 102_400}
		if state.Usage == nil || *state.Usage != want || state.ResidentBytes != 102_400 || state.Reads["miss"] != 1 {
			t.Errorf("%s: %s", tt.key, text)
		}
		status, text, _ = g.callControl("GET", "upstreams", "", tt.key, nil)
		if n := len(decodeJSON[struct{ Upstreams []upstreamState }](t, status, text).Upstreams); n != tt.upstreams {
			t.Errorf("%s: %d upstreams: %s", tt.key, n, text)
		}
	}
}

func TestInvalidate(t *testing.T) {
	g := controlGateway(t)
	keys := map[string][]string{"team-a": {"x/1", "x/2", "y"}, "team-b": {"x/1"}, "closed": {"x/1"}}
	fill := func() {
		t.Helper()
		for bucket, names := range keys {
			for _, key := range names {
				g.put(bucket, key, bytesOf(7, 100_000))
				if _, _, err := g.get(bucket, key, ""); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const one = `"blocks":1,"bytes":102400`
	tests := []struct {
		body, key string
		want      string
		gone      string // bucket/key of what must be fetched again
	}{
		{`{"bucket":"team-a","key":"y"}`, "AKTEAM", `{"objects":1,` + one + `}`, "team-a/y"},
		{`{"bucket":"team-a","key":"nothing"}`, "AKTEAM", `{"objects":0,"blocks":0,"bytes":0}`, ""},
		{`{"bucket":"team-a","prefix":"x/"}`, "AKTEAM", `{"objects":2,"blocks":2,"bytes":204800}`, "team-a/x/1 team-a/x/2"},
		{`{"bucket":"team-a","prefix":""}`, "AKTEAM", `{"objects":3,"blocks":3,"bytes":307200}`, "team-a/x/1 team-a/x/2 team-a/y"},
		{`{"bucket":"shared","prefix":"b/"}`, "AKTEST", `{"objects":1,` + one + `}`, "team-b/x/1"},
		{`{"all":true}`, "AKTEST", `{"objects":5,"blocks":5,"bytes":512000}`, "team-a/x/1 team-a/x/2 team-a/y team-b/x/1 closed/x/1"},
	}
	for _, admin := range []bool{false, true} {
		for _, tt := range tests {
			fill()
			status, text := 0, ""
			if admin {
				status, text = g.operator("POST", "invalidate", tt.body)
			} else {
				status, text, _ = g.callControl("POST", "invalidate", tt.body, tt.key, nil)
			}
			if status != 200 || strings.TrimSpace(text) != tt.want {
				t.Errorf("%s: %d %s, want %s", tt.body, status, text, tt.want)
			}
			for bucket, names := range keys {
				for _, key := range names {
					_, source, err := g.get(bucket, key, "")
					gone := strings.Contains(" "+tt.gone+" ", " "+bucket+"/"+key+" ")
					if hit := strings.Contains(source, "hit"); err != nil || hit == gone {
						t.Errorf("%s: %s/%s: %s, %v", tt.body, bucket, key, source, err)
					}
				}
			}
		}
	}
}

func TestResidency(t *testing.T) {
	g := controlGateway(t)
	const size, page = 5<<20 + 100, 64 << 10
	g.put("team-a", "k", bytesOf(3, size))
	g.put("team-a", "unread", bytesOf(3, size))
	for _, rng := range []string{"bytes=0-1048575", "bytes=-50"} {
		if _, _, err := g.get("team-a", "k", rng); err != nil {
			t.Fatal(err)
		}
	}
	before := g.upstreamCalls()
	body := `{"files":[{"bucket":"team-a","key":"k"},
		{"bucket":"team-a","key":"k","ranges":["0-99","100-199","50-149","1048576-2097151"]},
		{"bucket":"team-a","key":"k","ranges":["-100","0-"]},
		{"bucket":"team-a","key":"k","ranges":[]},
		{"bucket":"team-a","key":"k","ranges":["99999999-","-0"]},
		{"bucket":"team-a","key":"unread"},{"bucket":"nowhere","key":"k"}]}`
	type answer struct {
		Files    []fileResidency `json:"files"`
		Bytes    int64           `json:"bytes"`
		Resident int64           `json:"resident_bytes"`
	}
	status, text, _ := g.callControl("POST", "residency", body, "AKREAD", nil)
	got := decodeJSON[answer](t, status, text)
	const tail = size - size/page*page
	resident := int64(1<<20 + tail)
	want := []fileResidency{
		{"team-a", "k", true, size, size, resident},
		{"team-a", "k", true, size, 200 + 1<<20, 200},
		{"team-a", "k", true, size, size, resident},
		{"team-a", "k", true, size, 0, 0},
		{"team-a", "k", true, size, 0, 0},
		{"team-a", "unread", false, 0, 0, 0},
		{"nowhere", "k", false, 0, 0, 0},
	}
	sum := answer{Files: want}
	for _, f := range want {
		sum.Bytes += f.Bytes
		sum.Resident += f.Resident
	}
	wantText, _ := json.Marshal(sum)
	gotText, _ := json.Marshal(got)
	if !bytes.Equal(gotText, wantText) {
		t.Errorf("got  %s\nwant %s", gotText, wantText)
	}
	if code, again := g.operator("POST", "residency", body); code != 200 || strings.TrimSpace(again) != strings.TrimSpace(text) {
		t.Errorf("the operator gets %d %s", code, again)
	}
	expect := func(r *http.Request) { r.Header.Set("Expect", "100-continue") }
	if code, again, _ := g.callControl("POST", "residency", body, "AKTEAM", expect); code != 403 {
		t.Errorf("a bucket of others: %d %s", code, again)
	}
	if code, again, _ := g.callControl("POST", "residency", body, "AKTEST", expect); code != 200 || again != text {
		t.Errorf("with 100 Continue: %d %s", code, again)
	}
	if n := g.upstreamCalls() - before; n != 0 {
		t.Errorf("%v upstream requests", n)
	}
}

// Bytes count by route: fetched where they were fetched, served where they were sent.
func TestRouteBytes(t *testing.T) {
	g := controlGateway(t)
	const size = 300_000
	g.put("team-a", "k", bytesOf(1, size))
	for _, r := range []struct{ bucket, key, rng string }{
		{"team-a", "k", "bytes=65536-65545"}, // a page is fetched, 10 bytes are served
		{"team-a", "k", "bytes=65536-65545"},
		{"shared", "a/k", ""}, // the same object by another route: the other pages are fetched
		{"team-b", "none", ""},
	} {
		_, _, err := g.get(r.bucket, r.key, r.rng)
		if (err == nil) != (r.key != "none") {
			t.Fatal(err)
		}
	}
	g.head("team-a", "k")
	status, text := g.operator("GET", "cache", "")
	state := decodeJSON[cacheState](t, status, text)
	want := map[string][2]int64{"team-a": {65536, 20}, "team-b": {0, 0}, "shared": {size - 65536, size}, "closed": {0, 0}}
	for _, r := range state.Routes {
		if w := want[r.Route]; r.Fetched != w[0] || r.Served != w[1] || (r.PerServed == nil) != (r.Served == 0) {
			t.Errorf("%s: fetched %d, served %d, want %v", r.Route, r.Fetched, r.Served, w)
		}
	}
	if state.Fetched != size || state.PerServed == nil || *state.PerServed != float64(size)/(size+20) || *state.HitRatio != 1.0/3 {
		t.Errorf("%s", text)
	}
}
