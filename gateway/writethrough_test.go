package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
)

// keepWrites is a change for startGateway.
func keepWrites(cfg *config.Config) {
	cfg.Buckets[0].Write = "cache"
	cfg.EnableFaults = true
	u := cfg.Upstreams["disk"]
	u.Retries = -1
	cfg.Upstreams["disk"] = u
}

func (g *testGateway) outcomes(o cache.Outcome) int {
	return int(testutil.ToFloat64(g.metrics.CacheWrites.WithLabelValues(string(o))))
}

// settled waits until nothing is under way in the cache, and checks that nothing is held.
func (g *testGateway) settled() cache.Stats {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s := g.cache.Stats()
		if s.Intakes == 0 && s.Fills == 0 && s.Readers == 0 && s.Reserved == 0 && (s.Blocks > 0) == (s.Resident > 0) {
			return s
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("not at rest: %+v", s)
		}
	}
}

func TestAReadAfterAWriteAsksNobody(t *testing.T) {
	for name, f := range map[string]config.Freshness{"immutable": {Immutable: true}, "ttl": {TTL: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			start := func() *testGateway {
				return startGateway(t, dir, func(cfg *config.Config) { keepWrites(cfg); cfg.Buckets[0].Freshness = f })
			}
			g := start()
			g.bucket("data")
			sizes := []int{0, 1, 65536, 1<<20 - 1, 1 << 20, 3<<20 + 17}
			for round := range 2 { // the second overwrites
				for i, size := range sizes {
					g.put("data", fmt.Sprint("k", i), bytesOf(uint64(10*round+i), size))
				}
			}
			if got := g.outcomes(cache.OutcomeKept); got != 2*len(sizes) {
				t.Errorf("%d of %d writes kept", got, 2*len(sizes))
			}
			for _, restarted := range []bool{false, true} {
				if restarted {
					g.stop()
					g = start()
				}
				before := g.upstreamCalls("Open", "Stat")
				for i, size := range sizes {
					key := fmt.Sprint("k", i)
					got, status, err := g.get("data", key, "")
					if err != nil || !bytes.Equal(got, bytesOf(uint64(10+i), size)) || !strings.HasPrefix(status, "unistore; hit") {
						t.Errorf("%s: %d bytes, %s, %v", key, len(got), status, err)
					}
					head, err := g.client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("data"), Key: &key})
					if err != nil || aws.ToInt64(head.ContentLength) != int64(size) || aws.ToString(head.ContentType) == "" || head.LastModified == nil {
						t.Errorf("%s: %+v, %v", key, head, err)
					}
				}
				if n := g.upstreamCalls("Open", "Stat") - before; n != 0 {
					t.Errorf("%v upstream requests", n)
				}
				g.settled()
			}
		})
	}
}

// Under revalidate a read after a write asks, and needs no byte.
func TestAReadAfterAWriteIsConfirmed(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(cfg *config.Config) {
		keepWrites(cfg)
		cfg.Buckets[0].Freshness = config.Freshness{Revalidate: true}
	})
	g.bucket("data")
	body := bytesOf(1, 3<<20)
	g.put("data", "k", body)
	got, status, err := g.get("data", "k", "")
	if err != nil || !bytes.Equal(got, body) || !strings.Contains(status, "fwd=stale; fwd-status=304") {
		t.Errorf("%d bytes, %s, %v", len(got), status, err)
	}
	if n := testutil.ToFloat64(g.metrics.UpstreamBytes.WithLabelValues("disk", "in")); n != 0 {
		t.Errorf("%v bytes were fetched", n)
	}
}

// terse is a store that says of a write what S3 says: the ETag.
type terse struct{ upstream.Backend }

func (s terse) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	attrs, err := s.Backend.Put(ctx, loc, req)
	return object.Attrs{Size: attrs.Size, ETag: attrs.ETag, VersionID: attrs.VersionID}, err
}

