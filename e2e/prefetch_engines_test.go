//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
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
			waited := func(g *gatewayProcess) float64 {
				return g.metric("unistore_first_byte_seconds_sum", `operation="GetObject"`)
			}
			waits := [2]float64{waited(off), waited(g)}
			wasted := g.metric("unistore_prefetch_bytes_total", `outcome="wasted"`)
			issued := g.metric("unistore_prefetch_bytes_total", `outcome="issued"`)
			without, with := ask(off), ask(g)
			waits = [2]float64{waited(off) - waits[0], waited(g) - waits[1]}
			issued = g.metric("unistore_prefetch_bytes_total", `outcome="issued"`) - issued
			g.operate("cache", "drop", "--bucket", "lake")
			wasted = g.metric("unistore_prefetch_bytes_total", `outcome="wasted"`) - wasted
			var registered, warm []float64
			answers := []engineAnswer{with}
			for round := range count(1, 5) { // each is so short that one alone says little
				g.operate("cache", "drop", "--bucket", "lake")
				g.operate("warm", "s3://lake/wide/", "--query", fmt.Sprintf("%s-%d-%d", engine, n, round), "--wait")
				before := opens()
				first, again := ask(g), ask(g)
				if asked := opens() - before; asked != 0 {
					t.Errorf("%s %d: %v requests for data of a registered query", engine, n, asked)
				}
				registered, warm = append(registered, first.Seconds), append(warm, again.Seconds)
				answers = append(answers, first, again)
			}
			t.Logf("%s query %d: cold without %.2f s, cold with %.2f s (%.1f x), registered %.3f s, warm %.3f s (%.2f x); requests waited %.2f s without, %.2f s with; ahead %.1f MB, wasted %.1f MB (%.1f %%)",
				engine, n, without.Seconds, with.Seconds, without.Seconds/with.Seconds, median(registered), median(warm), median(registered)/median(warm),
				waits[0], waits[1], issued/1e6, wasted/1e6, 100*wasted/max(issued, 1))
			for _, other := range answers {
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

// median of at least one number.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
