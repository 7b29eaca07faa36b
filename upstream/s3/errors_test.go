package s3

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/config"
	"unistore/object"
	"unistore/upstream"
)

func diffHeaders(got, want object.Headers) string { return cmp.Diff(want, got) }

func TestErrorsByStatusAndCode(t *testing.T) {
	html := answer{body: "<html><body><h1>Bad Gateway</h1></body></html>"}
	page := func(status int) answer { html.status = status; return html }
	tests := []struct {
		name   string
		answer answer
		want   upstream.Code
	}{
		{"no key", s3Error(404, "NoSuchKey"), upstream.NotExist},
		{"no bucket", s3Error(404, "NoSuchBucket"), upstream.NoBucket},
		{"no version", s3Error(404, "NoSuchVersion"), upstream.NoVersion},
		{"a 404 of somebody else", page(404), upstream.Unavailable},
		{"an empty 404", answer{status: 404}, upstream.Unavailable},
		{"access", s3Error(403, "AccessDenied"), upstream.Access},
		{"a 403 of somebody else", page(403), upstream.Access},
		{"unknown key pair", s3Error(403, "InvalidAccessKeyId"), upstream.Access},
		{"bad signature", s3Error(403, "SignatureDoesNotMatch"), upstream.Access},
		{"clock", s3Error(403, "RequestTimeTooSkewed"), upstream.Access},
		{"expired", s3Error(400, "ExpiredToken"), upstream.Access},
		{"gateway", page(502), upstream.Unavailable},
		{"internal", s3Error(500, "InternalError"), upstream.Unavailable},
		{"slow down", s3Error(503, "SlowDown"), upstream.Throttled},
		{"busy", s3Error(503, "ServiceUnavailable"), upstream.Unavailable},
		{"a 503 of somebody else", page(503), upstream.Unavailable},
		{"too many", page(429), upstream.Throttled},
		{"timeout of the body", s3Error(400, "RequestTimeout"), upstream.Unavailable},
		{"not implemented", s3Error(501, "NotImplemented"), upstream.Unsupported},
		{"full", s3Error(507, "XMinioStorageFull"), upstream.NoSpace},
		{"long key", s3Error(400, "KeyTooLongError"), upstream.InvalidKey},
		{"other", s3Error(400, "InvalidArgument"), upstream.Invalid},
		{"conflict", s3Error(409, "OperationAborted"), upstream.Conflict},
		{"an endless error", answer{status: 500, body: "<Error><Code>x</Code>" + strings.Repeat(" ", 2<<20)}, upstream.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, tt.answer.ServeHTTP)
			_, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
			e := wantCode(t, err, tt.want)
			if e.Unsent {
				t.Error("a request that was answered is called unsent")
			}
			if strings.Contains(err.Error(), "very-secret") || strings.Contains(err.Error(), "AKTEST") {
				t.Errorf("the error tells our credentials: %v", err)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		value    string
		min, max time.Duration
	}{
		{"3", 3 * time.Second, 3 * time.Second}, {"-1", 0, 0}, {"soon", 0, 0}, {"", 0, 0},
		{time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 59 * time.Minute, time.Hour},
		{time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0},
	} {
		a := s3Error(503, "SlowDown")
		a.header = map[string]string{"Retry-After": tt.value, "X-Amz-Request-Id": "id7"}
		b := open(t, a.ServeHTTP)
		_, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
		e := wantCode(t, err, upstream.Throttled)
		if e.RetryAfter < tt.min || e.RetryAfter > tt.max || e.RequestID != "id7" {
			t.Errorf("Retry-After %q: %v, request %q", tt.value, e.RetryAfter, e.RequestID)
		}
	}
}

func TestMissingKeyOrMissingBucket(t *testing.T) {
	heads := 0
	b := open(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Count(strings.Trim(r.URL.Path, "/"), "/") == 0 {
			heads++
			if strings.HasPrefix(r.URL.Path, "/bucket") {
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
	})
	for range 3 {
		_, err := b.Stat(t.Context(), loc, upstream.StatOptions{})
		wantCode(t, err, upstream.NotExist)
		_, err = b.Stat(t.Context(), upstream.Loc{Bucket: "other", Key: "key"}, upstream.StatOptions{})
		wantCode(t, err, upstream.NoBucket)
	}
	if heads != 2 {
		t.Errorf("%d questions about two buckets, want 2", heads)
	}
	_, err := b.StatBucket(t.Context(), "other")
	wantCode(t, err, upstream.NoBucket)
}

func TestWrongRegionIsNamed(t *testing.T) {
	malformed := s3Error(400, "AuthorizationHeaderMalformed")
	malformed.header = map[string]string{"X-Amz-Bucket-Region": "eu-west-1"}
	moved := s3Error(301, "PermanentRedirect")
	moved.header = map[string]string{"X-Amz-Bucket-Region": "eu-west-1"}
	for name, a := range map[string]answer{"400": malformed, "301": moved} {
		t.Run(name, func(t *testing.T) {
			b := open(t, a.ServeHTTP)
			_, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
			if wantCode(t, err, upstream.Access); !strings.Contains(err.Error(), "eu-west-1") || !strings.Contains(err.Error(), "us-east-1") {
				t.Errorf("error %q does not name both regions", err)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	other := open(t, func(http.ResponseWriter, *http.Request) { followed = true })
	for _, status := range []int{301, 302, 307, 308} {
		b := open(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.cfg.Endpoint+r.URL.Path, status)
		})
		_, err := b.Open(t.Context(), loc, upstream.OpenOptions{})
		wantCode(t, err, upstream.Access)
		_, err = b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
		wantCode(t, err, upstream.Access)
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

func TestUnsentWhenNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	nobody, err := New(t.Context(), Config{Endpoint: "http://" + addr, AccessKey: "a", SecretKey: config.NewSecret("s")})
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	_, err = nobody.Stat(t.Context(), loc, upstream.StatOptions{})
	if e := wantCode(t, err, upstream.Unavailable); !e.Unsent {
		t.Error("a refused connection is not called unsent")
	}
	b := open(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err = b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
	if e := wantCode(t, err, upstream.Unavailable); e.Unsent {
		t.Error("a request without an answer is called unsent")
	}
}

func TestCancelledBeforeAnything(t *testing.T) {
	b := open(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Open(ctx, loc, upstream.OpenOptions{})
	wantCode(t, err, upstream.Cancelled)
}
