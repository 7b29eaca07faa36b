package meta_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
	"unistore/meta/mem"
	"unistore/object"
)

func newDB(t testing.TB, e meta.Engine) *meta.DB {
	t.Helper()
	db, err := meta.NewDB(e)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func write(t testing.TB, db *meta.DB, ch *meta.Changes) {
	t.Helper()
	if err := db.Write(ch, false); err != nil {
		t.Fatal(err)
	}
}

var fullAttrs = object.Attrs{
	Size: 1 << 42, ETag: "abc-3", VersionID: "v1", ModTime: time.Unix(1_700_000_000, 123_456_789).UTC(),
	Headers: object.Headers{
		ContentType: "a/b", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: "x",
		CacheControl: "no-store", Expires: "never", User: map[string]string{"a": "1", "b": "", "ü": "\x00"},
	},
	Checksums:  []object.Checksum{{Algorithm: "CRC32", Value: "AAAA", Type: "FULL_OBJECT"}, {Algorithm: "SHA1", Value: "x-2"}},
	PartsCount: 3, StorageClass: "GLACIER", HeadersKnown: true,
}

func TestObjects(t *testing.T) {
	db := newDB(t, mem.New())
	keys := []meta.ObjectKey{
		{Upstream: "u", Bucket: "b", Key: "k"}, {Upstream: "u", Bucket: "bk", Key: ""}, {Upstream: "ub", Bucket: "", Key: "k"},
		{Upstream: "", Bucket: "ub", Key: "k"}, {Upstream: "u", Bucket: "b", Key: "k\x00\xff/../" + strings.Repeat("x", 1024)},
	}
	objects := []meta.Object{
		{}, {Attrs: fullAttrs, Checked: time.Unix(5, 6).UTC()}, {Attrs: object.Attrs{ETag: "x"}},
		{Attrs: object.Attrs{Size: 7, HeadersKnown: true}}, {Checked: time.Unix(-5, 0).UTC()},
	}
	var ch meta.Changes
	for i, k := range keys {
		ch.PutObject(k, objects[i])
	}
	write(t, db, &ch)
	for i, k := range keys {
		got, err := db.Object(k)
		if diff := cmp.Diff(objects[i], got); err != nil || diff != "" {
			t.Errorf("%+v: %v %s", k, err, diff)
		}
	}
	n := 0
	err := db.Objects(func(k meta.ObjectKey, o meta.Object, err error) error {
		n++
		if i := slices.Index(keys, k); i < 0 || err != nil || !cmp.Equal(o, objects[i]) {
			t.Errorf("%+v: %d, %v", k, i, err)
		}
		return nil
	})
	if n != len(keys) || err != nil {
		t.Errorf("%d objects, %v", n, err)
	}
	ch = meta.Changes{}
	ch.DeleteObject(keys[0])
	write(t, db, &ch)
	if _, err := db.Object(keys[0]); !errors.Is(err, meta.ErrNotExist) {
		t.Error(err)
	}
	if err := db.DiscardObjects(); err != nil {
		t.Error(err)
	}
	if _, err := db.Object(keys[1]); !errors.Is(err, meta.ErrNotExist) {
		t.Error(err)
	}
}

// randomBlock returns a sound record.
func randomBlock(r *rand.Rand) meta.Block {
	b := meta.Block{
		FileID: r.Uint64(), Index: r.Uint32(), Size: r.Int64(), State: meta.BlockReady,
		Origin: meta.OriginDemand + meta.Origin(r.IntN(2)),
	}
	binary.LittleEndian.PutUint64(b.Object[3:], r.Uint64())
	if r.IntN(4) == 0 {
		b.State = meta.BlockFilling
		return b
	}
	b.CRC = make([]uint32, 1+r.IntN(meta.MaxPages))
	for i := range b.CRC {
		if r.IntN(2) == 0 {
			b.Pages.Set(i)
			b.CRC[i] = r.Uint32()
		}
	}
	return b
}

func TestBlocks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	db := newDB(t, mem.New())
	want := map[uint64]meta.Block{}
	var ch meta.Changes
	for range 300 {
		b := randomBlock(r)
		want[b.FileID] = b
		ch.PutBlock(&b)
		ch.PutUsed(b.FileID, b.Index)
	}
	write(t, db, &ch)
	last := uint64(0)
	n := 0
	err := db.Blocks(func(b *meta.Block, err error) error {
		if b.FileID < last || err != nil {
			t.Errorf("%x after %x, %v", b.FileID, last, err)
		}
		last = b.FileID
		n++
		got := *b
		got.CRC = append([]uint32(nil), b.CRC...)
		if diff := cmp.Diff(want[b.FileID], got); diff != "" {
			t.Error(diff)
		}
		one, err := db.Block(b.FileID)
		if diff := cmp.Diff(got.Pages, one.Pages); err != nil || diff != "" || one.Index != got.Index {
			t.Error(err, diff)
		}
		return nil
	})
	if n != len(want) || err != nil {
		t.Errorf("%d of %d blocks, %v", n, len(want), err)
	}
	used := 0
	err = db.Used(func(id uint64, u uint32) error {
		used++
		if b, ok := want[id]; !ok || b.Index != u {
			t.Errorf("%x used %d", id, u)
		}
		return nil
	})
	if used != len(want) || err != nil {
		t.Errorf("%d, %v", used, err)
	}
	ch = meta.Changes{}
	ch.DeleteBlock(last)
	write(t, db, &ch)
	if _, err := db.Block(last); !errors.Is(err, meta.ErrNotExist) {
		t.Error(err)
	}
	if err := db.DiscardBlocks(); err != nil {
		t.Error(err)
	}
	if err := db.Blocks(func(b *meta.Block, _ error) error { return fmt.Errorf("block %x is left", b.FileID) }); err != nil {
		t.Error(err)
	}
	if err := db.Used(func(id uint64, _ uint32) error { return fmt.Errorf("use of %x is left", id) }); err != nil {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	var p meta.Pages
	for _, i := range []int{0, 63, 64, 255} {
		p.Set(i)
		if !p.Has(i) {
			t.Error(i)
		}
	}
	if p.Count() != 4 || p.Has(1) || p.Has(254) {
		t.Errorf("%x", p)
	}
	p.Clear(64)
	if p.Has(64) || p.Count() != 3 {
		t.Errorf("%x", p)
	}
}

// Every flipped bit and every truncation of every kind of record is found.
func TestDamageIsFound(t *testing.T) {
	e := mem.New()
	db := newDB(t, e)
	k := meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "k"}
	b := randomBlock(rand.New(rand.NewPCG(1, 1)))
	var ch meta.Changes
	ch.PutObject(k, meta.Object{Attrs: fullAttrs})
	ch.PutBlock(&b)
	write(t, db, &ch)
	if err := db.PutRun(meta.Run{Clean: true, BootID: "boot", BlockSize: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	reads := map[byte]func() error{
		'o': func() error { _, err := db.Object(k); return err },
		'b': func() error { _, err := db.Block(b.FileID); return err },
		'r': func() error { _, err := db.Run(); return err },
	}
	var records meta.Batch
	err := e.Scan(nil, nil, func(key, value []byte) error {
		records.Put(slices.Clone(key), slices.Clone(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records.Ops {
		read := reads[rec.Key[0]]
		if read == nil {
			continue
		}
		damage := func(v []byte) {
			var batch meta.Batch
			batch.Put(rec.Key, v)
			if err := e.Apply(&batch, false); err != nil {
				t.Fatal(err)
			}
			if err := read(); !errors.Is(err, meta.ErrCorrupt) {
				t.Fatalf("%q: %v", rec.Key, err)
			}
		}
		for i := range rec.Value {
			damage(rec.Value[:i])
			bad := slices.Clone(rec.Value)
			bad[i] ^= 1 << (i % 8)
			damage(bad)
		}
		damage(append(slices.Clone(rec.Value), 0))
	}
}

func TestFormatVersion(t *testing.T) {
	set := func(e meta.Engine, v []byte) {
		var b meta.Batch
		b.Put([]byte("f"), v)
		b.Put([]byte("o/what"), []byte("ever"))
		if err := e.Apply(&b, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		value   []byte
		refused bool
	}{
		{"newer", binary.BigEndian.AppendUint32(nil, 1000), true},
		{"older", binary.BigEndian.AppendUint32(nil, 0), false},
		{"damaged", []byte("xx"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := mem.New()
			set(e, test.value)
			_, err := meta.NewDB(e)
			if errors.Is(err, meta.ErrVersion) != test.refused || !test.refused && err != nil {
				t.Fatal(err)
			}
			_, left := e.Get([]byte("o/what"))
			if kept := left == nil; kept != test.refused {
				t.Errorf("records kept: %t", kept)
			}
			if !test.refused {
				newDB(t, e) // now it is ours
			}
		})
	}
}

func TestLease(t *testing.T) {
	e := mem.New()
	next := uint64(0)
	for i := range 10 {
		first, err := newDB(t, e).LeaseFileIDs(1000)
		if err != nil || i > 0 && first != next {
			t.Errorf("lease %d begins at %d, want %d: %v", i, first, next, err)
		}
		next = first + 1000
	}
	var b meta.Batch
	b.Put([]byte("s"), binary.BigEndian.AppendUint64(nil, 1<<64-500))
	if err := e.Apply(&b, true); err != nil {
		t.Fatal(err)
	}
	if first, err := newDB(t, e).LeaseFileIDs(1000); err == nil {
		t.Errorf("ids from %d on were given out again", first)
	}
}

func TestRun(t *testing.T) {
	db := newDB(t, mem.New())
	if _, err := db.Run(); !errors.Is(err, meta.ErrNotExist) {
		t.Error(err)
	}
	for _, run := range []meta.Run{{}, {Clean: true, BootID: "x", BlockSize: 1 << 20}} {
		if err := db.PutRun(run); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Run(); got != run || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// FuzzRecords feeds raw values to every decoder. A sound one survives a round trip.
func FuzzRecords(f *testing.F) {
	e := mem.New()
	db := newDB(f, e)
	k := meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "k"}
	var ch meta.Changes
	ch.PutObject(k, meta.Object{Attrs: fullAttrs, Checked: time.Unix(9, 9)})
	for i := range uint64(3) {
		b := randomBlock(rand.New(rand.NewPCG(i, i)))
		ch.PutBlock(&b)
	}
	write(f, db, &ch)
	err := e.Scan(nil, nil, func(_, value []byte) error {
		if len(value) > 4 {
			f.Add(slices.Clone(value[:len(value)-4]))
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value := meta.Seal(body)
		eng := mem.New()
		db := newDB(t, eng)
		var b meta.Batch
		b.Put([]byte("r"), value)
		b.Put(append([]byte("b/"), make([]byte, 8)...), value)
		b.Put([]byte("o/\x01u\x01bk"), value)
		if err := eng.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
		ok := func(err error) bool {
			if err != nil && !errors.Is(err, meta.ErrCorrupt) {
				t.Fatal(err)
			}
			return err == nil
		}
		_, err := db.Run()
		ok(err)
		var again meta.Changes
		o, err := db.Object(k)
		if ok(err) {
			again.PutObject(k, o)
		}
		blk, err := db.Block(0)
		isBlock := ok(err)
		if isBlock {
			again.PutBlock(&blk)
		}
		isObject := again.Len() > 0 && (!isBlock || again.Len() > 1)
		write(t, db, &again)
		if isObject {
			if got, err := db.Object(k); err != nil || !cmp.Equal(got, o) {
				t.Fatalf("%v %s", err, cmp.Diff(o, got))
			}
		}
		if isBlock {
			if got, err := db.Block(0); err != nil || !cmp.Equal(got, blk) {
				t.Fatalf("%v %s", err, cmp.Diff(blk, got))
			}
		}
	})
}
