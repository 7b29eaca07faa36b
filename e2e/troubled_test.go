//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// troubled is one write of TestWritesInTrouble and what became of it.
type troubled struct {
	path string
	what content
	trouble
	err error
}

// planWrite draws write number i: what it is, and what befalls it.
func planWrite(seed uint64, i int) (w troubled, shape string, aborts bool) {
	r := rand.New(rand.NewPCG(seed, uint64(i)))
	shape = []string{"put", "put", "put", "put", "put", "chunked", "chunked", "cut", "cut", "parts"}[r.IntN(10)]
	troubles, size := troublesOfPut, 1000+r.Int64N(500_000)
	switch shape {
	case "cut":
		troubles, size = troublesOfParts, gatewayPart+1+r.Int64N(gatewayPart+100_000)
	case "parts":
		troubles, size = troublesOfParts, 5<<20+1+r.Int64N(6<<20)
	}
	w.trouble = troubles[r.IntN(len(troubles))]
	if shape == "parts" && w.name == "part-corrupt" { // that is the client's to promise, and this one does not
		w.trouble = troubles[0]
	}
	w.what = content{uint64(i), size}
	w.path = fmt.Sprintf("/trouble/%d-%s-%s", i, shape, w.name)
	return w, shape, r.IntN(2) == 0
}

// do makes a write.
func (g *gatewayProcess) do(c *http.Client, w *troubled, shape string, aborts bool) {
	ctx := g.t.Context()
	switch shape {
	case "parts":
		w.err = g.troubledParts(ctx, c, w.path, w.what, w.trouble, aborts)
	default:
		w.err = g.troubledPut(ctx, c, w.path, w.what, shape == "put", w.trouble)
	}
}

// verdict says what is wrong with what became of a write, given what a read of its key shows now.
func (w *troubled) verdict(read error) string {
	there := read == nil
	switch {
	case !there && !errors.Is(read, errNoObject):
		return fmt.Sprintf("reading it: %v", read)
	case w.err == nil && !there:
		return "it was answered with success, and is not there"
	case w.err == nil && w.may == fails:
		return "it succeeded, and should not have"
	case w.err != nil && w.may == succeeds:
		return fmt.Sprintf("it failed: %v", w.err)
	case w.err != nil && there && w.may != unanswered:
		return fmt.Sprintf("it failed (%v), and is there", w.err)
	}
	return ""
}

// TestWritesInTrouble makes many writes of every shape, while stores fail in every step of them and clients leave, stall
// and lie. What was answered with success is there; what failed is not, or whole where only the answer was lost; and
// nothing else is left.
func TestWritesInTrouble(t *testing.T) {
	for _, kind := range writeKinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			dir := t.TempDir()
			up, srv := upstreamWith(t, kind, dir)
			g := startWith(t, setup{upstreams: strings.Replace(up, "{", "{timeout: 2s, ", 1),
				cache: "size: 64MiB, reserve_free: 0",
				extra: "limits: {request_body_idle: 3s}\nuploads: {max_age: 20s}\n"})
			createBucket(t, g.client(), "trouble")
			data := filepath.Join(dir, "objects")
			if srv != nil {
				data = srv.Dir
			}
			seed := seedOf(t, 2000)
			calm := rawClient(4)
			for i, shape := range []string{"put", "chunked", "cut", "parts"} {
				w := troubled{path: "/trouble/first-" + shape, what: content{uint64(i), gatewayPart + 1}}
				if g.do(calm, &w, shape, true); w.err != nil {
					t.Fatalf("%s: %v", shape, w.err)
				}
			}
			calm.CloseIdleConnections()
			base := g.restOf(data)

			g.inject(append(slices.Clone(troublesOfPut), troublesOfParts...), seed)
			g.fault("cache.write-error", "error=ENOSPC", "probability=0.3", fmt.Sprintf("seed=%d", seed))
			g.fault("meta.error", "probability=0.05", fmt.Sprintf("seed=%d", seed))
			writes := g.makeTrouble(seed, (count(150, 2000)+len(writeKinds())-1)/len(writeKinds()))
			g.clearFaults()

			g.judge(writes)
			g.awaitNoUploads()
			g.awaitRest(base, data)
			state := g.awaitAgreement(20 * time.Second)
			t.Logf("rest before %+v, after %+v; %+v", base, g.restOf(data), state)
		})
	}
}

