package meta_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
	"unistore/meta/mem"
)

func TestScrubRecord(t *testing.T) {
	e := mem.New()
	db, err := meta.NewDB(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Scrub(); !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("%v", err)
	}
	want := meta.Scrub{Next: 1<<63 + 5, Started: time.Unix(1_700_000_000, 0)}
	var ch meta.Changes
	ch.PutScrub(want)
	if err := db.Write(&ch, false); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Scrub(); err != nil || got.Next != want.Next || !got.Started.Equal(want.Started) {
		t.Errorf("%+v, %v", got, err)
	}
	var b meta.Batch
	b.Put([]byte("c"), []byte("nonsense"))
	if err := e.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Scrub(); !errors.Is(err, meta.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

func TestBlocksFrom(t *testing.T) {
	e := mem.New()
	db, err := meta.NewDB(e)
	if err != nil {
		t.Fatal(err)
	}
	var ch meta.Changes
	for id := uint64(10); id <= 50; id += 10 {
		ch.PutBlock(&meta.Block{FileID: id, Size: 1, State: meta.BlockReady, Origin: meta.OriginDemand,
			Pages: meta.Pages{1}, CRC: []uint32{uint32(id)}})
	}
	if err := db.Write(&ch, false); err != nil {
		t.Fatal(err)
	}
	var bad meta.Batch
	bad.Put([]byte("b/\x00\x00\x00\x00\x00\x00\x00\x1e"), []byte("nonsense")) // 30
	if err := e.Apply(&bad, false); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		first uint64
		n     int
		want  []uint64
	}{{0, 2, []uint64{10, 20}}, {20, 2, []uint64{20, 40}}, {21, 9, []uint64{40, 50}}, {50, 1, []uint64{50}}, {51, 1, nil}}
	for _, test := range tests {
		list, err := db.BlocksFrom(test.first, test.n)
		var ids []uint64
		for _, b := range list {
			ids = append(ids, b.FileID)
			if len(b.CRC) != 1 || b.CRC[0] != uint32(b.FileID) {
				t.Errorf("block %d: %v", b.FileID, b.CRC)
			}
		}
		if d := cmp.Diff(test.want, ids); d != "" || err != nil {
			t.Errorf("from %d: %s %v", test.first, d, err)
		}
	}
}

func TestKeepFileIDs(t *testing.T) {
	db, err := meta.NewDB(mem.New())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.KeepFileIDs(5000); err != nil {
		t.Fatal(err)
	}
	if first, err := db.LeaseFileIDs(100); err != nil || first != 5000 {
		t.Errorf("%d, %v", first, err)
	}
	if err := db.KeepFileIDs(5000); err != nil {
		t.Fatal(err)
	}
	if first, err := db.LeaseFileIDs(100); err != nil || first != 5100 {
		t.Errorf("%d, %v", first, err)
	}
	if err := db.Reopen(); !errors.Is(err, errors.ErrUnsupported) || db.Broken() != nil {
		t.Errorf("Reopen = %v, Broken = %v", err, db.Broken())
	}
}
