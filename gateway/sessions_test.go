package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/config"
	"unistore/faults"
	"unistore/multipart"
)

// uploadBody is what testGateway.upload makes.
func uploadBody() []byte { return append(bytesOf(0, 5<<20), bytesOf(1, 100)...) }

func withFaults(cfg *config.Config) { cfg.EnableFaults = true }

// inject makes a fault active in the gateway.
func (g *testGateway) inject(f faults.Fault) {
	g.t.Helper()
	if err := g.Gateway.faults.Put(f); err != nil {
		g.t.Fatal(err)
	}
}

// states counts the uploads in the journal by kind and state.
func (g *testGateway) states() string {
	counts := map[string]int{}
	for _, v := range g.journal.Views(func(multipart.View) bool { return true }) {
		counts[v.Kind+" "+v.State]++
	}
	return strings.TrimPrefix(fmt.Sprint(counts), "map")
}

// await polls until the uploads are as want says.
func (g *testGateway) await(want string) {
	g.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for g.states() != want {
		if time.Now().After(deadline) {
			g.t.Fatalf("uploads %s, want %s", g.states(), want)
		}
		time.Sleep(time.Millisecond)
		g.sweeper.Wake()
	}
}

// noneLeft fails the test when the local store holds anything of an upload.
func (g *testGateway) noneLeft(root string) {
	g.t.Helper()
	left, err := filepath.Glob(filepath.Join(root, ".unistore/uploads/*/*"))
	if err != nil || len(left) > 0 {
		g.t.Errorf("left in the store: %v, %v", left, err)
	}
}

// TestCompleteIsAnsweredAgain: after a restart too, at a store whose ETags say nothing as well, and never for other
// parts or an upload that was only aborted.
func TestCompleteIsAnsweredAgain(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, withFaults)
	g.bucket("data")
	id, parts := g.upload("data", "k")
	g.inject(faults.Fault{Name: faults.UpstreamETagChange}) // what the store says of the object afterwards tells nothing
	first, err := g.complete("data", "k", id, parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if again, err := g.complete("data", "k", id, parts, nil); err != nil || again != first {
			t.Errorf("%s: %q, %v; the first answer was %q", when, again, err, first)
		}
		other := []types.CompletedPart{parts[1]}
		if _, err := g.complete("data", "k", id, other, nil); codeOfS3(err) != "NoSuchUpload" {
			t.Errorf("%s, with other parts: %v", when, err)
		}
		if _, err := g.complete("data", "other", id, parts, nil); codeOfS3(err) != "NoSuchUpload" {
			t.Errorf("%s, of another key: %v", when, err)
		}
	}
	check("at once")
	aborted, abortedParts := g.upload("data", "aborted")
	if _, err := g.client.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{
		Bucket: aws.String("data"), Key: aws.String("aborted"), UploadId: &aborted}); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g = startGateway(t, dir, withFaults)
	check("after a restart")
	if _, err := g.complete("data", "aborted", aborted, abortedParts, nil); codeOfS3(err) != "NoSuchUpload" {
		t.Errorf("aborted: %v", err)
	}
	if got, want := g.states(), "[]"; got != want {
		t.Errorf("uploads %s, want %s", got, want)
	}
	g.wait(23 * time.Hour)
	g.sweeper.Round(t.Context())
	check("after 23 hours")
	g.wait(2 * time.Hour)
	g.sweeper.Round(t.Context())
	g.inject(faults.Fault{Name: faults.UpstreamETagChange})
	if _, err := g.complete("data", "k", id, parts, nil); codeOfS3(err) != "NoSuchUpload" {
		t.Errorf("after 25 hours: %v", err)
	}
}

