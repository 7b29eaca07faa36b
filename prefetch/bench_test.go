package prefetch

import (
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/metrics"
)

// BenchmarkObserve is what a read pays for being observed, when nothing is wanted ahead of it.
func BenchmarkObserve(b *testing.B) {
	m := metrics.New(prometheus.NewRegistry())
	p := New(Config{Cache: &filler{}, Budget: Budget{Memory: 64 * mib, Jobs: 8}, MaxWindow: 64 * mib, Unit: mib, Metrics: m})
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	reads := make([]Read, 1024)
	for i := range reads {
		reads[i] = reading(string(rune('a'+i%26)), r.Int64N(1<<30-64*kib), 64*kib)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p.Observe(reads[i%len(reads)]).Done(64*kib, 0, false)
		i++
	}
}
