package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/byterange"
	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
)

// testClock is a clock that moves by hand, over restarts too.
type testClock struct{ ms atomic.Int64 }

func newTestClock() *testClock {
	c := &testClock{}
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *testClock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *testClock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// newPinEnv is an env of 32 blocks, of which half may be pinned.
func newPinEnv(t testing.TB) (*env, *testClock) {
	t.Helper()
	clock := newTestClock()
	e := newEnv(t, func(c *Config) {
		c.Size, c.PinLimit, c.Now = 32*blockLen, .5, clock.now
		c.MaxRun = blockLen
	})
	return e, clock
}

// pinned reads [off, off+n) for a query and returns what became of the pin.
func (e *env) pinned(query string, kind PinKind, name string, off, n int64) PinResult {
	e.t.Helper()
	req := e.request(name, off, n)
	req.Pin = &PinRequest{Query: query, Kind: kind, TTL: time.Minute}
	return e.do(req).Pin
}

func (e *env) resident(name string) int64 {
	a := e.o.attrs(name)
	return e.c.Resident(keyOf(name), a, []byterange.Range{{Len: a.Size}})
}

// scan reads n blocks of another object, which pushes out what may go.
func (e *env) scan(n int64) {
	e.t.Helper()
	if e.o.attrs("scan").Size < n*blockLen {
		e.o.put("scan", int(n*blockLen))
	}
	for i := range n {
		e.read("scan", i*blockLen, blockLen)
	}
}

// states returns Pins in short: query, soft and hard pages.
func (e *env) states() (out []string) {
	for _, s := range e.c.Pins() {
		out = append(out, fmt.Sprintf("%s soft %d/%d hard %d/%d", s.Query, s.SoftBlocks, s.SoftBytes/page, s.HardBlocks, s.HardBytes/page))
	}
	return out
}

func (e *env) wantStates(want ...string) {
	e.t.Helper()
	if diff := cmp.Diff(want, e.states()); diff != "" {
		e.t.Error(diff)
	}
}

func TestHardPinsSurviveAScan(t *testing.T) {
	e, clock := newPinEnv(t)
	e.o.put("pinned", 10*blockLen)
	e.o.put("plain", 10*blockLen)
	e.o.put("soft", 6*blockLen)
	got := e.pinned("q", PinHard, "pinned", 0, 10*blockLen)
	want := PinResult{Kind: PinHard, Bytes: 10 * blockLen, Until: clock.now().Add(time.Minute)}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	e.read("plain", 0, 10*blockLen)
	e.pinned("q", PinSoft, "soft", 0, 6*blockLen)
	e.wantFetches(26)
	e.scan(8) // makes room: plain goes, soft stays
	e.idle()
	if n := e.resident("soft"); n != 6*blockLen {
		t.Errorf("%d of %d soft pinned bytes are left though others could go", n, 6*blockLen)
	}
	if n := e.resident("plain"); n > 8*blockLen {
		t.Errorf("%d bytes are left of what is not pinned", n)
	}
	e.scan(5 * 32)
	e.idle()
	e.checkDisk()
	t.Logf("after a scan of 5 x the cache size: hard %d of %d bytes, soft %d of %d, unpinned %d of %d",
		e.resident("pinned"), 10*blockLen, e.resident("soft"), 6*blockLen, e.resident("plain"), 10*blockLen)
	e.wantFetches(8 + 5*32 - hits(e))
	if res := e.do(e.request("pinned", 0, 10*blockLen)); res.Source != SourceCache || !res.Pinned {
		t.Errorf("%+v", res)
	}
	e.wantFetches(0)
	if v := testutil.ToFloat64(e.m.CacheBytes.WithLabelValues("pinned")); v != 10*blockLen {
		t.Errorf("metric says %v bytes pinned", v)
	}
	if v := testutil.ToFloat64(e.m.Pins.WithLabelValues("hard")); v != 10 {
		t.Errorf("metric says %v blocks pinned", v)
	}
}

// hits is how many reads the cache has answered.
func hits(e *env) int { return int(testutil.ToFloat64(e.m.CacheReads.WithLabelValues("hit"))) }

func TestSoftPinsGoLast(t *testing.T) {
	e, _ := newPinEnv(t)
	e.o.put("soft", 40*blockLen)
	e.o.put("plain", 4*blockLen)
	if got := e.pinned("q", PinSoft, "soft", 0, 40*blockLen); got.Refused != 0 || got.Kind != PinSoft {
		t.Errorf("%+v", got) // more than fits: the first ones go again
	}
	e.idle()
	before := e.resident("soft")
	for range 2 { // maintenance may take the plain blocks again at any moment: they go first
		if got := e.read("plain", 0, 4*blockLen); got.Source == SourceBypass || got.Source == SourceFill && !got.Stored {
			t.Errorf("nothing new comes in beside soft pins: %+v", got)
		}
	}
	e.idle()
	e.checkDisk()
	if e.resident("soft") > before {
		t.Errorf("%d bytes, before %d", e.resident("soft"), before)
	}
	for _, s := range e.c.Pins() {
		if s.SoftBytes != e.resident("soft") {
			t.Errorf("%+v, resident %d", s, e.resident("soft"))
		}
	}
}

func TestPinsBeyondTheLimitAreRefused(t *testing.T) {
	e, _ := newPinEnv(t) // 16 blocks
	e.o.put("k", 40*blockLen)
	steps := []struct {
		query    string
		kind     PinKind
		off, n   int64 // blocks
		ok       bool
		hardness int64 // blocks pinned hard after it
	}{
		{"q", PinHard, 0, 10, true, 10},
		{"q", PinHard, 10, 7, false, 10}, // not even a part
		{"r", PinHard, 4, 10, true, 14},  // 4..10 are paid for
		{"r", PinHard, 14, 3, false, 14},
		{"r", PinHard, 14, 2, true, 16},
		{"s", PinHard, 20, 1, false, 16},
		{"s", PinSoft, 20, 1, true, 16}, // soft ones have no limit
		{"s", PinHard, 20, 1, false, 16},
		{"s", PinHard, 0, 16, true, 16},
	}
	for _, s := range steps {
		want := PinResult{Refused: s.n * blockLen}
		if s.ok {
			want = PinResult{Kind: s.kind, Bytes: s.n * blockLen, Until: e.c.cfg.Now().Add(time.Minute)}
		}
		if got := e.pinned(s.query, s.kind, "k", s.off*blockLen, s.n*blockLen); got != want {
			t.Errorf("%+v: %+v, want %+v", s, got, want)
		}
		e.idle()
		if n := e.c.Stats().Pinned; n != s.hardness*blockLen {
			t.Errorf("%+v: %d blocks pinned hard", s, n/blockLen)
		}
	}
	e.wantStates("q soft 0/0 hard 10/40", "r soft 0/0 hard 12/48", "s soft 1/4 hard 16/64")
	e.c.Unpin("q")
	e.c.Unpin("s")
	if n := e.c.Stats().Pinned; n != 12*blockLen {
		t.Errorf("%d blocks pinned hard after two queries have gone", n/blockLen)
	}
	e.checkDisk()
}

func TestPagesOfPinnedBlocksAreCharged(t *testing.T) {
	e, _ := newPinEnv(t)
	e.o.put("k", 40*blockLen)
	for i := range int64(32) { // 2 pages of each block: 16 blocks in all
		if got := e.pinned("q", PinHard, "k", i*blockLen, 2*page); got.Kind != PinHard || got.Bytes != 2*page {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	if n := e.c.Stats().Pinned; n != 16*blockLen {
		t.Fatalf("%d blocks pinned", n/blockLen)
	}
	// A third page would be pinned by the block that it comes to, and that is too much: around the cache.
	if res := e.read("k", 2*page, page); res.Source != SourceBypass {
		t.Errorf("%+v", res)
	}
	// So does a reader who has joined the cache when it comes to such a page.
	if res := e.read("k", 32*blockLen-page, 2*page); res.Source != SourceBypass {
		t.Errorf("%+v", res)
	}
	e.idle()
	e.c.Unpin("q")
	if res := e.read("k", 2*page, page); res.Source != SourceFill {
		t.Errorf("%+v", res)
	}
	e.idle()
	e.checkDisk()
}

func TestReadsGoOnWithEverythingPinned(t *testing.T) {
	clock := newTestClock()
	e := newEnv(t, func(c *Config) {
		c.Size, c.PinLimit, c.HighWatermark, c.Now = 16*blockLen, 1, 1, clock.now
		c.MaxRun = blockLen
	})
	e.o.put("pinned", 16*blockLen)
	e.o.put("k", 4<<20)
	if got := e.pinned("q", PinHard, "pinned", 0, 16*blockLen); got.Bytes != 16*blockLen {
		t.Fatalf("%+v", got)
	}
	s := e.c.Stats()
	if s.Pinned != s.Capacity || s.Resident != s.Capacity {
		t.Fatalf("%+v", s)
	}
	var wg sync.WaitGroup
	var reads, around atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := range int64(25) {
				off := (i*37 + int64(w)) * page / 3 % (4<<20 - 3*page)
				res, got, err := readAll(e.c, e.request("k", off, 3*page))
				if err != nil || !bytes.Equal(got, e.o.content("k")[off:off+3*page]) {
					t.Errorf("%+v, %v, %d bytes", res, err, len(got))
				}
				reads.Add(1)
				if res.Source == SourceBypass {
					around.Add(1)
				}
			}
		})
	}
	for i := range int64(20) {
		if res := e.read("k", i*page/2, 3*page); res.Source != SourceBypass {
			t.Errorf("%+v", res)
		}
		e.read("pinned", i*page, 5*page)
	}
	wg.Wait()
	e.idle()
	e.checkDisk()
	t.Logf("with all %d bytes pinned: %d of %d other reads succeeded, around the cache; resident %d",
		s.Capacity, around.Load()+20, reads.Load()+20, e.c.Stats().Resident)
	if around.Load() != reads.Load() || e.resident("pinned") != 16*blockLen {
		t.Errorf("%d around of %d, %d bytes left pinned", around.Load(), reads.Load(), e.resident("pinned"))
	}
}

