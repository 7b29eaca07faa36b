package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// load reads text as the file "f.yaml" of an empty directory, which it makes the current one.
func load(t *testing.T, text string, opts LoadOptions) (*Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "f.yaml", text)
	opts.File = "f.yaml"
	return Load(opts)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedDefault(t *testing.T) {
	golden, err := filepath.Abs("testdata/default.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	cfg, err := Load(LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Credentials) != 1 || len(cfg.Credentials[0].AccessKey) != 20 || len(cfg.Credentials[0].SecretKey.Reveal()) != 40 {
		t.Fatalf("generated credentials: %+v", cfg.Credentials)
	}
	cfg.Credentials[0].AccessKey = "GENERATED"
	got, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		write(t, golden, string(got))
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The file of the contract, as far as this version supports it.
const full = `listen: ["127.0.0.1:9000", "unix:/run/unistore/s3.sock"]
region: eu-central-1
base_domains: [s3.localhost, s3.example.com]
tls: {cert: "", key: "", client_ca: ""}
admin: {listen: "0.0.0.0:9001", token: "${ADMIN_TOKEN}"}
credentials:
  - access_key: AKEXAMPLE
    secret_key: "${ENGINE_SECRET}-x"
    buckets: ["ware*", tmp]
    read_only: true
  - access_key: AKOTHER
    secret_key_file: secret.txt
log: {level: debug, format: json}
limits: {connections: 500, memory: 2GiB, request_body_idle: 30s}
cache:
  dir: /var/lib/unistore/cache
  size: 900GiB
  block_size: 256KiB
  policy: lru
  high_watermark: 0.9
  low_watermark: 0.8
  pin_limit: 0.5
  reserve_free: 1.5GB
  scrub: 0
prefetch: {enabled: false, memory: 256MiB, max_inflight: 32, max_window: 64MiB}
uploads: {max_age: 36h}
upstreams:
  aws:  {type: s3,  region: us-east-1, endpoint: "https://s3.example.com:8443/", path_style: true, access_key: AK, secret_key: "$${literal}", timeout: 5s, max_connections: 7, retries: 0}
  dflt: {type: s3}
  disk: {type: local, root: /data/objects, min_part: 64KiB}
buckets:
  warehouse: {upstream: aws, bucket: prod-warehouse, prefix: a/b/, freshness: immutable, write: cache}
  "tmp-*": {upstream: dflt, freshness: revalidate}
  "*":       {upstream: disk, freshness: 10m}
faults:
  - {name: upstream.latency, upstream: aws, delay: 200ms}
`

func TestFullFile(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "secret.txt", "from-the-file\n")
	write(t, "f.yaml", full)
	cfg, err := Load(LoadOptions{File: "f.yaml", EnableFaults: true, Environ: []string{"ADMIN_TOKEN=tok", "ENGINE_SECRET=engine-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listen: []string{"127.0.0.1:9000", "unix:/run/unistore/s3.sock"}, Region: "eu-central-1",
		BaseDomains: []string{"s3.localhost", "s3.example.com"},
		Admin:       Admin{Listen: "0.0.0.0:9001", Token: NewSecret("tok")},
		Credentials: []Credential{
			{AccessKey: "AKEXAMPLE", SecretKey: NewSecret("engine-secret-x"), Buckets: []string{"ware*", "tmp"}, ReadOnly: true},
			{AccessKey: "AKOTHER", SecretKey: NewSecret("from-the-file"), Buckets: []string{"*"}},
		},
		Log:    Log{Level: "debug", Format: "json"},
		Limits: Limits{Connections: 500, Memory: 2 << 30, RequestBodyIdle: 30 * time.Second},
		Cache: Cache{
			Dir: "/var/lib/unistore/cache", Size: 900 << 30, BlockSize: 256 << 10, Policy: "lru",
			HighWatermark: 0.9, LowWatermark: 0.8, PinLimit: 0.5, ReserveFree: 1.5e9,
		},
		Prefetch: Prefetch{Memory: 256 << 20, MaxInflight: 32, MaxWindow: 64 << 20},
		Uploads:  Uploads{MaxAge: 36 * time.Hour},
		Upstreams: map[string]Upstream{
			"aws": {
				Type: "s3", Region: "us-east-1", Endpoint: "https://s3.example.com:8443", PathStyle: true,
				AccessKey: "AK", SecretKey: NewSecret("${literal}"), Timeout: 5 * time.Second, MaxConnections: 7, Retries: -1,
			},
			"dflt": {Type: "s3", Timeout: 30 * time.Second, MaxConnections: 256, Retries: 2},
			"disk": {Type: "local", Root: "/data/objects", MinPart: 65536, Timeout: 30 * time.Second, MaxConnections: 256, Retries: 2},
		},
		Buckets: []Route{
			{Name: "warehouse", Upstream: "aws", Bucket: "prod-warehouse", Prefix: "a/b/", Freshness: Freshness{Immutable: true}, Write: "cache"},
			{Name: "tmp-*", Upstream: "dflt", Freshness: Freshness{Revalidate: true}, Write: "bypass"},
			{Name: "*", Upstream: "disk", Freshness: Freshness{TTL: 10 * time.Minute}, Write: "bypass"},
		},
		Faults:       []Fault{{Name: "upstream.latency", Params: map[string]string{"upstream": "aws", "delay": "200ms"}}},
		EnableFaults: true, Source: "f.yaml",
	}
	if diff := cmp.Diff(want, cfg, cmp.AllowUnexported(Secret{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s := fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg); strings.Contains(s, "engine-secret") || strings.Contains(s, "from-the-file") {
		t.Error("printing a Config shows a secret")
	}
}

func TestFind(t *testing.T) {
	cfg, err := load(t, `upstreams: {a: {type: local, root: /a}, b: {type: local, root: /b}}
buckets:
  "logs-*": {upstream: a, prefix: first}
  "logs-2?": {upstream: b, prefix: second}
  logs-22: {upstream: b, prefix: exact}
  "[xy]*": {upstream: a, prefix: class}
`, LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for bucket, want := range map[string]string{"logs-22": "exact", "logs-23": "first", "logs-": "first", "xyz": "class", "zzz": "none"} {
		got, ok := cfg.Find(bucket)
		if !ok {
			got.Prefix = "none"
		}
		if got.Prefix != want {
			t.Errorf("Find(%q) = %q, want %q", bucket, got.Prefix, want)
		}
	}
}

func TestRouteDefaults(t *testing.T) {
	tests := []struct{ name, text, upstream string }{
		{"nothing", "", "local"},
		{"only comments", "# nothing\n", "local"},
		{"null", "~\n", "local"},
		{"one upstream", "upstreams: {d: {type: local, root: /d}}", "d"},
		{"empty sections", "upstreams:\n  d: {type: local, root: /d}\nprefetch:\n#  enabled: true\ntls:\n", "d"},
		{"route to the default upstream", "buckets: {abc: {upstream: local}}", "local"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := load(t, tt.text, LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			r, ok := cfg.Find("abc")
			if !ok || r.Upstream != tt.upstream || r.Freshness.TTL != time.Minute || r.Write != "bypass" {
				t.Errorf("route %+v, %v", r, ok)
			}
			if _, ok := cfg.Upstreams[r.Upstream]; !ok {
				t.Errorf("no upstream %q", r.Upstream)
			}
		})
	}
}

func TestFileNotThere(t *testing.T) {
	_, err := Load(LoadOptions{File: filepath.Join(t.TempDir(), "none.yaml")})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	write(t, big, string(bytes.Repeat([]byte("# x\n"), 1<<19)))
	if _, err = Load(LoadOptions{File: big}); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("err = %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(full)
	f.Add("listen: [")
	f.Add("a: &x [*x]\n<<: {b: 1}\n? [a]\n: b\n")
	f.Add("upstreams: {x: {type: s3, secret_key: " + planted + "}}\n---\n")
	f.Add("buckets: {'[': {upstream: {mirror: [a]}}}\nfaults: [{}, 1]\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		name := filepath.Join(dir, "f.yaml")
		write(t, name, text)
		cfg, err := Load(LoadOptions{File: name, Environ: []string{"X=" + planted}, KeepCredentials: true, DefaultDir: dir})
		if err == nil {
			if len(cfg.Listen) == 0 || len(cfg.Buckets) == 0 || len(cfg.Upstreams) == 0 {
				t.Errorf("incomplete: %+v", cfg)
			}
			return
		}
		for e := range strings.Lines(err.Error()) {
			if !strings.HasPrefix(e, name+":") || strings.Contains(e, planted) {
				t.Errorf("error without a place: %q", e)
			}
		}
	})
}

func TestExample(t *testing.T) {
	cfg, err := Load(LoadOptions{File: "../examples/unistore.yaml", Environ: []string{"ENGINE_SECRET=engine-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := cfg.Find("warehouse"); r.Bucket != "prod-warehouse" {
		t.Errorf("route %+v", r)
	}
}
