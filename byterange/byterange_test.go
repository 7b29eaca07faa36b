package byterange_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"unistore/byterange"
)

func TestParse(t *testing.T) {
	tests := []struct {
		header string
		want   byterange.Spec
		ok     bool
	}{
		{"bytes=0-0", byterange.Closed(0, 0), true},
		{"bytes=5-9", byterange.Closed(5, 9), true},
		{"Bytes=5-9", byterange.Closed(5, 9), true},
		{"bytes= 5-9\t", byterange.Closed(5, 9), true},
		{"bytes=007-9", byterange.Closed(7, 9), true},
		{"bytes=7-", byterange.From(7), true},
		{"bytes=-7", byterange.Suffix(7), true},
		{"bytes=-0", byterange.Suffix(0), true},
		{"bytes=0-99999999999999999999", byterange.Closed(0, math.MaxInt64), true},
		{"bytes=9223372036854775807-9223372036854775807", byterange.Closed(math.MaxInt64, math.MaxInt64), true},
		{"bytes=9223372036854775808-", byterange.From(math.MaxInt64), true},
		{"bytes=-18446744073709551617", byterange.Suffix(math.MaxInt64), true},
		{header: ""},
		{header: "bytes"},
		{header: "bytes="},
		{header: "bytes=-"},
		{header: "bytes=5"},
		{header: "bytes=9-5"},
		{header: "bytes=--5"},
		{header: "bytes=5--"},
		{header: "bytes=+5-9"},
		{header: "bytes=5-+9"},
		{header: "bytes=5 - 9"},
		{header: "bytes=0x5-9"},
		{header: "bytes=a-b"},
		{header: "bytes=0-1,3-4"},
		{header: "bytes=0-1,"},
		{header: "bytes=٣-٤"},
		{header: "items=0-1"},
		{header: "bytes 0-1/2"},
		{header: "bytes = 0-1"},
	}
	for _, tt := range tests {
		got, ok := byterange.Parse(tt.header)
		if ok != tt.ok || got != tt.want {
			t.Errorf("Parse(%q) = %v, %v; want %v, %v", tt.header, got, ok, tt.want, tt.ok)
		}
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name string
		spec byterange.Spec
		size int64
		want byterange.Range
		err  bool
	}{
		{"all", byterange.All(), 10, byterange.Range{Off: 0, Len: 10}, false},
		{"all of nothing", byterange.All(), 0, byterange.Range{}, false},
		{"from", byterange.From(3), 10, byterange.Range{Off: 3, Len: 7}, false},
		{"from last", byterange.From(9), 10, byterange.Range{Off: 9, Len: 1}, false},
		{"from end", byterange.From(10), 10, byterange.Range{}, true},
		{"from start of nothing", byterange.From(0), 0, byterange.Range{}, true},
		{"from far", byterange.From(math.MaxInt64), 10, byterange.Range{}, true},
		{"closed", byterange.Closed(2, 4), 10, byterange.Range{Off: 2, Len: 3}, false},
		{"closed one byte", byterange.Closed(9, 9), 10, byterange.Range{Off: 9, Len: 1}, false},
		{"closed one past the end", byterange.Closed(2, 10), 10, byterange.Range{Off: 2, Len: 8}, false},
		{"closed far past the end", byterange.Closed(2, math.MaxInt64), 10, byterange.Range{Off: 2, Len: 8}, false},
		{"closed at the end", byterange.Closed(10, 12), 10, byterange.Range{}, true},
		{"closed of nothing", byterange.Closed(0, 0), 0, byterange.Range{}, true},
		{"suffix", byterange.Suffix(4), 10, byterange.Range{Off: 6, Len: 4}, false},
		{"suffix of all", byterange.Suffix(10), 10, byterange.Range{Off: 0, Len: 10}, false},
		{"suffix beyond all", byterange.Suffix(math.MaxInt64), 10, byterange.Range{Off: 0, Len: 10}, false},
		{"suffix zero", byterange.Suffix(0), 10, byterange.Range{}, true},
		{"suffix of nothing", byterange.Suffix(4), 0, byterange.Range{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.spec.Resolve(tt.size)
			if got != tt.want || (err != nil) != tt.err {
				t.Errorf("Resolve(%d) = %v, %v; want %v, error %v", tt.size, got, err, tt.want, tt.err)
			}
			if err != nil && !errors.Is(err, byterange.ErrUnsatisfiable) {
				t.Errorf("error %v is not ErrUnsatisfiable", err)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	tests := []struct {
		spec                      byterange.Spec
		all, from, closed, suffix bool
		header                    string
	}{
		{spec: byterange.All(), all: true},
		{spec: byterange.Spec{}, all: true},
		{spec: byterange.From(3), from: true, header: "bytes=3-"},
		{spec: byterange.Closed(3, 8), closed: true, header: "bytes=3-8"},
		{spec: byterange.Suffix(8), suffix: true, header: "bytes=-8"},
		{spec: byterange.Of(byterange.Range{Off: 3, Len: 6}), closed: true, header: "bytes=3-8"},
	}
	for _, tt := range tests {
		off, from := tt.spec.IsFrom()
		first, last, closed := tt.spec.IsClosed()
		n, suffix := tt.spec.IsSuffix()
		if tt.spec.IsAll() != tt.all || from != tt.from || closed != tt.closed || suffix != tt.suffix {
			t.Errorf("%v: all %v, from %v, closed %v, suffix %v", tt.spec, tt.spec.IsAll(), from, closed, suffix)
		}
		if from && off != 3 || closed && (first != 3 || last != 8) || suffix && n != 8 {
			t.Errorf("%v: from %d, closed %d-%d, suffix %d", tt.spec, off, first, last, n)
		}
		if got := tt.spec.Header(); got != tt.header {
			t.Errorf("%v: header %q, want %q", tt.spec, got, tt.header)
		}
	}
}

// TestRangeModel compares the arithmetic with sets of single bytes.
func TestRangeModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	random := func() byterange.Range { return byterange.Range{Off: rng.Int64N(20), Len: rng.Int64N(20)} }
	in := func(r byterange.Range, b int64) bool { return b >= r.Off && b < r.Off+r.Len }
	for range 5000 {
		a, b, unit, size := random(), random(), 1+rng.Int64N(8), rng.Int64N(40)
		both, contains := a.Intersect(b), true
		for i := range int64(50) {
			if in(both, i) != (in(a, i) && in(b, i)) {
				t.Fatalf("%v.Intersect(%v) = %v is wrong at %d", a, b, both, i)
			}
			contains = contains && (!in(b, i) || in(a, i))
		}
		if !b.Empty() && a.Contains(b) != contains {
			t.Fatalf("%v.Contains(%v) = %v", a, b, !contains)
		}
		if a.Empty() || a.End() > size {
			continue
		}
		al := a.Align(unit, size)
		if !al.Contains(a) || al.Off%unit != 0 || (al.End()%unit != 0 && al.End() != size) || al.End() > size ||
			al.Off+unit <= a.Off || al.End()-unit >= a.End() {
			t.Fatalf("%v.Align(%d, %d) = %v", a, unit, size, al)
		}
		got, err := byterange.Of(a).Resolve(size)
		if err != nil || got != a {
			t.Fatalf("Of(%v).Resolve(%d) = %v, %v", a, size, got, err)
		}
	}
}

func TestContentRange(t *testing.T) {
	got := byterange.Range{Off: 5, Len: 10}.ContentRange(1 << 42)
	if want := "bytes 5-14/4398046511104"; got != want {
		t.Errorf("ContentRange = %q, want %q", got, want)
	}
}

// FuzzParse: what is accepted renders to a header that means the same, and resolves inside the object.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=99999999999999999999-", "bytes=1-0", "x"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		spec, ok := byterange.Parse(header)
		if !ok {
			return
		}
		if again, ok := byterange.Parse(spec.Header()); !ok || again != spec {
			t.Fatalf("Parse(%q) = %v, but its header %q is %v, %v", header, spec, spec.Header(), again, ok)
		}
		if size < 0 {
			return
		}
		r, err := spec.Resolve(size)
		if err == nil && (r.Off < 0 || r.Len <= 0 || r.End() > size) {
			t.Fatalf("%q of %d bytes is %v", header, size, r)
		}
	})
}
