package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir is the Device over a directory: file id 0x0123456789abcdef is DIR/89/ab/0123456789abcdef, so that 256
// files that follow each other share a directory.
type Dir struct {
	root string
}

// NewDir returns the Device over root, which it makes when it is not there.
func NewDir(root string) (*Dir, error) {
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, err
	}
	return &Dir{root: root}, nil
}

func (d *Dir) path(id uint64) string {
	return filepath.Join(d.root, fmt.Sprintf("%02x", byte(id>>16)), fmt.Sprintf("%02x", byte(id>>8)),
		fmt.Sprintf("%016x", id))
}

// Create makes a file and the directories on the way to it.
func (d *Dir) Create(ref Ref) (File, error) {
	path := d.path(ref.ID)
	f, err := create(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return nil, err
		}
		f, err = create(path)
	}
	if err != nil {
		return nil, err
	}
	return dirFile{f}, nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
}

// Open opens a file.
func (d *Dir) Open(ref Ref) (File, error) {
	f, err := os.OpenFile(d.path(ref.ID), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return dirFile{f}, nil
}

// Remove unlinks a file.
func (d *Dir) Remove(id uint64) error {
	err := os.Remove(d.path(id))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// Walk reads the directory tree. What is not a block file by name and place is passed over.
func (d *Dir) Walk(fn func(id uint64) error) error {
	return filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		if err != nil {
			return err
		}
		id, err := strconv.ParseUint(e.Name(), 16, 64)
		if err != nil || !e.Type().IsRegular() || d.path(id) != path {
			return nil
		}
		return fn(id)
	})
}

// Free returns what the filesystem has for unprivileged users.
func (d *Dir) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.root, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// dirFile is an open file of a Dir. os.File's ReadAt and WriteAt are complete or fail.
type dirFile struct {
	*os.File
}

func (f dirFile) Source() (*os.File, error) { return f.File, nil }

func (f dirFile) Allocated() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil // st_blocks counts 512 byte units (stat(2))
}
