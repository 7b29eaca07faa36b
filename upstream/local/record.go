package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"unistore/object"
	"unistore/upstream/internal/semantics"
)

// xattrName is the extended attribute that holds a record.
const xattrName = "user.unistore"

// maxRecord bounds what is read as a record: 10,000 parts of different sizes and 8 KiB of headers.
const maxRecord = 1 << 20

// stampOf returns what tells versions of a file apart; times are in nanoseconds.
func stampOf(st *unix.Stat_t) semantics.Stamp {
	return semantics.Stamp{Size: st.Size, MTime: st.Mtim.Nano(), Inode: st.Ino}
}

// kept is the part of a stamp that a record holds: a record stays with its file, whatever its inode.
func kept(s semantics.Stamp) semantics.Stamp {
	s.Inode = 0
	return s
}

func attrsOf(r *semantics.Record, s semantics.Stamp) object.Attrs {
	return r.Attrs(time.Unix(0, s.MTime).UTC())
}

// readRecord returns the record of an open file, or nil when it has none that is valid.
func (b *Backend) readRecord(f *os.File, k *bucket, key string, s semantics.Stamp) (*semantics.Record, error) {
	if b.xattrs {
		data, err := readXattr(f)
		if err != nil {
			return nil, err
		}
		if r := semantics.ParseRecord(data, kept(s)); r != nil {
			return r, nil
		}
	}
	side, err := b.root.Open(sidecar(k.name, key, s))
	if isMissing(err) || isErrno(err, syscall.EACCES) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = side.Close() }()
	data, err := io.ReadAll(io.LimitReader(side, maxRecord))
	if err != nil {
		return nil, err
	}
	return semantics.ParseRecord(data, kept(s)), nil
}

// readXattr returns the extended attribute, or nil where there is none or there cannot be one.
func readXattr(f *os.File) ([]byte, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Fgetxattr(int(f.Fd()), xattrName, buf)
		switch {
		case err == nil:
			return buf[:n], nil
		case isErrno(err, unix.EINTR):
		case isErrno(err, unix.ERANGE) && len(buf) < maxRecord:
			buf = make([]byte, 8*len(buf))
		case isErrno(err, errNoAttr, unix.ENOTSUP, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.ERANGE):
			return nil, nil
		default:
			return nil, fmt.Errorf("reading %s: %w", xattrName, err)
		}
	}
}

// sidecar returns where the record of one version of a file is when it is not in the file's attribute.
// Versions have different sidecars, so that a writer never spoils a reader's.
func sidecar(bucket, key string, s semantics.Stamp) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s/%s/%x-%x-%x-%x", metaDir, bucket, sum[:16], s.Inode, s.Size, s.MTime)
}

// attach gives f, a staged file that has all its bytes, its record. It returns the path of the sidecar
// it wrote, or "".
func (b *Backend) attach(ctx context.Context, f *os.File, k *bucket, key string, r *semantics.Record) (side string, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	s := stampOf(&st)
	r.Describe(kept(s))
	data, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	if b.xattrs {
		// Whatever stops it, no support, no room, no right: the sidecar works, or fails with the reason.
		if unix.Fsetxattr(int(f.Fd()), xattrName, data, 0) == nil {
			return "", nil
		}
	}
	return b.writeSidecar(ctx, sidecar(k.name, key, s), data)
}

func (b *Backend) writeSidecar(ctx context.Context, side string, data []byte) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	tmp, err := b.stage()
	if err != nil {
		return "", err
	}
	defer tmp.discard()
	dir := path.Dir(side)
	if _, err := io.Copy(tmp.f, bytes.NewReader(data)); err != nil {
		return "", err
	}
	if err := tmp.f.Sync(); err != nil {
		return "", err
	}
	if err := b.root.MkdirAll(dir, privatePerm); err != nil {
		return "", err
	}
	if err := b.root.Rename(b.area.path+"/"+tmp.name, side); err != nil {
		return "", err
	}
	return side, b.syncPath(dir)
}

// dropSidecar removes the sidecar of a version that is gone, if it had one.
func (b *Backend) dropSidecar(k *bucket, key string, s semantics.Stamp) {
	err := b.root.Remove(sidecar(k.name, key, s))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !isMissing(err) {
		b.log.Warn().Err(err).Msg("metadata of a deleted object stays behind")
	}
}

// syncPath makes the entries of a directory durable.
func (b *Backend) syncPath(dir string) error {
	f, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