// Where the store does not say all of what it has made, one Stat does, once; also after a restart.
func TestAReadAfterAWriteToATerseStore(t *testing.T) {
	for _, restart := range []bool{false, true} {
		dir := t.TempDir()
		g := startGateway(t, dir, keepWrites)
		g.bucket("data")
		g.stores["disk"] = upstream.NewStore("disk", terse{newLocal(t, dir)}, upstream.StoreConfig{Metrics: g.metrics})
		body := bytesOf(1, 3<<20+5)
		g.put("data", "k", body)
		if restart {
			g.stop()
			g = startGateway(t, dir, keepWrites)
		}
		for i, want := range []float64{1, 0} {
			stats, opens := g.upstreamCalls("Stat"), g.upstreamCalls("Open")
			got, status, err := g.get("data", "k", "")
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("restart %t, read %d: %d bytes, %s, %v", restart, i, len(got), status, err)
			}
			if s, o := g.upstreamCalls("Stat")-stats, g.upstreamCalls("Open")-opens; s != want || o != 0 {
				t.Errorf("restart %t, read %d: %v Stat, %v Open (%s)", restart, i, s, o, status)
			}
		}
		if n := testutil.ToFloat64(g.metrics.CacheReads.WithLabelValues("hit")); n != 2 {
			t.Errorf("%v hits", n)
		}
		g.settled()
	}
}

// The default keeps nothing of what is written, neither blocks nor what is known.
func TestBypassKeepsNothing(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	for i := range 20 {
		g.put("data", fmt.Sprint("k", i), bytesOf(uint64(i), 100_000*i))
	}
	if s := g.settled(); s.Blocks != 0 || s.Objects != 0 {
		t.Errorf("%+v", s)
	}
	for _, o := range []cache.Outcome{cache.OutcomeKept, cache.OutcomeFailed, cache.OutcomeUnseen} {
		if n := g.outcomes(o); n != 0 {
			t.Errorf("%d writes ended as %q", n, string(o))
		}
	}
}

// badSum makes the client's promise about its bytes wrong, which is found when the last one has passed.
func (g *testGateway) putBadSum(key string, body []byte) error {
	_, err := g.client.PutObject(g.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("data"), Key: &key, Body: bytes.NewReader(body), ChecksumCRC32C: aws.String("AAAAAA=="),
	})
	return err
}

// What is not committed is not kept: the cache is as it was, and says so.
func TestAWriteThatFailsIsNotKept(t *testing.T) {
	g := startGateway(t, t.TempDir(), keepWrites)
	g.bucket("data")
	old := bytesOf(1, 2<<20)
	g.put("data", "k", old)
	g.put("data", "other", old)
	before := g.settled()
	body := bytesOf(2, 2<<20+9)
	for name, write := range map[string]func() error{
		"a wrong checksum": func() error { return g.putBadSum("k", body) },
		"an error of the upstream": func() error {
			put(t, g.faults, faults.Fault{Name: faults.UpstreamError, Operation: "Put", Status: 503})
			return g.tryPut("k", body)
		},
		"a reset": func() error {
			put(t, g.faults, faults.Fault{Name: faults.UpstreamReset, Operation: "Put", After: 1 << 20})
			return g.tryPut("k", body)
		},
		"a condition": func() error {
			_, err := g.client.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String("data"), Key: aws.String("k"), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*"),
			})
			return err
		},
	} {
		failed := g.outcomes(cache.OutcomeFailed)
		if err := write(); err == nil {
			t.Errorf("%s: the write succeeded", name)
		}
		g.faults.Clear()
		g.settled()
		if n := g.outcomes(cache.OutcomeFailed) - failed; n != 1 {
			t.Errorf("%s: %d writes ended as failed", name, n)
		}
		got, _, err := g.get("data", "k", "")
		if err != nil || !bytes.Equal(got, old) {
			t.Errorf("%s: %d bytes that are not the old ones, %v", name, len(got), err)
		}
	}
	if s := g.settled(); s.Resident != before.Resident || s.Blocks != before.Blocks {
		t.Errorf("%+v, was %+v", s, before)
	}
}

// A store that has taken other bytes than were sent is found out, and these are not kept as the object's.
func TestAWriteThatIsCorruptedOnItsWayIsNotKept(t *testing.T) {
	g := startGateway(t, t.TempDir(), keepWrites)
	g.bucket("data")
	put(t, g.faults, faults.Fault{Name: faults.UpstreamCorrupt, Operation: "Put", After: 70_000})
	err := g.tryPut("k", bytesOf(1, 200_000))
	g.faults.Clear()
	if s := g.settled(); err == nil || s.Blocks != 0 || g.outcomes(cache.OutcomeFailed) != 1 {
		t.Errorf("%v, %+v", err, s)
	}
	if got, status, err := g.get("data", "k", ""); codeOfS3(err) != "NoSuchKey" {
		t.Errorf("%d bytes are read (%s), %v", len(got), status, err)
	}
}