// TestCompletesOfOneUploadWaitForEachOther: all get the one answer.
func TestCompletesOfOneUploadWaitForEachOther(t *testing.T) {
	g := startGateway(t, t.TempDir(), withFaults)
	g.bucket("data")
	id, parts := g.upload("data", "k")
	g.inject(faults.Fault{Name: faults.UpstreamLatency, Operation: "CompleteUpload", Delay: 50 * time.Millisecond})
	var wg sync.WaitGroup
	answers := make([]string, 8)
	for i := range answers {
		wg.Go(func() {
			etag, err := g.complete("data", "k", id, parts, nil)
			answers[i] = fmt.Sprint(etag, err)
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.Contains(a, "-2") {
			t.Errorf("answers %q", answers)
		}
	}
	if n := g.upstreamCalls("CompleteUpload"); n != 1 {
		t.Errorf("the store was asked %v times", n)
	}
}

// TestUploadGoesOnAtAnotherNode: two gateways before one store, each with records of its own. A third has routes that
// do not know the upload's store.
func TestUploadGoesOnAtAnotherNode(t *testing.T) {
	dir := t.TempDir()
	node := func(name string, change func(*config.Config)) *testGateway {
		return startGateway(t, filepath.Join(dir, name), func(cfg *config.Config) {
			cfg.Upstreams["disk"] = config.Upstream{Type: "local", Root: filepath.Join(dir, "objects")}
			if change != nil {
				change(cfg)
			}
		})
	}
	one, two := node("one", nil), node("two", nil)
	other := node("other", func(cfg *config.Config) {
		cfg.Upstreams = map[string]config.Upstream{"elsewhere": cfg.Upstreams["disk"]}
		cfg.Buckets[0].Upstream = "elsewhere"
	})
	shifted := node("shifted", func(cfg *config.Config) { cfg.Buckets[0].Prefix = "p/" })
	one.bucket("data")
	id, parts := one.upload("data", "k")
	for name, g := range map[string]*testGateway{"other upstreams": other, "another prefix": shifted} {
		if _, err := g.complete("data", "k", id, parts, nil); codeOfS3(err) != "NoSuchUpload" {
			t.Errorf("%s: Complete: %v", name, err)
		}
		_, err := g.client.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("data"), Key: aws.String("k"), UploadId: &id,
			PartNumber: aws.Int32(3), Body: strings.NewReader("x")})
		if codeOfS3(err) != "NoSuchUpload" {
			t.Errorf("%s: UploadPart: %v", name, err)
		}
	}
	third, err := two.client.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: aws.String("data"), Key: aws.String("k"), UploadId: &id,
		PartNumber: aws.Int32(2), Body: bytes.NewReader(bytesOf(9, 1000))})
	if err != nil {
		t.Fatal(err)
	}
	parts[1].ETag = third.ETag
	first, err := two.complete("data", "k", id, parts, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := append(bytesOf(0, 5<<20), bytesOf(9, 1000)...)
	for name, g := range map[string]*testGateway{"one": one, "two": two} {
		if again, err := g.complete("data", "k", id, parts, nil); err != nil || again != first {
			t.Errorf("%s, again: %q, %v", name, again, err)
		}
		if got, _, err := g.get("data", "k", ""); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got := one.states() + two.states() + other.states() + shifted.states(); got != "[][][][]" {
		t.Errorf("uploads %s", got)
	}
}

// TestOldUploadsOfClientsAreAborted: at their age, and with a store that is down for a while.
func TestOldUploadsOfClientsAreAborted(t *testing.T) {
	dir := t.TempDir()
	change := func(cfg *config.Config) {
		cfg.EnableFaults = true
		cfg.Uploads.MaxAge = time.Hour
	}
	g := startGateway(t, dir, change)
	g.bucket("data")
	g.upload("data", "old")
	g.wait(40 * time.Minute)
	id, parts := g.upload("data", "young")
	g.wait(10 * time.Minute)
	g.sweeper.Round(t.Context())
	if got := g.states(); got != "[client open:2]" {
		t.Fatalf("before their age: %s", got)
	}
	g.inject(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 503})
	ahead := g.ahead.Load()
	g.stop()

	g = startGateway(t, dir, change)
	g.ahead.Store(ahead)
	g.wait(11 * time.Minute)
	g.inject(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 503})
	g.sweeper.Round(t.Context())
	if got := g.states(); got != "[client open:2]" {
		t.Fatalf("while the store is down: %s", got)
	}
	g.Gateway.faults.Clear()
	g.wait(10 * time.Minute) // whatever the back-off
	g.await("[client open:1]")
	if _, err := g.complete("data", "young", id, parts, nil); err != nil {
		t.Errorf("the younger one: %v", err)
	}
	if got, _, err := g.get("data", "young", ""); err != nil || !bytes.Equal(got, uploadBody()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	g.noneLeft(filepath.Join(dir, "objects"))
}

