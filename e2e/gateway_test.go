//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/e2e/servers"
)

const (
	accessKey = "AKE2E"
	secretKey = "e2e-secret"
)

// gatewayProcess is the binary, running on a configuration in a directory of the test.
type gatewayProcess struct {
	t      *testing.T
	dir    string
	config string
	s3     string // host:port
	admin  string
	cmd    *exec.Cmd
	ended  chan error
	log    *lockedBuffer

	cacheDir string
	files    int    // ulimit -n
	binary   string // the program
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// upstreamVariable names a file with the configuration of one upstream, in YAML, called up and indented by two: a
// store that the proofs of writing shall run on, too.
const upstreamVariable = "UNISTORE_E2E_UPSTREAM"

// upstreamYAML is the upstreams: section of one kind of upstream.
func upstreamYAML(t *testing.T, kind, dir string) string {
	t.Helper()
	text, _ := upstreamWith(t, kind, dir)
	return text
}

// upstreamWith is upstreamYAML, and the server behind it if it is one of ours.
func upstreamWith(t *testing.T, kind, dir string) (string, *servers.Server) {
	t.Helper()
	if dialect, ok := strings.CutSuffix(kind, " on the emulator"); ok {
		srv := servers.StartEmulator(t, dialect, "-complete-spaces", "3")
		more := ""
		if dialect == "cos" {
			more = `, app_id: "1250000000"`
		}
		return fmt.Sprintf("  up: {type: %s, region: %s, endpoint: %q, access_key: %q, secret_key: %q%s}\n",
			dialect, servers.EmulatorRegion, srv.VirtualHost(dialect), srv.AccessKey, srv.SecretKey, more), srv
	}
	switch kind {
	case "configured":
		text, err := os.ReadFile(os.Getenv(upstreamVariable))
		if err != nil {
			t.Fatal(err)
		}
		return string(text), nil
	case "hdfs":
		return hdfsYAML(t), nil
	case "local":
		return fmt.Sprintf("  up: {type: local, root: %q}\n", filepath.Join(dir, "objects")), nil
	}
	srv := startUpstream(t, kind)
	return s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey), srv
}

// startUpstream runs a real S3 server.
func startUpstream(t *testing.T, kind string) *servers.Server {
	t.Helper()
	switch kind {
	case "versitygw":
		return servers.StartVersity(t)
	case "minio":
		return servers.StartMinIO(t)
	}
	t.Fatalf("unknown upstream %q", kind)
	return nil
}

func s3YAML(endpoint, key, secret string) string {
	return fmt.Sprintf("  up: {type: s3, region: us-east-1, endpoint: %q, path_style: true, access_key: %q, secret_key: %q}\n",
		endpoint, key, secret)
}

// setup is a gateway to run. Zero fields take what is named.
type setup struct {
	upstreams string // YAML under upstreams:, of one upstream named up
	freshness string // of the one route; 60s
	write     string // of the one route; bypass
	cache     string // YAML keys of cache: besides dir; size: 4GiB, reserve_free: 100MiB
	cacheDir  string // cache/ beside the configuration
	extra     string // YAML at the end of the configuration
	files     int    // ulimit -n; 0: as it is here
	binary    string // the program; the one of make e2e
}

// startGateway runs the binary in front of upstreams (YAML), with extra at the end of its configuration.
func startGateway(t *testing.T, upstreams, extra string) *gatewayProcess {
	t.Helper()
	return startWith(t, setup{upstreams: upstreams, extra: extra})
}

// startWith writes a configuration and runs the binary on it.
func startWith(t *testing.T, s setup) *gatewayProcess {
	t.Helper()
	g := prepareWith(t, s)
	g.start()
	return g
}

// prepareWith writes a configuration. The process is started by start and ended by the test's end.
func prepareWith(t *testing.T, s setup) *gatewayProcess {
	t.Helper()
	dir := t.TempDir()
	g := &gatewayProcess{
		t: t, dir: dir, config: filepath.Join(dir, "unistore.yaml"), s3: freeAddr(t), admin: freeAddr(t),
		cacheDir: cmp.Or(s.cacheDir, filepath.Join(dir, "cache")), files: s.files, binary: s.binary,
	}
	if g.binary == "" {
		g.binary = binary(t)
	}
	text := fmt.Sprintf(`listen: [%q]
admin: {listen: %q}
credentials:
  - {access_key: %s, secret_key: %s}
cache: {dir: %q, %s}
upstreams:
%sbuckets:
  "*": {upstream: up, freshness: %s, write: %s}
%s`, g.s3, g.admin, accessKey, secretKey, g.cacheDir, cmp.Or(s.cache, "size: 4GiB, reserve_free: 100MiB"),
		s.upstreams, cmp.Or(s.freshness, "60s"), cmp.Or(s.write, "bypass"), s.extra)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.stop(syscall.SIGTERM)
		if t.Failed() && g.log != nil {
			t.Logf("gateway log:\n%s", tailOf(g.log.String(), 8000))
		}
	})
	return g
}