func put(t testing.TB, set *faults.Set, f faults.Fault) {
	t.Helper()
	if err := set.Put(f); err != nil {
		t.Fatal(err)
	}
}

func (g *testGateway) tryPut(key string, body []byte) error {
	_, err := g.client.PutObject(g.t.Context(), &s3.PutObjectInput{Bucket: aws.String("data"), Key: &key, Body: bytes.NewReader(body)})
	return err
}

// Two writes of one object at once: which of them the upstream has is not known here, so neither is kept, and reads get
// what the upstream has.
func TestWritesOfOneObjectAtOnce(t *testing.T) {
	g := startGateway(t, t.TempDir(), keepWrites)
	g.bucket("data")
	bodies := [][]byte{bytesOf(1, 2<<20), bytesOf(2, 2<<20)}
	pass, sent := make(chan struct{}), make(chan struct{})
	slow := io.MultiReader(bytes.NewReader(bodies[0][:1<<20]), gateReader{sent, pass}, bytes.NewReader(bodies[0][1<<20:]))
	done := make(chan error)
	go func() { done <- g.putStream("k", slow, int64(len(bodies[0]))) }()
	<-sent
	if err := g.tryPut("k", bodies[1]); err != nil {
		t.Error(err)
	}
	close(pass)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if kept, not := g.outcomes(cache.OutcomeKept), g.outcomes(cache.OutcomeContended); kept != 0 || not != 2 {
		t.Errorf("%d kept, %d contended", kept, not)
	}
	if s := g.settled(); s.Blocks != 0 {
		t.Errorf("%+v", s)
	}
	got, _, err := g.get("data", "k", "")
	if err != nil || !bytes.Equal(got, bodies[0]) {
		t.Errorf("%d bytes, not those of the last to be committed, %v", len(got), err)
	}
}

// gateReader gives no byte: it says that it was reached, and ends when it may.
type gateReader struct{ reached, pass chan struct{} }

func (r gateReader) Read([]byte) (int, error) {
	close(r.reached)
	<-r.pass
	return 0, io.EOF
}

// putStream writes from a stream.
func (g *testGateway) putStream(key string, body io.Reader, size int64) error {
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPut, g.url+"/data/"+key, body)
	if err != nil {
		return err
	}
	req.ContentLength = size
	res, err := http.DefaultClient.Do(g.unsigned(req))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// Copies inside a store and a client's parts do not pass by as one body.
func TestWhatIsNotSeenIsNotKept(t *testing.T) {
	g := startGateway(t, t.TempDir(), keepWrites)
	g.bucket("data")
	g.put("data", "k", bytesOf(1, 1<<20))
	blocks := g.settled().Blocks
	ctx, bucket, key := t.Context(), aws.String("data"), aws.String("big")
	if _, err := g.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("data/k")}); err != nil {
		t.Fatal(err)
	}
	up, err := g.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	part, err := g.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId,
		PartNumber: aws.Int32(1), Body: bytes.NewReader(bytesOf(2, 1<<20))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1)}}}})
	if err != nil {
		t.Fatal(err)
	}
	if n := g.outcomes(cache.OutcomeUnseen); n != 2 {
		t.Errorf("%d writes were counted as not seen, want 2", n)
	}
	if s := g.settled(); s.Blocks != blocks {
		t.Errorf("%+v, had %d blocks", s, blocks)
	}
}

