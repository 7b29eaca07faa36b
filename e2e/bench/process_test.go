//go:build e2e

package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// endpoint is an S3 service and the keys to it.
type endpoint struct {
	name, url, access, secret string
}

// profiling, when it names a directory, leaves a CPU profile of the gateway for each benchmark there.
var profiling = os.Getenv("UNISTORE_BENCH_PROFILES")

// process is a running gateway.
type process struct {
	endpoint
	admin string
	pid   int
}

func direct(name string, s *servers.Server) endpoint {
	return endpoint{name, s.Endpoint, s.AccessKey, s.SecretKey}
}

// startGateway runs the binary in front of an S3 server. It ends with the benchmark.
func startGateway(b *testing.B, up endpoint) *process {
	b.Helper()
	return launch(b, fmt.Sprintf(`upstreams:
  up: {type: s3, region: us-east-1, endpoint: %q, path_style: true, access_key: %q, secret_key: %q}
buckets:
  keeping: {upstream: up, write: cache}
  "*": {upstream: up}
`, up.url, up.access, up.secret))
}

// launch runs the binary with a configuration (YAML) that lacks listeners, credentials and cache. It ends with the benchmark.
func launch(b *testing.B, rest string, flags ...string) *process {
	b.Helper()
	binary := os.Getenv("UNISTORE_TEST_BINARY")
	if binary == "" {
		b.Fatal("UNISTORE_TEST_BINARY is not set: run make bench")
	}
	dir := b.TempDir()
	s3, admin := freeAddr(b), freeAddr(b)
	config := filepath.Join(dir, "unistore.yaml")
	text := fmt.Sprintf(`listen: [%q]
admin: {listen: %q}
credentials: [{access_key: AKBENCH, secret_key: bench-secret}]
cache: {dir: %q, size: 4GiB, reserve_free: 0}
%s`, s3, admin, filepath.Join(dir, "cache"), rest)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(binary, append([]string{"serve", "--config", config}, flags...)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &log, &log, dir
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			b.Errorf("the gateway ended with %v\n%s", err, log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		res, err := http.Get("http://" + admin + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			b.Fatalf("the gateway is not ready\n%s", log.String())
		}
	}
	return &process{endpoint{"gateway", "http://" + s3, "AKBENCH", "bench-secret"}, admin, cmd.Process.Pid}
}

func freeAddr(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