func TestLeasesExpireAndAreRenewed(t *testing.T) {
	e, clock := newPinEnv(t)
	e.o.put("k", 8*blockLen)
	start := clock.now()
	e.pinned("q", PinHard, "k", 0, 2*blockLen)
	e.pinned("r", PinHard, "k", blockLen, 2*blockLen)
	clock.advance(50 * time.Second)
	if until, ok := e.c.Renew("q", 0); !ok || !until.Equal(clock.now().Add(DefaultPinTTL)) {
		t.Errorf("Renew = %v, %t", until, ok)
	}
	if until, ok := e.c.Renew("q", time.Second); !ok || !until.Equal(clock.now().Add(DefaultPinTTL)) {
		t.Errorf("Renew = %v, %t: a lease became shorter", until, ok)
	}
	if until, ok := e.c.Renew("q", 1000*time.Hour); !ok || !until.Equal(clock.now().Add(MaxPinTTL)) {
		t.Errorf("Renew = %v, %t", until, ok)
	}
	if got := e.pinned("r", PinSoft, "k", 7*blockLen, 1); !got.Until.Equal(clock.now().Add(time.Minute)) {
		t.Errorf("%+v: a pin extends the lease", got)
	}
	e.wantStates("q soft 0/0 hard 2/8", "r soft 1/1 hard 2/8")
	clock.advance(time.Minute)
	e.wantStates("q soft 0/0 hard 2/8") // at once, collected or not
	if _, ok := e.c.Renew("r", time.Hour); ok {
		t.Error("an expired lease was renewed")
	}
	if e.c.Unpin("r") {
		t.Error("an expired lease was released")
	}
	e.c.expirePins()
	if s := e.c.Stats(); s.Pinned != 2*blockLen || s.Leases != 1 {
		t.Errorf("%+v", s)
	}
	if got := e.pinned("r", PinHard, "k", 5*blockLen, blockLen); got.Bytes != blockLen {
		t.Errorf("%+v", got)
	}
	clock.advance(2 * time.Minute)
	// The query comes back before its old lease was collected: it does not have the old pins.
	e.pinned("r", PinHard, "k", 6*blockLen, blockLen)
	e.wantStates("q soft 0/0 hard 2/8", "r soft 0/0 hard 1/4")
	clock.advance(MaxPinTTL)
	eventually(t, "no pins", func() bool { return e.c.Stats().Pinned == 0 })
	if clock.now().Sub(start) < MaxPinTTL {
		t.Error("the clock stands")
	}
	e.idle()
	e.wantPinRecords(0, 0)
}

