package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Dir is the Device over a directory: file id 0x0123456789abcdef is DIR/ab/cd/0123456789abcdef, so that 256
// files that follow each other share a directory. It is a Reviver.
type Dir struct {
	root string
	mu   struct {
		sync.Mutex
		is identity // of root
	}
}

var _ Reviver = (*Dir)(nil)

// identity tells one directory from another of the same name.
type identity struct {
	device, inode uint64
	born          unix.StatxTimestamp // inode numbers are used again; zero where the file system does not know
}

// identityOf fails when path is not a directory.
func identityOf(path string) (identity, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return identity{}, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return identity{}, &fs.PathError{Op: "statx", Path: path, Err: unix.ENOTDIR}
	}
	return identity{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Btime}, nil
}

// NewDir returns the Device over root, which it makes when it is not there.
func NewDir(root string) (*Dir, error) {
	if err := os.MkdirAll(root, 0o750); err != nil {
		return nil, err
	}
	d := &Dir{root: root}
	is, err := identityOf(root)
	if err != nil {
		return nil, err
	}
	d.mu.is = is
	return d, nil
}

// Check compares the directory of the name with the one that was opened.
func (d *Dir) Check() error {
	is, err := identityOf(d.root)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrGone, err)
	case is != d.mu.is:
		return fmt.Errorf("%w: %s is another directory now", ErrGone, d.root)
	}
	return nil
}

// Revive takes the directory that is there, or makes it on the file system where it was.
func (d *Dir) Revive() error {
	is, err := identityOf(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.sameFileSystem(); err != nil {
			return err
		}
		if err := os.MkdirAll(d.root, 0o750); err != nil {
			return err
		}
		is, err = identityOf(d.root)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.is = is
	return nil
}

// sameFileSystem fails when the nearest directory above root is on another file system than root was.
func (d *Dir) sameFileSystem() error {
	for up := filepath.Dir(d.root); ; up = filepath.Dir(up) {
		is, err := identityOf(up)
		if errors.Is(err, fs.ErrNotExist) && up != filepath.Dir(up) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if is.device != d.mu.is.device {
			return fmt.Errorf("%w: its file system is not mounted", ErrGone)
		}
		return nil
	}
}

func (d *Dir) path(id uint64) string {
	return filepath.Join(d.root, fmt.Sprintf("%02x", byte(id>>16)), fmt.Sprintf("%02x", byte(id>>8)),
		fmt.Sprintf("%016x", id))
}

// Create makes a file and the directories on the way to it, but not the root: see Revive.
func (d *Dir) Create(ref Ref) (File, error) {
	path := d.path(ref.ID)
	f, err := create(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err = create(path)
	}
	if err != nil {
		return nil, err
	}
	return dirFile{f}, nil
}

// makeDirs makes dir and the one above it.
func makeDirs(dir string) error {
	for _, p := range []string{filepath.Dir(dir), dir} {
		if err := os.Mkdir(p, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
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
