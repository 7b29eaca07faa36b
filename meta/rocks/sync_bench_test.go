package rocks_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"unistore/meta"
	"unistore/meta/rocks"
)

// BenchmarkSync is how long an unsynced write takes, one every half millisecond, while another goroutine makes record after
// record durable: by writing each with sync, or by syncing after each write. The time of an operation is that pace;
// the percentiles are the result.
func BenchmarkSync(b *testing.B) {
	record := func(key string) *meta.Batch {
		var batch meta.Batch
		batch.Put([]byte(key), make([]byte, 200))
		return &batch
	}
	for name, durable := range map[string]func(e *rocks.Engine) error{
		"beside=nothing":    nil,
		"beside=write-sync": func(e *rocks.Engine) error { return e.Apply(record("durable"), true) },
		"beside=write,sync": func(e *rocks.Engine) error {
			if err := e.Apply(record("durable"), false); err != nil {
				return err
			}
			return e.Apply(&meta.Batch{}, true)
		},
	} {
		b.Run(name, func(b *testing.B) {
			e, err := rocks.Open(rocks.Config{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(stop)
			if durable != nil {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if err := durable(e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			var took []time.Duration
			pace := time.NewTicker(500 * time.Microsecond) // without it, the writes between two syncs are most of all
			defer pace.Stop()
			for b.Loop() {
				<-pace.C
				began := time.Now()
				if err := e.Apply(record("other"), false); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*90/100].Microseconds()), "p90-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
