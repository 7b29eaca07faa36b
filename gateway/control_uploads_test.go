package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"unistore/config"
	"unistore/faults"
	"unistore/meta"
	"unistore/upstream"
)

// uploadList is the answer to GET /uploads.
type uploadList struct {
	Uploads []uploadState `json:"uploads"`
	More    bool          `json:"more"`
}

func (l uploadList) names() string {
	var names []string
	for _, u := range l.Uploads {
		names = append(names, fmt.Sprintf("%s:%s/%s=%d", u.Kind, u.Bucket, u.Key, u.Bytes))
	}
	return strings.Join(names, " ")
}

// TestUploadsCall: who sees and aborts what.
func TestUploadsCall(t *testing.T) {
	g := controlGateway(t)
	first, _ := g.upload("team-a", "k")
	second, _ := g.upload("team-b", "k2")
	third, _ := g.upload("closed", "k3")
	const all = "client:team-a/k=5242980 client:team-b/k2=5242980 client:closed/k3=5242980"
	for _, c := range []struct{ key, query, want string }{
		{"AKTEST", "", all},
		{"AKREAD", "", all},
		{"AKTEAM", "", "client:team-a/k=5242980 client:team-b/k2=5242980"},
		{"AKTEST", "?bucket=team-a", "client:team-a/k=5242980"},
		{"AKTEST", "?bucket=shared&prefix=b/", "client:shared/b/k2=5242980"},
		{"AKTEST", "?bucket=shared", "client:shared/a/k=5242980 client:shared/b/k2=5242980"},
		{"AKTEAM", "?bucket=team-b&prefix=x", ""},
		{"AKTEST", "?older_than=1h", ""},
		{"AKTEST", "?id=" + third, "client:closed/k3=5242980"},
		{"AKTEAM", "?id=" + third, ""},
		{"AKTEST", "?limit=2", "client:team-a/k=5242980 client:team-b/k2=5242980"},
	} {
		status, text, _ := g.callControl("GET", "uploads"+c.query, "", c.key, nil)
		got := decodeJSON[uploadList](t, status, text)
		if got.names() != c.want || got.More != strings.Contains(c.query, "limit") {
			t.Errorf("%s %s: %s", c.key, c.query, text)
		}
	}
	for _, c := range []struct {
		method, path, body, key string
		status                  int
		code                    string
	}{
		{"GET", "uploads?bucket=closed", "", "AKTEAM", 403, "AccessDenied"},
		{"GET", "uploads?prefix=a", "", "AKTEST", 400, "InvalidRequest"},
		{"GET", "uploads?limit=0", "", "AKTEST", 400, "InvalidRequest"},
		{"GET", "uploads?older_than=week", "", "AKTEST", 400, "InvalidRequest"},
		{"GET", "uploads?what=x", "", "AKTEST", 400, "InvalidRequest"},
		{"GET", "uploads?bucket=nowhere", "", "AKTEST", 404, "NoSuchBucket"},
		{"DELETE", "uploads", "", "AKTEST", 405, "MethodNotAllowed"},
		{"POST", "uploads/abort", `{}`, "AKTEST", 400, "InvalidRequest"},
		{"POST", "uploads/abort", `{"older_than":"0s"}`, "AKREAD", 403, "AccessDenied"},
		{"POST", "uploads/abort", `{"bucket":"closed"}`, "AKTEAM", 403, "AccessDenied"},
		{"POST", "uploads/abort", `{"id":"` + third + `"}`, "AKTEAM", 404, "NoSuchUpload"},
		{"POST", "uploads/abort", `{"id":"x"}`, "AKTEST", 404, "NoSuchUpload"},
	} {
		status, text, _ := g.callControl(c.method, c.path, c.body, c.key, nil)
		if status != c.status || !strings.Contains(text, `"code":"`+c.code+`"`) {
			t.Errorf("%s %s %s by %s: %d %s", c.method, c.path, c.body, c.key, status, text)
		}
	}
	for _, c := range []struct{ key, body, want string }{
		{"AKTEAM", `{"id":"` + first + `"}`, `{"aborted":1,"skipped":0}`},
		{"AKTEAM", `{"older_than":"0s"}`, `{"aborted":1,"skipped":0}`}, // the one of team-b
		{"AKTEST", `{"bucket":"closed","prefix":"k","older_than":"1h"}`, `{"aborted":0,"skipped":0}`},
		{"AKTEST", `{"bucket":"closed","prefix":"k"}`, `{"aborted":1,"skipped":0}`},
	} {
		status, text, _ := g.callControl("POST", "uploads/abort", c.body, c.key, nil)
		if status != 200 || strings.TrimSpace(text) != c.want {
			t.Errorf("%s %s: %d %s", c.key, c.body, status, text)
		}
	}
	if _, err := g.complete("team-b", "k2", second, nil, nil); err == nil {
		t.Error("an aborted upload was completed")
	}
	if got := g.states(); got != "[]" {
		t.Errorf("uploads %s", got)
	}
}

