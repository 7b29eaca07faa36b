//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// fired returns how often the fault of a name has struck since it was set.
func (g *gatewayProcess) fired(name string) int {
	g.t.Helper()
	var list struct {
		Faults []struct {
			Name  string
			Fired int
		}
	}
	if err := g.control(http.MethodGet, "/faults", nil, &list); err != nil {
		g.t.Fatal(err)
	}
	for _, f := range list.Faults {
		if f.Name == name {
			return f.Fired
		}
	}
	return 0
}

// TestETagChangeInMidRead lets the object change before a random one of the requests that a read costs. The fault counts
// the changes in the ETag, so what is right is known: a body that comes whole has the ETag of the last change, since some
// of its bytes were fetched after it.
func TestETagChangeInMidRead(t *testing.T) {
	const size, objects = 6 << 20, 6 // twice the cache: a read in turn finds nothing of its object
	// Runs are a sixteenth of the cache: a read costs 6 requests of 1 MiB.
	g := startWith(t, setup{upstreams: upstreamYAML(t, "local", t.TempDir()), cache: "size: 16MiB, reserve_free: 0"})
	c, raw := g.client(), rawClient(1)
	defer raw.CloseIdleConnections()
	createBucket(t, c, "change")
	urls, changes := make([]string, objects), make([]int, objects)
	for i := range objects {
		put(t, c, "change", strconv.Itoa(i), content{uint64(i), size}.bytes())
		urls[i] = g.presigned("change", strconv.Itoa(i))
	}
	r := rand.New(rand.NewPCG(seedOf(t, rand.Uint64()), 0))
	tries := count(60, 1000)
	struck, whole, short := 0, 0, 0
	for try := range tries {
		i := try % objects
		// Learns the attributes, so that the read does not begin with one request for everything.
		if _, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: new("change"), Key: new(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
		params := map[string]any{"operation": "Open", "count": 1, "skip": r.IntN(8)}
		if err := g.control(http.MethodPut, "/faults/upstream.etag-change", params, nil); err != nil {
			t.Fatal(err)
		}
		tag, n, err := readWhole(raw, urls[i], content{uint64(i), size})
		fired := g.fired("upstream.etag-change")
		changes[i] += fired
		struck += fired
		switch {
		case err == nil && changesIn(tag) != changes[i]:
			t.Fatalf("try %d: the whole body with ETag %s, after %d changes", try, tag, changes[i])
		case err == nil:
			whole++
		case errors.Is(err, io.ErrUnexpectedEOF):
			short++
		default:
			t.Fatalf("try %d: after %d bytes: %v", try, n, err)
		}
		if err := g.control(http.MethodDelete, "/faults/upstream.etag-change", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d tries, %d changes: %d whole bodies of the last version, %d cut, 0 mixed", tries, struck, whole, short)
	if struck < tries/2 || short == 0 || whole == 0 {
		t.Errorf("the test shows nothing: %d changes, %d cut, %d whole", struck, short, whole)
	}
}

// changesIn is how often an ETag says that its object has changed.
func changesIn(tag string) int {
	_, n, ok := strings.Cut(strings.Trim(tag, `"`), "-changed")
	if !ok {
		return 0
	}
	count, err := strconv.Atoi(n)
	if err != nil {
		return -1
	}
	return count
}

// readWhole reads an object and compares what comes.
func readWhole(c *http.Client, url string, what content) (tag string, n int64, err error) {
	res, err := c.Get(url)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ContentLength != what.size {
		return "", 0, fmt.Errorf("%d with %d bytes", res.StatusCode, res.ContentLength)
	}
	n, err = what.compare(res.Body, 0)
	return res.Header.Get("ETag"), n, err
}

// TestOverwritesBehindTheGateway overwrites objects straight at the upstream while 8 clients read them through the
// gateway: every body belongs to the ETag that came with it, to its last byte or to the cut.
func TestOverwritesBehindTheGateway(t *testing.T) {
	for _, kind := range []string{"versitygw", "minio"} {
		for _, freshness := range []string{"revalidate", "100ms"} {
			t.Run(kind+" "+freshness, func(t *testing.T) { overwriteBehind(t, kind, freshness) })
		}
	}
}

func overwriteBehind(t *testing.T, kind, freshness string) {
	t.Helper()
	const readers = 8
	srv := startUpstream(t, kind)
	g := startWith(t, setup{
		upstreams: s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey), freshness: freshness,
		cache: "size: 32MiB, reserve_free: 0", // runs of 2 MiB
	})
	seed := seedOf(t, rand.Uint64())
	direct := clientOf(srv.Endpoint, srv.AccessKey, srv.SecretKey)
	createBucket(t, direct, "behind")
	m := newModel("behind", 3)
	r := rand.New(rand.NewPCG(seed, 0))
	write := func(k *modelKey) {
		if o, err := m.put(t.Context(), direct, k, content{r.Uint64(), 1<<20 + r.Int64N(9<<20)}); err != nil || o != done {
			t.Fatalf("direct PUT: %v, %v", o, err)
		}
	}
	for _, k := range m.keys {
		write(k)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var total tally
	wrong := make(chan error, readers)
	for id := range readers {
		own := rand.New(rand.NewPCG(seed, uint64(id)+1))
		c := g.client()
		all.Go(func() {
			for ctx.Err() == nil {
				o, err := m.getAny(ctx, c, own, m.keys[own.IntN(len(m.keys))])
				if ctx.Err() != nil {
					return
				}
				total.add(o)
				if err != nil {
					wrong <- err
					return
				}
			}
		})
	}
	writes := count(20, 400)
	for range writes {
		write(m.keys[r.IntN(len(m.keys))])
		select {
		case err := <-wrong:
			t.Fatal(err)
		case <-time.After(time.Duration(r.IntN(60)) * time.Millisecond):
		}
	}
	cancel()
	all.Wait()
	t.Logf("%d overwrites, reads: %s", writes, &total)
	if total.of(done) == 0 || total.of(lost) > 0 {
		t.Errorf("reads: %s", &total)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for text, n := range tallyOf(m.mu.refusals) {
		t.Logf("%d x %s", n, text)
	}
}

// tallyOf counts texts that differ in their request ids only.
func tallyOf(texts []string) map[string]int {
	out := map[string]int{}
	for _, s := range texts {
		_, s, _ = strings.Cut(s, "StatusCode")
		head, tail, _ := strings.Cut(s, "RequestID: ")
		_, tail, _ = strings.Cut(tail, ",")
		out[head+tail]++
	}
	return out
}

// getAny reads a range or all of a key; any version may come, but every byte must be of the one that the ETag names.
func (m *model) getAny(ctx context.Context, c *s3.Client, r *rand.Rand, k *modelKey) (outcome, error) {
	in := &s3.GetObjectInput{Bucket: &m.bucket, Key: &k.name}
	off, length := int64(0), int64(1<<40)
	if r.IntN(3) > 0 {
		off, length = r.Int64N(1<<20), 1+r.Int64N(4<<20)
		in.Range = new(fmt.Sprintf("bytes=%d-%d", off, off+length-1))
	}
	out, err := c.GetObject(ctx, in)
	if err != nil {
		return m.unanswered(err)
	}
	defer out.Body.Close()
	return m.check(k, 0, off, length, out)
}
