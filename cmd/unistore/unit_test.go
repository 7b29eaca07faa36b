package main

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
)

type fakeGateway struct {
	reloads chan *config.Config
	err     error
}

func (f *fakeGateway) Reload(cfg *config.Config) (changed, ignored []string, err error) {
	f.reloads <- cfg
	return []string{"credentials"}, []string{"Cache"}, f.err
}

func TestSignals(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Cleanup(func() { zerolog.SetGlobalLevel(zerolog.TraceLevel) })
	file := func(text string) {
		t.Helper()
		if err := os.WriteFile("f.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("log: {level: info, format: json}\nanonymous: true\n")
	opts := config.LoadOptions{File: "f.yaml"}
	cfg, err := config.Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	setLevel(cfg.Log.Level)
	var log bytes.Buffer
	stopped, left := make(chan struct{}), make(chan struct{})
	gw := &fakeGateway{reloads: make(chan *config.Config)}
	w := &watcher{
		opts: opts, cfg: cfg, gateway: gw, log: zerolog.New(&log),
		stop: func() { close(stopped) }, exit: func() { close(left) },
	}
	signals := make(chan os.Signal) // without a buffer: a signal taken means that the one before is done with
	done := make(chan struct{})
	go func() { defer close(done); w.watch(signals, nil) }()

	file("log: {level: debug, format: console}\nanonymous: true\n")
	signals <- syscall.SIGHUP
	if got := <-gw.reloads; got.Log.Level != "debug" {
		t.Errorf("reloaded %+v", got.Log)
	}
	file("log: {level: loud}\n")
	signals <- syscall.SIGHUP // a bad file: no reload, and the level stays
	signals <- syscall.SIGTERM
	<-stopped
	if zerolog.GlobalLevel() != zerolog.DebugLevel {
		t.Errorf("level is %v", zerolog.GlobalLevel())
	}
	signals <- syscall.SIGINT
	<-left
	<-done
	for _, want := range []string{
		`"changed":["credentials","log.level"]`, `"keys":["Cache","log.format"]`, `f.yaml:1: log.level: \"loud\" is unknown`,
		"nothing has changed", "second signal: leaving at once",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log.String())
		}
	}
}

func TestReloadFails(t *testing.T) {
	t.Chdir(t.TempDir())
	var log bytes.Buffer
	gw := &fakeGateway{reloads: make(chan *config.Config, 1), err: errors.New("no")}
	w := &watcher{opts: config.LoadOptions{}, cfg: &config.Config{}, gateway: gw, log: zerolog.New(&log)}
	w.reload()
	if !strings.Contains(log.String(), "could not be reloaded") || w.cfg.Log.Level != "" {
		t.Error(log.String())
	}
}

func TestCgroupMemory(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"none", nil, 0},
		{"container", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30},
		{"no limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/unistore.service\n", "sys/fs/cgroup/system.slice/memory.max": "2000",
			"sys/fs/cgroup/system.slice/unistore.service/memory.max": "3000",
		}, 2000},
		{"version 1", map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "4096",
		}, 4096},
		{"version 1 without a limit", map[string]string{
			"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
		}, 0},
		{"garbage", map[string]string{"proc/self/cgroup": "x\n", "sys/fs/cgroup/memory.max": "1"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := cgroupMemory(root); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestStartMessage(t *testing.T) {
	cfg := &config.Config{
		Region: "eu-west-1", Source: "f.yaml", TLS: config.TLS{Cert: "c", Key: "k"},
		Credentials: []config.Credential{{AccessKey: "AKFILE", SecretKey: config.NewSecret("pl4nted-s3cret")}},
		Cache:       config.Cache{Dir: "/c", Size: 900 << 30},
		Upstreams: map[string]config.Upstream{
			"aws": {Type: "s3", Region: "us-east-1"}, "vs": {Type: "s3", Endpoint: "http://10.0.0.1:7070"}, "disk": {Type: "local", Root: "/d"},
		},
	}
	got := startMessage(cfg, []string{"unix:/run/s3.sock", "[::]:9000", "10.1.2.3:9000"}, "127.0.0.1:9001", process{})
	for _, want := range []string{
		"S3        unix:/run/s3.sock\n", "S3        https://localhost:9000\n", "S3        https://10.1.2.3:9000\n",
		"admin     http://127.0.0.1:9001\n", "config    f.yaml\n", "cache     /c, 900 GiB\n",
		"upstream  aws: s3, AWS us-east-1\n", "upstream  vs: s3, http://10.0.0.1:7070\n", "upstream  disk: local, /d\n",
		"export AWS_ENDPOINT_URL=https://localhost:9000 AWS_REGION=eu-west-1 ", "AWS_ACCESS_KEY_ID=AKFILE\n",
		"AWS_SECRET_ACCESS_KEY=...   # its secret_key in f.yaml\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "pl4nted") {
		t.Error("the secret is in the message")
	}
	cfg.Credentials, cfg.Anonymous = nil, true
	if got := startMessage(cfg, []string{"127.0.0.1:9000"}, "unix:/a", process{}); !strings.Contains(got, "--no-sign-request") {
		t.Errorf("anonymous: %s", got)
	}
	if got := startMessage(cfg, []string{"unix:/s"}, "unix:/a", process{}); strings.Contains(got, "paste") {
		t.Errorf("nothing to paste for a socket: %s", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1 << 10: "1 KiB", 10 << 30: "10 GiB", 1.5e12: "1.364 TiB", math.MaxInt64: "8 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestLogger(t *testing.T) {
	t.Cleanup(func() { zerolog.SetGlobalLevel(zerolog.TraceLevel) })
	var out bytes.Buffer
	log := newLogger(config.Log{Level: "warn"}, &out)
	log.Info().Msg("quiet")
	log.Warn().Msg("loud")
	if got := out.String(); strings.Contains(got, "quiet") || !strings.HasPrefix(got, `{"level":"warn"`) {
		t.Errorf("log: %s", got)
	}
	out.Reset()
	log = newLogger(config.Log{Level: "warn", Format: "console"}, &out)
	log.Warn().Msg("loud")
	if got := out.String(); strings.HasPrefix(got, "{") || strings.Contains(got, "\x1b") {
		t.Errorf("console log: %q", got)
	}
}

var _ reloader = (*fakeGateway)(nil)
