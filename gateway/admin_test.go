package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
)

// fakeState is a gateway as the admin side sees it.
type fakeState struct {
	reasons   []string
	verifying chan struct{} // closed when a verification waits, for its end by ctx
}

func (f *fakeState) notReady(context.Context) []string { return f.reasons }
func (f *fakeState) cacheState() cacheState {
	return cacheState{Directory: "/c<b>", CapacityBytes: 10 << 30, ResidentBytes: 1536, Blocks: 3}
}

func (f *fakeState) upstreamStates(context.Context) []upstreamState {
	return []upstreamState{{Name: "aws", Type: "s3", Detail: "<script>alert(1)</script>"}}
}
func (f *fakeState) Addresses() []string { return []string{"127.0.0.1:9000"} }
func (f *fakeState) usage(context.Context, string, string) (usageState, error) {
	return usageState{}, errors.New("disk on fire in /secret/place")
}

func (f *fakeState) invalidate(context.Context, invalidation) (dropState, error) {
	return dropState{Objects: 1, Blocks: 2, Bytes: 3}, nil
}

func (f *fakeState) scope(verification) (cache.Scope, error) { return cache.Scope{}, nil }

func (f *fakeState) verify(ctx context.Context, _ cache.Scope, progress func(done, total, bad int64)) (verifyResult, error) {
	if f.verifying == nil {
		return verifyResult{Pages: 7}, nil
	}
	progress(1, 2, 0)
	close(f.verifying)
	for ctx.Err() == nil {
		time.Sleep(time.Millisecond) // work
		progress(1, 2, 0)
	}
	return verifyResult{}, ctx.Err()
}

func (f *fakeState) uploads(context.Context, uploadFilter, identity, int) ([]uploadState, bool, error) {
	return nil, false, nil
}

func (f *fakeState) abortUploads(context.Context, []uploadState) abortState { return abortState{} }

func (f *fakeState) residency(files []fileQuery) []fileResidency {
	return make([]fileResidency, len(files))
}

// startAdmin serves an admin side until the test ends.
func startAdmin(t *testing.T, state *fakeState, change func(*adminConfig)) *admin {
	t.Helper()
	conf := adminConfig{Listen: "127.0.0.1:0", Version: "test", Registry: prometheus.NewRegistry(), Log: zerolog.Nop()}
	if change != nil {
		change(&conf)
	}
	a, err := newAdmin(conf, state)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.serve() }()
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := a.close(); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
	return a
}

type adminCall struct {
	method, path, body, host, auth string
}

