package netx

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const (
	// childMode makes the test binary a server without descriptors left, on a socket in its directory.
	childMode  = "UNISTORE_TEST_NETX_CHILD"
	socketName = "s"
)

// exhaustedChild uses up its descriptors, says so, and frees them when it reads a line. It answers each
// accepted connection with a greeting. At the end of its input it prints what it has logged.
func exhaustedChild() int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fail(err)
	}
	limit.Cur = 48
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fail(err)
	}
	inner, err := Listen("unix:" + socketName)
	if err != nil {
		return fail(err)
	}
	var log strings.Builder
	l := Wrap(inner, Config{Busy: []byte(busy), Log: zerolog.New(&log)})
	var held []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		held = append(held, f)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	fmt.Println("exhausted")
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	for _, f := range held {
		_ = f.Close()
	}
	fmt.Println("freed")
	in.Scan()
	if err := l.Close(); err != nil {
		return fail(err)
	}
	<-done
	fmt.Print(log.String())
	return 0
}

// TestOutOfDescriptors: while the process has none, clients are refused with an answer; then they are served.
func TestOutOfDescriptors(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), childMode+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if got, err := said.ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
			t.Fatalf("the child said %q, %v; want %q", got, err, want)
		}
	}
	ask := func() string {
		t.Helper()
		c, err := net.Dial("unix", filepath.Join(dir, socketName))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(soon))
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		return string(got)
	}

	expect("exhausted")
	for i := range 20 {
		if got := ask(); got != busy {
			t.Errorf("client %d without descriptors read %q", i, got)
		}
	}
	if _, err := io.WriteString(in, "free\n"); err != nil {
		t.Fatal(err)
	}
	expect("freed")
	for i := range 20 {
		if got := ask(); got != "hello" {
			t.Errorf("client %d afterwards read %q", i, got)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := io.ReadAll(said)
	if err != nil || strings.Count(string(log), "\n") != 1 || !strings.Contains(string(log), "too many open files") {
		t.Errorf("logged %q, %v; want one line", log, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
