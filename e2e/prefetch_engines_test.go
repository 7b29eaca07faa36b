//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
)

// engineAnswer is what wide.py prints for a query.
type engineAnswer struct {
	Answer  []float64 `json:"answer"`
	Seconds float64   `json:"seconds"`
}

// TestEnginesReadFewColumns runs queries over few of 50 columns by DuckDB and pyarrow: cold without fetching ahead, cold with
// it, registered, and warm. The answers are the same; a registered query and a warm one ask the upstream for no data; the
// times are for the log.
func TestEnginesReadFewColumns(t *testing.T) {
	script, err := filepath.Abs("testdata/wide.py")
	if err != nil {
		t.Fatal(err)
	}
	python, dir := tool(t, "python"), t.TempDir()
	files, groups, rows, queries := 6, 4, 8_000, count(1, 4)
	if full() {
		files, groups, rows = 8, 8, 20_000
	}
	start := func(enabled bool) *gatewayProcess {
		return startWith(t, setup{upstreams: upstreamYAML(t, "local", dir), freshness: "immutable",
			extra: fmt.Sprintf("prefetch: {enabled: %v}\n", enabled)})
	}
	g := start(true)
	createBucket(t, g.client(), "lake")
	g.run(python, script, "make", filepath.Join(dir, "objects", "lake"), fmt.Sprint(files), fmt.Sprint(groups), fmt.Sprint(rows))
	off := start(false)
	slow := func(g *gatewayProcess) {
		g.fault("upstream.latency", "delay=100ms")
		g.fault("upstream.bandwidth", "rate=80MB/s", "total=400MB/s")
	}
	slow(g)
	slow(off)
	opens := func() float64 { return g.metric("unistore_upstream_requests_total", `operation="Open"`) }
	total := 0.0
	for _, engine := range []string{"duckdb", "pyarrow"} {
		for n := range queries {
			ask := func(g *gatewayProcess) engineAnswer {
				t.Helper()
				var a engineAnswer
				if err := json.Unmarshal([]byte(g.run(python, script, "query", engine, fmt.Sprint(n))), &a); err != nil {
					t.Fatal(err)
				}
				return a
			}
			off.operate("cache", "drop", "--bucket", "lake")
			g.operate("cache", "drop", "--bucket", "lake")
			wasted := g.metric("unistore_prefetch_bytes_total", `outcome="wasted"`)
			issued := g.metric("unistore_prefetch_bytes_total", `outcome="issued"`)
			without, with := ask(off), ask(g)
			issued = g.metric("unistore_prefetch_bytes_total", `outcome="issued"`) - issued
			g.operate("cache", "drop", "--bucket", "lake")
			wasted = g.metric("unistore_prefetch_bytes_total", `outcome="wasted"`) - wasted
			g.operate("warm", "s3://lake/wide/", "--query", fmt.Sprintf("%s-%d", engine, n), "--wait")
			before := opens()
			registered := ask(g)
			warm := ask(g)
			if asked := opens() - before; asked != 0 {
				t.Errorf("%s %d: %v requests for data of a registered query", engine, n, asked)
			}
			t.Logf("%s query %d: cold without %.2f s, cold with %.2f s (%.1f x), registered %.2f s, warm %.2f s; ahead %.1f MB, wasted %.1f MB (%.1f %%)",
				engine, n, without.Seconds, with.Seconds, without.Seconds/with.Seconds, registered.Seconds, warm.Seconds, issued/1e6, wasted/1e6, 100*wasted/max(issued, 1))
			for _, other := range []engineAnswer{with, registered, warm} {
				if fmt.Sprint(other.Answer) != fmt.Sprint(without.Answer) {
					t.Errorf("%s %d: %v, want %v", engine, n, other.Answer, without.Answer)
				}
			}
			total += issued
		}
	}
	if total == 0 {
		t.Error("nothing was fetched ahead")
	}
}
