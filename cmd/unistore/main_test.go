package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"unistore/config"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Of fasthttp: one a process, for ever; and one a server, which notices its end within 10 s.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// runCommand runs a command line in an empty directory.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = execute(t.Context(), args, process{out: &out, err: &errOut, environ: []string{"UNISTORE_CONFIG="}})
	return code, out.String(), errOut.String()
}

func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bad.yaml", "cache:\n  size: 1XB\nlissen: []\n")
	write("faults.yaml", "faults: [{name: upstream.reset}]\n")
	write("good.yaml", "upstreams: {d: {type: local, root: objects}}\n")
	write("file", "")
	tests := []struct {
		name string
		args []string
		code int
		out  string // in stdout
		err  string // in stderr
	}{
		{"nothing", nil, exitUsage, "", "a command is missing"},
		{"unknown command", []string{"sreve"}, exitUsage, "", `unknown command "sreve"`},
		{"unknown flag", []string{"serve", "--nothing"}, exitUsage, "", "unknown flag: --nothing"},
		{"argument", []string{"version", "x"}, exitUsage, "", "See 'unistore version --help'"},
		{"help", []string{"help"}, exitDone, "serve", ""},
		{"help of serve", []string{"serve", "--help"}, exitDone, "--enable-faults", ""},
		{"version", []string{"version"}, exitDone, "RocksDB", ""},
		{"version as JSON", []string{"version", "--json"}, exitDone, `"rocksdb":"`, ""},
		{"bad file", []string{"serve", "--config", "bad.yaml"}, exitFailed, "", "unistore: bad.yaml:2: cache.size: \"1XB\" has an unknown unit"},
		{"all of it", []string{"check", "-c", "bad.yaml"}, exitFailed, "", "unistore: bad.yaml:3: lissen: unknown key (did you mean \"listen\"?)"},
		{"no file", []string{"check", "-c", "none.yaml"}, exitFailed, "", "no such file"},
		{"bad value of a flag", []string{"check", "--cache-size", "big"}, exitUsage, "", "flag cache.size: cache.size: \"big\" is not a size"},
		{"unknown setting", []string{"check", "--set", "cache.sise=1GiB"}, exitUsage, "", "did you mean \"cache.size\"?"},
		{"no setting", []string{"check", "--set", "cache.size"}, exitUsage, "", "write PATH=VALUE"},
		{"set twice", []string{"check", "--set", "cache.size=1GiB", "--cache-size", "1GiB"}, exitUsage, "", "cache.size is set twice"},
		{"faults not enabled", []string{"serve", "-c", "faults.yaml"}, exitFailed, "", "only by serve --enable-faults"},
		{"check of a file", []string{"check", "-c", "good.yaml"}, exitDone, "good.yaml: valid", ""},
		{"check as JSON", []string{"check", "-c", "good.yaml", "--json"}, exitDone, `"upstream":"d","step":"auth","ok":true`, ""},
		{"check fails", []string{"check", "--set", "upstreams.d.type=local", "--set", "upstreams.d.root=file/x"}, exitFailed, "FAILED", ""},
		{"check of what is down", []string{"check", "--set", "upstreams.d.type=s3", "--set", "upstreams.d.endpoint=http://127.0.0.1:1",
			"--set", "upstreams.d.access_key=AK", "--set", "upstreams.d.secret_key=pl4nted-s3cret", "--set", "upstreams.d.retries=0",
			"--set", "upstreams.d.region=us-east-1"}, exitFailed, "FAILED", ""},
		{"nobody there", []string{"check", "--live", "--admin", "http://127.0.0.1:1"}, exitFailed, "", "the admin listener does not answer"},
		{"no URL", []string{"faults", "list", "--admin", "127.0.0.1:9001"}, exitFailed, "", "--admin must be"},
		{"faults alone", []string{"faults"}, exitUsage, "", "a command is missing: list, set or clear"},
		{"unknown fault", []string{"faults", "set", "x.y"}, exitUsage, "", `unknown fault "x.y"`},
		{"bad parameter", []string{"faults", "set", "upstream.latency", "delay"}, exitUsage, "", "PARAMETER=VALUE"},
		{"bad parameter's value", []string{"faults", "set", "upstream.latency", "delay=fast"}, exitUsage, "", "delay"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := runCommand(t, tt.args...)
			if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errOut, tt.err) {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", code, tt.code, out, errOut)
			}
			if strings.Contains(out+errOut, "pl4nted") {
				t.Error("a secret is printed")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(config.DefaultDataDir, "credentials.json")); err == nil {
		t.Error("check made credentials")
	}
}

// lockedBuffer takes a log while a test reads it.
type lockedBuffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.Buffer.String()
}

