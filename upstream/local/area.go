package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The hidden area; see the package comment.
const (
	areaDir    = ".unistore"
	lockFile   = areaDir + "/lock"
	tmpDir     = areaDir + "/tmp"
	uploadsDir = areaDir + "/uploads"
	metaDir    = areaDir + "/meta"
)

const (
	filePerm    = 0o666 // less the umask, as for any program that shares its files
	dirPerm     = 0o777
	privatePerm = 0o700
)

// area is this process's own directory for files that are being written.
type area struct {
	root *os.Root // of the store
	path string   // from root
	dir  *os.File // opened path
	lock *os.File // held while the process lives
	next atomic.Int64
}

// openArea makes the hidden area where it is missing, removes what dead processes have left in it, and
// makes the directory of this one. It returns how many left-over directories it removed.
func openArea(root *os.Root) (*area, int, error) {
	for _, dir := range []string{tmpDir, uploadsDir, metaDir} {
		if err := root.MkdirAll(dir, privatePerm); err != nil {
			return nil, 0, err
		}
	}
	// While the lock is held nobody else starts, so no new directory can be taken for a dead one's.
	starting, err := lockPath(root, lockFile, unix.LOCK_EX)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = starting.Close() }() // releases it
	swept, err := sweep(root)
	if err != nil {
		return nil, 0, err
	}
	a := &area{root: root, path: fmt.Sprintf("%s/%d-%s", tmpDir, os.Getpid(), rand.Text())}
	if err := root.Mkdir(a.path, privatePerm); err != nil {
		return nil, 0, err
	}
	if a.lock, err = lockPath(root, a.path+"/lock", unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, 0, errors.Join(err, root.RemoveAll(a.path))
	}
	if a.dir, err = root.Open(a.path); err != nil {
		return nil, 0, errors.Join(err, a.lock.Close(), root.RemoveAll(a.path))
	}
	return a, swept, nil
}

// lockPath opens a lock file, making it where it is missing, and locks it until it is closed.
func lockPath(root *os.Root, path string, how int) (*os.File, error) {
	f, err := root.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

// sweep removes the directories of processes that are dead, which is those whose lock is free.
func sweep(root *os.Root) (int, error) {
	entries, err := fs.ReadDir(root.FS(), tmpDir)
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, e := range entries {
		path := tmpDir + "/" + e.Name()
		if !e.IsDir() {
			continue
		}
		lock, err := lockPath(root, path+"/lock", unix.LOCK_EX|unix.LOCK_NB)
		if isErrno(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return swept, err
		}
		swept++
		if err := errors.Join(root.RemoveAll(path), lock.Close()); err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// name returns a fresh name in the area.
func (a *area) name() string { return strconv.FormatInt(a.next.Add(1), 36) + ".tmp" }

// create makes an empty file in the area.
func (a *area) create(name string) (*os.File, error) {
	return a.root.OpenFile(a.path+"/"+name, os.O_CREATE|os.O_EXCL|os.O_RDWR, filePerm)
}

// remove removes a file or directory of the area.
func (a *area) remove(name string) error { return a.root.RemoveAll(a.path + "/" + name) }

// discard makes path, which is relative to the root, disappear at once, and then removes it. One that
// is missing is an error.
func (a *area) discard(path string) error {
	name := a.name()
	if err := a.root.Rename(path, a.path+"/"+name); err != nil {
		return err
	}
	return a.remove(name)
}

func (a *area) close() error {
	return errors.Join(a.dir.Close(), a.root.RemoveAll(a.path), a.lock.Close())
}
