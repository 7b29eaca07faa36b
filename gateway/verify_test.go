package gateway

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// blockFiles returns the files of the cache's blocks, by the time of their last change.
func (g *testGateway) blockFiles() []string {
	g.t.Helper()
	changed := map[string]time.Time{}
	var files []string
	err := filepath.WalkDir(filepath.Join(g.cfg.Cache.Dir, "blocks"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files = append(files, path)
			changed[path] = info.ModTime()
		}
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	slices.SortFunc(files, func(a, b string) int { return changed[a].Compare(changed[b]) })
	return files
}

// flip changes a bit of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	g := controlGateway(t)
	const size = 3<<20 + 100_000
	body := bytesOf(5, size)
	for _, key := range []string{"x/1", "y/1"} {
		g.put("team-a", key, body)
		if _, _, err := g.get("team-a", key, ""); err != nil {
			t.Fatal(err)
		}
	}
	files := g.blockFiles()
	if len(files) != 8 {
		t.Fatalf("%d files", len(files))
	}
	verify := func(what string) verifyResult {
		t.Helper()
		status, text := g.operator("POST", "cache/verify", what)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if status != 200 || len(lines) < 2 {
			t.Fatalf("%d %s", status, text)
		}
		var last struct{ Result *verifyResult }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Result == nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, line := range lines[:len(lines)-1] {
			var p verifyState
			if err := json.Unmarshal([]byte(line), &p); err != nil || p.Done > p.Total {
				t.Errorf("%v: %s", err, line)
			}
		}
		return *last.Result
	}
	const onDisk = 3<<20 + 100_000 + (4096 - 100_000%4096)
	for what, objects := range map[string]int64{``: 2, `{}`: 2, `{"bucket":"team-a"}`: 2, `{"bucket":"team-a","prefix":"x/"}`: 1, `{"bucket":"shared","prefix":"a/y/1"}`: 1} {
		if got := verify(what); got != (verifyResult{Blocks: 4 * objects, Pages: 50 * objects, Bytes: onDisk * objects}) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	if status, text := g.operator("POST", "cache/verify", `{"bucket":"nowhere"}`); status != 404 {
		t.Errorf("%d %s", status, text)
	}
	flip(t, files[0], 70_000) // of x/1
	flip(t, files[7], 12)     // of y/1
	if err := os.Remove(files[6]); err != nil {
		t.Fatal(err)
	}
	if got := verify(`{"bucket":"team-a","prefix":"x/"}`); got.Corrupt != 1 || got.Unreadable != 0 || got.Blocks != 3 {
		t.Errorf("of x/: %+v", got)
	}
	if got := verify(``); got.Corrupt != 1 || got.Unreadable != 1 || got.Blocks != 5 {
		t.Errorf("of all: %+v", got)
	}
	if got := verify(``); got.Corrupt+got.Unreadable != 0 || got.Blocks != 5 {
		t.Errorf("again: %+v", got)
	}
	for _, key := range []string{"x/1", "y/1"} {
		got, source, err := g.get("team-a", key, "")
		if err != nil || string(got) != string(body) || !strings.Contains(source, "fwd=partial") {
			t.Errorf("%s afterwards: %d bytes, %s, %v", key, len(got), source, err)
		}
	}
	status, text := g.operator("GET", "cache", "")
	if state := decodeJSON[cacheState](t, status, text); state.Errors["corrupt"] != 2 || state.Evictions["corrupt"] != 2 {
		t.Errorf("%s", text)
	}
}
