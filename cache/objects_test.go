package cache

import (
	"fmt"
	"testing"
	"time"

	"unistore/meta"
	"unistore/object"
)

func attrs(etag string, known bool) object.Attrs {
	a := object.Attrs{Size: 100, ETag: etag, ModTime: time.Unix(1000, 0).UTC(), HeadersKnown: known}
	if known {
		a.Headers.ContentType = "type/" + etag
	}
	return a
}

func TestLearn(t *testing.T) {
	k := keyOf("k")
	type step struct {
		do   string // begin, forget, learn, learn-old (with the first token)
		with object.Attrs
		ok   bool
	}
	later := attrs("a", false)
	later.ModTime = later.ModTime.Add(2 * time.Second)
	subsecond := attrs("a", false)
	subsecond.ModTime = subsecond.ModTime.Add(999 * time.Millisecond)
	moved := attrs("a", true)
	moved.Headers.ContentType = "other"
	a, b, listed := attrs("a", true), attrs("b", true), attrs("a", false)
	tests := []struct {
		name  string
		steps []step
		want  *object.Attrs
	}{
		{"nothing", nil, nil},
		{"learn", []step{{"learn", a, true}}, &a},
		{"another version", []step{{"learn", a, true}, {"learn", b, true}}, &b},
		{"listing first", []step{{"learn", listed, true}}, &listed},
		{"listing keeps headers", []step{{"learn", a, true}, {"learn", listed, true}}, &a},
		{"listing with a finer time keeps headers", []step{{"learn", a, true}, {"learn", subsecond, true}}, &a},
		{"listing of a rewrite does not", []step{{"learn", a, true}, {"learn", later, true}}, &later},
		{"headers after the listing", []step{{"learn", listed, true}, {"learn", a, true}}, &a},
		{"same version, other headers", []step{{"learn", a, true}, {"learn", moved, true}}, &moved},
		{"forget", []step{{"learn", a, true}, {"forget", a, true}}, nil},
		{"answer from before the forget", []step{{"begin", a, true}, {"forget", a, true}, {"learn-old", a, false}}, nil},
		{"question from after the forget", []step{{"forget", a, true}, {"begin", a, true}, {"learn-old", a, true}}, &a},
		{"an older answer of another version", []step{{"begin", a, true}, {"learn", b, true}, {"learn-old", a, false}}, &b},
		{"an older answer of the same version", []step{{"begin", a, true}, {"learn", a, true}, {"learn-old", listed, true}}, &a},
	}
	for _, test := range tests {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, restart), func(t *testing.T) {
				e := newEnv(t, nil)
				var tok Token
				for i, s := range test.steps {
					ok := true
					switch s.do {
					case "begin":
						tok = e.c.Begin(Key{})
					case "forget":
						e.c.Forget(k)
					case "learn":
						ok = e.c.Learn(k, e.c.Begin(k), s.with)
					case "learn-old":
						ok = e.c.Learn(k, tok, s.with)
					}
					if ok != s.ok {
						t.Errorf("step %d %s: %t", i, s.do, ok)
					}
				}
				if restart {
					e.restart()
				}
				got, ok := e.c.Stat(k)
				if restart && test.want != nil && !test.want.HeadersKnown && !ok {
					return // what only a listing said need not be kept
				}
				if ok != (test.want != nil) {
					t.Fatalf("Stat = %+v, %t", got, ok)
				}
				if ok && (got.Attrs.ETag != test.want.ETag || got.Attrs.HeadersKnown != test.want.HeadersKnown ||
					got.Attrs.Headers.ContentType != test.want.Headers.ContentType || got.Checked.IsZero()) {
					t.Errorf("Stat = %+v, want %+v", got, *test.want)
				}
			})
		}
	}
}

func TestLearnRefreshesChecked(t *testing.T) {
	e := newEnv(t, nil)
	k := keyOf("k")
	e.c.Learn(k, e.c.Begin(k), attrs("a", true))
	first, _ := e.c.Stat(k)
	eventually(t, "the clock moves", func() bool { return time.Now().After(first.Checked) })
	e.c.Learn(k, e.c.Begin(k), attrs("a", false))
	if second, _ := e.c.Stat(k); !second.Checked.After(first.Checked) {
		t.Errorf("%v is not after %v", second.Checked, first.Checked)
	}
}

func TestNewVersionDropsBlocks(t *testing.T) {
	for _, how := range []string{"learn", "forget", "learn after a restart"} {
		t.Run(how, func(t *testing.T) {
			e := newEnv(t, nil)
			k := keyOf("k")
			e.c.Learn(k, e.c.Begin(k), e.o.put("k", 3*blockLen))
			e.read("k", 0, 3*blockLen)
			if how == "learn after a restart" {
				e.restart()
			}
			held, err := e.c.Read(t.Context(), e.request("k", 0, blockLen))
			if err != nil {
				t.Fatal(err)
			}
			old := e.o.content("k")
			fresh := e.o.put("k", 2*blockLen)
			if how == "forget" {
				e.c.Forget(k)
			} else {
				e.c.Learn(k, e.c.Begin(k), fresh)
			}
			if s := e.c.Stats(); s.Blocks != 0 {
				t.Errorf("%d blocks", s.Blocks)
			}
			buf := make([]byte, 100)
			if n, err := held.Read(buf); err != nil || string(buf[:n]) != string(old[:n]) {
				t.Errorf("the reader in the midst: %d, %v", n, err)
			}
			held.Close()
			e.idle()
			if s := e.c.Stats(); s.Resident != 0 {
				t.Errorf("%d bytes", s.Resident)
			}
			e.read("k", 0, 2*blockLen)
			e.idle()
			e.checkDisk()
		})
	}
}

func TestMetadataIsBounded(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.MaxObjects = stripes * 2 })
	e.o.put("cached", page)
	e.c.Learn(keyOf("cached"), e.c.Begin(Key{}), e.o.attrs("cached"))
	e.read("cached", 0, page)
	for i := range 1000 {
		k := keyOf(fmt.Sprint(i))
		e.c.Learn(k, e.c.Begin(k), attrs("x", i%2 == 0))
	}
	if n := e.c.Stats().Objects; n > stripes*2 {
		t.Errorf("%d objects in memory", n)
	}
	records := 0
	err := e.c.db.Objects(func(meta.ObjectKey, meta.Object, error) error { records++; return nil })
	if records > stripes*2+1 || err != nil {
		t.Errorf("%d records, %v", records, err)
	}
	if _, ok := e.c.Stat(keyOf("cached")); !ok {
		t.Error("the metadata of what is cached is lost")
	}
}

func TestOrphanedMetadataExpires(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.MaxObjects = 100_000 })
	for i := range 500 {
		k := keyOf(fmt.Sprint(i))
		e.c.Learn(k, e.c.Begin(k), attrs("x", true))
	}
	e.cfg.MaxObjects = stripes
	e.restart()
	eventually(t, "few records", func() bool {
		records := 0
		err := e.c.db.Objects(func(meta.ObjectKey, meta.Object, error) error { records++; return nil })
		return err == nil && records <= stripes
	})
}
