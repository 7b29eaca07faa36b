package rocks

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openRoom is what opening writes besides tables: a manifest, a log, an options file (bytes).
const openRoom = 4 * mib

// room fails with ENOSPC when the file system of dir cannot take what opening may write: the logs are replayed
// into tables, beside the new files. RocksDB must not find out by itself: a library built with assertions, as
// Debian's is, ends the process when a write fails while it opens.
func room(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	need := int64(openRoom)
	for _, path := range logs {
		if info, err := os.Stat(path); err == nil {
			need += 2 * info.Size()
		}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("rocks: open %s: %d bytes are free, %d may be needed: %w", dir, free, need, unix.ENOSPC)
	}
	return nil
}

// fullDisk reports whether a status of RocksDB says ENOSPC.
func fullDisk(text string) bool { return strings.Contains(text, "No space left on device") }