// do makes one call on a connection of its own and returns the answer with its body.
func (a *admin) do(t *testing.T, call adminCall) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		addr := a.listener.Addr()
		return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	}
	host := call.host
	if host == "" {
		host = "localhost:9001"
	}
	method := call.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+host+call.path, strings.NewReader(call.body))
	if err != nil {
		t.Fatal(err)
	}
	if call.auth != "" {
		req.Header.Set("Authorization", call.auth)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestAdminCalls(t *testing.T) {
	set := faults.New(nil)
	a := startAdmin(t, &fakeState{}, func(c *adminConfig) { c.Faults = set })
	tests := []struct {
		name string
		call adminCall
		code int
		want string // in the body
	}{
		{"health", adminCall{path: "/healthz"}, 200, "ok"},
		{"ready", adminCall{path: "/readyz"}, 200, `{"ready":true}`},
		{"metrics", adminCall{path: "/metrics"}, 200, "go_goroutines"},
		{"process metrics", adminCall{path: "/metrics"}, 200, "process_open_fds"},
		{"page", adminCall{path: "/"}, 200, "1.5 KiB of 10 GiB in 3 blocks"},
		{"page escapes", adminCall{path: "/"}, 200, "&lt;script&gt;alert(1)"},
		{"profiles", adminCall{path: "/debug/pprof/"}, 200, "goroutine"},
		{"profiles without a slash", adminCall{path: "/debug/pprof"}, 302, ""},
		{"a profile", adminCall{path: "/debug/pprof/goroutine?debug=1"}, 200, "goroutine profile"},
		{"no command line", adminCall{path: "/debug/pprof/cmdline"}, 404, `"code":"NotFound"`},
		{"cache", adminCall{path: "/_unistore/v1/cache"}, 200, `"resident_bytes":1536`},
		{"upstreams", adminCall{path: "/_unistore/v1/upstreams"}, 200, `{"upstreams":[{"name":"aws","type":"s3","reachable":false`},
		{"unknown", adminCall{path: "/_unistore/v1/nothing"}, 404, `"code":"NotFound"`},
		{"root", adminCall{path: "/_unistore/v1/"}, 404, `"code":"NotFound"`},
		{"slash", adminCall{path: "/_unistore/v1/cache/"}, 404, `"code":"NotFound"`},
		{"escaped", adminCall{path: "/_unistore/v1/cach%65"}, 404, `"code":"NotFound"`},
		{"later issues", adminCall{path: "/_unistore/v1/migrations"}, 404, `"code":"NotFound"`},
		{"invalidate", adminCall{method: "POST", path: "/_unistore/v1/invalidate", body: `{"all":true}`}, 200, `{"objects":1,"blocks":2,"bytes":3}`},
		{"residency", adminCall{method: "POST", path: "/_unistore/v1/residency", body: `{"files":[]}`}, 200, `"files":[]`},
		{"what we did not foresee", adminCall{path: "/_unistore/v1/cache?bucket=b"}, 503, `"code":"ServiceUnavailable"`},
		{"verify", adminCall{method: "POST", path: "/_unistore/v1/cache/verify"}, 200, `{"result":{"blocks":0,"pages":7,`},
		{"verify what", adminCall{method: "POST", path: "/_unistore/v1/cache/verify", body: `{"all":true}`}, 400, `"code":"InvalidRequest"`},
		{"verify a prefix", adminCall{method: "POST", path: "/_unistore/v1/cache/verify", body: `{"prefix":"a"}`}, 400, `"code":"InvalidRequest"`},
		{"verify by GET", adminCall{path: "/_unistore/v1/cache/verify"}, 404, `"code":"NotFound"`},
		{"faults by another method", adminCall{method: "POST", path: "/_unistore/v1/faults"}, 405, `"code":"MethodNotAllowed"`},
		{"wrong method", adminCall{method: "POST", path: "/_unistore/v1/cache"}, 405, `"code":"MethodNotAllowed"`},
		{"other name", adminCall{path: "/_unistore/v1/cache", host: "evil.example"}, 403, `"code":"Forbidden"`},
		{"other address", adminCall{path: "/metrics", host: "10.0.0.1:9001"}, 403, `"code":"Forbidden"`},
		{"IPv6 loopback", adminCall{path: "/healthz", host: "[::1]:9001"}, 200, "ok"},

		{"no faults", adminCall{path: "/_unistore/v1/faults"}, 200, `"faults":[]`},
		{"set", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `{"delay":"200ms","upstream":"aws","probability":0.5,"seed":7}`}, 200, `"delay":"200ms"`},
		{"set without parameters", adminCall{method: "PUT", path: "/_unistore/v1/faults/upload.part-error"}, 200, `"name":"upload.part-error"`},
		{"list", adminCall{path: "/_unistore/v1/faults"}, 200, `"fired":0`},
		{"unknown name", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.nothing"}, 400, "upstream.nothing"},
		{"unknown parameter", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `{"dely":"1s"}`}, 400, "dely"},
		{"bad value", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `{"delay":"fast"}`}, 400, "delay"},
		{"nested value", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `{"delay":{"a":1}}`}, 400, `"code":"BadRequest"`},
		{"no object", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `[1]`}, 400, "JSON object"},
		{"two names", adminCall{method: "PUT", path: "/_unistore/v1/faults/upstream.latency", body: `{"name":"upstream.reset"}`}, 400, "not the one in the path"},
		{"clear", adminCall{method: "DELETE", path: "/_unistore/v1/faults/upstream.latency"}, 204, ""},
		{"clear again", adminCall{method: "DELETE", path: "/_unistore/v1/faults/upstream.latency"}, 404, "no fault of this name"},
		{"clear all", adminCall{method: "DELETE", path: "/_unistore/v1/faults"}, 204, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := a.do(t, tt.call)
			if resp.StatusCode != tt.code || !strings.Contains(body, tt.want) {
				t.Errorf("%d %s\nwant %d and %s", resp.StatusCode, body, tt.code, tt.want)
			}
			if strings.Contains(body, "secret") {
				t.Errorf("says too much: %s", body)
			}
			if strings.Contains(body, "<script") {
				t.Errorf("not escaped: %s", body)
			}
			if resp.StatusCode >= 400 {
				var e struct {
					Error struct{ Code, Message string }
				}
				if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
					t.Errorf("error is %s (%v)", body, err)
				}
			}
		})
	}
	if got := set.List(); len(got) != 0 {
		t.Errorf("faults left: %v", got)
	}
}

func TestAdminWithoutFaults(t *testing.T) {
	a := startAdmin(t, &fakeState{}, nil)
	for _, call := range []adminCall{
		{path: "/_unistore/v1/faults"}, {method: "PUT", path: "/_unistore/v1/faults/upstream.reset"}, {method: "DELETE", path: "/_unistore/v1/faults/upstream.reset"},
	} {
		if resp, body := a.do(t, call); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", call.method, resp.StatusCode, body)
		}
	}
	if _, body := a.do(t, adminCall{path: "/"}); strings.Contains(body, "Faults") {
		t.Error("the page has faults")
	}
}

