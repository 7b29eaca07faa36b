package config

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestOverrides(t *testing.T) {
	const file = `region: from-file
cache: {size: 1GiB}
upstreams:
  my-store: {type: s3, region: r, secret_key_file: not-there, access_key: A}
buckets:
  "*": {upstream: my-store}
`
	env := []string{
		"UNISTORE_REGION=from-env", "UNISTORE_CACHE_SIZE=2GiB", "UNISTORE_CACHE_BLOCK_SIZE=2MiB",
		"UNISTORE_LISTEN=127.0.0.1:1, unix:/tmp/s", "UNISTORE_UPSTREAMS_MY_STORE_SECRET_KEY=" + planted,
		"UNISTORE_UPSTREAMS_MY_STORE_PATH_STYLE=true", "UNISTORE_UPSTREAMS_NEW_TYPE=local", "UNISTORE_UPSTREAMS_NEW_ROOT=/new",
		"UNISTORE_BUCKETS_LOGS_UPSTREAM=new", "UNISTORE_ADMIN_TOKEN=t",
		"UNISTORE_ACCESS_KEY=ENVKEY", "UNISTORE_SECRET_KEY=" + planted,
		"UNISTORE_PORT_9000_TCP=tcp://10.0.0.1:9000", "UNISTORE_TEST_BINARY=x", "UNISTORE_CASHE_SIZE=1", "HOME=/",
	}
	cfg, err := load(t, file, LoadOptions{Environ: env, Flags: map[string]string{"region": "from-flag", "buckets.a.b.upstream": "new"}})
	if err != nil {
		t.Fatal(err)
	}
	up := cfg.Upstreams["my-store"]
	checks := map[string]bool{
		"flag over environment": cfg.Region == "from-flag",
		"environment over file": cfg.Cache.Size == 2<<30,
		"environment alone":     cfg.Cache.BlockSize == 2<<20,
		"list":                  strings.Join(cfg.Listen, " ") == "127.0.0.1:1 unix:/tmp/s",
		"entry by its name":     up.SecretKey.Reveal() == planted && up.PathStyle && up.Region == "r",
		"new entry":             cfg.Upstreams["new"].Root == "/new" && len(cfg.Upstreams) == 2,
		"new route":             cfg.Buckets[1].Name == "logs" && cfg.Buckets[1].Upstream == "new",
		"route with a dot":      cfg.Buckets[2].Name == "a.b" && cfg.Buckets[2].Upstream == "new",
		"token":                 cfg.Admin.Token.Reveal() == "t",
		"credential":            len(cfg.Credentials) == 1 && cfg.Credentials[0].AccessKey == "ENVKEY" && cfg.Credentials[0].SecretKey.Reveal() == planted,
		"nothing generated":     cfg.CredentialsFile == "",
		"warning":               len(cfg.Warnings) == 1 && strings.Contains(cfg.Warnings[0], `UNISTORE_CASHE_SIZE is no setting: ignored (did you mean "UNISTORE_CACHE_SIZE"?)`),
	}
	for name, ok := range checks {
		if !ok {
			t.Errorf("%s: %+v", name, cfg)
		}
	}
}

func TestOverrideErrors(t *testing.T) {
	tests := []struct {
		name  string
		env   []string
		flags map[string]string
		file  string
		want  string
	}{
		{"size", []string{"UNISTORE_CACHE_SIZE=big"}, nil, "", `UNISTORE_CACHE_SIZE: cache.size: "big" is not a size`},
		{"flag", nil, map[string]string{"cache.size": "big"}, "", `flag cache.size: cache.size: "big" is not a size`},
		{"unknown flag", nil, map[string]string{"cache.sise": "1GiB"}, "", `flag cache.sise: no such setting, or one that only the file can hold (did you mean "cache.size"?)`},
		{"flag of a section", nil, map[string]string{"upstreams": "x"}, "", `flag upstreams: no such setting`},
		{"flag without a name", nil, map[string]string{"upstreams.type": "x"}, "", `flag upstreams.type: no such setting`},
		{"flag of the faults", nil, map[string]string{"faults": "x"}, "", `flag faults: no such setting`},
		{"across keys", []string{"UNISTORE_CACHE_LOW_WATERMARK=0.99"}, nil, "cache: {high_watermark: 0.95}", `UNISTORE_CACHE_LOW_WATERMARK: cache.low_watermark: the watermarks`},
		{"new upstream", []string{"UNISTORE_UPSTREAMS_X_TYPE=s4"}, nil, "", `UNISTORE_UPSTREAMS_X_TYPE: upstreams.x.type: "s4" is unknown`},
		{"in the way", []string{"UNISTORE_CACHE_SIZE=1GiB"}, nil, "cache: [a]", `f.yaml:1: cache: must be a mapping`},
		{"anonymous", []string{"UNISTORE_LISTEN=0.0.0.0:1", "UNISTORE_ANONYMOUS=true"}, nil, "", `UNISTORE_ANONYMOUS: anonymous: true is allowed only`},
		{"only access key", []string{"UNISTORE_ACCESS_KEY=abc"}, nil, "", `UNISTORE_SECRET_KEY: is not set`},
		{"only secret key", []string{"UNISTORE_SECRET_KEY=" + planted}, nil, "", `UNISTORE_ACCESS_KEY: is not set`},
		{"bad secret key", []string{"UNISTORE_ACCESS_KEY=abc", "UNISTORE_SECRET_KEY=pl4nted s3cret"}, nil, "", `UNISTORE_SECRET_KEY: the value must be 8 to 256`},
		{"no expansion", []string{"UNISTORE_REGION=${HOME}"}, nil, "", `UNISTORE_REGION: region: "${HOME}" is no region`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.file, LoadOptions{Environ: tt.env, Flags: tt.flags})
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "pl4nted") || strings.Contains(err.Error(), "\n")) {
				t.Errorf("a secret, or more than one error: %v", err)
			}
		})
	}
}

func TestGeneratedCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	opts := LoadOptions{DefaultDir: dir}
	name := filepath.Join(dir, credentialsName)

	if cfg, err := Load(LoadOptions{DefaultDir: dir, KeepCredentials: true}); err != nil || len(cfg.Credentials) > 0 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if cfg, err := Load(LoadOptions{DefaultDir: dir, Environ: []string{"UNISTORE_ANONYMOUS=true"}}); err != nil || len(cfg.Credentials) > 0 {
		t.Fatalf("%+v, %v", cfg, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatal("credentials were made without a need")
	}

	var wg sync.WaitGroup // started at once, all get the same
	all := make([]*Config, 8)
	for i := range all {
		wg.Go(func() {
			cfg, err := Load(opts)
			if err != nil {
				t.Error(err)
			}
			all[i] = cfg
		})
	}
	wg.Wait()
	for _, cfg := range all {
		if cfg == nil || len(cfg.Credentials) != 1 || cfg.Credentials[0].SecretKey != all[0].Credentials[0].SecretKey || cfg.CredentialsFile != name {
			t.Fatalf("%+v differs from %+v", cfg, all[0])
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}

	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	if cfg, err := Load(opts); err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0], "can be read by others (mode 0644)") {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, text := range []string{"", "{", `{"access_key": "` + planted + `"}`, `{"access_key": "a b", "secret_key": "` + planted + `"}`} {
		write(t, name, text)
		if _, err := Load(opts); err == nil || strings.Contains(err.Error(), planted) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
