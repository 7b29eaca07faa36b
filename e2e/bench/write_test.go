//go:build e2e

package bench

import "testing"

// BenchmarkPut writes 1 GiB with one PUT.
func BenchmarkPut(b *testing.B) {
	const size = 1 << 30
	for kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			gateway, other := sides(b, kind)
			for b.Loop() {
				compare(b, &Result{Name: "PUT 1 GiB", Rival: kind, Target: .95}, size,
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
			gateway, other := sides(b, kind)
			for b.Loop() {
				compare(b, &Result{Name: "multipart 64 x 16 MiB, 4 at a time", Rival: kind, Target: .95}, parts*size,
					func() error { return gateway.multipart(b.Context(), "/bench/through", parts, size, parallel) },
					func() error { return other.multipart(b.Context(), "/bench/direct", parts, size, parallel) })
			}
		})
	}
}
