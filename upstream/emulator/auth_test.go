package emulator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The examples that the vendors have published for their signatures, with keys, dates and results as they stand there.
func TestPublishedSignatures(t *testing.T) {
	v1 := func(target string) *http.Request {
		r := httptest.NewRequest(http.MethodPut, "http://examplebucket.oss-cn-hangzhou.aliyuncs.com/nelson"+target, http.NoBody)
		r.Header = header("Content-MD5", "eB5eJF1ptWaXm4bijSPyxw==", "Content-Type", "text/html", "x-oss-meta-author", "alice",
			"x-oss-meta-magic", "abracadabra", "x-oss-date", "Wed, 28 Dec 2022 10:27:41 GMT")
		return r
	}
	v4 := httptest.NewRequest(http.MethodPut, "http://bucket.oss-cn-hangzhou.aliyuncs.com/1234%2B-/123/1.txt?"+
		"%2Bparam1=value3&%2Bparam2=&%7Cparam1=value4&%7Cparam2=&param1=value1&param2=", http.NoBody)
	v4.Header = header("x-oss-head1", "value", "abc", "value", "ZAbc", "value", "XYZ", "value", "content-type", "text/plain",
		"x-oss-content-sha256", "UNSIGNED-PAYLOAD", "x-oss-date", "20231216T162057Z")
	cos := httptest.NewRequest(http.MethodPut, "http://examplebucket-1250000000.cos.ap-beijing.myqcloud.com/"+
		"exampleobject(%E8%85%BE%E8%AE%AF%E4%BA%91)", strings.NewReader("ObjectContent"))
	cos.Header = header("Date", "Thu, 16 May 2019 06:45:51 GMT", "Content-Type", "text/plain", "Content-MD5", "mQ/fVh815F3k6TAUm8m0eg==",
		"x-cos-acl", "private", "x-cos-grant-read", `uin="100000000011"`)
	december, _ := time.Parse(time.RFC3339, "2022-12-28T10:27:41Z")
	tests := []struct {
		name           string
		dialect        Dialect
		access, secret string
		now            int64
		r              *http.Request
		authorization  string
	}{
		{"OSS V4", OSS, "ak", "sk", 1702743657, v4, "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request," +
			"Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"},
		{"OSS V1", OSS, "ak", "sk", december.Unix(), v1(""), "OSS ak:kSHKmLxlyEAKtZPkJhG9bZb5k7M="},
		{"OSS V1 with a sub-resource", OSS, "ak", "sk", december.Unix(), v1("?acl"), "OSS ak:/afkugFbmWDQ967j1vr6zygBLQk="},
		{"COS", COS, "AKIDQjz3ltompVjBni5LitkWHFlFpwkn9U5q", "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz", 1557989151, cos,
			"q-sign-algorithm=sha1&q-ak=AKIDQjz3ltompVjBni5LitkWHFlFpwkn9U5q&q-sign-time=1557989151;1557996351&q-key-time=1557989151;1557996351" +
				"&q-header-list=content-length;content-md5;content-type;date;host;x-cos-acl;x-cos-grant-read&q-url-param-list=" +
				"&q-signature=3b8851a11a569213c17ba8fa7dcf2abec6935172"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			domains := []string{"oss-cn-hangzhou.aliyuncs.com", "cos.ap-beijing.myqcloud.com"}
			e := New(Config{Dialect: tt.dialect, Domains: domains, Credentials: map[string]string{tt.access: tt.secret}, Now: at(tt.now)})
			r := tt.r.Clone(t.Context())
			r.Header.Set("Authorization", tt.authorization)
			c := &call{r: r}
			if f := e.resolve(c); f != nil {
				t.Fatal(f)
			}
			if f := e.vendor.verify(e, c); f != nil {
				t.Errorf("refused: %d %s %s", f.status, f.code, f.message)
			}
			c.r.Header.Set("Authorization", tt.authorization[:len(tt.authorization)-2]+"00")
			if f := e.vendor.verify(e, c); f == nil || f.code != "SignatureDoesNotMatch" {
				t.Errorf("another signature: %+v", f)
			}
		})
	}
}