// TestAbortLeavesAPutAlone: and names what could not be aborted.
func TestAbortLeavesAPutAlone(t *testing.T) {
	g := startGateway(t, t.TempDir(), withFaults)
	g.bucket("data")
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		code, text := g.callBody(context.WithoutCancel(t.Context()), "PUT", "/data/put", pr)
		if code != http.StatusOK {
			done <- fmt.Errorf("%d %s", code, text)
			return
		}
		done <- nil
	}()
	body := bytesOf(1, 40<<20)
	if _, err := pw.Write(body[:36<<20]); err != nil {
		t.Fatal(err)
	}
	g.await("[put open:1]")
	g.upload("data", "k")
	g.inject(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 403})
	code, text := g.operator("POST", "uploads/abort", `{"older_than":"0s"}`)
	if code != 200 || !strings.Contains(text, `{"aborted":0,"skipped":1,"failed":[{"bucket":"data","key":"k","id":"`) ||
		!strings.Contains(text, `"message":"The upstream store denied the gateway access."`) {
		t.Errorf("%d %s", code, text)
	}
	if _, err := pw.Write(body[36<<20:]); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, _, err := g.get("data", "put", ""); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestUnroutedUploadsAreShownToTheOperator: a route that is gone from the configuration.
func TestUnroutedUploadsAreShownToTheOperator(t *testing.T) {
	dir := t.TempDir()
	keys := func(cfg *config.Config) { cfg.Credentials = controlKeys }
	g := startGateway(t, dir, keys)
	g.bucket("team-x")
	g.upload("team-x", "k")
	g.journal.Begin(meta.UploadClient, meta.ObjectKey{Upstream: "disk", Bucket: "team-x", Key: "intent"}).Failed(upstream.Unavailable)
	g.stop()
	g = startGateway(t, dir, func(cfg *config.Config) {
		keys(cfg)
		cfg.Buckets = []config.Route{{Name: "other", Upstream: "disk", Bucket: "elsewhere", Freshness: config.Freshness{TTL: time.Hour}}}
	})
	status, text, _ := g.callControl("GET", "uploads", "", "AKTEST", nil)
	got := decodeJSON[uploadList](t, status, text)
	if got.names() != "client:team-x/intent=0 client:team-x/k=5242980" || !got.Uploads[0].Unrouted || got.Uploads[0].ID != "" {
		t.Errorf("%s", text)
	}
	if _, text, _ := g.callControl("GET", "uploads", "", "AKTEAM", nil); !strings.Contains(text, `"uploads":[]`) {
		t.Errorf("%s", text)
	}
	if code, text := g.operator("POST", "uploads/abort", `{"older_than":"0s"}`); strings.TrimSpace(text) != `{"aborted":1,"skipped":1}` {
		t.Errorf("%d %s", code, text)
	}
}

// TestClientNames: by which names a place at an upstream is known to clients.
func TestClientNames(t *testing.T) {
	r := &routes{cfg: &config.Config{Buckets: []config.Route{
		{Name: "a", Upstream: "one", Bucket: "shared", Prefix: "a/"},
		{Name: "b-*", Upstream: "one", Bucket: "shared", Prefix: "b/"}, // its names can not be told
		{Name: "c", Upstream: "two"},
		{Name: "d-*", Upstream: "one"},
		{Name: "*", Upstream: "one", Prefix: "p/"},
	}}}
	for at, want := range map[meta.ObjectKey]string{
		{Upstream: "one", Bucket: "shared", Key: "a/k"}:   "[{a k}]",
		{Upstream: "one", Bucket: "shared", Key: "a/"}:    "[]",
		{Upstream: "one", Bucket: "shared", Key: "b/k"}:   "[]",
		{Upstream: "one", Bucket: "shared", Key: "p/k"}:   "[{shared k}]",
		{Upstream: "two", Bucket: "shared", Key: "a/k"}:   "[]",
		{Upstream: "two", Bucket: "c", Key: "k"}:          "[{c k}]",
		{Upstream: "one", Bucket: "c", Key: "p/k"}:        "[]", // c is at two
		{Upstream: "one", Bucket: "d-1", Key: "p/k"}:      "[{d-1 p/k}]",
		{Upstream: "one", Bucket: "e", Key: "k"}:          "[]",
		{Upstream: "one", Bucket: "a", Key: "p/k"}:        "[]",
		{Upstream: "gone", Bucket: "shared", Key: "a/k"}:  "[]",
		{Upstream: "one", Bucket: "shared", Key: "a/p/k"}: "[{a p/k}]",
	} {
		if got := fmt.Sprint(r.clientNames(at)); got != want {
			t.Errorf("%v: %s, want %s", at, got, want)
		}
	}
}
