//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// keptWrites are the writes of "write: cache" so far that ended as outcome.
func (g *gatewayProcess) keptWrites(outcome string) float64 {
	g.t.Helper()
	return g.metric("unistore_cache_writes_total", `outcome="`+outcome+`"`)
}

// keep writes until the write is kept: it is not when the disk of a busy machine is slower than the upstream.
func (g *gatewayProcess) keep(bucket, key string, body []byte) {
	g.t.Helper()
	for range 5 {
		kept, slow := g.keptWrites("kept"), g.keptWrites("slow")
		put(g.t, g.client(), bucket, key, body)
		switch {
		case g.keptWrites("kept") == kept+1:
			return
		case g.keptWrites("slow") == slow:
			g.t.Fatalf("%s was not kept, and not because of the disk", key)
		}
	}
	g.t.Fatalf("the disk is too slow to keep %s", key)
}

// TestReadAfterWrite: on a route with "write: cache" the reads after a write cost the upstream nothing, or one question
// where its answer to the write does not say all; also after a restart. With "bypass" they cost what a cold read does.
func TestReadAfterWrite(t *testing.T) {
	sizes := []int64{0, 1, 65_536, 1<<20 - 1, 5<<20 + 3, 40 << 20}
	for kind, asks := range map[string]float64{"local": 0, "versitygw": 1, "minio": 1} {
		t.Run(kind, func(t *testing.T) {
			g := startWith(t, setup{upstreams: upstreamYAML(t, kind, t.TempDir()), write: "cache", freshness: "1h", cache: "size: 1GiB, reserve_free: 0"})
			createBucket(t, g.client(), "after")
			check := func(when string, i int, want float64) {
				what := content{uint64(i), sizes[i]}
				before, opens := g.dataRequests(), g.metric("unistore_upstream_requests_total", `operation="Open"`)
				for range 2 {
					got, err := get(t, g.client(), "after", fmt.Sprint("k", i), "")
					if err != nil || !bytes.Equal(got, what.bytes()) {
						t.Errorf("%s: %d bytes of %d, %v", when, len(got), sizes[i], err)
					}
				}
				if n := g.dataRequests() - before; n > want {
					t.Errorf("%s: %v upstream requests for %d bytes, want %v", when, n, sizes[i], want)
				}
				if n := g.metric("unistore_upstream_requests_total", `operation="Open"`) - opens; n != 0 {
					t.Errorf("%s: bytes were fetched %v times", when, n)
				}
			}
			for i, size := range sizes {
				g.keep("after", fmt.Sprint("k", i), content{uint64(i), size}.bytes())
			}
			for i := range sizes {
				check("at once", i, asks)
			}
			g.awaitAgreement(10 * time.Second)
			g.keep("after", "k1", content{1, 1}.bytes()) // nobody has asked about this one when the process ends
			g.stop(syscall.SIGTERM)
			g.start()
			for i := range sizes {
				check("after a restart", i, asks)
			}
			g.awaitAgreement(10 * time.Second)
		})
	}
}