// What a signature covers: a request that is changed after it was signed is refused.
func TestTampering(t *testing.T) {
	now := time.Now().Unix()
	tampers := []struct {
		name   string
		change func(r *http.Request, prefix string)
		code   string // empty: SignatureDoesNotMatch
	}{
		{"method", func(r *http.Request, _ string) { r.Method = http.MethodPut }, ""},
		{"key", func(r *http.Request, _ string) { r.URL.Path = "/dir/other key" }, ""},
		{"bucket", func(r *http.Request, _ string) { r.Host = strings.Replace(r.Host, "bucket", "socket", 1) }, ""},
		{"sub-resource", func(r *http.Request, _ string) { r.URL.RawQuery = "uploadId=9" }, ""},
		{"no sub-resource", func(r *http.Request, _ string) { r.URL.RawQuery = "" }, ""},
		{"vendor's header", func(r *http.Request, prefix string) { r.Header.Set(prefix+"meta-owner", "me") }, ""},
		{"no vendor's header", func(r *http.Request, prefix string) { r.Header.Del(prefix + "meta-owner") }, ""},
		{"content type", func(r *http.Request, _ string) { r.Header.Set("Content-Type", "text/html") }, ""},
		{"content MD5", func(r *http.Request, _ string) { r.Header.Set("Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==") }, ""},
		{"access key", func(r *http.Request, _ string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), testKey, "AKSTRANGER", 1))
		}, "InvalidAccessKeyId"},
		{"no signature", func(r *http.Request, _ string) { r.Header.Del("Authorization") }, "AccessDenied"},
		{"nonsense", func(r *http.Request, _ string) { r.Header.Set("Authorization", "AWS "+testKey+":x") }, "AccessDenied"},
	}
	for _, d := range []Dialect{OSS, OBS, COS} {
		e := New(Config{Dialect: d, Credentials: map[string]string{testKey: testSecret}, Region: "cn-hangzhou", Now: at(now)})
		signed := func(secret string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, "http://"+bucketName0+"."+e.cfg.Domains[0]+"/dir/a%20key%2B?uploadId=1", http.NoBody)
			r.Header = header(e.vendor.prefix+"meta-owner", "you", "Content-Type", "text/plain", "Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg==")
			sign(e, r, testKey, secret)
			return r
		}
		if got := serve(e, signed(testSecret)); !strings.Contains(got.body, "NoSuchBucket") {
			t.Fatalf("%s: the request itself: %d %s", d, got.status, got.body)
		}
		if got := serve(e, signed("another secret")); got.status != 403 || !strings.Contains(got.body, "SignatureDoesNotMatch") {
			t.Errorf("%s, another secret: %d %s", d, got.status, got.body)
		}
		for _, tt := range tampers {
			r := signed(testSecret)
			tt.change(r, e.vendor.prefix)
			code := tt.code
			if code == "" {
				code = "SignatureDoesNotMatch"
			}
			if got := serve(e, r); got.status != 403 || !strings.Contains(got.body, "<Code>"+code+"<") {
				t.Errorf("%s, %s: %d %s", d, tt.name, got.status, got.body)
			}
		}
		for name, clock := range map[string]int64{"20 minutes ago": now + 20*60, "in 20 minutes": now - 20*60} {
			r := signed(testSecret)
			e.cfg.Now = at(clock)
			got := serve(e, r)
			e.cfg.Now = at(now)
			if skewed := strings.Contains(got.body, "RequestTimeTooSkewed") || strings.Contains(got.body, "expired"); got.status != 403 || !skewed {
				t.Errorf("%s, signed %s: %d %s", d, name, got.status, got.body)
			}
		}
	}
}