// TestUploadsWithoutARecordAreFound: of a store that is ours alone, when the database is gone.
func TestUploadsWithoutARecordAreFound(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, nil)
	g.bucket("data")
	g.upload("data", "k")
	g.stop()
	if err := os.RemoveAll(filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	g = startGateway(t, dir, nil)
	if got := g.states(); got != "[]" {
		t.Fatalf("uploads %s without records", got)
	}
	g.wait(multipart.DefaultMaxAge + time.Minute)
	g.sweeper.Round(t.Context())
	g.noneLeft(filepath.Join(dir, "objects"))
}

// TestAPutThatCannotAbort leaves its upload to the sweeper, at once and after a restart.
func TestAPutThatCannotAbort(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, withFaults)
	g.bucket("data")
	g.put("data", "k", []byte("old"))
	fail := func(g *testGateway) {
		g.inject(faults.Fault{Name: faults.UploadCompleteError})
		g.inject(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 500})
	}
	fail(g)
	body := bytesOf(3, 40<<20)
	chunked := func(g *testGateway) error {
		res, text := g.callBody(t.Context(), "PUT", "/data/k", bytes.NewReader(body))
		if res != 503 {
			return fmt.Errorf("%d %s", res, text)
		}
		return nil
	}
	if err := chunked(g); err != nil {
		t.Fatal(err)
	}
	if got := g.states(); got != "[put abandoned:1]" {
		t.Fatalf("uploads %s", got)
	}
	g.stop()
	g = startGateway(t, dir, withFaults)
	g.wait(2 * time.Minute) // the store may be completing it still
	g.sweeper.Round(t.Context())
	g.noneLeft(filepath.Join(dir, "objects"))
	g.wait(time.Minute) // it is aborted once more
	g.await("[]")
	fail(g)
	if err := chunked(g); err != nil {
		t.Fatal(err)
	}
	g.Gateway.faults.Clear()
	g.wait(10 * time.Minute)
	g.await("[]")
	g.noneLeft(filepath.Join(dir, "objects"))
	if got, _, err := g.get("data", "k", ""); err != nil || string(got) != "old" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestTheJournalFailsNoWrite: the database refuses everything.
func TestTheJournalFailsNoWrite(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, withFaults)
	g.bucket("data")
	g.inject(faults.Fault{Name: faults.MetaError, Operation: "apply"})
	id, parts := g.upload("data", "k")
	if _, err := g.complete("data", "k", id, parts, nil); err != nil {
		t.Fatal(err)
	}
	if code, text := g.callBody(t.Context(), "PUT", "/data/put", bytes.NewReader(bytesOf(3, 20<<20))); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	if got, _, err := g.get("data", "k", ""); err != nil || !bytes.Equal(got, uploadBody()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := testutil.ToFloat64(g.metrics.UploadJournalErrors); n == 0 {
		t.Error("no failure was counted")
	}
	if got := g.states(); got != "[]" {
		t.Errorf("uploads %s", got)
	}
	// It knows the result as long as it lives.
	if _, err := g.complete("data", "k", id, parts, nil); err != nil {
		t.Errorf("again: %v", err)
	}
	g.Gateway.faults.Clear()
	g.noneLeft(filepath.Join(dir, "objects"))
}

// callBody sends a body without saying how long it is, and returns status and answer.
func (g *testGateway) callBody(ctx context.Context, method, path string, body io.Reader) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, io.NopCloser(body))
	if err != nil {
		g.t.Fatal(err)
	}
	res, err := http.DefaultTransport.RoundTrip(g.unsigned(req))
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
