//go:build e2e

package bench

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkPut writes 1 GiB with one PUT.
func BenchmarkPut(b *testing.B) {
	const size = 1 << 30
	for kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			p, gateway, other := sides(b, kind)
			for b.Loop() {
				compare(b, p, &Result{Name: "PUT 1 GiB", Rival: kind, Target: .95}, size,
					func() error { return gateway.put(b.Context(), "/bench/through", size) },
					func() error { return other.put(b.Context(), "/bench/direct", size) })
			}
		})
	}
}

// BenchmarkMultipart writes 64 parts of 16 MiB, four at a time, and completes them.
func BenchmarkMultipart(b *testing.B) {
	const parts, size, parallel = 64, 16 << 20, 4
	for kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			p, gateway, other := sides(b, kind)
			for b.Loop() {
				compare(b, p, &Result{Name: "multipart 64 x 16 MiB, 4 at a time", Rival: kind, Target: .95}, parts*size,
					func() error { return gateway.multipart(b.Context(), "/bench/through", parts, size, parallel) },
					func() error { return other.multipart(b.Context(), "/bench/direct", parts, size, parallel) })
			}
		})
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
		compare(b, p, &Result{Name: "PUT 256 MiB, write: cache", Rival: "bypass", Target: .9}, size,
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
