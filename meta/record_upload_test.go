package meta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
	"unistore/meta/mem"
	"unistore/object"
)

// allUploads returns what the database holds, in its order; unreadable records as a line with their error.
func allUploads(t testing.TB, db *meta.DB) (all []meta.Upload, bad []string) {
	t.Helper()
	err := db.Uploads(func(u meta.Upload, err error) error {
		if err != nil {
			bad = append(bad, fmt.Sprintf("upload %d: %v", u.Number, err))
			return nil
		}
		all = append(all, u)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, bad
}

func partsOf(t testing.TB, db *meta.DB, upload uint64) []meta.UploadPart {
	t.Helper()
	var parts []meta.UploadPart
	if err := db.UploadParts(upload, func(p meta.UploadPart) error { parts = append(parts, p); return nil }); err != nil {
		t.Fatal(err)
	}
	return parts
}

var uploads = []meta.Upload{
	{Number: 0, Kind: meta.UploadPut, State: meta.UploadIntent, At: meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "k"},
		Started: time.Unix(1, 2).UTC(), Last: time.Unix(3, 4).UTC()},
	{Number: 1, Kind: meta.UploadClient, State: meta.UploadOpen, ID: "id",
		At: meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "k\x00\xff" + strings.Repeat("x", 1024)}, Started: time.Unix(5, 0).UTC()},
	{Number: 1 << 40, Kind: meta.UploadClient, State: meta.UploadCompleting, ID: strings.Repeat("i", 200),
		Ended: time.Unix(6, 7).UTC(), Parts: [32]byte{1, 31: 255}},
	{Number: 1<<64 - 1, Kind: meta.UploadClient, State: meta.UploadCompleted, ID: "id", Ended: time.Unix(8, 9).UTC(), Parts: [32]byte{9},
		Result: object.Attrs{Size: 1 << 42, ETag: "x-3", VersionID: "v", ModTime: time.Unix(10, 11).UTC(),
			Checksums: []object.Checksum{{Algorithm: "CRC32", Value: "AAAA", Type: "FULL_OBJECT"}}}},
}

func TestUploads(t *testing.T) {
	db := newDB(t, mem.New())
	var ch meta.Changes
	for i := range uploads {
		ch.PutUpload(&uploads[i])
	}
	write(t, db, &ch)
	got, bad := allUploads(t, db)
	if diff := cmp.Diff(uploads, got); diff != "" || bad != nil {
		t.Errorf("%s %v", diff, bad)
	}

	ch = meta.Changes{}
	changed := slices.Clone(uploads)
	changed[1].State, changed[1].Ended = meta.UploadCompleting, time.Unix(99, 0).UTC()
	ch.PutUpload(&changed[1])
	ch.DeleteUpload(changed[0].Number)
	ch.DeleteUpload(12345)
	write(t, db, &ch)
	got, _ = allUploads(t, db)
	if diff := cmp.Diff(changed[1:], got); diff != "" {
		t.Error(diff)
	}
	for number, want := range map[uint64]bool{0: false, 1: true, 1<<64 - 1: true, 7: false} {
		if has, err := db.HasUpload(number); err != nil || has != want {
			t.Errorf("HasUpload(%d) = %v, %v", number, has, err)
		}
	}
}

func TestUploadParts(t *testing.T) {
	db := newDB(t, mem.New())
	numbers := []uint64{0, 1, 2, 1 << 33, 1<<64 - 1}
	want := map[uint64][]meta.UploadPart{}
	var ch meta.Changes
	for i, n := range numbers {
		for part := 1; part <= 10_000; part += 3333 {
			p := meta.UploadPart{Number: part, Size: int64(i) << 30, ETag: fmt.Sprint(n, part)}
			want[n] = append(want[n], p)
			ch.PutUploadPart(n, p)
		}
	}
	want[2][0].ETag = "again"
	ch.PutUploadPart(2, want[2][0])
	write(t, db, &ch)
	for _, n := range numbers {
		if diff := cmp.Diff(want[n], partsOf(t, db, n)); diff != "" {
			t.Errorf("%d: %s", n, diff)
		}
	}
	if err := db.DiscardUploadParts(1); err != nil {
		t.Fatal(err)
	}
	var with []uint64
	if err := db.UploadsWithParts(func(n uint64) error { with = append(with, n); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{0, 2, 1 << 33, 1<<64 - 1}, with); diff != "" {
		t.Error(diff)
	}
	stop := errors.New("stop")
	if err := db.UploadsWithParts(func(uint64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("UploadsWithParts returned %v", err)
	}
}

// TestUploadsDamaged flips every byte of every record: it is read as it was or not at all.
func TestUploadsDamaged(t *testing.T) {
	for i := range uploads {
		e := mem.New()
		db := newDB(t, e)
		var ch meta.Changes
		ch.PutUpload(&uploads[i])
		write(t, db, &ch)
		var key, value []byte
		if err := e.Scan([]byte("mu/"), nil, func(k, v []byte) error { key, value = slices.Clone(k), slices.Clone(v); return nil }); err != nil {
			t.Fatal(err)
		}
		for at := range value {
			broken := slices.Clone(value)
			broken[at] ^= 0x40
			var b meta.Batch
			b.Put(key, broken)
			if err := e.Apply(&b, false); err != nil {
				t.Fatal(err)
			}
			got, bad := allUploads(t, db)
			if len(got) != 0 || len(bad) != 1 || !strings.Contains(bad[0], fmt.Sprintf("upload %d: ", uploads[i].Number)) {
				t.Fatalf("byte %d of upload %d: %v %v", at, i, got, bad)
			}
		}
	}
}
