package cache

import (
	"testing"

	"unistore/byterange"
	"unistore/cache/device"
	"unistore/meta"
)

func TestPasses(t *testing.T) {
	const size = 1 << 20
	type read struct {
		from, to int64
		end      bool // of the object
		again    bool
	}
	tests := map[string][]read{
		"whole":             {{0, size, false, false}, {0, size, false, true}, {0, size, false, true}},
		"in pieces":         {{0, 4e5, false, false}, {4e5, 8e5, false, false}, {8e5, size, false, false}, {0, 4e5, false, true}},
		"overlapping":       {{0, 4e5, false, false}, {3e5, 8e5, false, true}},
		"with gaps":         {{0, 1e5, false, false}, {2e5, 3e5, false, false}, {9e5, size, false, false}},
		"backwards":         {{5e5, 6e5, false, false}, {1e5, 2e5, false, true}},
		"the same":          {{5e5, 6e5, false, false}, {5e5, 6e5, false, true}},
		"a footer":          {{9e5, 9e5 + 8, true, false}, {8e5, 9e5 + 8, true, true}},
		"a tiny object":     {{0, 10, true, false}, {0, 10, true, true}},
		"in pieces of 64 K": {{0, 1 << 16, false, false}, {1 << 16, 2 << 16, false, false}, {2 << 16, 3 << 16, false, false}},
	}
	for name, reads := range tests {
		var b block
		for i, r := range reads {
			if got := b.passes(r.from, r.to, size, r.end); got != r.again {
				t.Errorf("%s: read %d is another use: %v", name, i, got)
			}
		}
	}
}

// older makes all uses so far be seconds ago.
func (e *env) older() {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	for b := range e.c.mu.all() {
		b.used -= 10
	}
}

// What is used again survives a scan of three times the cache, read in pieces smaller than a block, unless
// the policy is LRU.
func TestScanResistance(t *testing.T) {
	const (
		block  = 2 * page
		hot    = 8 * block
		cached = 100 * block
		scan   = 3 * cached
	)
	for _, policy := range Policies {
		t.Run(policy, func(t *testing.T) {
			e := newEnv(t, func(c *Config) {
				c.Policy, c.BlockSize, c.Size, c.MaxRun = policy, block, cached, block
				c.Device = new(device.Mem)
			})
			e.o.put("old", cached+8*block)
			e.o.put("hot", hot)
			e.o.put("scan", scan)
			e.read("old", 0, cached+8*block)
			for range 3 {
				e.read("hot", 0, hot)
				e.older()
			}
			for off := int64(0); off < scan; off += page {
				e.read("scan", off, page)
				if off%(8*page) == page {
					e.older()
				}
			}
			resident := e.c.Resident(keyOf("hot"), e.o.attrs("hot"), []byterange.Range{{Len: hot}})
			if policy == "lru" && resident > 0 {
				t.Errorf("%d bytes survive under lru: the test shows nothing", resident)
			}
			if policy != "lru" && resident != hot {
				t.Errorf("%d of %d bytes survive the scan", resident, hot)
			}
		})
	}
}

func (e *env) unread() (blocks int, pages int64) {
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	return e.c.mu.policy.unread.len, e.c.mu.policy.pages
}

// Blocks that were prefetched and not read are so after a restart too, and not any more after their first read.
func TestUnreadSurvivesRestart(t *testing.T) {
	e := newEnv(t, nil)
	const size = 4 * blockLen
	e.o.put("k", size)
	e.read("k", 0, size)
	e.idle()
	e.c.mu.Lock()
	for b := range e.c.mu.all() { // as if prefetch had brought them
		rec, err := e.c.db.Block(b.fileID)
		if err != nil {
			t.Fatal(err)
		}
		rec.Origin = meta.OriginPrefetch
		var ch meta.Changes
		ch.PutBlock(&rec)
		if err := e.c.db.Write(&ch, true); err != nil {
			t.Fatal(err)
		}
	}
	e.c.mu.dirty = nil
	e.c.mu.Unlock()

	e.restart()
	if blocks, pages := e.unread(); blocks != 4 || pages != size/page {
		t.Errorf("%d unread blocks with %d pages", blocks, pages)
	}
	e.read("k", 0, 1)
	if blocks, pages := e.unread(); blocks != 3 || pages != 3*blockLen/page {
		t.Errorf("%d unread blocks with %d pages after one was read", blocks, pages)
	}
	e.restart()
	if blocks, _ := e.unread(); blocks != 3 {
		t.Errorf("%d unread blocks after another restart", blocks)
	}
	e.wantFetches(1)
	e.checkDisk()
}

// A page that comes to an unread block counts, one that comes to another or to a pinned one does not.
func TestUnreadGrows(t *testing.T) {
	x := newIndex(blockMath{4}, &lru{})
	v := x.acquireVersion(versionID{1}, 16*page)
	var blocks []*block
	for i := range uint32(3) {
		b := &block{v: v, index: i}
		b.setOrigin(meta.OriginPrefetch)
		x.add(b)
		blocks = append(blocks, b)
	}
	x.touch(blocks[1], false)
	x.delist(blocks[2])
	blocks[2].setPinned(PinSoft)
	x.enlist(blocks[2])
	for _, b := range blocks {
		x.setValid(b, 0)
		x.setValid(b, 1)
	}
	if u := x.policy; u.unread.len != 1 || u.pages != 2 {
		t.Errorf("%d unread blocks with %d pages", u.unread.len, u.pages)
	}
	// A pinned one that was read is not unread when its pin ends.
	x.touch(blocks[2], false)
	x.delist(blocks[2])
	blocks[2].setPinned(PinNone)
	x.enlist(blocks[2])
	if u := x.policy; u.unread.len != 1 || blocks[2].origin() != meta.OriginDemand || blocks[0].origin() != meta.OriginPrefetch {
		t.Errorf("%d unread blocks", u.unread.len)
	}
	x.policy.remove(blocks[0])
	if u := x.policy; u.unread.len != 0 || u.pages != 0 {
		t.Errorf("%d unread blocks with %d pages", u.unread.len, u.pages)
	}
}
