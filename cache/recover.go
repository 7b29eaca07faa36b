package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"unistore/meta"
)

// fileIDLease is how many file ids one run may use up: more than it can. Ids are 64 bit, so there are
// millions of runs.
const fileIDLease = 1 << 40

// lockDir makes dir and takes the lock of its LOCK file, which lasts as long as the file is open or
// the process lives.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %s: %w", path, err), f.Close())
	}
	return f, nil
}

// bootID returns what the kernel draws at every boot, or nothing when it can not be read.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// run returns the Run record of this run while it lasts.
func (c *Cache) run() meta.Run {
	return meta.Run{BootID: c.cfg.BootID, BlockSize: c.cfg.BlockSize}
}

// recoverOrReset is recover; a database that turns out to be damaged is replaced by an empty one, if it can be.
func (c *Cache) recoverOrReset() error {
	err := c.recover()
	if !errors.Is(err, meta.ErrCorrupt) {
		return err
	}
	resetErr := c.db.Reset()
	if errors.Is(resetErr, errors.ErrUnsupported) {
		return err
	}
	if resetErr != nil {
		return fmt.Errorf("cache: replace the damaged database: %w", errors.Join(resetErr, err))
	}
	c.survived(kindMeta, err)
	c.cfg.Log.Error().Err(err).Msg("the records are damaged: starting with an empty cache")
	c.emptyIndex()
	return c.recover()
}

// recover loads the index. What can not be trusted is discarded: everything after a change of the block
// size, metadata after the machine went down under a running cache (its last writes may be lost) or the database
// has refused a change of it, files without a record when the database is new. The normal path neither walks the directory nor looks at files.
func (c *Cache) recover() error {
	last, err := c.db.Run()
	if err != nil && !meta.IsAbsent(err) {
		return fmt.Errorf("cache: read how the last run ended: %w", err)
	}
	known := err == nil
	crashed := known && !last.Clean && (last.BootID != c.cfg.BootID || c.cfg.BootID == "") || c.suspected()
	if known && last.BlockSize != c.cfg.BlockSize {
		c.cfg.Log.Warn().Int64("was", last.BlockSize).Int64("is", c.cfg.BlockSize).
			Msg("the block size has changed: starting with an empty cache")
		known = false
	}
	if !known {
		if err := c.db.DiscardBlocks(); err != nil {
			return fmt.Errorf("cache: discard old blocks: %w", err)
		}
		if err := c.db.DiscardPins(); err != nil {
			return fmt.Errorf("cache: discard old pins: %w", err)
		}
	}
	if !known || crashed {
		if err := c.db.DiscardObjects(); err != nil {
			return fmt.Errorf("cache: discard old metadata: %w", err)
		}
	}
	first, err := c.db.LeaseFileIDs(fileIDLease)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	c.fileID.Store(first - 1) // the last one used
	c.leaseEnd = first + fileIDLease
	if err := c.probed.Remove(probeID); err != nil {
		c.survived(kindRemove, err)
	}
	if err := c.db.PutRun(c.run()); err != nil {
		return fmt.Errorf("cache: mark the directory in use: %w", err)
	}
	if err := c.load(); err != nil {
		return err
	}
	if !known || crashed {
		indexed := c.indexedFiles()
		c.bg.Go(func() {
			c.sweep(first, indexed)
			c.settle()
		})
	}
	c.bg.Go(c.objects.expire)
	return nil
}

// indexedFiles returns the ids of the files that have a record.
func (c *Cache) indexedFiles() map[uint64]*block {
	c.mu.Lock()
	defer c.mu.Unlock()
	files := make(map[uint64]*block, c.mu.count)
	for b := range c.mu.all() {
		files[b.fileID] = b
	}
	return files
}

// sweep brings files and records together after the machine went down or the database was lost: it
// removes files that have no record and are not of this run, whose ids begin at first, and drops
// blocks whose file is missing.
func (c *Cache) sweep(first uint64, indexed map[uint64]*block) {
	seen := make(map[uint64]bool, len(indexed))
	orphans := 0
	err := c.dev.Walk(func(id uint64) error {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if indexed[id] != nil {
			seen[id] = true
		} else if id-first >= fileIDLease {
			orphans++
			if err := c.dev.Remove(id); err != nil {
				c.survived(kindRemove, err)
			}
		}
		return nil
	})
	if err != nil {
		c.cfg.Log.Warn().Err(err).Msg("the clean-up of the cache directory stopped")
		return
	}
	missing := 0
	for id, b := range indexed {
		if !seen[id] {
			missing++
			c.drop(b, reasonError)
		}
	}
	c.cfg.Log.Info().Int("orphans", orphans).Int("missing", missing).Msg("cleaned up the cache directory")
}
