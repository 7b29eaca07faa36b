//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// killPoints are where process.kill may strike between two steps on disk.
var killPoints = []string{
	"cache.intent", "cache.page-written", "cache.remove", "cache.removed", "meta.apply", "meta.get",
}

// writePoints are where it may strike when writes are kept.
var writePoints = []string{
	"write.intent", "write.page-written", "write.publish", "write.recorded", "write.published",
	"cache.remove", "cache.removed", "meta.apply",
}

// crash is one test of kill -9 under load.
type crash struct {
	points []string // of process.kill
	skip   int      // how often it may pass one, at most
	writes int      // of 100 operations
	kept   int      // writes, in all
	g      *gatewayProcess
	c      *s3.Client
	m      *model
	probe  *http.Client
	url    string // of an object that nobody changes
	fixed  content
	clocks []time.Duration // restart to the first right answer
	total  tally
	byFist map[string]int // kills by where they struck
}

// TestKillUnderLoad kills the process at random moments and at named points while 8 clients read more than the cache
// holds, overwrite and delete. After each restart: served in time, no wrong byte, and files, records and index agree.
func TestKillUnderLoad(t *testing.T) {
	k := &crash{points: killPoints, skip: 40, writes: 8}
	k.run(t, setup{cache: "size: 32MiB, block_size: 256KiB, reserve_free: 0"})
	if worst := k.clocks[len(k.clocks)-1]; worst > 2*time.Second {
		t.Errorf("a restart took %v to serve", worst)
	}
}

// TestKillWhileWritesAreKept does so while most operations are writes to a route with "write: cache".
func TestKillWhileWritesAreKept(t *testing.T) {
	k := &crash{points: writePoints, skip: 8, writes: 50}
	k.run(t, setup{cache: "size: 128MiB, block_size: 256KiB, reserve_free: 0", write: "cache"})
	if k.kept == 0 {
		t.Error("no write was kept")
	}
}

// run is the test, with a gateway in front of a directory.
func (k *crash) run(t *testing.T, s setup) {
	t.Helper()
	const keys, clients = 24, 8
	seed := seedOf(t, rand.Uint64())
	r := rand.New(rand.NewPCG(seed, 1))
	s.upstreams = upstreamYAML(t, "local", t.TempDir())
	g := prepareWith(t, s)
	g.start()
	k.g, k.c, k.m, k.probe = g, g.client(), newModel("crash", keys), rawClient(1)
	k.fixed, k.byFist = content{seed, 300_000}, map[string]int{}
	createBucket(t, k.c, "crash")
	put(t, k.c, "crash", "fixed", k.fixed.bytes())
	k.url = g.presigned("crash", "fixed")
	for i, key := range k.m.keys {
		if _, err := k.m.put(t.Context(), k.c, key, content{uint64(i), 100_000 + r.Int64N(6<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	kills := count(15, 200)
	for i := range kills {
		k.round(t, i, clients, r)
	}
	slices.Sort(k.clocks)
	t.Logf("%d kills %v; operations: %s; %d writes kept; restart to the first right answer: median %v, max %v", kills, k.byFist, &k.total, k.kept,
		k.clocks[len(k.clocks)/2], k.clocks[len(k.clocks)-1])
	for _, text := range k.m.mu.refusals {
		t.Error(text)
	}
	k.sweepUp(t)
}

// round loads the gateway, kills it, starts it and checks.
func (k *crash) round(t *testing.T, i, clients int, r *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	wrong := make(chan error, clients)
	for id := range clients {
		own := rand.New(rand.NewPCG(r.Uint64(), uint64(id)))
		load.Go(func() {
			if err := k.client(ctx, id, clients, own); err != nil {
				wrong <- err
			}
		})
	}
	where := k.kill(t, r)
	load.Wait()
	k.byFist[where]++
	select {
	case err := <-wrong:
		t.Fatalf("kill %d (%s): %v", i, where, err)
	default:
	}
	began := time.Now()
	k.g.launch()
	if err := k.serves(began.Add(30 * time.Second)); err != nil {
		t.Fatalf("after kill %d (%s): %v\n%s", i, where, err, k.g.log)
	}
	k.clocks = append(k.clocks, time.Since(began))
	k.g.awaitReady()
	k.g.awaitAgreement(10 * time.Second)
	k.g.operate("cache", "verify") // fails when a block has no file, or a page is bad
}

// client runs random operations until the process is gone. Each client writes keys of its own.
func (k *crash) client(ctx context.Context, id, clients int, r *rand.Rand) error {
	for {
		var o outcome
		var err error
		own := k.m.keys[(r.IntN(len(k.m.keys)/clients)*clients+id)%len(k.m.keys)]
		switch n := r.IntN(100); {
		case n < k.writes:
			o, err = k.m.put(ctx, k.c, own, content{r.Uint64(), 100_000 + r.Int64N(6<<20)})
		case n < k.writes+3:
			o, err = k.m.remove(ctx, k.c, own)
		default:
			o, err = k.m.get(ctx, k.c, r, k.m.keys[r.IntN(len(k.m.keys))])
		}
		k.total.add(o)
		if err != nil || o == lost {
			return err
		}
	}
}

// kill ends the process, from outside or by a fault at a named point, and says which.
func (k *crash) kill(t *testing.T, r *rand.Rand) string {
	t.Helper()
	time.Sleep(time.Duration(20+r.IntN(400)) * time.Millisecond) // the moment is what is random here
	k.kept += int(k.g.metric("unistore_cache_writes_total", `outcome="kept"`))
	where := "from outside"
	if r.IntN(2) == 0 {
		where = k.points[r.IntN(len(k.points))]
		// It may strike before it can answer.
		_ = k.g.control(http.MethodPut, "/faults/process.kill", map[string]any{"operation": where, "skip": r.IntN(k.skip)}, nil)
		select {
		case err := <-k.g.ended:
			k.g.ended <- err
		case <-time.After(2 * time.Second):
			where += " (not reached)"
		}
	}
	k.g.stop(syscall.SIGKILL)
	return where
}

// serves asks for an object until the answer is right.
func (k *crash) serves(deadline time.Time) error {
	for {
		res, err := k.probe.Get(k.url)
		if err == nil {
			n, cmp := k.fixed.compare(res.Body, 0)
			res.Body.Close()
			if res.StatusCode != http.StatusOK || cmp != nil || n != k.fixed.size {
				return fmt.Errorf("%d, %d bytes, %w", res.StatusCode, n, cmp)
			}
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// sweepUp reads every key whole, and removes it.
func (k *crash) sweepUp(t *testing.T) {
	t.Helper()
	for _, key := range k.m.keys {
		body, err := get(t, k.c, "crash", key.name, "")
		if err == nil {
			// The last write may not have been answered: whatever is there must be one of those that it may be.
			same := func(w modelWrite) bool { return w.size == int64(len(body)) && bytes.Equal(w.bytes(), body) }
			if _, _, ok := key.find(key.low(), same); !ok {
				t.Errorf("%s: %d bytes that are not those of the last write", key.name, len(body))
			}
		}
		if _, err := k.m.remove(t.Context(), k.c, key); err != nil {
			t.Error(err)
		}
	}
	// What is left are blocks of versions that nobody knows any more. Without records no file may be left.
	k.g.operate("cache", "drop")
	if s := k.g.awaitAgreement(10 * time.Second); s.Blocks != 0 {
		t.Errorf("%d blocks are left when all is dropped", s.Blocks)
	}
}
