package s3

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
)

// open is a Backend whose service is handler. Bodies go to it unframed.
func open(t *testing.T, handler http.HandlerFunc) *Backend {
	t.Helper()
	srv := httptest.NewServer(handler)
	b, err := New(t.Context(), Config{
		Name: "test", Region: "us-east-1", Endpoint: srv.URL, PathStyle: true,
		AccessKey: "AKTEST", SecretKey: config.NewSecret("very-secret"), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.frames.Store(framingNone)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		srv.CloseClientConnections()
		srv.Close()
	})
	return b
}

func wantCode(t *testing.T, err error, want upstream.Code) *upstream.Error {
	t.Helper()
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Code != want || !errors.Is(err, want) {
		t.Fatalf("error %v, want code %v", err, want)
	}
	return e
}

var loc = upstream.Loc{Bucket: "bucket", Key: "key"}

// answer is one canned reply.
type answer struct {
	status int
	header map[string]string
	body   string
}

func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if w.Header().Get("Content-Length") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, a.body)
	}
}

func s3Error(status int, code string) answer {
	return answer{status: status, body: `<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>words</Message></Error>`}
}
