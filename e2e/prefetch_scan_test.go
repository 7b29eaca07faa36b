//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// scanned is one scan: how long it took, and how much of that was waiting for a range's first byte.
type scanned struct {
	took, stalled time.Duration
}

// scan reads an object of size bytes in ranges of step, one after the other.
func scan(t *testing.T, url string, size, step int64) scanned {
	t.Helper()
	c := rawClient(1)
	defer c.CloseIdleConnections()
	var s scanned
	began := time.Now()
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += step {
		req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, min(off+step, size)-1))
		asked := time.Now()
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(asked); d > 2*time.Millisecond {
			s.stalled += d
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, buf)
		res.Body.Close()
		if err != nil || n != min(step, size-off) || res.StatusCode != http.StatusPartialContent {
			t.Fatalf("range at %d: status %d, %d bytes, %v", off, res.StatusCode, n, err)
		}
	}
	s.took = time.Since(began)
	return s
}

// TestSequentialScanAhead scans an object once through an upstream that is slow to answer and limited by connection and in all,
// with fetching ahead and without. What is judged is who fetched the bytes; the times are for the log. With
// UNISTORE_E2E_FULL it is 2 GiB at 80 MB/s a connection, 400 MB/s in all, and all latencies.
func TestSequentialScanAhead(t *testing.T) {
	size, rate, total := int64(192<<20), 40e6, 200e6
	latencies := []time.Duration{50 * time.Millisecond}
	steps := []int64{8 << 20}
	if full() {
		size, rate, total = 2<<30, 80e6, 400e6
		latencies = []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second}
		steps = []int64{8 << 20, 1 << 20}
	}
	dir := t.TempDir()
	for _, enabled := range []bool{true, false} {
		for i, latency := range latencies { // a gateway for each: none has the estimates of another store
			g := startWith(t, setup{
				upstreams: upstreamYAML(t, "local", dir), freshness: "immutable",
				extra: fmt.Sprintf("prefetch: {enabled: %v}\n", enabled),
			})
			if enabled && i == 0 {
				createBucket(t, g.client(), "lake")
				sparse(t, filepath.Join(dir, "objects"), "lake", 1, size)
			}
			g.fault("upstream.latency", fmt.Sprintf("delay=%v", latency))
			g.fault("upstream.bandwidth", fmt.Sprintf("rate=%.0f", rate), fmt.Sprintf("total=%.0f", total))
			for _, step := range steps {
				g.operate("cache", "drop", "--bucket", "lake")
				scanAhead(t, g, aheadScan{enabled, latency, size, step, total})
			}
			g.stop(15)
		}
	}
}

// aheadScan is a cold scan of an object of size bytes in ranges of step, through a store of total bytes a second.
type aheadScan struct {
	enabled    bool
	latency    time.Duration
	size, step int64
	total      float64
}

func scanAhead(t *testing.T, g *gatewayProcess, a aheadScan) {
	t.Helper()
	before, beforeAhead := g.metric("unistore_upstream_bytes_total", `direction="in"`), g.metric("unistore_cache_fill_bytes_total", `cause="sequential"`)
	part := a.size
	if !a.enabled { // a range after the other: more of them tell no more
		part = min(a.size, 64<<20)
	}
	s := scan(t, g.presigned("lake", "object-0"), part, a.step)
	fetched := g.metric("unistore_upstream_bytes_total", `direction="in"`) - before
	ahead := g.metric("unistore_cache_fill_bytes_total", `cause="sequential"`) - beforeAhead
	speed := float64(part) / s.took.Seconds()
	t.Logf("ahead=%v ttfb=%v step=%dMiB: %.0f MB/s = %.2f of the limit, stalled %.0f %%, fetched ahead %.0f %%, window %.0f MiB",
		a.enabled, a.latency, a.step>>20, speed/1e6, speed/a.total, 100*s.stalled.Seconds()/s.took.Seconds(),
		100*ahead/float64(a.size), g.metric("unistore_prefetch_window_bytes")/(1<<20))
	if fetched > 1.01*float64(part) {
		t.Errorf("%.0f bytes fetched of %d", fetched, part)
	}
	if a.enabled && ahead < 0.8*float64(a.size) || !a.enabled && ahead > 0 {
		t.Errorf("%.0f of %d bytes fetched ahead", ahead, a.size)
	}
}

// TestWholeGetRunsAhead reads an object by one request, with fetching ahead and without, and leaves another one early: what is under
// way for it ends. The speeds are for the log.
func TestWholeGetRunsAhead(t *testing.T) {
	size := int64(count(256<<20, 1<<30))
	for _, enabled := range []bool{true, false} {
		g := aheadLake(t, 2, size, fmt.Sprintf("prefetch: {enabled: %v}\n", enabled))
		g.fault("upstream.latency", "delay=200ms")
		g.fault("upstream.bandwidth", "rate=80MB/s", "total=400MB/s")
		fetched := func() float64 { return g.metric("unistore_upstream_bytes_total", `direction="in"`) }
		began := time.Now()
		if n := takeWhole(t, g.presigned("lake", "object-0"), size); n != size {
			t.Fatalf("%d bytes of %d", n, size)
		}
		speed, ahead := float64(size)/time.Since(began).Seconds(), g.guessed()
		t.Logf("ahead=%v: %.0f MB/s, fetched ahead %.0f %%", enabled, speed/1e6, 100*ahead/float64(size))
		if got := fetched(); got > 1.01*float64(size) {
			t.Errorf("%.0f bytes fetched of %d", got, size)
		}
		if enabled && ahead < 0.5*float64(size) || !enabled && ahead > 0 {
			t.Errorf("%.0f of %d bytes fetched ahead", ahead, size)
		}
		before := fetched()
		takeWhole(t, g.presigned("lake", "object-1"), 16<<20)
		g.awaitAgreement(20 * time.Second)
		t.Logf("ahead=%v: %.0f MiB fetched for a client that took 16 MiB", enabled, (fetched()-before)/(1<<20))
		if got := fetched() - before; got > 224<<20 { // what was taken and sent, the window, and what the read brings by itself
			t.Errorf("%.0f bytes fetched for a client that has left", got)
		}
		g.stop(15)
	}
}

// takeWhole asks for an object and takes n bytes of it.
func takeWhole(t *testing.T, url string, n int64) int64 {
	t.Helper()
	c := rawClient(1)
	defer c.CloseIdleConnections()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.CopyN(io.Discard, res.Body, n)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %d bytes, %v", res.StatusCode, got, err)
	}
	return got
}
