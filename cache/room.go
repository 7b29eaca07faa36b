package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"unistore/cache/device"
)

// RoomToOpen is what opening the database may need (bytes): its logs are written into tables then.
const RoomToOpen = 64 << 20

var errRoom = errors.New("there is room")

// MakeRoom removes block files of the cache in dir, which is not open, until the disk has RoomToOpen free or none
// is left. The next Open finds out which are missing. It fails with ErrInUse when a process has the cache.
func MakeRoom(dir string) error { return makeRoom(dir, RoomToOpen) }

func makeRoom(dir string, want int64) (err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	dev, err := device.NewDir(filepath.Join(dir, "blocks"))
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	marked := false
	err = dev.Walk(func(id uint64) error {
		free, err := dev.Free()
		if err != nil {
			return err
		}
		if free >= want {
			return errRoom
		}
		if err := dev.Remove(id); err != nil || marked {
			return err
		}
		marked = true // after the first: the full disk may not take the mark before
		return markSuspect(dir)
	})
	if err != nil && !errors.Is(err, errRoom) {
		return fmt.Errorf("cache: make room: %w", err)
	}
	return nil
}

// markSuspect makes the file that suspected looks for.
func markSuspect(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, suspectName), os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

// giveRoom removes blocks until want bytes of the disk are free: the database can not be opened again on a disk that
// they fill. Maintenance calls it.
func (c *Cache) giveRoom(want int64) {
	free, err := c.dev.Free()
	if err != nil {
		return
	}
	for excess := want - free; excess > 0 && c.ctx.Err() == nil; {
		c.mu.Lock()
		victims := c.victimsLocked(excess, reasonReserve)
		for _, b := range victims {
			excess -= c.mu.bytes(b)
		}
		c.mu.Unlock()
		if len(victims) == 0 || c.removeFiles(victims) > 0 {
			return
		}
	}
}
