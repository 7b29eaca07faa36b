//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// aheadLake is a gateway over a local directory with sparse objects of size bytes in the bucket lake.
func aheadLake(t *testing.T, objects int, size int64, extra string) *gatewayProcess {
	t.Helper()
	dir := t.TempDir()
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", dir), freshness: "immutable", extra: extra, cache: "size: 12GiB, reserve_free: 100MiB"})
	createBucket(t, g.client(), "lake")
	sparse(t, filepath.Join(dir, "objects"), "lake", objects, size)
	return g
}

// guessed is how many bytes were fetched ahead of readers.
func (g *gatewayProcess) guessed() float64 {
	return g.metric("unistore_cache_fill_bytes_total", `cause="sequential"`) + g.metric("unistore_cache_fill_bytes_total", `cause="strided"`) +
		g.metric("unistore_cache_fill_bytes_total", `cause="columnar"`)
}

// rangeOf reads a range, which must come whole, and returns how long that took.
func rangeOf(t *testing.T, c *http.Client, url string, off, n int64) time.Duration {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	began := time.Now()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.Copy(io.Discard, res.Body)
	if err != nil || got != n || res.StatusCode != http.StatusPartialContent {
		t.Fatalf("range at %d: status %d, %d bytes, %v", off, res.StatusCode, got, err)
	}
	return time.Since(began)
}

// TestRandomReadsStayQuiet: within 16 random reads fetching ahead has stopped, and little was fetched in vain.
func TestRandomReadsStayQuiet(t *testing.T) {
	const size = 2 << 30
	g := aheadLake(t, 1, size, "")
	url, c := g.presigned("lake", "object-0"), rawClient(1)
	defer c.CloseIdleConnections()
	r := rand.New(rand.NewPCG(seedOf(t, rand.Uint64()), 1))
	served, early := int64(0), 0.0
	for i := range count(200, 2000) {
		if i == 16 {
			early = g.guessed()
		}
		n := (64 + r.Int64N(960)) << 10
		rangeOf(t, c, url, r.Int64N(size-n), n)
		served += n
	}
	g.awaitAgreement(10 * time.Second)
	late := g.guessed()
	t.Logf("%d MiB of random reads: %.0f bytes fetched ahead in the first 16, %.0f in all (%.1f %%)", served>>20, early, late, 100*late/float64(served))
	if late > 0.05*float64(served) {
		t.Errorf("%.0f bytes fetched ahead of random reads", late)
	}
}

// TestSaturatedUpstream scans through 50 MB/s in all, with fetching ahead and without: it costs nothing, and what is under way
// settles.
func TestSaturatedUpstream(t *testing.T) {
	size := int64(count(256<<20, 1<<30))
	var took [2]time.Duration
	for i, enabled := range []bool{true, false} {
		g := aheadLake(t, 1, size, fmt.Sprintf("prefetch: {enabled: %v}\n", enabled))
		g.fault("upstream.latency", "delay=20ms")
		g.fault("upstream.bandwidth", "rate=80MB/s", "total=50MB/s")
		before := g.metric("unistore_upstream_bytes_total", `direction="in"`)
		took[i] = scan(t, g.presigned("lake", "object-0"), size, 8<<20).took
		fetched := g.metric("unistore_upstream_bytes_total", `direction="in"`) - before
		t.Logf("ahead=%v: %.1f MB/s, fetched %.3f of the object", enabled, float64(size)/took[i].Seconds()/1e6, fetched/float64(size))
		if fetched > 1.01*float64(size) {
			t.Errorf("%.0f bytes fetched of %d", fetched, size)
		}
		g.clearFaults()
	}
	t.Logf("throughput with / without: %.2f", took[1].Seconds()/took[0].Seconds())
}

// registered is a query as the command line prints it.
type registered struct {
	State    string `json:"state"`
	Total    int64  `json:"bytes_total"`
	Resident int64  `json:"bytes_resident"`
	Errors   int    `json:"errors"`
}

