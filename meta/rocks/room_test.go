package rocks

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenWithoutRoom: RocksDB is not asked to open a database on a disk that can not take what it would write.
func TestOpenWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "999999.log")
	f, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(8 << 40); err != nil { // all holes, and more than any disk here has free
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := Open(Config{Dir: dir}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Open: %v, %v", e, err)
	}
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	e, err = Open(Config{Dir: dir})
	if err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