func tailOf(s string, n int) string { return s[max(len(s)-n, 0):] }

func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("UNISTORE_TEST_BINARY")
	if path == "" {
		t.Fatal("UNISTORE_TEST_BINARY is not set: run make e2e")
	}
	return path
}

// start runs the process until it is ready, and returns how long that took.
func (g *gatewayProcess) start() time.Duration {
	g.t.Helper()
	began := time.Now()
	g.launch()
	g.awaitReady()
	return time.Since(began)
}

// launch starts the process.
func (g *gatewayProcess) launch() {
	g.t.Helper()
	g.log = &lockedBuffer{}
	name, args := g.binary, []string{"serve", "--config", g.config, "--enable-faults"}
	if g.files > 0 {
		args = append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, g.files), name}, args...)
		name = "/bin/sh"
	}
	g.cmd = exec.Command(name, args...)
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	g.cmd.Dir = g.dir
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(g.cmd, g.ended)
}

func (g *gatewayProcess) awaitReady() {
	g.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		res, err := http.Get("http://" + g.admin + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-g.ended:
			g.ended <- err
			g.t.Fatalf("the gateway ended at once: %v\n%s", err, g.log)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not ready in time\n%s", g.log)
		}
	}
}

// stop ends the process with sig and waits for it.
func (g *gatewayProcess) stop(sig syscall.Signal) {
	g.t.Helper()
	if g.cmd == nil {
		return
	}
	_ = g.cmd.Process.Signal(sig)
	select {
	case err := <-g.ended:
		if sig == syscall.SIGTERM && err != nil {
			g.t.Errorf("the gateway did not end well: %v", err)
		}
	case <-time.After(60 * time.Second):
		_ = g.cmd.Process.Kill()
		<-g.ended
		g.t.Error("the gateway did not end after SIGTERM")
	}
	g.cmd = nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (g *gatewayProcess) url() string { return "http://" + g.s3 }

// client is an S3 client of the gateway.
func (g *gatewayProcess) client() *s3.Client { return clientOf(g.url(), accessKey, secretKey) }

func clientOf(endpoint, key, secret string) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), RetryMaxAttempts: 1,
	})
}

// metric sums the samples of a metric whose labels contain every text of labels.
func (g *gatewayProcess) metric(name string, labels ...string) float64 {
	g.t.Helper()
	res, err := http.Get("http://" + g.admin + "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	total := 0.0
	lines := bufio.NewScanner(res.Body)
next:
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			g.t.Fatalf("%q: %v", line, err)
		}
		total += v
	}
	return total
}

// dataRequests counts the requests for objects' bytes and attributes to the upstream.
func (g *gatewayProcess) dataRequests() float64 {
	return g.metric("unistore_upstream_requests_total", `operation="Open"`) +
		g.metric("unistore_upstream_requests_total", `operation="Stat"`)
}

// run runs a client program against the gateway and returns what it printed.
func (g *gatewayProcess) run(name string, args ...string) string {
	g.t.Helper()
	return g.runEnv(nil, name, args...)
}

// runEnv is run with environment variables (NAME=VALUE) besides.
func (g *gatewayProcess) runEnv(env []string, name string, args ...string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_ENDPOINT_URL="+g.url(), "UNISTORE_S3="+g.s3, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true", "NO_PROXY=127.0.0.1,localhost")
	cmd.Env = append(cmd.Env, env...) // the last of a name counts
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tailOf(string(out), 4000))
	}
	return string(out)
}

// tool is a program of the Python environment that make e2e prepares.
func tool(t *testing.T, name string) string {
	t.Helper()
	venv := os.Getenv("UNISTORE_TEST_VENV")
	if venv == "" {
		t.Fatal("UNISTORE_TEST_VENV is not set: run make e2e")
	}
	return filepath.Join(venv, "bin", name)
}

func (g *gatewayProcess) aws(args ...string) string {
	g.t.Helper()
	return g.run(tool(g.t, "aws"), args...)
}

func readAll(t *testing.T, r io.ReadCloser) []byte {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