// wantPinRecords checks how many leases and pins are recorded, when maintenance has done its work.
func (e *env) wantPinRecords(leases, pins int) {
	e.t.Helper()
	e.c.discardEnded()
	var gotLeases, gotPins int
	err := e.c.db.Leases(func(_ meta.Lease, err error) error { gotLeases++; return err })
	if err == nil {
		err = e.c.db.Pins(func(p meta.PinSet, err error) error {
			gotPins += bits.OnesCount64(p.Soft) + bits.OnesCount64(p.Hard)
			return err
		})
	}
	if gotLeases != leases || gotPins != pins || err != nil {
		e.t.Errorf("records of %d leases and %d pins, want %d and %d, %v", gotLeases, gotPins, leases, pins, err)
	}
}

func TestWhatDoesNotArriveIsNotPinned(t *testing.T) {
	e, _ := newPinEnv(t)
	e.o.put("k", 16*blockLen)
	req := e.request("k", 0, 16*blockLen)
	req.Pin = &PinRequest{Query: "q", Kind: PinHard}
	r, err := e.c.Read(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Result().Pin; got.Bytes != 16*blockLen {
		t.Errorf("%+v", got)
	}
	if n := e.c.Stats().Pinned; n != 16*blockLen {
		t.Errorf("%d bytes are charged while the reader is open", n)
	}
	if _, err := io.CopyN(io.Discard, struct{ io.Reader }{r}, 2*blockLen); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	e.idle()
	if n := e.c.Stats().Pinned; n != e.resident("k") || n < 2*blockLen {
		t.Errorf("%d bytes are charged for %d", n, e.resident("k"))
	}
	e.c.Unpin("q")
	// Around the cache nothing is pinned, and the result says so.
	put(t, e.f, faults.Fault{Name: faults.CacheWriteError, Operation: "write"})
	e.o.put("j", 2*blockLen)
	if got := e.pinned("q", PinHard, "j", 0, 2*blockLen); got != (PinResult{Refused: 2 * blockLen}) {
		t.Errorf("%+v", got)
	}
	e.f.Clear()
	if got := e.pinned("q", PinHard, "j", 0, 2*blockLen); got.Bytes != 2*blockLen {
		t.Errorf("%+v", got)
	}
	// NoStore pins what is there.
	req = e.request("j", 0, 2*blockLen)
	req.NoStore, req.Pin = true, &PinRequest{Query: "r", Kind: PinHard}
	if got := e.do(req).Pin; got.Bytes != 2*blockLen {
		t.Errorf("%+v", got)
	}
	e.o.put("i", 2*blockLen)
	e.read("i", 0, blockLen+page)
	req = e.request("i", 0, 2*blockLen)
	req.NoStore, req.Pin = true, &PinRequest{Query: "r", Kind: PinHard}
	if got := e.do(req).Pin; got.Bytes != blockLen+page || got.Refused != blockLen-page {
		t.Errorf("%+v", got)
	}
	e.idle()
	e.checkDisk()
}

func TestSoftPinsDoNotMakeHardOnesGrow(t *testing.T) {
	e, _ := newPinEnv(t)
	e.o.put("k", 40*blockLen)
	for i := range int64(32) {
		e.pinned("q", PinHard, "k", i*blockLen, 2*page)
	}
	full := e.c.Stats()
	if full.Pinned != full.PinLimit {
		t.Fatalf("%+v", full)
	}
	req := e.request("k", 0, 8*blockLen)
	req.Pin = &PinRequest{Query: "r", Kind: PinSoft}
	if res := e.do(req); res.Source != SourceFill && res.Source != SourceBypass {
		t.Errorf("%+v", res)
	}
	e.idle()
	if s := e.c.Stats(); s.Pinned != full.Pinned {
		t.Errorf("%d bytes are pinned hard, the limit is %d", s.Pinned, s.PinLimit)
	}
}

// shrinking is a device whose disk others fill.
type shrinking struct {
	device.Device
	taken atomic.Int64
}

func (d *shrinking) Free() (int64, error) {
	free, err := d.Device.Free()
	return free - d.taken.Load(), err
}

// What was granted stays when ReserveFree takes the room away: reads go on around the cache, no pin is added, and the
// room is given back when the lease ends.
func TestPinsOnADiskThatFillsUp(t *testing.T) {
	disk := &shrinking{Device: &device.Mem{Capacity: 64 * blockLen}}
	e := newEnv(t, func(c *Config) {
		c.Device, c.Size, c.PinLimit, c.ReserveFree, c.MaxRun = disk, 32*blockLen, .5, 8*blockLen, blockLen
	})
	e.o.put("pinned", 16*blockLen)
	e.o.put("k", 32*blockLen)
	if got := e.pinned("q", PinHard, "pinned", 0, 16*blockLen); got.Bytes != 16*blockLen {
		t.Fatalf("%+v", got)
	}
	e.read("k", 0, 8*blockLen)
	disk.taken.Store(56 * blockLen) // room for nothing
	eventually(t, "a lower limit", func() bool { return e.c.Stats().PinLimit == 0 })
	e.idle()
	if n := e.resident("k"); n != 0 {
		t.Errorf("%d bytes without a pin are left on a full disk", n)
	}
	for i := range int64(8) {
		if res := e.read("k", i*blockLen, blockLen); res.Source != SourceBypass {
			t.Errorf("%+v", res)
		}
	}
	if got := e.pinned("q", PinHard, "k", 0, page); got.Kind != PinNone || got.Refused != page {
		t.Errorf("%+v", got)
	}
	e.read("pinned", 0, 16*blockLen)
	if s := e.c.Stats(); s.Pinned != 16*blockLen || s.HardBlocks != 16 {
		t.Errorf("%+v", s)
	}
	e.c.Unpin("q")
	eventually(t, "the disk's reserve", func() bool {
		free, err := disk.Free()
		return err == nil && free >= 8*blockLen
	})
	disk.taken.Store(0)
	eventually(t, "the limit", func() bool { return e.c.Stats().PinLimit == 16*blockLen })
	if got := e.pinned("q", PinHard, "k", 0, 16*blockLen); got.Bytes != 16*blockLen {
		t.Errorf("%+v", got)
	}
	e.idle()
}
