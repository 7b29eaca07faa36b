package local

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"unistore/object"
)

// xattrName is the extended attribute that holds a record.
const xattrName = "user.unistore"

// recordVersion is the format of records; others are ignored, and their files served as if put there by
// another program.
const recordVersion = 1

// maxRecord bounds what is read as a record: 10,000 parts of different sizes and 8 KiB of headers.
const maxRecord = 1 << 20

// stamp tells versions of a file apart: every write by any program changes the modification time.
type stamp struct {
	size, mtime int64 // mtime in nanoseconds
	inode       uint64
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{size: st.Size, mtime: st.Mtim.Nano(), inode: st.Ino}
}

// record is the metadata of an object as JSON, on disk for as long as the object: fields may be added,
// never changed.
type record struct {
	Version      int        `json:"v"`
	Size         int64      `json:"size"`  // of the file it describes
	MTime        int64      `json:"mtime"` // of the file it describes, in nanoseconds
	ETag         string     `json:"etag"`
	Headers      headers    `json:"headers,omitzero"`
	Checksums    []sum      `json:"sums,omitempty"`
	Parts        [][2]int64 `json:"parts,omitempty"` // runs: how many, of which size
	StorageClass string     `json:"class,omitempty"`
}

type headers struct {
	Type        string            `json:"type,omitempty"`
	Encoding    string            `json:"encoding,omitempty"`
	Language    string            `json:"language,omitempty"`
	Disposition string            `json:"disposition,omitempty"`
	Cache       string            `json:"cache,omitempty"`
	Expires     string            `json:"expires,omitempty"`
	User        map[string]string `json:"user,omitempty"`
}

type sum struct {
	Algorithm string `json:"alg"`
	Value     string `json:"value"`
	Type      string `json:"type,omitempty"`
}

func headersOf(h object.Headers) headers {
	return headers{h.ContentType, h.ContentEncoding, h.ContentLanguage, h.ContentDisposition, h.CacheControl, h.Expires, h.User}
}

func (h headers) object() object.Headers {
	return object.Headers{
		ContentType: h.Type, ContentEncoding: h.Encoding, ContentLanguage: h.Language,
		ContentDisposition: h.Disposition, CacheControl: h.Cache, Expires: h.Expires, User: h.User,
	}
}

func sumsOf(checksums []object.Checksum) []sum {
	var sums []sum
	for _, c := range checksums {
		sums = append(sums, sum(c))
	}
	return sums
}

func checksumsOf(sums []sum) []object.Checksum {
	var checksums []object.Checksum
	for _, s := range sums {
		checksums = append(checksums, object.Checksum(s))
	}
	return checksums
}

// runs packs the sizes of parts, most of which are the same.
func runs(sizes []int64) [][2]int64 {
	var packed [][2]int64
	for _, n := range sizes {
		if last := len(packed) - 1; last >= 0 && packed[last][1] == n {
			packed[last][0]++
			continue
		}
		packed = append(packed, [2]int64{1, n})
	}
	return packed
}

// parts returns the sizes of the object's parts; none for an object made by one Put.
func (r *record) parts() []int64 {
	var sizes []int64
	for _, run := range r.Parts {
		for range run[0] {
			sizes = append(sizes, run[1])
		}
	}
	return sizes
}

// attrs returns the attributes of the object that r describes.
func (r *record) attrs(s stamp) object.Attrs {
	count := 0
	for _, run := range r.Parts {
		count += int(run[0])
	}
	return object.Attrs{
		Size: s.size, ETag: r.ETag, ModTime: time.Unix(0, s.mtime).UTC(), Headers: r.Headers.object(),
		Checksums: checksumsOf(r.Checksums), PartsCount: count, StorageClass: r.StorageClass, HeadersKnown: true,
	}
}

// describes reports whether r is of the version of the file that s tells.
func (r *record) describes(s stamp) bool {
	return r.Version == recordVersion && r.ETag != "" && r.Size == s.size && r.MTime == s.mtime
}

// synthesised is the record of a file that another program has written.
func synthesised(key string, s stamp) *record {
	digest := md5.Sum(fmt.Appendf(nil, "%d %d %d", s.size, s.mtime, s.inode))
	r := &record{Version: recordVersion, Size: s.size, MTime: s.mtime, ETag: fmt.Sprintf("%x-1", digest)}
	if r.Headers.Type = mime.TypeByExtension(path.Ext(key)); r.Headers.Type == "" {
		r.Headers.Type = "binary/octet-stream"
	}
	return r
}

// parseRecord returns nil for bytes that are no record of this version of the file.
func parseRecord(data []byte, s stamp) *record {
	var r record
	if err := json.Unmarshal(data, &r); err != nil || !r.describes(s) {
		return nil
	}
	return &r
}

// readRecord returns the record of an open file, or nil when it has none that is valid.
func (b *Backend) readRecord(f *os.File, k *bucket, key string, s stamp) (*record, error) {
	if b.xattrs {
		data, err := readXattr(f)
		if err != nil {
			return nil, err
		}
		if r := parseRecord(data, s); r != nil {
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
	return parseRecord(data, s), nil
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
func sidecar(bucket, key string, s stamp) string {
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s/%s/%x-%x-%x-%x", metaDir, bucket, sum[:16], s.inode, s.size, s.mtime)
}

// attach gives f, a staged file that has all its bytes, its record. It returns the path of the sidecar
// it wrote, or "".
func (b *Backend) attach(ctx context.Context, f *os.File, k *bucket, key string, r *record) (side string, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", err
	}
	s := stampOf(&st)
	r.Version, r.Size, r.MTime = recordVersion, s.size, s.mtime
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
func (b *Backend) dropSidecar(k *bucket, key string, s stamp) {
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
