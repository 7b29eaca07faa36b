//go:build e2e

package bench

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkPut writes 1 GiB with one PUT.
func BenchmarkPut(b *testing.B) {
	const size = 1 << 30
	writes(b, "PUT 1 GiB", size, func(ctx context.Context, c *client, path string) error { return c.put(ctx, path, size) })
}

// BenchmarkMultipart writes 64 parts of 16 MiB, four at a time, and completes them.
func BenchmarkMultipart(b *testing.B) {
	const parts, size, parallel = 64, 16 << 20, 4
	writes(b, "multipart 64 x 16 MiB, 4 at a time", parts*size, func(ctx context.Context, c *client, path string) error {
		return c.multipart(ctx, path, parts, size, parallel)
	})
}

// writes compares what write does through the gateway with the same to the store itself, for every store, setting and kind of
// body.
func writes(b *testing.B, name string, size int64, write func(ctx context.Context, c *client, path string) error) {
	b.Helper()
	for _, s := range settings {
		for _, body := range []string{"plain", "crc32"} {
			for kind := range kinds {
				b.Run(kind+"/"+string(s)+"/"+body, func(b *testing.B) {
					p := sides(b, kind, s)
					p.gateway.sums, p.other.sums = body == "crc32", body == "crc32"
					for b.Loop() {
						compare(b, p.process, p.store, &Result{Name: name + ", " + body + ", " + string(s), Rival: kind, Target: .95}, size,
							func() error { return write(b.Context(), p.gateway, "/bench/through") },
							func() error { return write(b.Context(), p.other, "/bench/direct") })
					}
				})
			}
		}
	}
}

// BenchmarkPutKeeping writes 256 MiB with one PUT, through a route with "write: cache" and through one with "bypass".
// It says what became of the bytes: a write that the disk was too slow for costs less.
func BenchmarkPutKeeping(b *testing.B) {
	const size = 256 << 20
	up := direct("versitygw", kinds["versitygw"](b))
	p := startGateway(b, up)
	c := newClient(p.endpoint)
	b.Cleanup(c.close)
	for _, bucket := range []string{"/keeping", "/bypass"} {
		if _, _, err := c.do(b.Context(), http.MethodPut, bucket, nil, 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		compare(b, p, 0, &Result{Name: "PUT 256 MiB, write: cache", Rival: "bypass", Target: .9}, size,
			func() error { return c.put(b.Context(), "/keeping/object", size) },
			func() error { return c.put(b.Context(), "/bypass/object", size) })
	}
	res, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "unistore_cache_writes_total") {
			b.Log(lines.Text())
		}
	}
}
