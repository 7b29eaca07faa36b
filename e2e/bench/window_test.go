//go:build e2e

package bench

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the store of the scans gives (bytes a second), by the faults upstream.latency and upstream.bandwidth.
const (
	scanConnection = 80e6
	scanTotal      = 400e6
	scanStep       = 8 << 20 // of one read
)

// scanReaders are the readers of the scans: how fast each takes what it gets (bytes a second; 0: as it comes), and how much it reads.
var scanReaders = []struct {
	name string
	rate float64
	size int64
}{
	{"as fast as it comes", 0, 512 << 20},
	{"100 MB/s", 100e6, 384 << 20},
}

// scanGateway is a gateway over a directory with an object for each reader, whose store answers after latency.
func scanGateway(b *testing.B, latency time.Duration, enabled bool) *client {
	b.Helper()
	dir := b.TempDir()
	for i, r := range scanReaders {
		path := filepath.Join(dir, "lake", fmt.Sprint(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Truncate(path, r.size); err != nil {
			b.Fatal(err)
		}
	}
	p := launch(b, fmt.Sprintf(`prefetch: {enabled: %v}
upstreams:
  up: {type: local, root: %q}
buckets:
  "*": {upstream: up, freshness: immutable}
faults:
  - {name: upstream.latency, delay: %v}
  - {name: upstream.bandwidth, rate: %.0f, total: %.0f}
`, enabled, dir, latency, scanConnection, scanTotal), "--enable-faults")
	c := newClient(p.endpoint)
	c.admin = p.admin
	b.Cleanup(c.close)
	return c
}

// window is the window that the gateway has computed last, in MiB.
func (c *client) window(b *testing.B) float64 {
	b.Helper()
	res, err := http.Get("http://" + c.admin + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "unistore_prefetch_window_bytes "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				b.Fatal(err)
			}
			return v / (1 << 20)
		}
	}
	b.Fatal("no window is told")
	return 0
}

// scan reads an object in order and returns MB/s and the windows of the second half, of which every fourth read tells one.
func (c *client) scan(b *testing.B, path string, size int64, pace float64) (rate float64, windows []float64) {
	b.Helper()
	began := time.Now()
	for off := int64(0); off < size; off += scanStep {
		asked := time.Now()
		if err := c.get(b.Context(), path, off, scanStep); err != nil {
			b.Fatal(err)
		}
		if off >= size/2 && off/scanStep%4 == 0 {
			windows = append(windows, c.window(b))
		}
		if pace > 0 { // its own work on what it got; what it lost by waiting it does not make up for
			time.Sleep(time.Duration(scanStep/pace*float64(time.Second)) - time.Since(asked))
		}
	}
	return float64(size) / time.Since(began).Seconds() / 1e6, windows
}

// BenchmarkWindow scans cold objects through stores that are slower and slower to answer, with fetching ahead and without. It
// tells the window and the throughput; the larger the window, the slower the store.
func BenchmarkWindow(b *testing.B) {
	for b.Loop() {
		for _, latency := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
			with, without := scanGateway(b, latency, true), scanGateway(b, latency, false)
			for i, r := range scanReaders {
				path := fmt.Sprintf("/lake/%d", i)
				w := Window{FirstByte: latency.Seconds() * 1e3, Reader: r.name, Limit: scanTotal / 1e6}
				if r.rate > 0 {
					w.Limit = min(w.Limit, r.rate/1e6)
				}
				rate, windows := with.scan(b, path, r.size, r.rate)
				w.Rate, w.Window = rate, median(windows)
				w.Without, _ = without.scan(b, path, 4*scanStep, r.rate) // a read after the other: more tell no more
				run.Windows = append(run.Windows, w)
				fmt.Printf("first byte %v, reader %s: window %.1f MiB, %.0f MB/s = %.2f of the limit, %.1f x without\n",
					latency, r.name, w.Window, w.Rate, w.Rate/w.Limit, w.Rate/w.Without)
			}
		}
	}
}
