package cache

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"unistore/cache/device"
)

// tripped says that sides of the cache are out of use from now on.
func (c *Cache) tripped(fresh side, cause error) {
	c.meterSides()
	c.cfg.Log.Error().Err(cause).Stringer("side", fresh).Stringer("out_of_use", c.guard.sides()).
		Msg("the cache is bypassed: reads go to the upstream until its disk works again")
	c.wakeMaintenance()
}

func (c *Cache) meterSides() {
	off := c.guard.sides()
	for s, name := range sideNames {
		state := 0.0
		if off&s != 0 {
			state = 1
		}
		c.meters.m.CacheBypassed.WithLabelValues(name).Set(state)
	}
}

// watch looks for trouble that no operation reports, and heals what is out of use when it is time. Maintenance
// calls it.
func (c *Cache) watch() {
	if c.place != nil {
		if err := c.place.Check(); err != nil && c.guard.sides()&sideFiles != sideFiles {
			c.guard.trip(sideFiles, err)
		}
	}
	if err := c.db.Broken(); err != nil && c.guard.sides()&sideRecords == 0 {
		c.survived(kindMeta, err)
		c.guard.trip(sideRecords, err)
	}
	sides, resync := c.guard.probe()
	if sides == 0 {
		return
	}
	err := c.heal(sides, resync)
	left := c.guard.probed(sides, err == nil)
	c.meterSides()
	switch {
	case err != nil:
		c.cfg.Log.Debug().Err(err).Stringer("out_of_use", left).Msg("the cache is still bypassed")
	case left == 0:
		c.cfg.Log.Warn().Msg("the cache works again")
	}
}

// heal makes sides work, or returns why they do not.
func (c *Cache) heal(sides side, resync bool) error {
	if sides&sideFiles != 0 && c.place != nil {
		if err := c.place.Revive(); err != nil {
			return err
		}
	}
	if err := c.relock(); err != nil {
		return err
	}
	if err := c.db.Broken(); err != nil {
		c.objects.distrust() // its last writes may be lost
		if err := c.db.Reopen(); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				c.giveRoom(RoomToOpen)
			}
			return err
		}
	}
	if sides&sideFiles != 0 {
		if err := c.probeFiles(); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	if resync {
		return c.resync(sides)
	}
	return nil
}

// relock makes sure that the lock file which is held is the one in the directory: one that was removed keeps nobody
// out. ErrInUse when another process has the directory by now.
func (c *Cache) relock() error {
	held, err := c.lock.Stat()
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if is, err := os.Stat(filepath.Join(c.cfg.Dir, "LOCK")); err == nil && os.SameFile(held, is) {
		return nil
	}
	lock, err := lockDir(c.cfg.Dir)
	if err != nil {
		return err
	}
	old := c.lock
	c.lock = lock
	return old.Close()
}

// probeID is the file of probes. No block has it: leases begin in the lower half of all ids. It has no record, so
// recover removes what a crash may have left.
const probeID = math.MaxUint64

// probeFiles writes a small file, reads it back and removes it.
func (c *Cache) probeFiles() (err error) {
	dev, ref := c.probed, device.Ref{ID: probeID}
	if err := dev.Remove(probeID); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Remove(probeID)) }()
	want := bytes.Repeat([]byte("unistore"), allocUnit/8)
	if err := useFile(dev.Create, ref, func(f device.File) error {
		_, err := f.WriteAt(want, 0)
		return err
	}); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if err := useFile(dev.Open, ref, func(f device.File) error {
		_, err := f.ReadAt(got, 0)
		return err
	}); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errBadPage
	}
	return nil
}

func useFile(open func(device.Ref) (device.File, error), ref device.Ref, use func(device.File) error) error {
	f, err := open(ref)
	if err != nil {
		return err
	}
	return errors.Join(use(f), f.Close())
}
