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
)

// allPins returns what the database holds, in its order; unreadable records as a line with their error.
func allPins(t testing.TB, db *meta.DB) (leases []meta.Lease, pins []meta.PinSet, bad []string) {
	t.Helper()
	err := db.Leases(func(l meta.Lease, err error) error {
		if err != nil {
			bad = append(bad, fmt.Sprintf("lease %d: %v", l.ID, err))
			return nil
		}
		leases = append(leases, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Pins(func(p meta.PinSet, err error) error {
		if err != nil {
			bad = append(bad, fmt.Sprintf("pin %d/%d: %v", p.Lease, p.Leaf, err))
			return nil
		}
		pins = append(pins, p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return leases, pins, bad
}

func TestPins(t *testing.T) {
	db := newDB(t, mem.New())
	leases := []meta.Lease{
		{ID: 1, Query: "", Until: time.UnixMilli(0)},
		{ID: 1 << 40, Query: "AK q-1", Until: time.UnixMilli(1_700_000_000_123)},
		{ID: 1<<64 - 1, Query: strings.Repeat("\x00ü", 500), Until: time.UnixMilli(-5)},
	}
	pins := []meta.PinSet{
		{Lease: 1, Object: [16]byte{1}, Soft: 1},
		{Lease: 1, Object: [16]byte{1}, Leaf: 1<<26 - 1, Hard: 1<<64 - 1},
		{Lease: 1, Object: [16]byte{2, 15: 255}, Leaf: 7, Soft: 1 << 63, Hard: 1<<62 | 1},
		{Lease: 1<<64 - 1, Object: [16]byte{1}, Soft: 1<<64 - 2, Hard: 1},
	}
	var ch meta.Changes
	for i := range leases {
		ch.PutLease(&leases[i])
	}
	for i := range pins {
		ch.PutPins(&pins[i])
	}
	write(t, db, &ch)
	gotLeases, gotPins, bad := allPins(t, db)
	if diff := cmp.Diff(leases, gotLeases); diff != "" || bad != nil {
		t.Errorf("%s %v", diff, bad)
	}
	if diff := cmp.Diff(pins, gotPins); diff != "" {
		t.Error(diff)
	}

	ch = meta.Changes{}
	leases[1].Until = time.UnixMilli(99)
	ch.PutLease(&leases[1])
	ch.DeleteLease(leases[0].ID)
	pins[0].Hard = 6
	ch.PutPins(&pins[0])
	ch.PutPins(&meta.PinSet{Lease: 1, Object: [16]byte{2, 15: 255}, Leaf: 7})
	write(t, db, &ch)
	gotLeases, gotPins, _ = allPins(t, db)
	if diff := cmp.Diff(leases[1:], gotLeases); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(append(pins[:2:2], pins[3]), gotPins); diff != "" {
		t.Error(diff)
	}

	if err := db.DiscardPinsOf(1); err != nil {
		t.Error(err)
	}
	if _, gotPins, _ = allPins(t, db); !cmp.Equal(gotPins, pins[3:]) {
		t.Errorf("%+v", gotPins)
	}

	stop := errors.New("stop")
	if err := db.Leases(func(meta.Lease, error) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := db.Pins(func(meta.PinSet, error) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := db.DiscardPins(); err != nil {
		t.Error(err)
	}
	if l, p, bad := allPins(t, db); len(l)+len(p)+len(bad) != 0 {
		t.Errorf("%v %v %v", l, p, bad)
	}
}

// rawPins returns the records of one lease with one pin, by key.
func rawPins(t testing.TB) map[string][]byte {
	t.Helper()
	e := mem.New()
	db := newDB(t, e)
	var ch meta.Changes
	ch.PutLease(&meta.Lease{ID: 5, Query: "q", Until: time.UnixMilli(7)})
	ch.PutPins(&meta.PinSet{Lease: 5, Leaf: 3, Soft: 2, Hard: 1})
	write(t, db, &ch)
	raw := map[string][]byte{}
	err := e.Scan([]byte("m"), nil, func(key, value []byte) error {
		raw[string(key)] = slices.Clone(value)
		return nil
	})
	if err != nil || len(raw) != 2 {
		t.Fatal(raw, err)
	}
	return raw
}

func TestUnreadablePinsAreReported(t *testing.T) {
	for key, value := range rawPins(t) {
		for i := range value {
			changed := slices.Clone(value)
			changed[i] ^= 1
			for _, v := range [][]byte{changed, value[:i]} {
				e := mem.New()
				db := newDB(t, e)
				var b meta.Batch
				b.Put([]byte(key), v)
				b.Put([]byte(key+"x"), value) // nobody can have written that
				if err := e.Apply(&b, false); err != nil {
					t.Fatal(err)
				}
				if l, p, bad := allPins(t, db); len(l)+len(p) != 0 || len(bad) != 1 {
					t.Errorf("%q = %x: %v %v %v", key, v, l, p, bad)
				}
			}
		}
	}
}

func TestPinsThatCanNotBeAreReported(t *testing.T) {
	for name, p := range map[string]meta.PinSet{
		"a block twice":   {Soft: 3, Hard: 1},
		"beyond any file": {Leaf: 1 << 26, Soft: 1},
	} {
		db := newDB(t, mem.New())
		var ch meta.Changes
		ch.PutPins(&p)
		write(t, db, &ch)
		if _, pins, bad := allPins(t, db); len(pins) != 0 || len(bad) != 1 {
			t.Errorf("%s: %v, %v", name, pins, bad)
		}
	}
}

func FuzzPins(f *testing.F) {
	keys := []string{}
	for key, value := range rawPins(f) {
		keys = append(keys, key)
		f.Add(value[:len(value)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := mem.New()
		db := newDB(t, e)
		var b meta.Batch
		for _, key := range keys {
			b.Put([]byte(key), meta.Seal(body))
		}
		if err := e.Apply(&b, false); err != nil {
			t.Fatal(err)
		}
		leases, pins, bad := allPins(t, db)
		if len(leases)+len(pins)+len(bad) != 2 {
			t.Fatalf("%v %v %v", leases, pins, bad)
		}
		// What can be read is written the same way.
		var ch meta.Changes
		for _, l := range leases {
			ch.PutLease(&l)
		}
		for _, p := range pins {
			ch.PutPins(&p)
		}
		write(t, db, &ch)
		again, pinsAgain, _ := allPins(t, db)
		if !cmp.Equal(leases, again) || !cmp.Equal(pins, pinsAgain) {
			t.Fatalf("%v %v became %v %v", leases, pins, again, pinsAgain)
		}
	})
}
