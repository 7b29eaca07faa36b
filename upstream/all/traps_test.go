package all

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources returns the Go files of a package below upstream/, as one text.
func sources(t *testing.T, pkg string) string {
	t.Helper()
	dir := filepath.Join("..", pkg)
	if pkg == "upstream" {
		dir = ".."
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("package %s: %d files, %v", pkg, len(files), err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestTrapTable: every test that the documentation names for a trap is there, and every trap in it has one or a word why not.
func TestTrapTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/upstreams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "## Traps and their tests\n")
	if !ok {
		t.Fatal("the section is missing")
	}
	named := regexp.MustCompile("`((?:[a-z0-9]+/)*[a-z0-9]+)\\.([A-Za-z0-9]+)(?:/([^`]+))?`")
	rows, tests := 0, 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 2 || strings.HasSuffix(cells[1], "test |") {
			continue
		}
		rows++
		found := named.FindAllStringSubmatch(cells[1], -1)
		if len(found) == 0 && !strings.HasPrefix(cells[1], "not ") && !strings.HasPrefix(cells[1], "no test") {
			t.Errorf("no test is named: %s", line)
		}
		for _, f := range found {
			tests++
			code := sources(t, f[1])
			if !strings.Contains(code, "func "+f[2]+"(") {
				t.Errorf("%s has no %s", f[1], f[2])
			}
			if f[3] != "" && !strings.Contains(code, `"`+f[3]+`"`) {
				t.Errorf("%s has no case %q", f[1], f[3])
			}
		}
	}
	if rows < 60 || tests < rows {
		t.Errorf("%d rows, %d tests: the table is not read", rows, tests)
	}
	t.Logf("%d traps, %d tests", rows, tests)
}