// TestKeepingABodyOfUnknownLength: it is cut into parts on its way, and kept as a whole.
func TestKeepingABodyOfUnknownLength(t *testing.T) {
	g := startWith(t, setup{upstreams: upstreamYAML(t, "versitygw", ""), write: "cache", freshness: "1h", cache: "size: 1GiB, reserve_free: 0"})
	createBucket(t, g.client(), "unknown")
	what := content{7, 50<<20 + 12_345}
	for range 5 {
		slow := g.keptWrites("slow")
		if _, err := g.put(t.Context(), http.DefaultClient, "/unknown/k", bytes.NewReader(what.bytes()), -1); err != nil {
			t.Fatal(err)
		}
		if g.keptWrites("slow") == slow {
			break
		}
	}
	if parts := g.metric("unistore_upload_parts_total", `outcome="ok"`); parts < 4 {
		t.Errorf("%v parts", parts)
	}
	got, err := get(t, g.client(), "unknown", "k", "")
	if err != nil || !bytes.Equal(got, what.bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := g.metric("unistore_upstream_requests_total", `operation="Open"`); n != 0 || g.keptWrites("kept") != 1 {
		t.Errorf("bytes were fetched %v times; %v writes kept", n, g.keptWrites("kept"))
	}
	g.awaitAgreement(10 * time.Second)
}

// TestAnUpstreamThatIsDownDoesNotFillTheCache replays an incident: a store that is away while clients try again and
// again, with "write: cache". It is killed in the midst of writes, then it refuses connections, then it hangs. The
// cache is never full of what was not written, what it had is served, and when the store is back all goes on.
func TestAnUpstreamThatIsDownDoesNotFillTheCache(t *testing.T) {
	const clients, size = 8, 3<<20 + 11
	srv := servers.StartVersity(t)
	upstreams := strings.Replace(s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey), "{", "{timeout: 1s, retries: 0, ", 1)
	g := startWith(t, setup{upstreams: upstreams, write: "cache", freshness: "immutable", cache: "size: 128MiB, block_size: 256KiB, reserve_free: 0"})
	c := g.client()
	createBucket(t, c, "down")
	cached := content{1, 40 << 20}
	put(t, c, "down", "cached", cached.bytes())
	read := func(when string) {
		if got, err := get(t, c, "down", "cached", ""); err != nil || !bytes.Equal(got, cached.bytes()) {
			t.Errorf("%s: what is cached: %d bytes, %v", when, len(got), err)
		}
	}
	read("before")
	before := g.awaitAgreement(10 * time.Second)
	body := content{2, size}.bytes()
	var failed atomic.Int64
	worst := int64(0)
	storm := func(when string, writes int, begin func()) {
		var all sync.WaitGroup
		for id := range clients {
			all.Go(func() {
				for i := range writes / clients {
					if id == 0 && i == 1 {
						begin()
					}
					if _, err := g.put(t.Context(), http.DefaultClient, fmt.Sprint("/down/k", id), bytes.NewReader(body), size); err != nil {
						failed.Add(1)
					}
				}
			})
		}
		for range 10 {
			read(when)
			worst = max(worst, g.cache().Reserved)
		}
		all.Wait()
	}
	storm("killed", count(160, 400), srv.Kill)
	storm("away", count(160, 400), func() {})
	srv.Restart(t)
	storm("hanging", count(16, 64), srv.Pause)
	srv.Resume()
	after := g.awaitAgreement(20 * time.Second) // nothing is reserved, and each file has its record
	t.Logf("%d writes failed; at most %d bytes reserved; before %+v, after %+v; kept %v, failed %v", failed.Load(), worst,
		before, after, g.keptWrites("kept"), g.keptWrites("failed"))
	if failed.Load() < 100 || worst > before.Capacity/8 || after.Resident > before.Resident+clients*(size+64<<10) {
		t.Errorf("%d writes failed; at most %d bytes reserved; before %+v, after %+v", failed.Load(), worst, before, after)
	}
	for i := range 12 { // more than the cache holds: eviction works
		what := content{uint64(i), 15 << 20}
		key := fmt.Sprint("later", i)
		put(t, c, "down", key, what.bytes())
		if got, err := get(t, c, "down", key, ""); err != nil || !bytes.Equal(got, what.bytes()) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
	}
	g.awaitAgreement(10 * time.Second)
}

// overwritten counts what readers got of an object that is overwritten all the time.
type overwritten struct {
	g                          *gatewayProcess
	url                        string
	written                    sync.Map // ETag to content
	whole, cut, wrong, refused atomic.Int64
}

// read reads the object once. The version of the ETag that comes with it is the one that the bytes must be of.
func (o *overwritten) read(c *http.Client) {
	res, err := c.Get(o.url)
	if err != nil {
		o.cut.Add(1)
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		o.refused.Add(1)
		if res.StatusCode < 500 && res.StatusCode != http.StatusConflict {
			o.g.t.Errorf("status %d: %s", res.StatusCode, readAll(o.g.t, res.Body))
		}
		return
	}
	what, ok := o.written.Load(res.Header.Get("ETag"))
	if !ok {
		o.g.t.Errorf("ETag %s was never written", res.Header.Get("ETag"))
		return
	}
	n, err := what.(content).compare(res.Body, 0)
	switch wrong, bad := errors.AsType[errWrongBytes](err); {
	case bad:
		o.wrong.Add(1)
		o.g.t.Errorf("%v of %s: %v", what, res.Header.Get("ETag"), wrong)
	case err != nil:
		o.cut.Add(1)
	case n != what.(content).size:
		o.wrong.Add(1)
		o.g.t.Errorf("%d of %d bytes and no error", n, what.(content).size)
	default:
		o.whole.Add(1)
	}
}

