package hdfs

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"unistore/upstream"
)

// legal reports whether HDFS can hold a component (DFSUtil.isValidName, and .snapshot, .reserved).
func legal(name string) bool {
	return name != "" && name != "." && name != ".." && name != ".snapshot" && name != ".reserved" &&
		!strings.ContainsAny(name, ":/\x00") && len(name) <= 255
}

// back returns the key that a path leads to.
func back(t *testing.T, dirs []string, file string) string {
	t.Helper()
	key := ""
	for i, name := range append(slices.Clone(dirs), file) {
		segment, ok := segmentOf(name, i < len(dirs))
		if !ok {
			t.Fatalf("%q, of %q and %q, leads to no key", name, dirs, file)
		}
		key += segment
	}
	return key
}

func TestNames(t *testing.T) {
	tests := map[string]keyPath{
		"a":                 {nil, "a", ".=oa"},
		"a/b":               {[]string{"a"}, "b", ".=ob"},
		"a/":                {[]string{"a"}, ".=n", ".=o"},
		"/":                 {[]string{".=n"}, ".=n", ".=o"},
		"a//b":              {[]string{"a", ".=n"}, "b", ".=ob"},
		"../.":              {[]string{".=n.."}, ".=n.", ".=o."},
		"C:/x:y%":           {[]string{".=nC%3A"}, ".=nx%3Ay%25", ".=ox%3Ay%25"},
		"100%":              {nil, "100%", ".=o100%25"},
		".snapshot/s":       {[]string{".=n.snapshot"}, "s", ".=os"},
		".=n":               {nil, ".=n.=n", ".=o.=n"},
		".unistore/tmp/x":   {[]string{".unistore", "tmp"}, "x", ".=ox"},
		".reserved/.inodes": {[]string{".=n.reserved"}, ".inodes", ".=o.inodes"},
	}
	for key, want := range tests {
		got, err := pathOf("Put", key)
		if err != nil || !slices.Equal(got.dirs, want.dirs) || got.plain != want.plain || got.aside != want.aside {
			t.Errorf("%q: %+v, %v; want %+v", key, got, err, want)
		}
	}
}

func TestNamesRefused(t *testing.T) {
	for name, key := range map[string]string{
		"empty": "", "null": "a\x00b", "no UTF-8": "a\xff", "long": strings.Repeat("x", 253), "long directory": strings.Repeat("x", 253) + "/a",
		"long when escaped": strings.Repeat(":", 85), "deep": strings.Repeat("/", 1000),
	} {
		if _, err := pathOf("Put", key); !errors.Is(err, upstream.InvalidKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := pathOf("Put", strings.Repeat("x", 252)); err != nil {
		t.Errorf("252 bytes: %v", err)
	}
}

// TestNamesAreReversible: every key has its own legal path, which leads back to it; no two names of one
// directory give the same segment, but for the two of an object.
func TestNamesAreReversible(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	pieces := []string{"", "a", "b", ".", "..", ":", "%", "%25", "%3A", "/", "/", ".=", ".=n", ".=o", "ä", "\uffff", ".snapshot", "\n"}
	seen := map[string]string{}
	for range 20_000 {
		key := ""
		for range 1 + rng.IntN(6) {
			key += pieces[rng.IntN(len(pieces))]
		}
		if key == "" {
			continue
		}
		p, err := pathOf("Put", key)
		if err != nil {
			t.Fatalf("seed %d: %q: %v", seed, key, err)
		}
		for _, name := range append(slices.Clone(p.dirs), p.plain, p.aside) {
			if !legal(name) {
				t.Fatalf("seed %d: %q has the component %q", seed, key, name)
			}
		}
		if got := back(t, p.dirs, p.plain); got != key {
			t.Fatalf("seed %d: %q leads back to %q", seed, key, got)
		}
		if got := back(t, p.dirs, p.aside); got != key {
			t.Fatalf("seed %d: aside, %q leads back to %q", seed, key, got)
		}
		if aside, ok := asideOf(p.plain); !ok || aside != p.aside {
			t.Fatalf("seed %d: %q makes way as %q, %v; want %q", seed, p.plain, aside, ok, p.aside)
		}
		path := strings.Join(append(slices.Clone(p.dirs), p.plain), "/")
		if other, ok := seen[path]; ok && other != key {
			t.Fatalf("seed %d: %q and %q share the path %q", seed, key, other, path)
		}
		seen[path] = key
	}
}

func TestNamesThatLeadNowhere(t *testing.T) {
	for _, name := range []string{".=", ".=x", ".=l", ".=na", ".=n%", ".=n%3a", ".=nx%41:", "a\xff", strings.Repeat("x", 253)} {
		if segment, ok := segmentOf(name, false); ok {
			t.Errorf("%q leads to %q", name, segment)
		}
	}
	if _, ok := segmentOf(".=oa", true); ok {
		t.Error("a directory is aside")
	}
}