func (g *gatewayProcess) query(id string) registered {
	g.t.Helper()
	var q registered
	if err := json.Unmarshal([]byte(g.operate("query", "show", id, "--json")), &q); err != nil {
		g.t.Fatal(err)
	}
	return q
}

// TestWarmingGivesWay reads cold ranges alone, and then while a registration warms: no read waits for a connection that
// the warming has, and both come to their end. The ratios are for the log.
func TestWarmingGivesWay(t *testing.T) {
	size := int64(count(768<<20, 10<<30))
	g := aheadLake(t, 2, size, "")
	url, c := g.presigned("lake", "object-0"), rawClient(1)
	defer c.CloseIdleConnections()
	g.fault("upstream.latency", "delay=50ms")
	g.fault("upstream.bandwidth", "rate=80MB/s", "total=400MB/s")
	reads := count(40, 200)
	at := int64(0)
	measure := func() (p50, p99 time.Duration) {
		var took []time.Duration
		for range reads {
			took = append(took, rangeOf(t, c, url, at, 1<<20))
			at += 3 << 20 // no way that can be followed: the distance changes
			at += int64(len(took)%7) << 20
			at %= size - 1<<20
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	aloneP50, aloneP99 := measure()
	g.operate("warm", "s3://lake/object-1", "--query", "w")
	besideP50, besideP99 := measure()
	q := g.query("w")
	eventually(t, 10*time.Minute, func() string {
		if q := g.query("w"); q.State != "ready" {
			return q.State
		}
		return ""
	})
	t.Logf("1 MiB cold reads: alone p50 %v p99 %v; beside a warm-up (%s at the end, %d MiB there) p50 %v p99 %v: %.2f x, %.2f x",
		aloneP50, aloneP99, q.State, q.Resident>>20, besideP50, besideP99,
		besideP50.Seconds()/aloneP50.Seconds(), besideP99.Seconds()/aloneP99.Seconds())
	if waits := g.metric("unistore_upstream_waits_total", `class="demand"`); waits != 0 {
		t.Errorf("%v reads waited for a connection", waits)
	}
	if q := g.query("w"); q.Errors != 0 || q.Resident != size {
		t.Errorf("%+v of %d bytes", q, size)
	}
}

// TestStormOf503 warms through a store that refuses everything for a while: requests fall at once, and all is there when
// the storm is over.
func TestStormOf503(t *testing.T) {
	size := int64(768 << 20)
	g := aheadLake(t, 1, size, "")
	requests := func() float64 { return g.metric("unistore_upstream_requests_total", `operation="Open"`) }
	g.fault("upstream.latency", "delay=20ms")
	g.fault("upstream.bandwidth", "rate=80MB/s", "total=150MB/s")
	g.operate("warm", "s3://lake/object-0", "--query", "w")
	eventually(t, time.Minute, func() string {
		if requests() < 5 {
			return "warming has not begun"
		}
		return ""
	})
	g.fault("upstream.error", "status=503")
	eventually(t, time.Minute, func() string {
		if g.metric("unistore_faults_injected_total", `name="upstream.error"`) == 0 {
			return fmt.Sprintf("nothing was refused: %+v, %v requests", g.query("w"), requests())
		}
		return ""
	})
	before := requests()
	time.Sleep(time.Second) // the length of what is measured
	during := requests() - before
	g.operate("faults", "clear", "upstream.error")
	eventually(t, 2*time.Minute, func() string {
		if q := g.query("w"); q.State != "ready" {
			return fmt.Sprintf("%+v", q)
		}
		return ""
	})
	t.Logf("%.0f requests in a second of the storm", during)
	if q := g.query("w"); q.Errors != 0 || q.Resident != size {
		t.Errorf("after the storm: %+v", q)
	}
	if during > 150 { // 32 pieces and two repeats of each, without a pause, would be ten times as many
		t.Errorf("%.0f requests in a second of the storm", during)
	}
}
