package cache

import (
	"container/list"
	"errors"
	"fmt"
	"sync"

	"unistore/cache/device"
)

// errHandles: as many block files are in use as may be open, or the process has no file descriptor left.
var errHandles = errors.New("too many open block files")

// shedWhenOut is the part of the idle files that is closed when there is no descriptor left: connections need
// them more.
const shedWhenOut = 2

// handles shares open block files between readers and fills, and keeps at most max open: idle ones go, least
// recently used first; when all are in use, errHandles.
type handles struct {
	dev device.Device
	max int
	mu  struct {
		sync.Mutex
		open   map[uint64]*handle
		idle   list.List // of *handle without users, the one to close first in front
		inUse  int
		closed bool
	}
}

// handle is an open block file, shared. Its user gives it back with release.
type handle struct {
	device.File
	set  *handles
	id   uint64
	refs int           // guarded by handles.mu
	gone bool          // dropped: closed with the last ref; guarded by handles.mu
	elem *list.Element // in idle; guarded by handles.mu
}

func newHandles(dev device.Device, limit int) *handles {
	h := &handles{dev: dev, max: limit}
	h.mu.open = make(map[uint64]*handle)
	return h
}

func (h *handles) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.mu.open)
}

// get opens the file of a block, or shares it. With create the file must not exist yet.
func (h *handles) get(ref device.Ref, create bool) (*handle, error) {
	h.mu.Lock()
	if hd := h.mu.open[ref.ID]; hd != nil {
		h.useLocked(hd)
		h.mu.Unlock()
		return hd, nil
	}
	if h.mu.inUse >= h.max || h.mu.closed {
		h.mu.Unlock()
		return nil, errHandles
	}
	h.mu.inUse++ // a place for the file about to be opened
	h.mu.Unlock()

	f, err := h.open(ref, create)

	h.mu.Lock()
	h.mu.inUse--
	if err != nil {
		h.mu.Unlock()
		return nil, err
	}
	hd, spare := h.mu.open[ref.ID], f
	if hd == nil {
		hd, spare = &handle{File: f, set: h, id: ref.ID}, nil
		h.mu.open[ref.ID] = hd
	}
	h.useLocked(hd)
	closing := h.overLocked()
	h.mu.Unlock()
	if spare != nil {
		closing = append(closing, spare)
	}
	closeAll(closing)
	return hd, nil
}

// open opens a file. When descriptors are short it closes idle files and tries once more.
func (h *handles) open(ref device.Ref, create bool) (device.File, error) {
	open := h.dev.Open
	if create {
		open = h.dev.Create
	}
	f, err := open(ref)
	if err == nil || !outOfFiles(err) {
		return f, err
	}
	h.mu.Lock()
	n := h.mu.idle.Len()
	closing := h.closeIdleLocked((n + shedWhenOut - 1) / shedWhenOut)
	h.mu.Unlock()
	closeAll(closing)
	if f, err = open(ref); outOfFiles(err) {
		err = fmt.Errorf("%w: %w", errHandles, err)
	}
	return f, err
}

func (h *handles) useLocked(hd *handle) {
	if hd.refs == 0 {
		h.mu.inUse++
		if hd.elem != nil {
			h.mu.idle.Remove(hd.elem)
			hd.elem = nil
		}
	}
	hd.refs++
}

// overLocked takes the idle files that are too many out of the set, for the caller to close.
func (h *handles) overLocked() []device.File { return h.closeIdleLocked(len(h.mu.open) - h.max) }

// closeIdleLocked takes out the n idle files that were used the longest ago, for the caller to close.
func (h *handles) closeIdleLocked(n int) []device.File {
	var files []device.File
	for ; n > 0 && h.mu.idle.Len() > 0; n-- {
		hd := h.mu.idle.Remove(h.mu.idle.Front()).(*handle)
		hd.elem = nil
		delete(h.mu.open, hd.id)
		files = append(files, hd.File)
	}
	return files
}

// closeAll closes block files. Their errors say nothing: what was written has been read back by
// checksum or will be.
func closeAll(files []device.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// release gives a use back.
func (hd *handle) release() {
	h := hd.set
	h.mu.Lock()
	var closing []device.File
	if hd.refs--; hd.refs == 0 {
		h.mu.inUse--
		if hd.gone || h.mu.closed {
			closing = append(closing, hd.File)
		} else {
			hd.elem = h.mu.idle.PushBack(hd)
			closing = h.overLocked()
		}
	}
	h.mu.Unlock()
	closeAll(closing)
}

// drop forgets the file of a block that is being removed; it is closed with its last user.
func (h *handles) drop(id uint64) {
	h.mu.Lock()
	hd := h.mu.open[id]
	if hd == nil {
		h.mu.Unlock()
		return
	}
	delete(h.mu.open, id)
	hd.gone = true
	idle := hd.refs == 0
	if idle {
		h.mu.idle.Remove(hd.elem)
		hd.elem = nil
	}
	h.mu.Unlock()
	if idle {
		closeAll([]device.File{hd.File})
	}
}

// close closes all idle files, the others with their last user. None is opened after it.
func (h *handles) close() {
	h.mu.Lock()
	h.mu.closed = true
	h.mu.Unlock()
	h.reset()
}

// reset lets go of all files: idle ones are closed, the others with their last user. The next get opens anew.
func (h *handles) reset() {
	h.mu.Lock()
	var closing []device.File
	for id, hd := range h.mu.open {
		delete(h.mu.open, id)
		if hd.gone = true; hd.refs == 0 {
			hd.elem = nil
			closing = append(closing, hd.File)
		}
	}
	h.mu.idle.Init()
	h.mu.Unlock()
	closeAll(closing)
}
