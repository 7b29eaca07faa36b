package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// suspectName is a file in the directory of the cache: while it is there the records of objects, and those of blocks
// that were removed, may be older than what they describe.
const suspectName = "UNSURE"

// suspect remembers, over the end of the process too, that the database has refused a change which must not be
// undone by a restart. The first call of a trouble writes a file.
func (c *Cache) suspect() {
	if c.unsure.Swap(true) {
		return
	}
	if err := markSuspect(c.cfg.Dir); err != nil {
		c.survived(kindMeta, fmt.Errorf("mark the records as unsure: %w", err))
	}
}

// suspected reports whether an earlier run has ended in suspicion.
func (c *Cache) suspected() bool {
	_, err := os.Stat(filepath.Join(c.cfg.Dir, suspectName))
	if err == nil {
		c.unsure.Store(true)
	}
	return err == nil
}

// settle ends the suspicion when all that was refused is done by now.
func (c *Cache) settle() {
	if !c.unsure.Load() || c.guard.sides()&sideRecords != 0 || !c.retry.empty() {
		return
	}
	if err := c.objects.discard(); err != nil {
		c.survived(kindMeta, err)
		return
	}
	c.unsure.Store(false)
	err := os.Remove(filepath.Join(c.cfg.Dir, suspectName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.survived(kindMeta, fmt.Errorf("the records are sure again: %w", err))
	}
	if !c.retry.empty() || c.objects.void.Load() { // refused meanwhile
		c.suspect()
	}
}
