package cache

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/cache/device"
	"unistore/meta"
	"unistore/meta/rocks"
	"unistore/metrics"
)

// pinBytes is what one pinned block may cost besides its place in the index, in bytes of heap.
const pinBytes = 220

// writePinRecords pins the first n blocks of writeBlocks hard, for one query.
func writePinRecords(t testing.TB, db *meta.DB, n int, until time.Time) {
	t.Helper()
	var ch meta.Changes
	ch.PutLease(&meta.Lease{ID: 1, Query: "q", Until: until})
	for i := 0; i < n; i += meta.PinLeaf {
		p := meta.PinSet{Lease: 1, Hard: 1<<min(meta.PinLeaf, n-i) - 1}
		binary.BigEndian.PutUint64(p.Object[:], uint64(i/64)*0x9e3779b97f4a7c15)
		ch.PutPins(&p)
	}
	if err := db.Write(&ch, false); err != nil {
		t.Fatal(err)
	}
}

func TestPinsAtScale(t *testing.T) {
	n := int(envInt("CACHE_PIN_SCALE", 50_000))
	start := map[bool]time.Duration{}
	heap := map[bool]int64{}
	for _, pinned := range []bool{false, true} {
		dir := t.TempDir()
		e, err := rocks.Open(rocks.Config{Dir: filepath.Join(dir, "meta")})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		db := must(meta.NewDB(e))(t)
		writeBlocks(t, db, n)
		if pinned {
			writePinRecords(t, db, n, time.Now().Add(time.Hour))
		}
		before := heapInUse()
		began := time.Now()
		c, err := Open(Config{
			Dir: dir, DB: db, Size: int64(n) << 21, Device: new(device.Mem), BootID: "boot",
			Metrics: metrics.New(prometheus.NewRegistry()), MaxObjects: 1, Tick: time.Hour,
		})
		start[pinned] = time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		heap[pinned] = heapInUse() - before
		if s := c.Stats(); pinned && (s.HardBlocks != n || s.Pinned != int64(n)<<20) {
			t.Errorf("%+v", s)
		}
		began = time.Now()
		states := c.Pins()
		listed := time.Since(began)
		began = time.Now()
		c.Unpin("q")
		released := time.Since(began)
		began = time.Now()
		c.discardEnded()
		t.Logf("%d blocks, pinned %t: start %v, Pins %v (%d), Unpin %v, its records %v", n, pinned,
			start[pinned].Round(time.Millisecond), listed.Round(time.Microsecond), len(states), released.Round(time.Microsecond), time.Since(began).Round(time.Microsecond))
		if s := c.Stats(); s.HardBlocks != 0 || s.Pinned != 0 {
			t.Errorf("%+v", s)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	perPin := (heap[true] - heap[false]) / int64(n)
	t.Logf("a pin: %d bytes of heap, %v of the start", perPin, (start[true]-start[false])/time.Duration(n))
	if perPin > pinBytes {
		t.Errorf("a pin takes %d bytes of heap, budget %d", perPin, pinBytes)
	}
}

// BenchmarkPinnedOpen is the opening of a warm read of 1 MiB without a pin, with one that its query has already, and
// with one that it has not.
func BenchmarkPinnedOpen(b *testing.B) {
	for _, mode := range []string{"none", "held", "new"} {
		b.Run(mode, func(b *testing.B) {
			e := newEnv(b, func(c *Config) { c.Size, c.BlockSize, c.Tick = 64<<20, 1<<20, time.Hour })
			e.o.put("k", 1<<20)
			e.read("k", 0, 1<<20)
			req := e.request("k", 0, 1<<20)
			ctx := b.Context()
			b.ReportAllocs()
			for i := range b.N {
				switch mode {
				case "held":
					req.Pin = &PinRequest{Query: "q", Kind: PinHard}
				case "new":
					req.Pin = &PinRequest{Query: fmt.Sprint(i % 100), Kind: PinHard}
					if i%100 == 0 {
						b.StopTimer()
						for _, s := range e.c.Pins() {
							e.c.Unpin(s.Query)
						}
						b.StartTimer()
					}
				}
				r, err := e.c.Read(ctx, req)
				if err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		})
	}
}
