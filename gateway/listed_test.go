package gateway

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/local"
)

func (g *testGateway) list(bucket, prefix string) map[string]string {
	g.t.Helper()
	out, err := g.client.ListObjectsV2(g.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	if err != nil {
		g.t.Fatal(err)
	}
	etags := map[string]string{}
	for _, o := range out.Contents {
		etags[aws.ToString(o.Key)] = aws.ToString(o.ETag)
	}
	return etags
}

func (g *testGateway) head(bucket, key string) (etag, status string) {
	g.t.Helper()
	out, err := g.client.HeadObject(g.t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		g.t.Fatal(err)
	}
	raw, _ := awsResponse(out.ResultMetadata)
	return aws.ToString(out.ETag), raw.Header.Get("Cache-Status")
}

// records counts the objects that the database of the cache knows.
func (g *testGateway) records() int {
	g.t.Helper()
	n := 0
	if err := g.engine.Scan([]byte("o/"), nil, func(_, _ []byte) error { n++; return nil }); err != nil {
		g.t.Fatal(err)
	}
	return n
}

// A listing that shows the version that is known makes it fresh: neither HEAD nor GET asks the upstream.
func TestAListingConfirms(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil) // fresh for a minute
	g.bucket("data")
	body := bytesOf(1, 200_000)
	g.put("data", "t/k", body)
	for _, key := range []string{"t/unread", "t/unread2"} {
		g.put("data", key, body)
	}
	if _, _, err := g.get("data", "t/k", ""); err != nil {
		t.Fatal(err)
	}
	records := g.records()
	for range 3 {
		g.wait(50 * time.Second)
		before := g.upstreamCalls("Open", "Stat")
		listed := g.list("data", "t/")["t/k"]
		etag, status := g.head("data", "t/k")
		got, source, err := g.get("data", "t/k", "bytes=1000-2000")
		if err != nil || !bytes.Equal(got, body[1000:2001]) || etag != listed || !strings.Contains(status, "; hit") || !strings.Contains(source, "; hit") {
			t.Errorf("%s (listed %s) %q, %q, %v", etag, listed, status, source, err)
		}
		if n := g.upstreamCalls("Open", "Stat") - before; n != 0 {
			t.Errorf("%v upstream requests after a listing", n)
		}
	}
	if n := g.records(); n != records {
		t.Errorf("%d records, %d before the listings", n, records)
	}
	g.wait(61 * time.Second)
	before := g.upstreamCalls("Open", "Stat")
	if _, status := g.head("data", "t/k"); g.upstreamCalls("Open", "Stat") != before+1 || !strings.Contains(status, "fwd=stale") {
		t.Errorf("after a minute without a listing: %s", status)
	}
}

// A listing that shows another version drops the known one, under every freshness.
func TestAListingDropsWhatWasOverwritten(t *testing.T) {
	old, replacement := bytesOf(1, 3<<20), bytesOf(2, 3<<20)
	for name, fresh := range map[string]config.Freshness{"immutable": {Immutable: true}, "ttl": {TTL: time.Hour}, "revalidate": {Revalidate: true}} {
		t.Run(name, func(t *testing.T) {
			front, behind := pair(t)
			front.stop()
			front = startGateway(t, t.TempDir(), func(cfg *config.Config) {
				cfg.Upstreams = behind.cfg.Upstreams
				cfg.Buckets[0].Freshness = fresh
			})
			front.bucket("listed")
			front.put("listed", "k", old)
			if _, _, err := front.get("listed", "k", ""); err != nil {
				t.Fatal(err)
			}
			behind.put("listed", "k", replacement)
			if !fresh.Revalidate {
				if got, _, err := front.get("listed", "k", ""); err != nil || !bytes.Equal(got, old) {
					t.Errorf("before the listing: not the old version, %v", err)
				}
			}
			listed := front.list("listed", "")["k"]
			if !fresh.Revalidate {
				eventuallyGone(t, front)
			}
			etag, _ := front.head("listed", "k")
			got, source, err := front.get("listed", "k", "")
			if err != nil || !bytes.Equal(got, replacement) || etag != listed {
				t.Errorf("after the listing: ETag %s, listed %s, right bytes %t (%s), %v", etag, listed, bytes.Equal(got, replacement), source, err)
			}
		})
	}
}

