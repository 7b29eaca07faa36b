//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

const (
	page  = 64 << 10
	block = 1 << 20
)

func randomBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed, 1}).Read(b)
	return b
}

func put(t *testing.T, c *s3.Client, bucket, key string, body []byte) {
	t.Helper()
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
}

func createBucket(t *testing.T, c *s3.Client, bucket string) {
	t.Helper()
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, c *s3.Client, bucket, key, rng string) ([]byte, error) {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if rng != "" {
		in.Range = aws.String(rng)
	}
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// TestRandomRangesEqualTheSource reads 1,000 random ranges, twice: the objects are put straight into the
// upstream, so that nothing but reads goes through the gateway.
func TestRandomRangesEqualTheSource(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			c := g.client()
			createBucket(t, c, "ranges")
			sizes := []int{0, 1, page - 1, page, block - 1, block, block + 1, 64<<20 + 1}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			bodies := map[string][]byte{}
			for i, size := range sizes {
				key := fmt.Sprintf("object-%d", size)
				bodies[key] = randomBytes(byte(i), size)
				put(t, c, "ranges", key, bodies[key])
			}
			for _, pass := range []string{"cold", "warm"} {
				r := rand.New(rand.NewPCG(seed, 0))
				for range 1000 {
					size := sizes[r.IntN(len(sizes))]
					key := fmt.Sprintf("object-%d", size)
					checkRange(t, c, r, pass, key, bodies[key])
				}
			}
		})
	}
}

// checkRange compares one random closed, open-ended or suffix range, sometimes past the end.
func checkRange(t *testing.T, c *s3.Client, r *rand.Rand, pass, key string, body []byte) {
	t.Helper()
	size := len(body)
	from := r.IntN(size + 2)
	length := 1 + r.IntN(min(size, 3*block)+10)
	var rng string
	var want []byte
	switch r.IntN(4) {
	case 0:
		rng, want = fmt.Sprintf("bytes=%d-%d", from, from+length-1), body[min(from, size):min(from+length, size)]
	case 1:
		from = max(size-length, 0)
		rng, want = fmt.Sprintf("bytes=%d-", from), body[from:]
	case 2:
		rng, want = fmt.Sprintf("bytes=-%d", length), body[max(size-length, 0):]
	default:
		from = size + r.IntN(100)
		rng = fmt.Sprintf("bytes=%d-%d", from, from+length)
	}
	got, err := get(t, c, "ranges", key, rng)
	if len(want) == 0 {
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "InvalidRange" {
			t.Fatalf("%s %s %s: want InvalidRange, got %v", pass, key, rng, err)
		}
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s %s %s: %d bytes of %d, %v", pass, key, rng, len(got), len(want), err)
	}
}

// TestColdReadsCostOneRequest counts requests and bytes at the upstream.
func TestColdReadsCostOneRequest(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			c := g.client()
			createBucket(t, c, "cost")
			big := filepath.Join(g.dir, "gib")
			writeRandom(t, big, 1<<30, 3)
			g.aws("s3", "cp", "--only-show-errors", big, "s3://cost/gib")
			put(t, c, "cost", "small", randomBytes(1, 3*block))
			for _, rng := range []string{"bytes=536870912-537919487", "bytes=-65536", "bytes=100-200"} {
				cold, coldBytes := g.dataRequests(), g.metric("unistore_upstream_bytes_total", `direction="in"`)
				first, err := get(t, c, "cost", "gib", rng)
				if err != nil {
					t.Fatal(err)
				}
				moved := g.metric("unistore_upstream_bytes_total", `direction="in"`) - coldBytes
				if n := g.dataRequests() - cold; n != 1 {
					t.Errorf("cold %s: %v upstream requests", rng, n)
				}
				if limit := float64(len(first) + 2*page); moved > limit {
					t.Errorf("cold %s: %v bytes moved for %d, at most %v", rng, moved, len(first), limit)
				}
				second, err := get(t, c, "cost", "gib", rng)
				if err != nil || !bytes.Equal(first, second) {
					t.Fatalf("warm %s differs: %v", rng, err)
				}
				if n := g.dataRequests() - cold; n != 1 {
					t.Errorf("warm %s: %v more upstream requests", rng, n-1)
				}
				t.Logf("%s: 1 request, %v bytes moved for %d served; warm: 0", rng, moved, len(first))
			}
		})
	}
}
