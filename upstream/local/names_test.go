package local

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	long := strings.Repeat("x", longPiece)
	tests := map[string]keyPath{
		"a":             {nil, "a", ".=oa"},
		"a/b.parquet":   {[]string{"a"}, "b.parquet", ".=ob.parquet"},
		"a/":            {[]string{"a"}, ".=n", ".=o"},
		"/a":            {[]string{".=n"}, "a", ".=oa"},
		"a//b":          {[]string{"a", ".=n"}, "b", ".=ob"},
		".":             {nil, ".=n.", ".=o."},
		"../x":          {[]string{".=n.."}, "x", ".=ox"},
		"...":           {nil, "...", ".=o..."},
		".=na":          {nil, ".=n.=na", ".=o.=na"},
		".=/x":          {[]string{".=n.="}, "x", ".=ox"},
		long[1:]:        {nil, long[1:], ".=o" + long[1:]},
		long:            {[]string{".=l" + long}, ".=n", ".=o"},
		long + "y/z":    {[]string{".=l" + long, "y"}, "z", ".=oz"},
		long + long[1:]: {[]string{".=l" + long}, long[1:], ".=o" + long[1:]},
	}
	for key, want := range tests {
		got, err := pathOf("test", key)
		if err != nil || !slices.Equal(got.dirs, want.dirs) || got.plain != want.plain || got.aside != want.aside {
			t.Errorf("pathOf(%q) = %+v, %v; want %+v", key, got, err, want)
		}
	}
	for _, key := range []string{"", "\x00", "a/b\x00c"} {
		if _, err := pathOf("test", key); err == nil {
			t.Errorf("pathOf(%q) succeeds", key)
		}
	}
}

// TestNamesRoundTrip: random keys have legal names, and these lead back to them and to no other key.
func TestNamesRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	parts := []string{"a", "/", "/", ".", ".=", "n", "o", "l", strings.Repeat("x", 251), "xxxx", "é", "%"}
	seen := map[string]string{}
	for range 20_000 {
		var key strings.Builder
		for range 1 + rng.IntN(8) {
			key.WriteString(parts[rng.IntN(len(parts))])
		}
		p, err := pathOf("test", key.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range []string{p.plain, p.aside} {
			if got := keyOf(t, p.dirs, leaf); got != key.String() {
				t.Fatalf("%q is at %q, %q, which is %q", key.String(), p.dirs, leaf, got)
			}
			path := strings.Join(append(slices.Clone(p.dirs), leaf), "/")
			if other, ok := seen[path]; ok && other != key.String() {
				t.Fatalf("%q and %q are both at %q", other, key.String(), path)
			}
			seen[path] = key.String()
		}
	}
}

// keyOf is the key that a walk finds at a path.
func keyOf(t *testing.T, dirs []string, leaf string) string {
	t.Helper()
	var key strings.Builder
	for i, name := range append(slices.Clone(dirs), leaf) {
		if len(name) > 255 || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			t.Fatalf("%q is no file name", name)
		}
		segment, ok := segmentOf(name, i < len(dirs))
		if !ok {
			t.Fatalf("a walk does not see %q", name)
		}
		key.WriteString(segment)
	}
	return key.String()
}

func TestNamesOfNoKey(t *testing.T) {
	for _, name := range []string{
		".=", ".=n" + "a", ".=na", ".=x", ".=xa", ".=lshort", strings.Repeat("x", 252), strings.Repeat("x", 255),
		".=o" + strings.Repeat("x", 252), ".=n.=" + strings.Repeat("x", 250),
	} {
		for _, isDir := range []bool{false, true} {
			if segment, ok := segmentOf(name, isDir); ok {
				t.Errorf("segmentOf(%q, %v) = %q", name, isDir, segment)
			}
		}
	}
	if _, ok := segmentOf(".=oa", true); ok {
		t.Error("a directory is taken for an object")
	}
	if _, ok := segmentOf(".=l"+strings.Repeat("x", longPiece), false); ok {
		t.Error("a file is taken for a piece of a long name")
	}
}
