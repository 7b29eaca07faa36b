package rocks_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/linxGnu/grocksdb"
	"go.uber.org/goleak"

	"unistore/meta"
	"unistore/meta/rocks"
)

// childDir makes the test binary a writer into that directory, to be killed.
const childDir = "UNISTORE_TEST_ROCKS_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForever(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// The writer's batches: number i holds the key of i, removes the one of i-keep, and sets "last" to i.
const keep = 50

func numbered(i int) *meta.Batch {
	var b meta.Batch
	b.Put(numberKey(i), fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 4096)))
	b.Delete(numberKey(i - keep))
	b.Put([]byte("last"), fmt.Appendf(nil, "%d", i))
	return &b
}

func numberKey(i int) []byte { return fmt.Appendf(nil, "n/%08d", i) }

// writeForever applies batches, every tenth synced, and prints the number of each that has returned.
func writeForever(dir string, out io.Writer) error {
	e, err := rocks.Open(rocks.Config{Dir: dir, MemoryLimit: 4 << 20})
	if err != nil {
		return err
	}
	last, err := lastNumber(e)
	if err != nil {
		return err
	}
	for i := last + 1; ; i++ {
		if err := e.Apply(numbered(i), i%10 == 0); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, i); err != nil {
			return err
		}
	}
}

func lastNumber(e meta.Engine) (int, error) {
	text, err := e.Get([]byte("last"))
	if errors.Is(err, meta.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var n int
	_, err = fmt.Sscan(string(text), &n)
	return n, err
}

// checkPrefix requires that the database is what the first n batches leave, for some n, which it returns.
func checkPrefix(t *testing.T, e meta.Engine) int {
	t.Helper()
	last, err := lastNumber(e)
	if err != nil {
		t.Fatal(err)
	}
	next := max(1, last-keep+1)
	err = e.Scan([]byte("n/"), nil, func(key, value []byte) error {
		if string(key) != string(numberKey(next)) || !strings.HasPrefix(string(value), fmt.Sprintf("%d x", next)) {
			return fmt.Errorf("found %q, want number %d, last is %d", key, next, last)
		}
		next++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != last+1 {
		t.Fatalf("the numbers end before %d, last is %d", next, last)
	}
	return last
}

// TestKill kills a writer several times in the same directory. What Apply had confirmed, synced or not, is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		confirmed := runAndKill(t, dir, 150+200*round)
		e := open(t, dir)
		if last := checkPrefix(t, e); last < confirmed {
			t.Fatalf("batch %d was confirmed, the last one found is %d", confirmed, last)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill lets a child write n batches and more, and returns the last number that it confirmed.
func runAndKill(t *testing.T, dir string, n int) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	confirmed, lines := 0, bufio.NewScanner(out)
	for count := 0; lines.Scan(); count++ {
		if count == 0 {
			// While the child holds the database, nobody else gets it.
			if _, err := rocks.Open(rocks.Config{Dir: dir}); !errors.Is(err, meta.ErrLocked) {
				t.Errorf("Open beside another process = %v, want ErrLocked", err)
			}
		}
		if count == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		// What it wrote before it died counts too. A last line may be cut.
		if _, err := fmt.Sscan(lines.Text(), &confirmed); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child was not killed: %v", err)
	}
	return confirmed
}

// TestTornLog cuts the write-ahead log anywhere, as a power failure may: batches are lost from the end only.
func TestTornLog(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const batches = 60 // fewer than fill a write buffer: all are in one log
	for range 10 {
		dir := t.TempDir()
		e := open(t, dir)
		for i := 1; i <= batches; i++ {
			if err := e.Apply(numbered(i), false); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		log := only(t, dir, "*.log")
		info, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		size := rnd.Int64N(info.Size())
		if err := os.Truncate(log, size); err != nil {
			t.Fatal(err)
		}
		e = open(t, dir)
		if last := checkPrefix(t, e); last >= batches {
			t.Errorf("a log cut to %d of %d bytes kept all batches", size, info.Size())
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// only returns the one file in dir that matches.
func only(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) != 1 {
		t.Fatalf("%s: %q, %v; want one", pattern, names, err)
	}
	return names[0]
}

func TestDamaged(t *testing.T) {
	overwrite := func(name string) error { return os.WriteFile(name, []byte("garbage\n"), 0o600) }
	tests := []struct {
		name, file string
		damage     func(name string) error
	}{
		{"current lost", "CURRENT", os.Remove},
		{"current garbage", "CURRENT", overwrite},
		{"manifest lost", "MANIFEST-*", os.Remove},
		{"manifest garbage", "MANIFEST-*", overwrite},
		{"table lost", "*.sst", os.Remove},
		{"table garbage", "*.sst", overwrite},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "meta")
			makeTable(t, dir)
			if err := test.damage(only(t, dir, test.file)); err != nil {
				t.Fatal(err)
			}
			if _, err := rocks.Open(rocks.Config{Dir: dir}); !errors.Is(err, meta.ErrCorrupt) {
				t.Fatalf("Open = %v, want ErrCorrupt", err)
			}
			if err := rocks.Destroy(dir); err != nil {
				t.Fatal(err)
			}
			e := open(t, dir)
			if _, err := e.Get([]byte("k")); !errors.Is(err, meta.ErrNotExist) {
				t.Errorf("after Destroy: %v", err)
			}
		})
	}
}

// makeTable leaves a database in dir with k = v in its one table file: the second opening writes the
// log of the first to a table.
func makeTable(t *testing.T, dir string) {
	t.Helper()
	e := open(t, dir)
	put(t, e, "k", "v")
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = open(t, dir)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRottenBlock: a table whose content rots is found when it is read.
func TestRottenBlock(t *testing.T) {
	dir := t.TempDir()
	makeTable(t, dir)
	table := only(t, dir, "*.sst")
	content, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	content[2] ^= 1 // inside the first data block
	if err := os.WriteFile(table, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e := open(t, dir)
	if got, err := e.Get([]byte("k")); !errors.Is(err, meta.ErrCorrupt) {
		t.Errorf("Get = %q, %v; want ErrCorrupt", got, err)
	}
	if err := e.Scan(nil, nil, func([]byte, []byte) error { return nil }); !errors.Is(err, meta.ErrCorrupt) {
		t.Errorf("Scan = %v, want ErrCorrupt", err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	if _, err := rocks.Open(rocks.Config{Dir: dir}); !errors.Is(err, meta.ErrLocked) {
		t.Errorf("second Open = %v, want ErrLocked", err)
	}
	put(t, e, "k", "v") // the refused one broke nothing
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}

	// A program that knows only RocksDB's own lock, such as ldb.
	opts := grocksdb.NewDefaultOptions()
	defer opts.Destroy()
	db, err := grocksdb.OpenDb(opts, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rocks.Open(rocks.Config{Dir: dir}); !errors.Is(err, meta.ErrLocked) {
		t.Errorf("Open beside a foreign program = %v, want ErrLocked", err)
	}
	db.Close()
	if got, err := open(t, dir).Get([]byte("k")); err != nil || string(got) != "v" {
		t.Errorf("k = %q, %v", got, err)
	}
}

// TestUnusable: what the operator has to mend is neither locked nor corrupt, so nobody moves data away.
func TestUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := rocks.Open(rocks.Config{Dir: dir})
		if err == nil || errors.Is(err, meta.ErrCorrupt) || errors.Is(err, meta.ErrLocked) {
			t.Errorf("Open(%q) = %v", dir, err)
		}
	}
}