// makeTrouble makes n writes, 16 at a time, and reads some of them back at once.
func (g *gatewayProcess) makeTrouble(seed uint64, n int) []troubled {
	c := rawClient(16)
	defer c.CloseIdleConnections()
	writes := make([]troubled, n)
	var all sync.WaitGroup
	next := make(chan int)
	for range 16 {
		all.Go(func() {
			for i := range next {
				w, shape, aborts := planWrite(seed, i)
				g.do(c, &w, shape, aborts)
				writes[i] = w
				if w.err == nil && i%3 == 0 {
					ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
					if _, err := g.check(ctx, c, w.path, w.what); err != nil {
						g.t.Errorf("%s: at once: %v", w.path, err)
					}
					cancel()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return writes
}

// judge reads every key and logs how many writes of each trouble succeeded.
func (g *gatewayProcess) judge(writes []troubled) {
	g.t.Helper()
	c := rawClient(1)
	defer c.CloseIdleConnections()
	made, succeeded, there := map[string]int{}, map[string]int{}, map[string]int{}
	for _, w := range writes {
		_, read := g.check(g.t.Context(), c, w.path, w.what)
		made[w.name]++
		if w.err == nil {
			succeeded[w.name]++
		} else if read == nil {
			there[w.name]++
		}
		if why := w.verdict(read); why != "" {
			g.t.Errorf("%s, %d bytes: %s", w.path, w.what.size, why)
		}
	}
	var names []string
	for name := range made {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		g.t.Logf("%-15s %4d writes, %4d succeeded, %d lost answers of objects that are there", name, made[name], succeeded[name], there[name])
	}
}

// restOf is rest, and the temporary files of the store.
func (g *gatewayProcess) restOf(data string) rest {
	g.t.Helper()
	_, fds := g.openFiles()
	return rest{g.goroutines(), fds, len(temporary(g.t, data))}
}

// temporary are the files of a store that are no objects: of the local driver, of versitygw, of MinIO.
func temporary(t *testing.T, data string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) || err == nil && e.IsDir() {
			return nil
		}
		for _, dir := range []string{"/.unistore/tmp/", "/.unistore/uploads/", "/.sgwtmp/", "/.minio.sys/multipart/"} {
			if strings.Contains(path, dir) {
				found = append(found, path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// awaitRest fails the test when the process is not back at rest in time.
func (g *gatewayProcess) awaitRest(base rest, data string) {
	g.t.Helper()
	eventually(g.t, 2*time.Minute, func() string { // a store that stands still is given up after one
		http.DefaultClient.CloseIdleConnections()
		now, memory, active := g.restOf(data), g.metric("unistore_upload_memory_bytes"), 0.0
		for _, state := range []string{"intent", "open", "abandoned"} { // the others are only remembered
			active += g.metric("unistore_uploads", `state="`+state+`"`)
		}
		if now.goroutines > base.goroutines+5 || now.fds > base.fds+5 || now.hidden > base.hidden || memory != 0 || active != 0 {
			return fmt.Sprintf("before %+v, now %+v; uploads hold %v bytes, %v uploads; %v", base, now, memory, active, temporary(g.t, data))
		}
		return ""
	})
}

// awaitNoUploads fails the test when there is an unfinished upload after the age limit.
func (g *gatewayProcess) awaitNoUploads() {
	g.t.Helper()
	c := g.client()
	eventually(g.t, 90*time.Second, func() string {
		page, err := c.ListMultipartUploads(g.t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("trouble")})
		if err != nil {
			return err.Error()
		}
		if len(page.Uploads) > 0 {
			var keys []string
			for _, u := range page.Uploads {
				keys = append(keys, aws.ToString(u.Key))
			}
			return fmt.Sprintf("%d uploads are left: %v", len(keys), keys)
		}
		return ""
	})
}

// TestStoreThatIsDownFillsNoCache has clients try to write to a store that is down for a while, without end: the cache
// does not grow, nothing is held, and when the store is back so are the writes.
func TestStoreThatIsDownFillsNoCache(t *testing.T) {
	for _, kind := range writeKinds() {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			up, srv := upstreamWith(t, kind, dir)
			g := startWith(t, setup{upstreams: strings.Replace(up, "{", "{timeout: 2s, ", 1), cache: "size: 64MiB, reserve_free: 0",
				extra: "uploads: {max_age: 5s}\n"})
			createBucket(t, g.client(), "trouble")
			c := rawClient(8)
			what := content{1, 4 << 20}
			if _, err := g.put(t.Context(), c, "/trouble/before", what.reader(), what.size); err != nil {
				t.Fatal(err)
			}
			if _, err := g.check(t.Context(), c, "/trouble/before", what); err != nil {
				t.Fatal(err)
			}
			c.CloseIdleConnections()
			data := filepath.Join(dir, "objects")
			if srv != nil {
				data = srv.Dir
			}
			base, before := g.restOf(data), g.cache()
			if srv != nil {
				srv.Kill()
			} else {
				g.fault("upstream.error", "status=500")
			}
			tries := count(100, 1000)
			var all sync.WaitGroup
			for worker := range 8 {
				all.Go(func() {
					for i := range tries / 8 {
						size := int64(i%3) * 9 << 20 // up to 18 MiB: cut into parts when its length is not known
						path := fmt.Sprintf("/trouble/during-%d", worker)
						if _, err := g.put(t.Context(), c, path, content{9, size}.reader(), []int64{size, -1}[i%2]); err == nil {
							t.Errorf("%s: it succeeded", path)
						}
					}
				})
			}
			all.Wait()
			c.CloseIdleConnections()
			if now := g.cache(); now.Resident != before.Resident || now.Reserved != 0 {
				t.Errorf("the cache: %+v before, %+v after %d writes that failed", before, now, tries)
			}
			if srv != nil {
				srv.Restart(t)
			}
			g.clearFaults()
			g.awaitRest(base, data)
			if err := g.write(c, "/trouble/after", what, true, exactETags(kind)); err != nil {
				t.Error(err)
			}
			for worker := range 8 {
				if _, err := g.check(t.Context(), c, fmt.Sprintf("/trouble/during-%d", worker), what); !errors.Is(err, errNoObject) {
					t.Errorf("during-%d: %v", worker, err)
				}
			}
			t.Logf("%d writes while the store was down; rest before %+v, after %+v; cache %+v", tries, base, g.restOf(data), g.cache())
		})
	}
}
