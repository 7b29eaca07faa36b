//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"unistore/e2e/servers"
)

// lake is a set of objects that nobody changes, larger than the cache, and clients that read it.
type lake struct {
	g    *gatewayProcess
	urls []string
	what []content
	c    *http.Client
}

func newLake(t *testing.T, g *gatewayProcess, objects int, size int64) *lake {
	t.Helper()
	l := &lake{g: g, c: rawClient(8)}
	t.Cleanup(l.c.CloseIdleConnections)
	createBucket(t, g.client(), "lake")
	for i := range objects {
		what := content{uint64(i), size + int64(i)}
		put(t, g.client(), "lake", fmt.Sprintf("k%d", i), what.bytes())
		l.what = append(l.what, what)
		l.urls = append(l.urls, g.presigned("lake", fmt.Sprintf("k%d", i)))
	}
	return l
}

// read reads random ranges by 8 clients. Every read must succeed and be right.
func (l *lake) read(t *testing.T, seed uint64, reads int) {
	t.Helper()
	const clients = 8
	var all sync.WaitGroup
	errs := make(chan error, clients)
	for id := range clients {
		r := rand.New(rand.NewPCG(seed, uint64(id)))
		all.Go(func() {
			for range reads / clients {
				i := r.IntN(len(l.urls))
				length := int64(1) << (10 + r.IntN(12)) // 1 KiB to 2 MiB
				if err := readRange(l.c, l.urls[i], l.what[i], r.Int64N(l.what[i].size), length); err != nil {
					errs <- fmt.Errorf("object %d: %w", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Errorf("a read failed: %v", err)
	}
}

// errorsOf is what the cache survived, by kind.
func (g *gatewayProcess) errorsOf(kinds ...string) map[string]float64 {
	g.t.Helper()
	out := map[string]float64{}
	for _, k := range kinds {
		out[k] = g.metric("unistore_cache_errors_total", `kind="`+k+`"`)
	}
	return out
}

var errorKinds = []string{"write", "read", "remove", "corrupt", "meta", "no_room", "handles"}

// TestDiskFaults injects failures of the cache's disk and database: no read fails, none is wrong, the metrics tell.
func TestDiskFaults(t *testing.T) {
	for _, test := range []struct {
		name   string
		fault  string
		params []string
		kind   string // that must have been counted
	}{
		{"full", "cache.write-error", []string{"error=ENOSPC"}, "write"},
		{"sometimes full", "cache.write-error", []string{"error=ENOSPC", "probability=0.2"}, "write"},
		{"write EIO", "cache.write-error", []string{"error=EIO", "probability=0.3"}, "write"},
		{"read EIO", "cache.read-error", []string{"error=EIO"}, "read"},
		{"sometimes read EIO", "cache.read-error", []string{"error=EIO", "probability=0.1"}, "read"},
		{"no file handles", "cache.write-error", []string{"error=EMFILE", "operation=create"}, "handles"},
		{"corrupt pages", "cache.corrupt-page", []string{"probability=0.2"}, "corrupt"},
		{"database EIO", "meta.error", []string{"probability=0.2"}, "meta"},
		{"database gone", "meta.error", []string{"error=ENOSPC"}, "meta"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seed := seedOf(t, rand.Uint64())
			g := startWith(t, setup{
				upstreams: upstreamYAML(t, "local", t.TempDir()),
				cache:     "size: 32MiB, block_size: 256KiB, reserve_free: 0",
			})
			l := newLake(t, g, 12, 5<<20)
			reads := count(400, 8000)
			l.read(t, seed, reads/2)
			g.fault(test.fault, append(test.params, fmt.Sprintf("seed=%d", seed))...)
			l.read(t, seed+1, reads)
			n := g.metric("unistore_faults_injected_total", test.fault)
			counted := g.errorsOf(errorKinds...)
			t.Logf("%d reads, %v faults; survived %v", reads, n, counted)
			if n == 0 || test.kind != "" && counted[test.kind] == 0 {
				t.Errorf("nothing was injected or counted: %v faults, %v", n, counted)
			}
			g.clearFaults()
			l.read(t, seed+2, reads/2)
			g.awaitAgreement(30 * time.Second)
			l.heals(t)
		})
	}
}

// heals waits until a range that was read is cached: the cache works again.
func (l *lake) heals(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, func() string {
		for range 2 {
			if err := readRange(l.c, l.urls[0], l.what[0], 0, 64<<10); err != nil {
				t.Fatal(err)
			}
		}
		before := l.g.dataRequests()
		if err := readRange(l.c, l.urls[0], l.what[0], 0, 64<<10); err != nil {
			t.Fatal(err)
		}
		if l.g.dataRequests() != before {
			return "what was read is not kept"
		}
		return ""
	})
}

// smallDisk mounts a filesystem of size bytes, or says why it can not.
func smallDisk(t *testing.T, size int64) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, nil
}

// TestAFullDisk puts the cache on a real filesystem that is smaller than the cache may become.
func TestAFullDisk(t *testing.T) {
	const size = 64 << 20
	for _, reserve := range []string{"0", "8MiB"} {
		t.Run("reserve "+reserve, func(t *testing.T) {
			seed := seedOf(t, rand.Uint64())
			dir, err := smallDisk(t, size)
			if err != nil {
				// Mounting needs root. The faults of TestDiskFaults stand in for the disk then.
				t.Logf("NOT RUN on a real small disk, it can not be mounted: %v", err)
				return
			}
			g := startWith(t, setup{
				upstreams: upstreamYAML(t, "local", t.TempDir()), cacheDir: filepath.Join(dir, "cache"),
				cache: "size: 256MiB, reserve_free: " + reserve,
			})
			l := newLake(t, g, 40, 5<<20)
			for i := range 3 {
				l.read(t, seed+uint64(i), count(500, 8000))
			}
			s := g.cache()
			var st syscall.Statfs_t
			if err := syscall.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			t.Logf("resident %d of a disk of %d with %d free; survived %v", s.Resident, size, int64(st.Bavail)*st.Bsize, g.errorsOf(errorKinds...))
			g.awaitAgreement(30 * time.Second)
			if s.Resident == 0 {
				t.Error("the cache keeps nothing")
			}
			// Somebody else fills what is left, and gives it back.
			hog := filepath.Join(dir, "hog")
			fillDisk(t, hog)
			l.read(t, seed+4, count(300, 3000))
			if err := os.Remove(hog); err != nil {
				t.Fatal(err)
			}
			l.read(t, seed+5, count(300, 3000))
			l.heals(t)
			g.awaitAgreement(30 * time.Second)
			g.stop(syscall.SIGKILL)
			g.start()
			l.read(t, seed+6, count(300, 3000))
			g.awaitAgreement(30 * time.Second)
			l.heals(t)
		})
	}
}

// fillDisk writes a file until the disk is full.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for {
		_, err := f.Write(buf)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			return
		case err != nil:
			t.Fatal(err)
		}
	}
}

