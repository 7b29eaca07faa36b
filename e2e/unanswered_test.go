//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/e2e/servers"
)

// TestAWriteThatWasNotAnswered kills the gateway after the upstream has committed a write and before the gateway
// knows. Nobody was told that the write happened, but it did: the cache must not show the old version for good.
func TestAWriteThatWasNotAnswered(t *testing.T) {
	for _, reading := range []bool{false, true} {
		name := map[bool]string{false: "alone", true: "while a reader learns the old version again"}[reading]
		t.Run(name, func(t *testing.T) { killAfterCommit(t, reading) })
	}
}

func killAfterCommit(t *testing.T, reading bool) {
	t.Helper()
	srv := servers.StartVersity(t)
	to, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var before, after func()
	proxy := httputil.NewSingleHostReverseProxy(to)
	hold := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		armed := r.Method == http.MethodPut && before != nil
		if armed {
			before()
		}
		proxy.ServeHTTP(w, r)
		if armed {
			after() // committed; the answer is not flushed before this handler returns
		}
	}))
	defer hold.Close()
	g := startWith(t, setup{upstreams: s3YAML(hold.URL, srv.AccessKey, srv.SecretKey), freshness: "immutable"})
	c := g.client()
	old, replacement := randomBytes(1, 3<<20), randomBytes(2, 2<<20)
	createBucket(t, c, "kept")
	put(t, c, "kept", "k", old)
	read := func() []byte {
		body, err := get(t, c, "kept", "k", "")
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for range 2 {
		if !bytes.Equal(read(), old) {
			t.Fatal("the first version is not what comes")
		}
	}
	before = func() {
		if reading && !bytes.Equal(read(), old) {
			t.Error("before the write reaches the upstream, something else than the old version is there")
		}
	}
	killed := make(chan struct{})
	after = func() {
		g.stop(syscall.SIGKILL)
		close(killed)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("kept"), Key: new("k"), Body: bytes.NewReader(replacement)}); err == nil {
		t.Fatal("the write was answered")
	}
	<-killed
	before = nil
	g.start()
	if got := read(); !bytes.Equal(got, replacement) {
		t.Errorf("after the restart %d bytes come, not the %d of the version that the upstream holds", len(got), len(replacement))
	}
}
