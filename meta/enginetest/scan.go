package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
)

func testScanRanges(t *testing.T, e meta.Engine) {
	for _, key := range []string{"a", "b", "b\x00", "b/1", "b/2", "b\xff", "b\xff\xff", "c", "\xfe\xff", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\x00"} {
		put(t, e, key, "v")
	}
	tests := []struct {
		prefix, start string
		want          []string
	}{
		{"", "", []string{"a", "b", "b\x00", "b/1", "b/2", "b\xff", "b\xff\xff", "c", "\xfe\xff", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\x00"}},
		{"", "c", []string{"c", "\xfe\xff", "\xff", "\xff\x01", "\xff\xff", "\xff\xff\x00"}},
		{"b", "", []string{"b", "b\x00", "b/1", "b/2", "b\xff", "b\xff\xff"}},
		{"b/", "", []string{"b/1", "b/2"}},
		{"b/", "b/1", []string{"b/1", "b/2"}},
		{"b/", "b/10", []string{"b/2"}},
		{"b/", "b/2\x00", nil},
		{"b/", "a", []string{"b/1", "b/2"}},
		{"b/", "c", nil},
		{"b\xff", "", []string{"b\xff", "b\xff\xff"}},
		{"b\xff\xff", "b\xff", []string{"b\xff\xff"}},
		{"\xfe\xff", "", []string{"\xfe\xff"}},
		{"\xff", "", []string{"\xff", "\xff\x01", "\xff\xff", "\xff\xff\x00"}},
		{"\xff\xff", "", []string{"\xff\xff", "\xff\xff\x00"}},
		{"\xff\xff", "\xff\xff\xff", nil},
		{"d", "", nil},
		{"bb", "", nil},
	}
	for _, test := range tests {
		var got []string
		for pair := range slices.Chunk(scan(t, e, []byte(test.prefix), []byte(test.start)), 2) {
			got = append(got, pair[0])
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Scan(%q, %q) (-want +got):\n%s", test.prefix, test.start, diff)
		}
	}
}

func testScanStops(t *testing.T, e meta.Engine) {
	put(t, e, "a", "1", "b", "2", "c", "3")
	stop := errors.New("stop")
	seen := 0
	err := e.Scan(nil, nil, func([]byte, []byte) error {
		seen++
		if seen == 2 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || seen != 2 {
		t.Errorf("Scan = %v after %d keys, want the error of the call after 2", err, seen)
	}
}

func testScanNests(t *testing.T, e meta.Engine) {
	put(t, e, "a", "1", "b", "2")
	var got []string
	err := e.Scan(nil, nil, func(key, _ []byte) error {
		value, err := e.Get(key)
		if err != nil {
			return err
		}
		return e.Scan(key, nil, func(inner, _ []byte) error {
			got = append(got, string(inner)+"="+string(value))
			return nil
		})
	})
	if want := []string{"a=1", "b=2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("nested: %q, %v; want %q", got, err, want)
	}
}

func testScanIsOneMoment(t *testing.T, e meta.Engine) {
	put(t, e, "a", "1", "b", "1", "c", "1")
	var got []string
	err := e.Scan(nil, nil, func(key, value []byte) error {
		if len(got) == 0 {
			var b meta.Batch
			b.Put([]byte("aa"), []byte("2"))
			b.Put([]byte("b"), []byte("2"))
			b.Delete([]byte("c"))
			if err := e.Apply(&b, false); err != nil {
				return err
			}
		}
		got = append(got, string(key), string(value))
		return nil
	})
	if want := []string{"a", "1", "b", "1", "c", "1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("a scan during a change saw %q, %v; want %q", got, err, want)
	}
	if got, want := scan(t, e, nil, nil), []string{"a", "1", "aa", "2", "b", "2"}; !slices.Equal(got, want) {
		t.Errorf("a scan after it saw %q, want %q", got, want)
	}
}
