//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// TestCheckOnHDFS: the operator's check passes, and says in the NameNode's words what is wrong.
func TestCheckOnHDFS(t *testing.T) {
	h := sharedHadoop(t)
	text, root := hdfsUpstream(t)
	g := startWith(t, setup{upstreams: text})
	createBucket(t, g.client(), "data")
	put(t, g.client(), "data", "some/object", []byte("some bytes"))
	configure := func(upstreams string) string {
		file := filepath.Join(t.TempDir(), "check.yaml")
		if err := os.WriteFile(file, []byte("upstreams:\n"+upstreams+"buckets: {data: {upstream: up}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	check := func(file string) (string, error) {
		out, err := exec.CommandContext(t.Context(), binary(t), "check", "--config", file, "--write").CombinedOutput()
		return string(out), err
	}
	if out, err := check(configure(text)); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("\n%s", out)
	}
	stranger := fmt.Sprintf("  up: {type: hdfs, namenodes: [%q], user: stranger, root: %s}\n", h.Addr, root)
	if out, err := check(configure(stranger)); err == nil || !strings.Contains(out, "Permission denied: user=stranger") {
		t.Errorf("%v\n%s", err, out)
	}
	nobody := fmt.Sprintf("  up: {type: hdfs, namenodes: [%q], root: %s}\n", freeAddr(t), root)
	if out, err := check(configure(nobody)); err == nil || !strings.Contains(out, "connection refused") {
		t.Errorf("%v\n%s", err, out)
	}
}

// hdfsLoad is a gateway on HDFS that is read and written while nodes of the cluster die.
type hdfsLoad struct {
	g    *gatewayProcess
	c    *http.Client
	lake []content // objects that are only read

	reads, failedReads, writes, failedWrites atomic.Int64
	mu                                       struct {
		sync.Mutex
		wrong   []error
		written map[string]content // acknowledged
		failed  map[string]content // absent, or this
	}
}

const lakeObject = 6<<20 + 77

// TestHDFSNodesAreKilled: DataNodes and the NameNode are killed with SIGKILL under readers and writers and come back. A
// request succeeds or fails with 5xx or a cut body, no byte is wrong, what was acknowledged is there whole, what failed is
// absent or whole, and the gateway goes on without a restart and is at rest in the end.
func TestHDFSNodesAreKilled(t *testing.T) {
	h := sharedHadoop(t)
	g := startWith(t, setup{upstreams: hdfsYAML(t), freshness: "revalidate", cache: "size: 32MiB, reserve_free: 0"})
	l := &hdfsLoad{g: g, c: rawClient(16)}
	l.mu.written, l.mu.failed = map[string]content{}, map[string]content{}
	t.Cleanup(l.c.CloseIdleConnections)
	createBucket(t, g.client(), "kills")
	for i := range 16 {
		l.lake = append(l.lake, content{uint64(i), lakeObject})
		put(t, g.client(), "kills", fmt.Sprintf("lake/%d", i), l.lake[i].bytes())
	}
	l.atRest()
	base := g.goroutines()
	for round, victim := range []*servers.Daemon{h.DataNodes[0], h.NameNode, h.DataNodes[1]} {
		l.round(t, round, h, victim)
	}
	l.verify(t)
	l.c.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, 30*time.Second, func() string {
		if now := g.goroutines(); now > base+10 {
			return fmt.Sprintf("%d goroutines, %d before", now, base)
		}
		return ""
	})
	t.Logf("%d reads right, %d failed; %d writes acknowledged and whole, %d failed and absent or whole; no wrong byte",
		l.reads.Load(), l.failedReads.Load(), l.writes.Load(), l.failedWrites.Load())
	if l.failedReads.Load() == 0 || l.failedWrites.Load() == 0 {
		t.Error("nothing failed: the nodes were not needed")
	}
}

// atRest reads once what a process opens once.
func (l *hdfsLoad) atRest() {
	_, _ = l.g.check(l.g.t.Context(), l.c, "/kills/lake/0", l.lake[0])
}

// round kills a node under load and brings it back.
func (l *hdfsLoad) round(t *testing.T, round int, h *servers.Hadoop, victim *servers.Daemon) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	for id := range 6 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(round), uint64(id)))
			for i := 0; ctx.Err() == nil; i++ {
				if id%2 == 0 {
					l.read(ctx, r.IntN(len(l.lake)))
				} else {
					l.write(ctx, fmt.Sprintf("r%d/w%d/%d", round, id, i), content{r.Uint64(), 1 + r.Int64N(3<<20)})
				}
			}
		})
	}
	reads, writes := l.reads.Load(), l.writes.Load()
	eventually(t, time.Minute, func() string { return l.past(reads+20, writes+10) })
	victim.Kill()
	failed := l.failedReads.Load() + l.failedWrites.Load()
	eventually(t, time.Minute, func() string {
		if l.failedReads.Load()+l.failedWrites.Load() < failed+4 {
			return "hardly anything has failed yet"
		}
		return ""
	})
	victim.Start(t)
	h.Await(t)
	reads, writes = l.reads.Load(), l.writes.Load()
	eventually(t, time.Minute, func() string { return l.past(reads+20, writes+10) }) // it goes on by itself
	stop()
	all.Wait()
	for i := range l.lake {
		if _, err := l.g.check(t.Context(), l.c, fmt.Sprintf("/kills/lake/%d", i), l.lake[i]); err != nil {
			t.Errorf("after round %d: object %d: %v", round, i, err)
		}
	}
}

func (l *hdfsLoad) past(reads, writes int64) string {
	if l.reads.Load() < reads || l.writes.Load() < writes {
		return fmt.Sprintf("%d reads and %d writes, %d and %d wanted", l.reads.Load(), l.writes.Load(), reads, writes)
	}
	return ""
}

func (l *hdfsLoad) read(ctx context.Context, i int) {
	_, err := l.g.check(ctx, l.c, fmt.Sprintf("/kills/lake/%d", i), l.lake[i])
	if l.judge(ctx, err) {
		l.reads.Add(1)
	} else {
		l.failedReads.Add(1)
	}
}

func (l *hdfsLoad) write(ctx context.Context, key string, what content) {
	_, err := l.g.put(ctx, l.c, "/kills/"+key, bytes.NewReader(what.bytes()), what.size)
	ok := l.judge(ctx, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if ok {
		l.writes.Add(1)
		l.mu.written[key] = what
	} else {
		l.failedWrites.Add(1)
		l.mu.failed[key] = what
	}
}

// judge reports whether a request succeeded, and keeps failures that must not be.
func (l *hdfsLoad) judge(ctx context.Context, err error) bool {
	if err == nil {
		return true
	}
	_, corrupt := errors.AsType[errCorrupt](err)
	status, answered := errors.AsType[statusError](err)
	if corrupt || ctx.Err() == nil && (errors.Is(err, errNoObject) || answered && status.status < 500) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.wrong = append(l.mu.wrong, err)
	}
	return false
}

// verify reads everything that was written.
func (l *hdfsLoad) verify(t *testing.T) {
	t.Helper()
	for _, err := range l.mu.wrong {
		t.Errorf("during the kills: %v", err)
	}
	for key, what := range l.mu.written {
		if _, err := l.g.check(t.Context(), l.c, "/kills/"+key, what); err != nil {
			t.Errorf("%s was acknowledged: %v", key, err)
		}
	}
	for key, what := range l.mu.failed {
		if _, err := l.g.check(t.Context(), l.c, "/kills/"+key, what); err != nil && !errors.Is(err, errNoObject) {
			t.Errorf("%s has failed: %v", key, err)
		}
	}
}
