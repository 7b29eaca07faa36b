//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestParquetByRealEngines writes with pyarrow and reads with pyarrow and DuckDB's httpfs: cold, warm, and after
// kill -9. A warm run asks the upstream for no data.
func TestParquetByRealEngines(t *testing.T) {
	script, err := filepath.Abs("testdata/parquet.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			local := filepath.Join(g.dir, "parquet")
			if err := os.Mkdir(local, 0o755); err != nil {
				t.Fatal(err)
			}
			python := tool(t, "python")
			g.run(python, script, "make", local)
			engines := []string{"pyarrow", "duckdb"}
			want := map[string]string{}
			for _, e := range engines {
				want[e] = g.run(python, script, "query", e, local)
			}
			query := func(pass string, quiet bool) {
				// Stats are left out: an engine looks for a directory object that is not there, every time.
				before := g.metric("unistore_upstream_requests_total", `operation="Open"`)
				for _, e := range engines {
					if got := g.run(python, script, "query", e, "s3"); got != want[e] {
						t.Errorf("%s by %s: %s, want %s", pass, e, got, want[e])
					}
				}
				n := g.metric("unistore_upstream_requests_total", `operation="Open"`) - before
				t.Logf("%s: %v upstream data requests", pass, n)
				if quiet && n != 0 {
					t.Errorf("%s: %v upstream data requests, want 0", pass, n)
				}
			}
			query("cold", false)
			query("warm", true)
			g.stop(syscall.SIGKILL)
			g.start()
			query("after kill -9", true)
		})
	}
}
