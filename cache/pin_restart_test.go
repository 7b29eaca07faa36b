package cache

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/faults"
	"unistore/meta"
	"unistore/meta/fault"
)

func TestPinsOverARestart(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %t", crash), func(t *testing.T) {
			e, clock := newPinEnv(t)
			again := func() {
				if crash {
					e.crash()
				} else {
					e.close()
				}
				e.open()
			}
			e.o.put("k", 12*blockLen)
			e.pinned("q", PinHard, "k", 0, 4*blockLen)
			e.pinned("long", PinSoft, "k", 2*blockLen, 4*blockLen)
			e.pinned("long", PinHard, "k", 8*blockLen, 2*page)
			e.pinned("gone", PinHard, "k", 3*blockLen, blockLen)
			e.c.Renew("long", time.Hour)
			e.c.Unpin("gone")
			before := e.c.Pins()
			again()
			e.idle()
			if diff := cmp.Diff(before, e.c.Pins()); diff != "" {
				t.Error(diff)
			}
			e.wantPinRecords(2, 9)
			e.scan(5 * 32)
			e.idle()
			if n := e.resident("k"); n != 6*blockLen+2*page {
				t.Errorf("%d bytes have survived a scan, %d are pinned", n, 6*blockLen+2*page)
			}
			e.wantStates("long soft 4/16 hard 1/2", "q soft 0/0 hard 4/16")
			clock.advance(2 * time.Minute) // q expires before the restart is over
			again()
			e.wantStates("long soft 4/16 hard 1/2")
			e.wantPinRecords(1, 5)
			clock.advance(time.Hour)
			again()
			e.wantStates()
			e.idle()
			e.wantPinRecords(0, 0)
			if s := e.c.Stats(); s.Pinned != 0 || s.SoftBlocks != 0 {
				t.Errorf("%+v", s)
			}
			e.checkDisk()
		})
	}
}

func TestPinsOfLostBlocksAreDropped(t *testing.T) {
	e, _ := newPinEnv(t)
	a := e.o.put("k", 4*blockLen)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a)
	e.o.put("other", 4*blockLen)
	e.pinned("q", PinHard, "k", 0, 4*blockLen)
	e.pinned("q", PinHard, "other", 0, 4*blockLen)
	put(t, e.f, faults.Fault{Name: faults.CacheCorruptPage, Count: 1})
	e.read("other", 0, page) // one block is bad and comes back, for nobody's query
	e.wantStates("q soft 0/0 hard 7/28")
	a = e.o.put("k", 4*blockLen)
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a) // overwritten
	e.wantStates("q soft 0/0 hard 3/12")
	e.pinned("q", PinSoft, "k", 0, 4*blockLen)
	e.c.Forget(keyOf("k"))
	e.idle()
	e.wantStates("q soft 0/0 hard 3/12")
	e.wantPinRecords(1, 3)
	// Records of pins of a lease, a version or a block that is not there, and unreadable ones.
	var ch meta.Changes
	other := idOf(keyOf("other"), e.o.attrs("other"))
	ch.PutPins(&meta.PinSet{Lease: 77, Hard: 1})
	ch.PutPins(&meta.PinSet{Lease: 1, Object: [16]byte{1}, Hard: 1})
	ch.PutPins(&meta.PinSet{Lease: 1, Object: other, Leaf: 9, Hard: 1})
	ch.PutPins(&meta.PinSet{Lease: 1, Object: other, Leaf: 8, Hard: 1, Soft: 1})
	ch.PutLease(&meta.Lease{ID: 99, Query: "nothing", Until: e.c.cfg.Now().Add(time.Hour)})
	e.close()
	if err := must(meta.NewDB(e.eng))(t).Write(&ch, false); err != nil {
		t.Fatal(err)
	}
	var b meta.Batch
	b.Put([]byte("ml/\x00\x00\x00\x00\x00\x00\x01\x00"), []byte("nonsense"))
	if err := e.eng.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
	e.open()
	e.wantStates("q soft 0/0 hard 3/12")
	e.wantPinRecords(1, 3)
	if e.errorCount(kindMeta) != 2 {
		t.Errorf("%d unreadable records counted", e.errorCount(kindMeta))
	}
	e.pinned("new", PinSoft, "other", 0, page)
	e.c.mu.Lock()
	if id := e.c.mu.pins.leases["new"].id; id <= 256 {
		t.Errorf("lease %d is given out again", id)
	}
	e.c.mu.Unlock()
	e.idle()
}

func TestALowerPinLimitAfterARestart(t *testing.T) {
	e, _ := newPinEnv(t)
	e.o.put("k", 16*blockLen)
	e.pinned("a", PinHard, "k", 0, 4*blockLen)
	e.pinned("b", PinHard, "k", 4*blockLen, 12*blockLen)
	e.close()
	e.cfg.PinLimit = .25 // 8 blocks
	e.open()
	e.wantStates("a soft 0/0 hard 4/16", "b soft 8/32 hard 4/16")
	e.idle()
	e.close()
	e.cfg.PinLimit = -1
	e.open()
	e.wantStates("a soft 4/16 hard 0/0", "b soft 12/48 hard 0/0")
	if got := e.pinned("c", PinHard, "k", 0, page); got.Kind != PinNone || got.Refused != page {
		t.Errorf("%+v", got)
	}
	e.idle()
	e.close()
	e.cfg.PinLimit, e.cfg.BlockSize = .5, page // nothing of it can be used
	e.open()
	e.wantStates()
	e.wantPinRecords(0, 0)
}

func TestPinsWithABrokenDatabase(t *testing.T) {
	e, _ := newPinEnv(t)
	e.close()
	e.eng = fault.Wrap(e.eng, e.f)
	e.open()
	e.o.put("k", 4*blockLen)
	e.read("k", 0, 4*blockLen)
	e.idle()
	put(t, e.f, faults.Fault{Name: faults.MetaError})
	if got := e.pinned("q", PinHard, "k", 0, 2*blockLen); got.Bytes != 2*blockLen {
		t.Errorf("%+v", got)
	}
	if e.errorCount(kindMeta) == 0 {
		t.Error("not counted")
	}
	e.f.Clear()
	e.c.writePins()
	e.crash()
	e.open()
	e.wantStates("q soft 0/0 hard 2/8")
}

// A version that is forgotten while a reader has pins promised, and then confirmed, is pinned again under the same name:
// the first reader's end must not take the second one's record.
func TestPinsOfAVersionThatComesBack(t *testing.T) {
	e, _ := newPinEnv(t)
	a := e.o.put("k", 4*blockLen)
	learn := func() { e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a) }
	learn()
	req := e.request("k", 0, 4*blockLen)
	req.Pin = &PinRequest{Query: "q", Kind: PinHard}
	r, err := e.c.Read(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	e.c.Forget(keyOf("k"))
	learn()
	e.pinned("q", PinHard, "k", 0, 4*blockLen)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	e.idle()
	e.wantStates("q soft 0/0 hard 4/16")
	e.c.writePins()
	e.crash()
	e.open()
	e.wantStates("q soft 0/0 hard 4/16")
}
