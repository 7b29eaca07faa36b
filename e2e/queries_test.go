//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// pinnedQuery is a query as the control API tells it.
type pinnedQuery struct {
	registered
	Pinned   int64 `json:"bytes_pinned"`
	Inflight int64 `json:"bytes_inflight"`
}

func (g *gatewayProcess) pinnedQuery(id string) pinnedQuery {
	g.t.Helper()
	var q pinnedQuery
	if err := g.control(http.MethodGet, "/queries/"+id, nil, &q); err != nil {
		g.t.Fatal(err)
	}
	return q
}

// awaitQuery waits until a query is in a state.
func (g *gatewayProcess) awaitQuery(id, state string) pinnedQuery {
	g.t.Helper()
	var q pinnedQuery
	eventually(g.t, time.Minute, func() string {
		if q = g.pinnedQuery(id); q.State != state {
			return fmt.Sprintf("query %s: %+v", id, q)
		}
		return ""
	})
	return q
}

// register posts a query with hard pins on one object.
func (g *gatewayProcess) register(id, key string, ttl time.Duration) {
	g.t.Helper()
	err := g.control(http.MethodPost, "/queries", map[string]any{
		"id": id, "ttl": ttl.String(), "pin": "hard", "files": []map[string]string{{"bucket": "lake", "key": key}},
	}, nil)
	if err != nil {
		g.t.Fatal(err)
	}
}

// TestKillKeepsQueries: after a kill -9 in the midst of warming, one query is ready with its pins and without a request for its
// bytes, another goes on where it was, and a third, whose time ran out meanwhile, holds nothing.
func TestKillKeepsQueries(t *testing.T) {
	const size = 48 << 20
	// One request at a time, so that the pieces of a query come one after the other, 2 s apart, and the kill falls between them.
	g := aheadLake(t, 3, size, "prefetch: {max_inflight: 1}\n")
	g.register("done", "object-0", 10*time.Minute)
	if q := g.awaitQuery("done", "ready"); q.Pinned != size || q.Errors != 0 {
		t.Fatalf("before: %+v", q)
	}
	g.fault("upstream.bandwidth", "rate=8MB/s", "total=16MB/s")
	g.register("short", "object-2", 3*time.Second)
	g.register("half", "object-1", 10*time.Minute)
	eventually(t, time.Minute, func() string {
		if q := g.pinnedQuery("half"); q.Resident == 0 {
			return fmt.Sprintf("%+v", q)
		}
		return ""
	})
	if q := g.pinnedQuery("half"); q.State != "warming" {
		t.Fatalf("the kill would come too late: %+v", q)
	}
	g.stop(syscall.SIGKILL)
	g.start() // the faults are gone with the process

	half, done := g.awaitQuery("half", "ready"), g.awaitQuery("done", "ready")
	eventually(t, time.Minute, func() string { // what it asks for must not be counted below
		var q pinnedQuery
		if err := g.control(http.MethodGet, "/queries/short", nil, &q); err == nil && (q.State != "expired" || q.Inflight != 0) {
			return fmt.Sprintf("%+v", q)
		}
		return ""
	})
	for _, q := range []pinnedQuery{half, done} {
		if q.Total != size || q.Resident != size || q.Pinned != size || q.Errors != 0 || q.Inflight != 0 {
			t.Errorf("after the kill: %+v", q)
		}
	}
	fetched := int64(g.metric("unistore_cache_fill_bytes_total", `cause="registered"`))
	t.Logf("%d MiB of %d MiB were fetched anew", fetched>>20, size>>20)
	if fetched > 2*size { // half's rest, and what short asked for until its end
		t.Errorf("%d bytes were fetched anew", fetched)
	}
	c := rawClient(1)
	defer c.CloseIdleConnections()
	before := g.dataRequests()
	rangeOf(t, c, g.presigned("lake", "object-0"), 0, size)
	rangeOf(t, c, g.presigned("lake", "object-1"), 0, size)
	if asked := g.dataRequests() - before; asked != 0 {
		t.Errorf("%v requests for registered data", asked)
	}
	g.pinsSettle(2 * size)
	g.operate("query", "release", "done")
	g.pinsSettle(size)
	if q := g.pinnedQuery("half"); q.State != "ready" || q.Pinned != size {
		t.Errorf("the other one is released: %+v", q)
	}
}

// pinsSettle waits until so many bytes are pinned.
func (g *gatewayProcess) pinsSettle(want int64) {
	g.t.Helper()
	eventually(g.t, 30*time.Second, func() string {
		if got := int64(g.metric("unistore_cache_bytes", `state="pinned"`)); got != want {
			return fmt.Sprintf("%d bytes are pinned, want %d", got, want)
		}
		return ""
	})
}

// TestClientThatCrashedFreesAll: the client is killed while it waits for what it has registered. Within its TTL the query has
// ended, nothing is pinned or fetched for it, and another query is as it was.
func TestClientThatCrashedFreesAll(t *testing.T) {
	const size, ttl = 64 << 20, 4 * time.Second
	g := aheadLake(t, 2, size, "")
	g.register("other", "object-0", 10*time.Minute)
	g.awaitQuery("other", "ready")
	g.fault("upstream.bandwidth", "rate=4MB/s", "total=8MB/s") // it would take 8 s
	client := exec.Command(binary(t), "warm", "s3://lake/object-1", "--query", "crashed", "--pin", "hard", "--ttl", ttl.String(),
		"--wait", "--admin", "http://"+g.admin)
	began := time.Now()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() string {
		var q pinnedQuery
		if err := g.control(http.MethodGet, "/queries/crashed", nil, &q); err != nil {
			return err.Error()
		}
		if q.State != "warming" || q.Pinned == 0 {
			return fmt.Sprintf("%+v", q)
		}
		return ""
	})
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := client.Wait(); err == nil {
		t.Error("the client ended well before it was killed")
	}
	q := g.awaitQuery("crashed", "expired")
	t.Logf("expired %.1f s after its registration, with %d of %d MiB there in whole pieces", time.Since(began).Seconds(), q.Resident>>20, size>>20)
	g.pinsSettle(size)
	eventually(t, 30*time.Second, func() string {
		if s := g.cache(); s.Fills != 0 || s.Reserved != 0 {
			return fmt.Sprintf("still at work: %+v", s)
		}
		return ""
	})
	if q := g.pinnedQuery("crashed"); q.Pinned != 0 || q.Inflight != 0 {
		t.Errorf("after its end: %+v", q)
	}
	if q := g.pinnedQuery("other"); q.State != "ready" || q.Pinned != size {
		t.Errorf("the other query: %+v", q)
	}
	g.awaitAgreement(10 * time.Second)
}
