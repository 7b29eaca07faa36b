package gateway

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"unistore/config"
)

// unused is an address on loopback where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("full/warehouse/a/empty", "")
	write("full/warehouse/b", strings.Repeat("x", 5000))
	write("full/other/c", "c")
	write("hollow/warehouse/.keep", "")
	write("blocked", "a file")
	if err := os.Remove(filepath.Join(dir, "hollow/warehouse/.keep")); err != nil {
		t.Fatal(err)
	}
	local := func(name string) config.Upstream {
		return config.Upstream{Type: "local", Root: filepath.Join(dir, name)}
	}
	down := config.Upstream{
		Type: "s3", Region: "us-east-1", Endpoint: "http://" + unused(t), PathStyle: true, AccessKey: "AK", Retries: -1,
		SecretKey: config.NewSecret("pl4nted-s3cret"), Timeout: 5 * time.Second, MaxConnections: 1,
	}
	named := config.Route{Name: "warehouse"}
	tests := []struct {
		name     string
		upstream config.Upstream
		write    bool
		routes   []config.Route
		want     []string // step, result, detail; the steps after them are not tried
	}{
		{"objects", local("full"), false, []config.Route{named}, []string{
			"open ok local", "reach ok", "auth ok 2 buckets", "list ok 1 buckets, 2 objects seen", "read ok 4096 bytes", "write not tried nothing is written without --write",
		}},
		{"by another name", local("full"), false, []config.Route{{Name: "x-*", Bucket: "other"}}, []string{
			"open ok", "reach ok", "auth ok", "list ok 1 buckets, 1 objects", "read ok 1 bytes",
		}},
		{"only globs", local("full"), true, []config.Route{{Name: "*"}}, []string{
			"open ok", "reach ok", "auth ok", "list ok 1 buckets, 1 objects", "read ok 1 bytes", "write not tried no route names a bucket",
		}},
		{"no objects", local("hollow"), false, []config.Route{named}, []string{
			"open ok", "reach ok", "auth ok", "list ok 1 buckets, no objects to read", "read not tried no object was found",
		}},
		{"no buckets", local("empty"), false, []config.Route{{Name: "*"}}, []string{"open ok", "reach ok", "auth ok 0 buckets", "list ok no buckets yet"}},
		{"bucket not there", local("empty"), true, []config.Route{named}, []string{
			"open ok", "reach ok", "auth ok 0 buckets", "list failed bucket warehouse: ", "read not tried the listing failed", "write not tried the listing failed",
		}},
		{"no directory", local("blocked/x"), false, []config.Route{named}, []string{"open failed ", "reach not tried the upstream could not be opened"}},
		{"nobody there", down, true, []config.Route{named}, []string{"open ok s3", "reach failed ", "auth not tried the store was not reached"}},
		{"writing", local("full"), true, []config.Route{named, {Name: "w", Bucket: "warehouse", Prefix: "a/"}}, []string{
			"open ok", "reach ok", "auth ok", "list ok", "read ok", "write ok 1500 bytes written to bucket warehouse and read back", "condition ok If-None-Match is kept, If-Match is kept",
			"multipart ok 1 part of 1497 bytes", "delete ok the object of the check is gone",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &config.Config{Upstreams: map[string]config.Upstream{"up": tt.upstream}}
			for _, r := range tt.routes {
				r.Upstream = "up"
				cfg.Buckets = append(cfg.Buckets, r)
			}
			got := Check(t.Context(), cfg, CheckOptions{Write: tt.write})
			if len(got) != len(checkSteps) {
				t.Fatalf("%d steps: %+v", len(got), got)
			}
			for i, r := range got {
				line, want := r.Step+" "+r.Result+" "+r.Detail, checkSteps[i]+" not tried "
				if i < len(tt.want) {
					want = tt.want[i]
				}
				if r.Upstream != "up" || r.Step != checkSteps[i] || !strings.HasPrefix(line, want) || strings.Contains(line, "pl4nted") || r.OK != (r.Result == CheckOK) {
					t.Errorf("step %d is %q of %s, want %q", i, line, r.Upstream, want)
				}
			}
		})
	}
	if left, err := filepath.Glob(filepath.Join(dir, "full/warehouse/*check*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestReadiness(t *testing.T) {
	tg := startGateway(t, t.TempDir(), func(cfg *config.Config) {
		cfg.Upstreams["dead"] = config.Upstream{
			Type: "s3", Region: "us-east-1", Endpoint: "http://" + unused(t), PathStyle: true, AccessKey: "AK",
			SecretKey: config.NewSecret("pl4nted-s3cret"), Timeout: time.Second, Retries: -1, MaxConnections: 4,
		}
	})
	state := &gatewayState{Gateway: tg.Gateway, prober: newProber(tg.stores, map[string]string{"disk": "local", "dead": "s3"})}
	states := state.upstreamStates(t.Context())
	if len(states) != 2 || states[0].Name != "dead" || states[0].Reachable || states[0].Detail == "" || !states[1].Reachable || states[1].Type != "local" {
		t.Errorf("upstreams: %+v", states)
	}
	tg.ready.Store(true)
	if reasons := state.notReady(t.Context()); reasons != nil {
		t.Errorf("one upstream is enough: %v", reasons)
	}
	again := state.upstreamStates(t.Context())
	if again[0].Checked != states[0].Checked {
		t.Error("a fresh result was probed again")
	}

	delete(state.prober.stores, "disk") // now every upstream is dead, and nothing is cached
	state.prober.last = nil
	reasons := state.notReady(t.Context())
	if len(reasons) != 2 || !strings.HasPrefix(reasons[0], "upstream dead can not be reached") || reasons[1] != "the cache is empty" {
		t.Errorf("reasons: %v", reasons)
	}
	tg.ready.Store(false)
	if reasons := state.notReady(t.Context()); len(reasons) != 1 || !strings.Contains(reasons[0], "starting or draining") {
		t.Errorf("reasons: %v", reasons)
	}
	if c := state.cacheState(); c.CapacityBytes != 256<<20 || c.BlockSize != 1<<20 {
		t.Errorf("cache: %+v", c)
	}
	tg.ready.Store(true)
}
