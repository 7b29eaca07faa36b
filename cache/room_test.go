package cache

import (
	"errors"
	"math"
	"testing"
)

// TestMakeRoom: what is removed under a closed cache is found missing by the next start.
func TestMakeRoom(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 8<<20)
	e.read("k", 0, 8<<20)
	e.idle()
	if err := makeRoom(e.dir, math.MaxInt64); !errors.Is(err, ErrInUse) {
		t.Errorf("under a running cache: %v", err)
	}
	e.close()
	if err := makeRoom(e.dir, 0); err != nil {
		t.Fatal(err)
	}
	e.open()
	before := e.c.Stats()
	if before.Blocks == 0 {
		t.Error("blocks are gone though there was room")
	}
	e.close()
	if err := makeRoom(e.dir, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	e.open()
	eventually(t, "the missing blocks are dropped", func() bool { return e.c.Stats().Blocks == 0 })
	e.read("k", 0, 8<<20)
	e.idle()
	e.checkDisk()
}

func TestGiveRoom(t *testing.T) {
	e := newEnv(t, nil)
	e.o.put("k", 8<<20)
	e.read("k", 0, 8<<20)
	e.idle()
	e.c.giveRoom(0)
	if e.c.Stats().Blocks == 0 {
		t.Error("blocks are gone though there was room")
	}
	e.c.giveRoom(math.MaxInt64)
	if s := e.c.Stats(); s.Blocks != 0 || s.Resident != 0 {
		t.Errorf("%d blocks of %d bytes are left", s.Blocks, s.Resident)
	}
	e.checkDisk()
}
