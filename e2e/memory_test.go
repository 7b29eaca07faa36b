//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory reads a line of /proc/PID/status (proc_pid_status(5)), in bytes.
func (g *gatewayProcess) memory(line string) int64 {
	g.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				g.t.Fatal(err)
			}
			return kib << 10
		}
	}
	g.t.Fatalf("no %s in /proc", line)
	return 0
}

// resetPeak lets VmHWM begin anew (clear_refs, proc(5)), and returns the resident memory now.
func (g *gatewayProcess) resetPeak() int64 {
	g.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.cmd.Process.Pid), []byte("5"), 0); err != nil {
		g.t.Fatal(err)
	}
	return g.memory("VmRSS")
}

// growing is where part number begins in a body of unknown length on S3, as docs/writes.md has it: the size of parts
// doubles after each eighth of the 10,000 numbers.
func growing(number int) int64 {
	at := int64(0)
	for n := 1; n < number; n++ {
		at += gatewayPart << ((n - 1) / 1250)
	}
	return at
}

func fixed(number int) int64 { return int64(number-1) * gatewayPart }

const mebibyte = 1 << 20

// TestMemoryOfOneUpload writes one large object and measures by how much the process grows at most.
func TestMemoryOfOneUpload(t *testing.T) {
	const limit = 256 * mebibyte
	what := content{20, int64(count(1, 20)) << 30}
	for _, tt := range []struct {
		kind  string
		known bool
		at    func(int) int64
	}{{"sink", false, growing}, {"sink", true, fixed}, {"local", false, nil}, {"local", true, nil}} {
		t.Run(fmt.Sprintf("%s/known=%v", tt.kind, tt.known), func(t *testing.T) {
			var s *sink
			dir := t.TempDir()
			if tt.kind == "sink" {
				s = newSink(t, map[string]content{"/big/k": what, "/big/small": {1, 1}}, tt.at)
			}
			g := startGateway(t, sinkOr(s, t, tt.kind, dir), "")
			createBucket(t, g.client(), "big")
			c := rawClient(1)
			defer c.CloseIdleConnections()
			if _, err := g.put(t.Context(), c, "/big/small", content{1, 1}.reader(), 1); err != nil {
				t.Fatal(err)
			}
			size := what.size
			if !tt.known {
				size = -1
			}
			before, began := g.resetPeak(), time.Now()
			if _, err := g.put(t.Context(), c, "/big/k", what.reader(), size); err != nil {
				t.Fatal(err)
			}
			took, peak := time.Since(began), g.memory("VmHWM")
			t.Logf("%d GiB, known length %v, to %s: %v, %.0f MiB/s; resident %d MiB before, at most %d MiB: %d MiB more", what.size>>30, tt.known, tt.kind,
				took.Round(time.Millisecond), float64(what.size)/mebibyte/took.Seconds(), before/mebibyte, peak/mebibyte, (peak-before)/mebibyte)
			if peak-before > limit {
				t.Errorf("the process grew by %d bytes, at most %d are allowed", peak-before, limit)
			}
			if s != nil {
				s.verify(t)
				return
			}
			if _, err := g.check(t.Context(), c, "/big/k", what); err != nil {
				t.Error(err)
			}
		})
	}
}

func sinkOr(s *sink, t *testing.T, kind, dir string) string {
	t.Helper()
	if s != nil {
		return s.yaml()
	}
	return upstreamYAML(t, kind, dir)
}

// TestMemoryOfManyUploads writes many large objects of unknown length at once, in a process that may take little.
func TestMemoryOfManyUploads(t *testing.T) {
	const uploads, allowed = 32, 512 * mebibyte
	size := int64(count(64, 1024)) * mebibyte
	want := map[string]content{"/many/small": {1, 1}}
	for i := range uploads {
		want[fmt.Sprintf("/many/k%d", i)] = content{uint64(i), size}
	}
	s := newSink(t, want, growing)
	g := startGateway(t, s.yaml(), fmt.Sprintf("limits: {memory: %d}\n", allowed))
	c := rawClient(uploads)
	defer c.CloseIdleConnections()
	if _, err := g.put(t.Context(), c, "/many/small", content{1, 1}.reader(), 1); err != nil {
		t.Fatal(err)
	}
	before, began := g.resetPeak(), time.Now()
	var all sync.WaitGroup
	for path, what := range want {
		all.Go(func() {
			if _, err := g.put(t.Context(), c, path, what.reader(), -1); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		})
	}
	most := 0.0
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-time.After(20 * time.Millisecond):
			most = max(most, g.metric("unistore_upload_memory_bytes"))
		}
	}
	took, peak := time.Since(began), g.memory("VmHWM")
	t.Logf("%d uploads of %d MiB in %v, %.0f MiB/s; resident %d MiB before, at most %d MiB; uploads held at most %.0f MiB", uploads, size/mebibyte,
		took.Round(time.Millisecond), float64(uploads*size)/mebibyte/took.Seconds(), before/mebibyte, peak/mebibyte, most/mebibyte)
	if peak > allowed {
		t.Errorf("the process took %d bytes, it may take %d", peak, allowed)
	}
	if most == 0 || most > allowed/4 {
		t.Errorf("uploads held %.0f bytes, they may hold %d", most, allowed/4)
	}
	if n := g.metric("unistore_upload_memory_bytes"); n != 0 {
		t.Errorf("%v bytes of memory are still in use", n)
	}
	s.verify(t)
}
