//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAWarmReadIsSendfile traces the system calls of a warm 8 MiB GET: its bytes leave by sendfile, and no read or
// write carries more than a header's worth.
func TestAWarmReadIsSendfile(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("strace is not installed: run make e2e")
	}
	g := startGateway(t, upstreamYAML(t, "local", t.TempDir()), "")
	c := g.client()
	createBucket(t, c, "hot")
	put(t, c, "hot", "k", randomBytes(1, 16<<20))
	const rng = "bytes=4194304-12582911"
	for range 2 {
		if _, err := get(t, c, "hot", "k", rng); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(g.dir, "strace")
	trace := exec.Command(strace, "-f", "-e", "trace=sendfile,read,write,readv,writev,pread64,preadv,sendto,sendmsg,splice",
		"-e", "signal=none", "-o", out, "-p", strconv.Itoa(g.cmd.Process.Pid))
	var log lockedBuffer
	trace.Stderr = &log
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "attached"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("strace did not attach: %s", log.String())
		}
	}
	body, err := get(t, c, "hot", "k", rng)
	if err != nil || len(body) != 8<<20 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	_ = trace.Process.Signal(syscall.SIGINT)
	_ = trace.Wait()
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	bytes, calls := sumCalls(string(text))
	t.Logf("system calls of one warm 8 MiB GET: %s", calls)
	if bytes["sendfile"] != 8<<20 {
		t.Errorf("sendfile carried %d bytes of %d", bytes["sendfile"], 8<<20)
	}
	for _, name := range []string{"pread64", "preadv", "splice"} {
		if bytes[name] != 0 {
			t.Errorf("%s carried %d bytes", name, bytes[name])
		}
	}
	for _, name := range []string{"write", "writev", "read", "sendto", "sendmsg"} {
		if bytes[name] > 64<<10 {
			t.Errorf("%s carried %d bytes", name, bytes[name])
		}
	}
}

var callLine = regexp.MustCompile(`(?:^\d+ +|<\.\.\. )(\w+)(?:\(| resumed>).* = (-?\d+)`)

// sumCalls adds up what strace's lines returned, by call.
func sumCalls(text string) (bytes map[string]int64, summary string) {
	bytes = map[string]int64{}
	calls := map[string]int{}
	for line := range strings.Lines(text) {
		m := callLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil || n < 0 {
			continue
		}
		bytes[m[1]] += n
		calls[m[1]]++
	}
	for name, n := range calls {
		summary += fmt.Sprintf("%s %d calls %d bytes; ", name, n, bytes[name])
	}
	return bytes, summary
}
