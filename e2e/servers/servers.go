// Package servers starts real S3 servers for tests: versitygw on a directory and MinIO, each a process
// on a free port of 127.0.0.1 with a data directory and keys of its own.
//
// The binaries are named by environment variables, so that a test which needs one fails with a clear
// message where there is none, instead of passing without it.
package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Environment variables with the paths of the binaries.
const (
	VersityVariable = "UNISTORE_TEST_VERSITYGW"
	MinIOVariable   = "UNISTORE_TEST_MINIO"
)

const (
	readyIn   = 60 * time.Second // a race build on a busy machine
	stopIn    = 20 * time.Second
	pollEvery = 20 * time.Millisecond
	keepLog   = 16 << 10 // of the server's output, shown when a test fails
)

// Region is what every server here is configured for.
const Region = "us-east-1"

// Server is one running server. Its methods are called by one goroutine at a time.
type Server struct {
	Endpoint             string // http://127.0.0.1:PORT
	AccessKey, SecretKey string
	Dir                  string // the data

	name    string
	addr    string
	command func(addr string) *exec.Cmd
	log     *tail
	process *process
}

// StartVersity runs versitygw with its posix backend. The test's temporary directory must be on a file system
// with extended attributes.
func StartVersity(t testing.TB) *Server {
	t.Helper()
	binary := binaryFrom(t, VersityVariable)
	s := newServer(t, "versitygw")
	s.command = func(addr string) *exec.Cmd {
		cmd := exec.Command(binary, "--port", addr, "--access", s.AccessKey, "--secret", s.SecretKey,
			"--region", Region, "--keep-alive", "--quiet", "posix", s.Dir)
		cmd.Env = os.Environ()
		return cmd
	}
	s.start(t)
	return s
}

// StartMinIO runs a single-drive MinIO.
func StartMinIO(t testing.TB) *Server {
	t.Helper()
	binary := binaryFrom(t, MinIOVariable)
	s := newServer(t, "minio")
	s.command = func(addr string) *exec.Cmd {
		cmd := exec.Command(binary, "server", "--quiet", "--address", addr, s.Dir)
		cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+s.AccessKey, "MINIO_ROOT_PASSWORD="+s.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_REGION_NAME="+Region, "MINIO_CI_CD=on")
		return cmd
	}
	s.start(t)
	return s
}

func binaryFrom(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s must name the binary", variable)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return path
}

func newServer(t testing.TB, name string) *Server {
	return &Server{
		AccessKey: "test" + rand.Text()[:12], SecretKey: rand.Text(),
		Dir: t.TempDir(), name: name, log: &tail{},
	}
}

// start runs the server on a free port, and on another one if somebody was faster.
func (s *Server) start(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", s.name, s.log)
		}
	})
	var err error
	for range 3 {
		if s.addr, err = freeAddr(); err != nil {
			break
		}
		s.Endpoint = "http://" + s.addr
		if err = s.run(t.Context()); err == nil {
			return
		}
	}
	t.Fatalf("%s does not start: %v\n%s", s.name, err, s.log)
}

// Restart runs a stopped or killed server again: same address, same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	if err := s.run(t.Context()); err != nil {
		t.Fatalf("%s does not start again: %v\n%s", s.name, err, s.log)
	}
}

// PID is the process of the running server.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Stop ends the server by SIGTERM and waits for it, and kills it if it does not end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server by SIGKILL and waits for it.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Pause stops the server in its tracks (SIGSTOP): connections are accepted by the kernel and get no answer. It
// returns when every thread stands still.
func (s *Server) Pause() { s.process.pause() }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.process.signal(syscall.SIGCONT) }

func (s *Server) end(sig syscall.Signal) {
	p := s.process
	if p == nil {
		return
	}
	s.process = nil
	p.signal(syscall.SIGCONT) // a paused one would not see the other signal
	p.signal(sig)
	select {
	case <-p.ended:
	case <-time.After(stopIn):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	cmd := s.command(s.addr)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	// Of its own process group, so that an interrupt at the terminal leaves the order of ends to the test;
	// and gone when the test binary is.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	s.process = p
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	for {
		if answers(ctx, s.Endpoint) {
			return nil
		}
		select {
		case <-p.ended:
			s.process = nil
			return fmt.Errorf("it ended: %w", errors.Join(p.err, errors.New(cmd.ProcessState.String())))
		case <-ctx.Done():
			s.end(syscall.SIGKILL)
			return fmt.Errorf("no answer in %v", readyIn)
		case <-time.After(pollEvery):
		}
	}
}

// answers reports whether an HTTP server is there, whatever it says.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode < 500
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// process is a started command and the goroutine that waits for it.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
	err   error         // valid after ended
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig is about the thread that starts the process: this one lasts as long as it.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.ended)
	}()
	return p, <-started
}

// signal sends sig to a process that runs; one that has ended or never began (nil) gets none.
func (p *process) signal(sig syscall.Signal) {
	if p != nil {
		_ = p.cmd.Process.Signal(sig) // it may have ended
	}
}

// pause stops the process and returns when every thread stands still, or after stopIn.
func (p *process) pause() {
	p.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(stopIn); !p.stopped() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// stopped reports whether all threads of the process are in state T (proc_pid_stat(5)).
func (p *process) stopped() bool {
	if p == nil {
		return true
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		return false
	}
	for _, file := range threads {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		if _, state, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// tail keeps the last keepLog bytes written to it.
type tail struct {
	mu struct {
		sync.Mutex
		buf bytes.Buffer
	}
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.buf.Write(p)
	if over := l.mu.buf.Len() - keepLog; over > 0 {
		l.mu.buf.Next(over)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.buf.String()
}