func TestAdminToken(t *testing.T) {
	a := startAdmin(t, &fakeState{reasons: []string{"upstream aws is down"}}, func(c *adminConfig) { c.Token = config.NewSecret("open sesame") })
	tests := []struct {
		name, auth, path string
		code             int
	}{
		{"none", "", "/metrics", 401},
		{"none for the page", "", "/", 401},
		{"none for what is not there", "", "/nothing", 401},
		{"none for health", "", "/healthz", 200},
		{"bearer", "Bearer open sesame", "/metrics", 200},
		{"scheme in any case", "bearer open sesame", "/metrics", 200},
		{"password", "Basic YW55Om9wZW4gc2VzYW1l", "/", 200}, // any:open sesame
		{"wrong", "Bearer open sesame2", "/metrics", 401},
		{"empty", "Bearer ", "/metrics", 401},
		{"prefix", "Bearer open", "/metrics", 401},
		{"wrong password", "Basic YW55Om9wZW4=", "/", 401},
		{"not base64", "Basic ???", "/", 401},
		{"other scheme", "Digest open sesame", "/", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := a.do(t, adminCall{path: tt.path, auth: tt.auth, host: "node-7.example:9001"})
			if resp.StatusCode != tt.code || strings.Contains(body, "sesame") {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.code)
			}
		})
	}
	resp, body := a.do(t, adminCall{path: "/readyz"})
	if resp.StatusCode != http.StatusServiceUnavailable || body != `{"ready":false}` {
		t.Errorf("a stranger sees %d %s", resp.StatusCode, body)
	}
	resp, body = a.do(t, adminCall{path: "/readyz", auth: "Bearer open sesame"})
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "upstream aws is down") {
		t.Errorf("the operator sees %d %s", resp.StatusCode, body)
	}
}

func TestAdminListeners(t *testing.T) {
	if _, err := newAdmin(adminConfig{Listen: "0.0.0.0:0", Registry: prometheus.NewRegistry()}, &fakeState{}); err == nil {
		t.Error("public without a token")
	}
	socket := filepath.Join(t.TempDir(), "admin.sock")
	a := startAdmin(t, &fakeState{}, func(c *adminConfig) { c.Listen = "unix:" + socket })
	if a.address() != "unix:"+socket {
		t.Errorf("address %q", a.address())
	}
	if resp, _ := a.do(t, adminCall{path: "/metrics", host: "anything"}); resp.StatusCode != http.StatusOK {
		t.Errorf("over the socket: %d", resp.StatusCode)
	}
	taken := startAdmin(t, &fakeState{}, nil)
	if _, err := newAdmin(adminConfig{Listen: taken.address(), Registry: prometheus.NewRegistry()}, &fakeState{}); err == nil {
		t.Error("two on one port")
	}
	idle, err := newAdmin(adminConfig{Listen: "127.0.0.1:0", Registry: prometheus.NewRegistry()}, &fakeState{})
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.close(); err != nil { // never served
		t.Error(err)
	}
}

func TestHumanBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 10 << 30: "10 GiB", 1<<63 - 1: "8 EiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %s, want %s", n, got, want)
		}
	}
}

// A body beyond the limit is refused before it is sent: what has come by then is thrown away, with the connection.
func TestAdminLargeBody(t *testing.T) {
	a := startAdmin(t, &fakeState{}, nil)
	conn, err := net.Dial("tcp", a.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /_unistore/v1/residency HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", adminBody+1); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 413") || !strings.Contains(string(text), `"code":"RequestEntityTooLarge"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// A verification ends when the caller leaves, and when the admin side stops; a second one is refused meanwhile.
func TestVerifyEnds(t *testing.T) {
	for name, stop := range map[string]bool{"the caller leaves": false, "the admin side stops": true} {
		t.Run(name, func(t *testing.T) {
			state := &fakeState{verifying: make(chan struct{})}
			a := startAdmin(t, state, nil)
			conn, err := net.Dial("tcp", a.address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const path = "/_unistore/v1/cache/verify"
			if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			<-state.verifying
			if resp, body := a.do(t, adminCall{method: "POST", path: path}); resp.StatusCode != 409 || !strings.Contains(body, `"code":"Conflict"`) {
				t.Errorf("a second one: %d %s", resp.StatusCode, body)
			}
			if !stop {
				conn.Close()
				for deadline := time.Now().Add(10 * time.Second); len(a.turn) > 0; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal("the verification goes on")
					}
				}
			} else {
				if err := a.close(); err != nil {
					t.Error(err)
				}
				text, _ := io.ReadAll(conn)
				if !strings.Contains(string(text), `{"done":1,"total":2,"bad":0}`) || !strings.Contains(string(text), `"code":"ServiceUnavailable"`) {
					t.Errorf("answered %s", text)
				}
			}
		})
	}
}
