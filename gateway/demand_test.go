package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/byterange"
	"unistore/cache"
	"unistore/config"
	"unistore/object"
	"unistore/upstream"
)

// fullBackground is a gateway that fetches ahead from a store of which all that the background may have is held. It has
// the object data/k, of whose attributes it knows nothing.
func fullBackground(t *testing.T, body []byte) *testGateway {
	t.Helper()
	dir := t.TempDir()
	g := startGateway(t, dir, func(c *config.Config) {
		c.Prefetch = config.Prefetch{Enabled: true, Memory: 64 << 20, MaxInflight: 16, MaxWindow: 32 << 20}
	})
	g.bucket("data")
	g.put("data", "k", body)
	store := upstream.NewStore("disk", newLocal(t, dir), upstream.StoreConfig{
		Metrics: g.metrics, MaxConnections: 4, Timeout: 20 * time.Second, // longer than the test
	})
	g.stores["disk"] = store
	for range 3 {
		held, err := store.Open(upstream.Background(t.Context()), upstream.Loc{Bucket: "data", Key: "k"}, upstream.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = held.Body.Close() })
	}
	return g
}

// behind waits until n calls have come to wait in the background.
func (g *testGateway) behind(n float64) {
	g.t.Helper()
	g.eventually("a call waits in the background", func() bool {
		return testutil.ToFloat64(g.metrics.UpstreamWaits.WithLabelValues("disk", "background")) == n
	})
}

// A read does not wait for a question about its object that waits in the background, while the background goes on to share
// what readers ask.
func TestReadersDoNotWaitForBackgroundQuestions(t *testing.T) {
	body := bytesOf(1, 200_000)
	g := fullBackground(t, body)
	to, err := g.service.routes.find("data")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		_, err := g.service.prefetchTarget(ctx, to, "k")
		asked <- err
	}()
	g.behind(1)
	got, status, err := g.get("data", "k", "")
	readResult{got, status, err}.check(t, "read", body, "fwd=miss; fwd-status=206")
	cancel()
	if err := <-asked; upstream.CodeOf(err) != upstream.Cancelled {
		t.Errorf("the question in the background: %v", err)
	}
	if n := testutil.ToFloat64(g.metrics.UpstreamWaits.WithLabelValues("disk", "demand")); n != 0 {
		t.Errorf("%v waits of readers", n)
	}
}

// A background question joins that of a reader, and of the background.
func TestJoinTakesTheBackgroundOver(t *testing.T) {
	l := newLearner(nil, time.Now, newDoubts(time.Now, nil))
	ck := cache.Key{Upstream: "u", Bucket: "b", Key: "k"}
	behind, lead := l.join(ck, true)
	if again, leads := l.join(ck, true); !lead || leads || again != behind {
		t.Error("the background does not share its questions")
	}
	reader, lead := l.join(ck, false)
	if !lead || reader == behind {
		t.Error("a reader joins the background")
	}
	for _, background := range []bool{false, true} {
		if f, leads := l.join(ck, background); leads || f != reader {
			t.Errorf("background %t: the reader's question is not shared", background)
		}
	}
}

// A read joins a fetch ahead that waits in the background for a connection, and takes it out of there.
func TestReadersTakeAFetchOutOfTheBackground(t *testing.T) {
	body := bytesOf(1, 3<<20)
	g := fullBackground(t, body)
	g.head("data", "k") // what is known needs no question
	to, err := g.service.routes.find("data")
	if err != nil {
		t.Fatal(err)
	}
	of, err := g.service.prefetchTarget(t.Context(), to, "k")
	if err != nil {
		t.Fatal(err)
	}
	ahead := make(chan error, 1)
	go func() {
		_, err := g.cache.Prefetch(t.Context(), cache.PrefetchRequest{
			Key: of.Key, Attrs: object.Attrs{ETag: of.ETag, Size: of.Size}, Range: byterange.Range{Len: of.Size},
			Fetch: of.Fetch, Cause: cache.CauseRegistered,
		})
		ahead <- err
	}()
	g.behind(1)
	got, status, err := g.get("data", "k", "")
	readResult{got, status, err}.check(t, "read", body, "collapsed")
	if err := <-ahead; err != nil {
		t.Errorf("the fetch ahead: %v", err)
	}
}

// What next= names is looked up in the background.
func TestNextIsLookedUpInTheBackground(t *testing.T) {
	g := fullBackground(t, bytesOf(1, 1000))
	g.put("data", "next", bytesOf(2, 1000))
	before := g.upstreamCalls("Stat")
	g.getWith("data", "k", "bytes=0-9", "Unistore-Prefetch", `next="data/next"`)
	g.behind(1)
	if n := g.upstreamCalls("Stat") - before; n != 0 {
		t.Errorf("%v lookups beside the background", n)
	}
}
