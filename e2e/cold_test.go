//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// readRange reads a range by a presigned URL and compares it.
func readRange(c *http.Client, url string, what content, off, length int64) error {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if off > 0 || length < what.size {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+length-1))
	}
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%d %s", res.StatusCode, text)
	}
	want := min(length, what.size-off)
	if n, err := what.compare(res.Body, off); err != nil || n != want {
		return fmt.Errorf("%d bytes of %d: %w", n, want, err)
	}
	return nil
}

// TestConcurrentColdReaders has 64 clients read one cold object at the same time: the upstream gives its bytes once.
func TestConcurrentColdReaders(t *testing.T) {
	for _, kind := range []string{"local", "versitygw"} {
		t.Run(kind, func(t *testing.T) {
			const readers = 64
			what := content{uint64(len(kind)), 64 << 20}
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			createBucket(t, g.client(), "cold")
			put(t, g.client(), "cold", "k", what.bytes())
			url, c := g.presigned("cold", "k"), rawClient(readers)
			defer c.CloseIdleConnections()
			before := g.metric("unistore_upstream_bytes_total", `direction="in"`)
			requests := g.dataRequests()
			var all sync.WaitGroup
			errs := make(chan error, readers)
			for range readers {
				all.Go(func() { errs <- readRange(c, url, what, 0, what.size) })
			}
			all.Wait()
			close(errs)
			for err := range errs {
				if err != nil {
					t.Error(err)
				}
			}
			moved := g.metric("unistore_upstream_bytes_total", `direction="in"`) - before
			t.Logf("%d readers of %d bytes: %v bytes from the upstream (%.4f x) in %v requests",
				readers, what.size, moved, moved/float64(what.size), g.dataRequests()-requests)
			if moved > 1.05*float64(what.size) {
				t.Errorf("%v bytes from the upstream, at most 1.05 x %d", moved, what.size)
			}
		})
	}
}

// TestFirstByteOfAColdRead: bytes leave as they arrive, so the first is there long before the last.
func TestFirstByteOfAColdRead(t *testing.T) {
	for _, limit := range []string{"rate", "total"} {
		t.Run(limit, func(t *testing.T) {
			what := content{1, 16 << 20}
			g := startGateway(t, upstreamYAML(t, "local", t.TempDir()), "")
			createBucket(t, g.client(), "slow")
			put(t, g.client(), "slow", "k", what.bytes())
			url := g.presigned("slow", "k")
			g.fault("upstream.bandwidth", limit+"=10MB/s")
			c := rawClient(1)
			defer c.CloseIdleConnections()
			began := time.Now()
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			head := make([]byte, 1)
			if _, err := io.ReadFull(res.Body, head); err != nil {
				t.Fatal(err)
			}
			first := time.Since(began)
			if n, err := what.compare(res.Body, 1); err != nil || n != what.size-1 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			total := time.Since(began)
			t.Logf("first byte after %v of %v (%.1f %%)", first, total, 100*first.Seconds()/total.Seconds())
			if first > total/10 {
				t.Errorf("first byte after %v of %v: more than 10 %%", first, total)
			}
			if total < time.Second {
				t.Errorf("16 MiB in %v: the limit of 10 MB/s did not bite", total)
			}
		})
	}
}

// sparse makes objects of zeros beside the gateway, which take no space, and writes the content of an object into a
// part of each, so that not all bytes are the same.
func sparse(t *testing.T, root, bucket string, objects int, size int64) {
	t.Helper()
	for i := range objects {
		f, err := os.Create(filepath.Join(root, bucket, fmt.Sprintf("object-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		island := content{uint64(i), 1 << 20}
		if _, err := f.WriteAt(island.bytes(), size/2); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFetchedPerServed reads random 100 KiB ranges over 10 GiB, 20 times the cache: what is fetched is at most twice
// what is served.
func TestFetchedPerServed(t *testing.T) {
	const objects, size, length, readers = 20, 512 << 20, 100 << 10, 4
	dir := t.TempDir()
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", dir), cache: "size: 512MiB, reserve_free: 100MiB", freshness: "immutable"})
	createBucket(t, g.client(), "lake")
	sparse(t, filepath.Join(dir, "objects"), "lake", objects, size)
	seed := seedOf(t, rand.Uint64())
	urls := make([]string, objects)
	sources := make([]*os.File, objects)
	for i := range objects {
		urls[i] = g.presigned("lake", fmt.Sprintf("object-%d", i))
		f, err := os.Open(filepath.Join(dir, "objects", "lake", fmt.Sprintf("object-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sources[i] = f
	}
	c := rawClient(readers)
	defer c.CloseIdleConnections()
	reads := count(2000, 20_000)
	var all sync.WaitGroup
	errs := make(chan error, readers)
	for id := range readers {
		r := rand.New(rand.NewPCG(seed, uint64(id)))
		all.Go(func() {
			for range reads / readers {
				i := r.IntN(objects)
				if err := readLike(c, urls[i], sources[i], r.Int64N(size-length), length); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	fetched := g.metric("unistore_upstream_bytes_total", `direction="in"`)
	served := float64(reads) * length
	t.Logf("%d random reads of %d bytes over %d bytes: fetched / served = %.3f", reads, length, int64(objects)*size, fetched/served)
	if fetched > 2*served {
		t.Errorf("fetched %v bytes to serve %v", fetched, served)
	}
	g.awaitAgreement(10 * time.Second)
}

// readLike compares a range with the file that holds the object.
func readLike(c *http.Client, url string, source io.ReaderAt, off, length int64) error {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+length-1))
	res, err := c.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusPartialContent {
		return fmt.Errorf("%d, %d bytes: %w", res.StatusCode, len(got), err)
	}
	want := make([]byte, length)
	if _, err := source.ReadAt(want, off); err != nil {
		return err
	}
	if string(got) != string(want) {
		return errWrongBytes{off}
	}
	return nil
}
