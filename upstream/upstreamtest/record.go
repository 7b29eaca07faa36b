package upstreamtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recordVariable is the environment variable that makes a run write its row of the record instead of comparing it.
// With several packages it needs go test -p 1.
const recordVariable = "UNISTORE_RECORD_CONFORMANCE"

// recordFile has a row for every driver and store that the suite is run on, below the root of the module.
const recordFile = "docs/conformance.md"

// Row is the place of a run in docs/conformance.md. The run fails when what stands there is not true.
type Row struct {
	Driver string // its package's name
	Store  string // what it was run on. An emulator is called one.
	RunBy  string // the make target
}

func (r Row) where() string { return "`" + r.Driver + "` on " + r.Store }

// line is the row of the table.
func (r Row) line(notApplicable, deviations int) string {
	return fmt.Sprintf("| `%s` | %s | %d | %d | `%s` |", r.Driver, r.Store, notApplicable, deviations, r.RunBy)
}

func (r Row) linePrefix() string { return fmt.Sprintf("| `%s` | %s |", r.Driver, r.Store) }

// reasons are the lines about a row's deviations, one a reason.
func (r Row) reasons(deviations map[string]string) []string {
	byReason := map[string][]string{}
	for name, reason := range deviations {
		byReason[reason] = append(byReason[reason], "`` "+name+" ``")
	}
	var lines []string
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		names := byReason[reason]
		slices.Sort(names)
		lines = append(lines, fmt.Sprintf("- %s: %s: %s", r.where(), reason, strings.Join(names, ", ")))
	}
	return lines
}

func (r Row) reasonPrefix() string { return "- " + r.where() + ": " }

// record is docs/conformance.md in its parts.
type record struct {
	path   string
	head   []string // up to the table's rows
	rows   []string
	middle []string // up to the deviations
	lines  []string // of deviations
}

// moduleRoot is the directory of go.mod, at or above the test's.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

func readRecord() (*record, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	r := &record{path: filepath.Join(root, recordFile)}
	text, err := os.ReadFile(r.path)
	if err != nil {
		return nil, err
	}
	part := &r.head
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "| `"):
			r.rows, part = append(r.rows, line), &r.middle
		case strings.HasPrefix(line, "- `"):
			r.lines = append(r.lines, line)
		default:
			*part = append(*part, line)
		}
	}
	return r, nil
}

func (r *record) write() error {
	slices.Sort(r.rows)
	slices.Sort(r.lines)
	text := strings.Join(slices.Concat(r.head, r.rows, r.middle, r.lines), "\n") + "\n"
	return os.WriteFile(r.path, []byte(text), 0o644)
}

func starting(lines []string, prefix string) []string {
	var out []string
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line)
		}
	}
	return out
}

func without(lines []string, prefix string) []string {
	return slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) })
}

// checkRecord holds the record to what has just been run, or writes it.
func (s *suite) checkRecord(t *testing.T) {
	t.Helper()
	row := s.h.Row
	if row == (Row{}) {
		return
	}
	r, err := readRecord()
	if err != nil {
		t.Error(err)
		return
	}
	line, reasons := row.line(s.skipped, len(s.h.Deviations)), row.reasons(s.h.Deviations)
	slices.Sort(reasons)
	if os.Getenv(recordVariable) != "" {
		r.rows = append(without(r.rows, row.linePrefix()), line)
		r.lines = append(without(r.lines, row.reasonPrefix()), reasons...)
		if err := r.write(); err != nil {
			t.Error(err)
		}
		return
	}
	have := starting(r.lines, row.reasonPrefix())
	if !slices.Contains(r.rows, line) || !slices.Equal(have, reasons) {
		t.Errorf("%s is not true any more; write it with %s=1. It should have:\n%s\n%s", recordFile, recordVariable,
			line, strings.Join(reasons, "\n"))
	}
}