func eventuallyGone(t *testing.T, g *testGateway) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.cache.Stats().Resident > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still resident: %+v", g.cache.Stats())
		}
	}
}

// heldLists is a store whose listings wait after they were made.
type heldLists struct {
	upstream.Backend
	made chan struct{} // a listing was made
	free chan struct{} // it may be answered
}

func (h *heldLists) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	page, err := h.Backend.List(ctx, req)
	h.made <- struct{}{}
	<-h.free
	return page, err
}

// A listing that was made before a write and is answered after it does not bring the old version back.
func TestAnOldListingAfterAWrite(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, func(cfg *config.Config) { cfg.Buckets[0].Freshness = config.Freshness{Immutable: true} })
	g.bucket("race")
	old, replacement := bytesOf(1, 200_000), bytesOf(2, 150_000)
	g.put("race", "k", old)
	if _, _, err := g.get("race", "k", ""); err != nil {
		t.Fatal(err)
	}
	held := &heldLists{Backend: newLocal(t, dir), made: make(chan struct{}), free: make(chan struct{})}
	g.stores["disk"] = upstream.NewStore("disk", held, upstream.StoreConfig{Metrics: g.metrics})
	for _, reread := range []bool{false, true} { // known or not when the old answer comes
		done := make(chan map[string]string)
		go func() { done <- g.list("race", "") }()
		<-held.made
		g.put("race", "k", replacement)
		if reread {
			if _, _, err := g.get("race", "k", ""); err != nil {
				t.Error(err)
			}
		}
		held.free <- struct{}{}
		listed := (<-done)["k"]
		before := g.upstreamCalls("Open", "Stat")
		etag, _ := g.head("race", "k")
		got, source, err := g.get("race", "k", "")
		if err != nil || !bytes.Equal(got, replacement) || etag == listed {
			t.Errorf("reread %t: ETag %s, listed %s, %d bytes (%s), %v", reread, etag, listed, len(got), source, err)
		}
		if n := g.upstreamCalls("Open", "Stat") - before; reread && n != 0 {
			t.Errorf("the old listing cost %v upstream requests", n)
		}
		replacement = bytesOf(uint64(len(replacement)), 170_000)
	}
}

func newLocal(t testing.TB, dir string) upstream.Backend {
	t.Helper()
	backend, err := local.New(local.Config{Root: filepath.Join(dir, "objects"), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := backend.Close(); err != nil {
			t.Error(err)
		}
	})
	return backend
}

// BenchmarkListed is what a page of a listing costs beyond the listing itself.
func BenchmarkListed(b *testing.B) {
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%t", known), func(b *testing.B) {
			dir := b.TempDir()
			g, err := New(b.Context(), &config.Config{
				Listen: []string{"127.0.0.1:0"}, Region: "us-east-1", Admin: config.Admin{Listen: "127.0.0.1:0"}, Anonymous: true,
				Cache: config.Cache{Dir: filepath.Join(dir, "cache"), Size: 64 << 20, BlockSize: 1 << 20, HighWatermark: .95,
					LowWatermark: .9, PinLimit: .8},
				Upstreams: map[string]config.Upstream{"disk": {Type: "local", Root: filepath.Join(dir, "objects")}},
				Buckets:   []config.Route{{Name: "*", Upstream: "disk", Freshness: config.Freshness{TTL: time.Minute}}},
			}, Options{Log: zerolog.Nop()})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := g.close(); err != nil {
					b.Error(err)
				}
			})
			tgt, err := g.service.routes.find("data")
			if err != nil {
				b.Fatal(err)
			}
			page := make([]upstream.ListedObject, 1000)
			for i := range page {
				page[i] = upstream.ListedObject{Key: fmt.Sprintf("warehouse/t/part=%d/file-%d", i%10, i), Attrs: object.Attrs{Size: 1 << 20, ETag: "e"}}
				if known {
					attrs := page[i].Attrs
					attrs.HeadersKnown = true
					ck := tgt.cacheKey(page[i].Key)
					g.cache.Learn(ck, g.cache.Begin(ck), attrs)
				}
			}
			for b.Loop() {
				g.service.learner.listed(tgt, g.cache.Begin(tgt.cacheKey("")), page)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/key")
		})
	}
}
