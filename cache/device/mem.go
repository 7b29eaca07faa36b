package device

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
)

// memPage is the unit in which a Mem counts space.
const memPage = 4096

// Mem is a Device in memory. The zero Mem is empty and has no limit.
type Mem struct {
	// Capacity, when not 0, is the most bytes it takes; set it before use.
	Capacity int64

	mu struct {
		sync.Mutex
		files map[uint64]*memData
		used  int64 // bytes of the files that were not removed
	}
}

type memData struct {
	pages   map[int64]*[memPage]byte
	size    int64
	removed bool
}

// Create makes an empty file.
func (m *Mem) Create(ref Ref) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.files[ref.ID] != nil {
		return nil, fmt.Errorf("block file %x: %w", ref.ID, fs.ErrExist)
	}
	if m.mu.files == nil {
		m.mu.files = make(map[uint64]*memData)
	}
	data := &memData{pages: make(map[int64]*[memPage]byte)}
	m.mu.files[ref.ID] = data
	return memFile{m, data}, nil
}

// Open opens a file.
func (m *Mem) Open(ref Ref) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data := m.mu.files[ref.ID]
	if data == nil {
		return nil, fmt.Errorf("block file %x: %w", ref.ID, fs.ErrNotExist)
	}
	return memFile{m, data}, nil
}

// Remove deletes a file.
func (m *Mem) Remove(id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data := m.mu.files[id]; data != nil {
		data.removed = true
		m.mu.used -= int64(len(data.pages)) * memPage
		delete(m.mu.files, id)
	}
	return nil
}

// Walk visits the files that were there at its start.
func (m *Mem) Walk(fn func(id uint64) error) error {
	m.mu.Lock()
	ids := slices.Collect(maps.Keys(m.mu.files))
	m.mu.Unlock()
	for _, id := range ids {
		if err := fn(id); err != nil {
			return err
		}
	}
	return nil
}

// Free returns what is left of Capacity.
func (m *Mem) Free() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Capacity == 0 {
		return unlimited, nil
	}
	return m.Capacity - m.mu.used, nil
}

type memFile struct {
	m    *Mem
	data *memData
}

func (f memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if off >= f.data.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), f.data.size-off))
	for done := 0; done < n; {
		at := off + int64(done)
		part := p[done:min(n, done+int(memPage-at%memPage))]
		if page := f.data.pages[at/memPage]; page != nil {
			copy(part, page[at%memPage:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	done := 0
	for done < len(p) {
		at := off + int64(done)
		page, err := f.pageLocked(at / memPage)
		if err != nil {
			return done, err
		}
		done += copy(page[at%memPage:], p[done:])
		f.data.size = max(f.data.size, off+int64(done))
	}
	return done, nil
}

func (f memFile) pageLocked(i int64) (*[memPage]byte, error) {
	if page := f.data.pages[i]; page != nil {
		return page, nil
	}
	if !f.data.removed {
		if f.m.Capacity != 0 && f.m.mu.used+memPage > f.m.Capacity {
			return nil, syscall.ENOSPC
		}
		f.m.mu.used += memPage
	}
	page := new([memPage]byte)
	f.data.pages[i] = page
	return page, nil
}

func (f memFile) Source() (*os.File, error) { return nil, nil }

func (f memFile) Allocated() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.data.pages)) * memPage, nil
}

func (f memFile) Close() error { return nil }