// TestReadersWhileOneOverwrites: 16 clients read an object that is overwritten all the time. Each gets one version
// whole, the one that its ETag names, or a body that is cut.
//
// The stores are those that keep this promise themselves. versitygw v1.8.0 does not: it reads the ETag of a path and
// then opens the path once more, so that a few in 100,000 of its own answers have the bytes of the next version under the
// ETag of the one before, and nobody behind it can tell.
func TestReadersWhileOneOverwrites(t *testing.T) {
	for _, kind := range []string{"local", "minio"} {
		for _, mode := range []string{"bypass", "cache"} {
			t.Run(kind+"/"+mode, func(t *testing.T) { readersWhileOneOverwrites(t, kind, mode) })
		}
	}
}

func readersWhileOneOverwrites(t *testing.T, kind, mode string) {
	const readers = 16
	writes := count(80, 600)
	g := startWith(t, setup{upstreams: upstreamYAML(t, kind, t.TempDir()), write: mode, cache: "size: 64MiB, block_size: 256KiB, reserve_free: 0"})
	c := g.client()
	createBucket(t, c, "over")
	o := &overwritten{g: g, url: g.presigned("over", "k")}
	write := func(i int) {
		what := content{uint64(i), 400_000 + int64(i%7)*131_072}
		o.written.Store(what.etag(), what)
		put(t, c, "over", "k", what.bytes())
	}
	write(0)
	over := make(chan struct{})
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			client := rawClient(1)
			defer client.CloseIdleConnections()
			for {
				select {
				case <-over:
					return
				default:
					o.read(client)
				}
			}
		})
	}
	for i := range writes {
		write(i + 1)
	}
	close(over)
	all.Wait()
	t.Logf("%d overwrites (%v kept, %v contended, %v slow) under %d readers: %d whole, %d cut, %d wrong, %d refused", writes,
		g.keptWrites("kept"), g.keptWrites("contended"), g.keptWrites("slow"), readers,
		o.whole.Load(), o.cut.Load(), o.wrong.Load(), o.refused.Load())
	if o.whole.Load() == 0 {
		t.Error("nothing was read")
	}
	g.awaitAgreement(10 * time.Second)
}

// TestKillAtEachStepOfAKeptWrite kills the process between any two steps of one write that is kept. What was not yet
// recorded as the new version's is gone after the restart, what was is right, and nothing else is left.
func TestKillAtEachStepOfAKeptWrite(t *testing.T) {
	what := content{3, 1<<20 + 5}
	for _, step := range []struct {
		point     string
		committed bool // the upstream has it for sure
		blocks    int  // afterwards
		asks      float64
	}{
		{"write.intent", false, 0, 1},
		{"write.page-written", false, 0, 1},
		{"write.publish", true, 0, 1},
		{"write.recorded", true, 5, 1},
		{"write.published", true, 5, 0},
	} {
		t.Run(step.point, func(t *testing.T) {
			g := startWith(t, setup{
				upstreams: upstreamYAML(t, "local", t.TempDir()), write: "cache", freshness: "1h",
				cache: "size: 64MiB, block_size: 256KiB, reserve_free: 0",
			})
			createBucket(t, g.client(), "step")
			g.fault("process.kill", "operation="+step.point)
			if _, err := g.put(t.Context(), http.DefaultClient, "/step/k", bytes.NewReader(what.bytes()), what.size); err == nil {
				t.Fatal("the write was answered")
			}
			g.stop(syscall.SIGKILL) // it is dead already
			g.start()
			s := g.awaitAgreement(10 * time.Second)
			if s.Blocks != step.blocks {
				t.Errorf("%d blocks, want %d", s.Blocks, step.blocks)
			}
			g.operate("cache", "verify")
			before := g.dataRequests()
			_, err := g.check(t.Context(), http.DefaultClient, "/step/k", what)
			if err != nil && (step.committed || !errors.Is(err, errNoObject)) {
				t.Error(err)
			}
			if n := g.dataRequests() - before; n > step.asks {
				t.Errorf("%v upstream requests, want %v", n, step.asks)
			}
			g.awaitAgreement(10 * time.Second)
		})
	}
}