// TestTheCacheDirectoryDisappears removes it while clients read.
func TestTheCacheDirectoryDisappears(t *testing.T) {
	seed := seedOf(t, rand.Uint64())
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", t.TempDir()), cache: "size: 32MiB, reserve_free: 0"})
	l := newLake(t, g, 12, 5<<20)
	l.read(t, seed, 400)
	removed := make(chan error, 1)
	go func() {
		removed <- os.RemoveAll(g.cacheDir)
	}()
	l.read(t, seed+1, count(800, 8000))
	if err := <-removed; err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		t.Fatal(err)
	}
	_ = os.RemoveAll(g.cacheDir) // what was made while the first one ran
	for i := range 3 {
		l.read(t, seed+2+uint64(i), count(400, 4000))
	}
	t.Logf("survived %v", g.errorsOf(errorKinds...))
	l.heals(t)
	g.stop(syscall.SIGKILL)
	g.start()
	l.read(t, seed+9, 400)
	l.heals(t)
	g.awaitAgreement(30 * time.Second)
}

// TestTheUpstreamDies kills the real server behind the gateway: what is cached is served, what is not is refused quickly,
// and all is well when the server is back.
func TestTheUpstreamDies(t *testing.T) {
	const size = 8 << 20
	srv := servers.StartVersity(t)
	upstreams := strings.Replace(s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey), "{", "{timeout: 1s, ", 1)
	// What is cached is what was read: nothing is fetched ahead.
	g := startWith(t, setup{upstreams: upstreams, freshness: "10m", extra: "prefetch: {enabled: false}\n"})
	l := newLake(t, g, 3, size)
	cached, partly, never := 0, 1, 2
	for i, n := range map[int]int64{cached: size + 3, partly: 1 << 20} {
		if err := readRange(l.c, l.urls[i], l.what[i], 0, n); err != nil {
			t.Fatal(err)
		}
	}
	srv.Kill()
	check := func(state string, within time.Duration) {
		for range 20 {
			if err := readRange(l.c, l.urls[cached], l.what[cached], 1000, 3<<20); err != nil {
				t.Errorf("%s: cached: %v", state, err)
			}
			if err := readRange(l.c, l.urls[partly], l.what[partly], 0, 1<<20); err != nil {
				t.Errorf("%s: the cached part: %v", state, err)
			}
		}
		for name, at := range map[string]struct {
			object int
			off    int64
		}{"unknown object": {never, 0}, "known object, missing range": {partly, 4 << 20}} {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, l.urls[at.object], http.NoBody)
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", at.off, at.off+99))
			began := time.Now()
			res, err := l.c.Do(req)
			if err != nil {
				t.Errorf("%s: %s: %v", state, name, err)
				cancel()
				continue
			}
			text := readAll(t, res.Body)
			cancel()
			t.Logf("%s: %s: %d in %v, Retry-After %q", state, name, res.StatusCode, time.Since(began), res.Header.Get("Retry-After"))
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: %s: %d %s", state, name, res.StatusCode, text)
			}
		}
	}
	check("killed", 5*time.Second)
	srv.Restart(t)
	srv.Pause() // connections are accepted and get no answer: timeout, three tries
	check("hanging", 5*time.Second)
	srv.Resume()
	for i := range l.urls {
		if err := readRange(l.c, l.urls[i], l.what[i], 0, size); err != nil {
			t.Errorf("when the server is back: object %d: %v", i, err)
		}
	}
}