// serving is a gateway of `unistore serve` in this process.
type serving struct {
	t         *testing.T
	started   string // the start message
	s3, admin string // URLs
	stop      context.CancelFunc
	ended     chan int
	err       lockedBuffer
}

// startServing runs serve with args until the test ends.
func startServing(t *testing.T, environ []string, args ...string) *serving {
	t.Helper()
	s := &serving{t: t, ended: make(chan int, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	r, w := io.Pipe()
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)
	go func() {
		code := execute(ctx, args, process{out: w, err: &s.err, environ: environ})
		w.CloseWithError(io.EOF)
		s.ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-s.ended; code != exitDone {
			t.Errorf("serve ended with %d: %s", code, s.err.String())
		}
	})
	buf := make([]byte, 64<<10)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatalf("no start message: %v; %s", err, s.err.String())
	}
	s.started = string(buf[:n])
	for line := range strings.Lines(s.started) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "S3" {
			s.s3 = f[1]
		} else if len(f) == 2 && f[0] == "admin" {
			s.admin = f[1]
		}
	}
	return s
}

func (s *serving) waitReady() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		code, _, errOut := runCommand(s.t, "check", "--live", "--admin", s.admin)
		if code == exitDone {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not ready: %s", errOut)
		}
	}
}

func TestServe(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := `da'ta "1` // the lines to paste must survive it
	s := startServing(t, nil, "--data-dir", dir, "--enable-faults", "--cache-size", "64MiB")
	s.waitReady()

	// The lines to paste, in a shell, give the generated secret; the message itself does not have it.
	var exports strings.Builder
	for line := range strings.Lines(s.started) {
		if strings.HasPrefix(line, "  export ") {
			exports.WriteString(line)
		}
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", exports.String()+`echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY"`).CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]string
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	if want := s.s3 + " " + keys["access_key"] + " " + keys["secret_key"] + "\n"; string(out) != want || len(keys["secret_key"]) != 40 {
		t.Errorf("pasted: %q, want %q", out, want)
	}
	if strings.Contains(s.started+s.err.String(), keys["secret_key"]) {
		t.Error("the secret is printed or logged")
	}
	if resp, err := http.Get(s.s3 + "/"); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("anonymous: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}

	steps := []struct {
		args []string
		out  string
	}{
		{[]string{"faults", "list"}, "no fault is active"},
		{[]string{"faults", "set", "upstream.latency", "upstream=local", "delay=20ms", "count=1"}, ""},
		{[]string{"faults", "set", "upstream.error", "status=503", "--json"}, `"status":503`},
		{[]string{"faults", "list"}, "upstream.latency  0      0        count=1 delay=20ms upstream=local"},
		{[]string{"faults", "clear", "upstream.latency"}, ""},
		{[]string{"faults", "list", "--json"}, `[{"fired":0,"matched":0,"name":"upstream.error","status":503}]`},
		{[]string{"faults", "clear"}, ""},
		{[]string{"faults", "list"}, "no fault is active"},
		{[]string{"check", "--live", "--json"}, `{"ready":true}`},
	}
	for _, step := range steps {
		code, out, errOut := runCommand(t, append(step.args, "--admin", s.admin)...)
		if code != exitDone || !strings.Contains(out, step.out) {
			t.Errorf("%v: %d %s %s", step.args, code, out, errOut)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServeWithToken(t *testing.T) {
	t.Chdir(t.TempDir())
	env := []string{"UNISTORE_ADMIN_TOKEN=open-sesame", "UNISTORE_ACCESS_KEY=ENVKEY", "UNISTORE_SECRET_KEY=pl4nted-s3cret", "UNISTORE_CACHE_SIZE=64MiB"}
	s := startServing(t, env)
	s.waitReady()
	if !strings.Contains(s.started, "AWS_ACCESS_KEY_ID=ENVKEY\n") || !strings.Contains(s.started, `AWS_SECRET_ACCESS_KEY="$UNISTORE_SECRET_KEY"`) {
		t.Errorf("start message: %s", s.started)
	}
	if strings.Contains(s.started, "pl4nted") || strings.Contains(s.started, "sesame") {
		t.Errorf("a secret in the start message: %s", s.started)
	}
	if code, _, errOut := runCommand(t, "faults", "list", "--admin", s.admin); code != exitFailed || !strings.Contains(errOut, "token is missing or wrong") {
		t.Errorf("without the token: %d %s", code, errOut)
	}
	// Faults are not enabled: the call is unknown, even with the token.
	if code, _, errOut := runCommand(t, "faults", "list", "--admin", s.admin, "--token", "open-sesame"); code != exitFailed || !strings.Contains(errOut, "no such call") {
		t.Errorf("with the token: %d %s", code, errOut)
	}
	if _, err := os.Stat(filepath.Join(config.DefaultDataDir, "credentials.json")); err == nil {
		t.Error("credentials were generated although there are some")
	}
}