// An upstream that is down for long under clients who try again for ever: the cache is as it was, reads of what is
// cached go on, and so does eviction.
func TestAnUpstreamThatIsDownUnderRetries(t *testing.T) {
	const clients, retries = 8, 240
	g := startGateway(t, t.TempDir(), func(cfg *config.Config) {
		keepWrites(cfg)
		cfg.Cache.Size = 64 << 20
		cfg.Buckets[0].Freshness = config.Freshness{Immutable: true}
	})
	g.bucket("data")
	cached := bytesOf(1, 8<<20)
	g.put("data", "cached", cached)
	before := g.settled()
	put(t, g.faults, faults.Fault{Name: faults.UpstreamReset, Operation: "Put", After: 1 << 20, Probability: .5, Seed: 1})
	put(t, g.faults, faults.Fault{Name: faults.UpstreamError, Operation: "Put", Status: 503})
	body := bytesOf(2, 1<<20+70_000)
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() {
			for range retries / clients {
				if err := g.tryPut(fmt.Sprint("k", id), body); err == nil {
					t.Error("a write to a store that is down succeeded")
				}
			}
		})
	}
	for range 20 {
		got, status, err := g.get("data", "cached", "")
		if err != nil || !bytes.Equal(got, cached) || !strings.Contains(status, "hit") {
			t.Errorf("%d bytes, %s, %v", len(got), status, err)
		}
	}
	wg.Wait()
	s := g.settled()
	t.Logf("%d failed writes: %+v, was %+v", retries, s, before)
	if s.Resident != before.Resident || s.Blocks != before.Blocks || g.outcomes(cache.OutcomeKept) != 1 {
		t.Errorf("%+v, was %+v", s, before)
	}
	g.faults.Clear()
	for i := range 20 { // five times what the cache holds
		body := bytesOf(uint64(i), 7<<20)
		key := fmt.Sprint("later", i)
		g.put("data", key, body)
		if got, status, err := g.get("data", key, ""); err != nil || !bytes.Equal(got, body) || !strings.Contains(status, "hit") {
			t.Errorf("%s: %d bytes, %s, %v", key, len(got), status, err)
		}
	}
	if s := g.settled(); s.Resident > s.Capacity {
		t.Errorf("%+v", s)
	}
}

// 16 readers of an object that is overwritten all the time: each gets one version whole, or a body that is cut.
// UNISTORE_TEST_OVERWRITES is how often.
func TestReadersOfAnObjectThatIsOverwritten(t *testing.T) {
	const readers = 16
	writes := 30
	if n, err := strconv.Atoi(os.Getenv("UNISTORE_TEST_OVERWRITES")); err == nil {
		writes = n
	}
	for _, mode := range []string{"bypass", "cache"} {
		t.Run(mode, func(t *testing.T) {
			g := startGateway(t, t.TempDir(), func(cfg *config.Config) { cfg.Buckets[0].Write = mode })
			g.bucket("data")
			version := func(i int) []byte { // every page says which version it is of
				b := make([]byte, 300_000+i%7*65_536)
				for at := range b {
					b[at] = byte(i >> (8 * (at % 2)))
				}
				return b
			}
			g.put("data", "k", version(0))
			var whole, cut, mixed, refused atomic.Int64
			over := make(chan struct{})
			var wg sync.WaitGroup
			for range readers {
				wg.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
						}
						body, size, err := g.readOnce("k")
						switch {
						case size < 0:
							refused.Add(1)
							if code := codeOfS3(err); code != "ServiceUnavailable" && code != "SlowDown" && code != "OperationAborted" {
								t.Errorf("refused: %v", err)
							}
						case len(body) < 2:
							cut.Add(1)
						default:
							want := version(int(body[0]) | int(body[1])<<8)
							switch {
							case !bytes.HasPrefix(want, body):
								mixed.Add(1)
							case err == nil && len(body) == len(want):
								whole.Add(1)
							case err != nil:
								cut.Add(1)
							default:
								mixed.Add(1)
							}
						}
					}
				})
			}
			for i := range writes {
				g.put("data", "k", version(i+1))
			}
			close(over)
			wg.Wait()
			kept := g.outcomes(cache.OutcomeKept)
			t.Logf("%s: %d overwrites (%d kept, %d contended) under %d readers: %d whole, %d cut, %d mixed, %d refused", mode, writes,
				kept, g.outcomes(cache.OutcomeContended), readers, whole.Load(), cut.Load(), mixed.Load(), refused.Load())
			if mixed.Load() != 0 || whole.Load() == 0 || mode == "cache" && kept == 0 {
				t.Error("mixed, or nothing was tried")
			}
			got, _, err := g.get("data", "k", "")
			if err != nil || !bytes.Equal(got, version(writes)) {
				t.Errorf("at last: %d bytes that are not those of the last write, %v", len(got), err)
			}
			g.settled()
		})
	}
}

// readOnce returns what came of the body, the size that was promised (-1: no body was), and the error.
func (g *testGateway) readOnce(key string) ([]byte, int64, error) {
	out, err := g.client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("data"), Key: &key})
	if err != nil {
		return nil, -1, err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err == nil && int64(len(body)) != aws.ToInt64(out.ContentLength) {
		err = errors.New("short body without an error")
		g.t.Error(err)
	}
	return body, aws.ToInt64(out.ContentLength), err
}
