package local

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"unistore/object"
	"unistore/upstream"
)

func newStore(t *testing.T, root string) *Backend {
	t.Helper()
	b, err := New(Config{Root: root, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// newBucket returns a store with the bucket "b", and the bucket's directory.
func newBucket(t *testing.T) (*Backend, string) {
	t.Helper()
	root := t.TempDir()
	b := newStore(t, root)
	if err := b.CreateBucket(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	return b, filepath.Join(root, "b")
}

func loc(key string) upstream.Loc { return upstream.Loc{Bucket: "b", Key: key} }

func put(t *testing.T, b *Backend, key, data string, change ...func(*upstream.PutRequest)) object.Attrs {
	t.Helper()
	req := upstream.PutRequest{Body: strings.NewReader(data), Size: int64(len(data))}
	for _, c := range change {
		c(&req)
	}
	attrs, err := b.Put(t.Context(), loc(key), req)
	if err != nil {
		t.Fatalf("Put %q: %v", key, err)
	}
	return attrs
}

func get(t *testing.T, b *Backend, key string) (string, object.Attrs) {
	t.Helper()
	s, err := b.Open(t.Context(), loc(key), upstream.OpenOptions{})
	if err != nil {
		t.Fatalf("Open %q: %v", key, err)
	}
	data, err := io.ReadAll(s.Body)
	if err := errors.Join(err, s.Body.Close()); err != nil {
		t.Fatalf("reading %q: %v", key, err)
	}
	return string(data), s.Attrs
}

func list(t *testing.T, b *Backend) string {
	t.Helper()
	page, err := b.List(t.Context(), upstream.ListRequest{Bucket: "b", MaxKeys: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
	}
	return strings.Join(keys, " ")
}

func wantCode(t *testing.T, err error, code upstream.Code) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("%v, want %v", err, code)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(data), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// inArea returns what is in this process's part of the hidden area besides its lock.
func inArea(t *testing.T, b *Backend) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.root.Name(), b.area.path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return names
}

func md5Of(data string) string {
	sum := md5.Sum([]byte(data))
	return hex.EncodeToString(sum[:])
}

func TestObjectsArePlainFiles(t *testing.T) {
	b, dir := newBucket(t)
	put(t, b, "a/b.parquet", "data")
	got, err := os.ReadFile(filepath.Join(dir, "a", "b.parquet"))
	if err != nil || string(got) != "data" {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if err := b.Delete(t.Context(), loc("a/b.parquet"), upstream.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("after the deletion the bucket holds %v, %v", left, err)
	}
	if left := inArea(t, b); len(left) != 0 {
		t.Errorf("the hidden area holds %q", left)
	}
}

func TestFilesOfOtherPrograms(t *testing.T) {
	b, dir := newBucket(t)
	write(t, filepath.Join(dir, "x/page.html"), "<p>")
	write(t, filepath.Join(dir, "x/data"), "bytes")
	for key, typ := range map[string]string{"x/page.html": "text/html", "x/data": "binary/octet-stream"} {
		_, attrs := get(t, b, key)
		if !strings.HasPrefix(attrs.Headers.ContentType, typ) || !strings.Contains(attrs.ETag, "-") {
			t.Errorf("%s: %+v, want %s and an ETag with -", key, attrs, typ)
		}
		if stat, err := b.Stat(t.Context(), loc(key), upstream.StatOptions{}); err != nil || stat.ETag != attrs.ETag {
			t.Errorf("%s: Stat %+v, %v; Open had %s", key, stat, err, attrs.ETag)
		}
	}
	if got := list(t, b); got != "x/data x/page.html" {
		t.Errorf("listed: %s", got)
	}
	copied, err := b.Copy(t.Context(), loc("copy"), upstream.CopyRequest{Source: loc("x/data")})
	if err != nil || copied.ETag != md5Of("bytes") {
		t.Errorf("Copy = %+v, %v", copied, err)
	}
}

func TestChangedByAnotherProgram(t *testing.T) {
	b, dir := newBucket(t)
	before := put(t, b, "k", "0123456789")
	later := time.Now().Add(time.Second)
	for i, data := range []string{"9876543210", "longer than before", ""} {
		write(t, filepath.Join(dir, "k"), data)
		later = later.Add(time.Second)
		if err := os.Chtimes(filepath.Join(dir, "k"), later, later); err != nil { // far from the clock's resolution
			t.Fatal(err)
		}
		got, attrs := get(t, b, "k")
		if got != data || attrs.ETag == before.ETag || !strings.Contains(attrs.ETag, "-") {
			t.Errorf("change %d: %q with ETag %s, was %s", i, got, attrs.ETag, before.ETag)
		}
		_, err := b.Open(t.Context(), loc("k"), upstream.OpenOptions{IfMatch: before.ETag})
		wantCode(t, err, upstream.Changed)
		before = attrs
	}
}

func TestChangedWhileRead(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 1<<14)
	changes := map[string]func(f *os.File) error{
		"cut":         func(f *os.File) error { return f.Truncate(1000) },
		"emptied":     func(f *os.File) error { return f.Truncate(0) },
		"overwritten": func(f *os.File) error { _, err := f.WriteAt([]byte("other"), 100_000); return err },
		"grown":       func(f *os.File) error { _, err := f.WriteAt([]byte("more"), int64(len(data))); return err },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			b, dir := newBucket(t)
			put(t, b, "k", data)
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(filepath.Join(dir, "k"), old, old); err != nil {
				t.Fatal(err)
			}
			s, err := b.Open(t.Context(), loc("k"), upstream.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Body.Close() }()
			if _, err := io.ReadFull(s.Body, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(dir, "k"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(change(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, s.Body)
			if err == nil || n >= int64(len(data)-10) {
				t.Errorf("read %d more bytes, %v; want an error before the last", n, err)
			}
			wantCode(t, err, upstream.Unavailable)
		})
	}
}

func TestSymbolicLinks(t *testing.T) {
	b, dir := newBucket(t)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "secret")
	put(t, b, "real/file", "inside")
	for name, target := range map[string]string{
		"out-file": filepath.Join(outside, "secret"), "out-dir": outside, "up": "../../" + filepath.Base(outside),
		"area": "../.unistore", "loop": "loop", "dangling": "nowhere", "in-file": "real/file", "in-dir": "real",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, b); got != "in-file real/file" {
		t.Errorf("listed: %s", got)
	}
	if got, _ := get(t, b, "in-file"); got != "inside" {
		t.Errorf("in-file holds %q", got)
	}
	for _, key := range []string{"out-file", "out-dir/secret", "up/secret", "area/lock", "loop", "loop/x", "dangling", "in-dir"} {
		_, err := b.Stat(t.Context(), loc(key), upstream.StatOptions{})
		wantCode(t, err, upstream.NotExist)
	}
	for _, key := range []string{"out-dir/new", "up/new", "area/new", "loop/new", "dangling/new"} {
		_, err := b.Put(t.Context(), loc(key), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
		wantCode(t, err, upstream.InvalidKey)
		if err := b.Delete(t.Context(), loc(key), upstream.DeleteOptions{}); err != nil {
			t.Errorf("Delete %q: %v", key, err)
		}
	}
	put(t, b, "out-file", "replaces the link") // and not what it leads to
	if got, _ := get(t, b, "out-file"); got != "replaces the link" {
		t.Errorf("out-file holds %q", got)
	}
	entries, err := os.ReadDir(outside)
	secret, rerr := os.ReadFile(filepath.Join(outside, "secret"))
	if err != nil || rerr != nil || len(entries) != 1 || string(secret) != "secret" {
		t.Errorf("outside: %v %q, %v, %v", entries, secret, err, rerr)
	}
}

func TestSpecialFiles(t *testing.T) {
	b, dir := newBucket(t)
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, strings.Repeat("x", 253)), "a name that is no key's")
	write(t, filepath.Join(dir, "invalid-\xff-utf8"), "x")
	write(t, filepath.Join(dir, ".=nplain"), "escaped without need")
	_, err := b.Stat(t.Context(), loc("pipe"), upstream.StatOptions{})
	wantCode(t, err, upstream.NotExist)
	_, err = b.Put(t.Context(), loc("pipe/x"), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
	wantCode(t, err, upstream.InvalidKey)
	if got := list(t, b); got != "" {
		t.Errorf("listed: %s", got)
	}
	wantCode(t, b.DeleteBucket(t.Context(), "b"), upstream.BucketNotEmpty)
}

// TestBothNames: a crash, or another program, can leave an object under both its names.
func TestBothNames(t *testing.T) {
	b, dir := newBucket(t)
	write(t, filepath.Join(dir, ".=oa"), "stale")
	write(t, filepath.Join(dir, "a"), "current")
	if got, _ := get(t, b, "a"); got != "current" {
		t.Errorf("a holds %q", got)
	}
	if got := list(t, b); got != "a" {
		t.Errorf("listed: %s", got)
	}
	put(t, b, "a/b", "below") // moves the current one over the stale one
	if got, _ := get(t, b, "a"); got != "current" {
		t.Errorf("moved aside, a holds %q", got)
	}
	write(t, filepath.Join(dir, ".=oc"), "stale")
	write(t, filepath.Join(dir, "c"), "current")
	if err := b.Delete(t.Context(), loc("c"), upstream.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := list(t, b); got != "a a/b" {
		t.Errorf("listed: %s", got)
	}
}

func TestLeftoversOfACrash(t *testing.T) {
	root := t.TempDir()
	alive := newStore(t, root)
	tmp, err := alive.stage()
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(root, tmpDir, "1-DEAD")
	write(t, filepath.Join(dead, "lock"), "")
	write(t, filepath.Join(dead, "1.tmp"), "unfinished")
	write(t, filepath.Join(dead, "2.tmp", "upload.json"), "{}")
	write(t, filepath.Join(root, tmpDir, "2-DEAD-WITHOUT-LOCK", "x"), "unfinished")
	newStore(t, root)
	entries, err := os.ReadDir(filepath.Join(root, tmpDir))
	if err != nil || len(entries) != 2 {
		t.Errorf("the hidden area holds %v, %v; want the directories of the two that live", entries, err)
	}
	if len(inArea(t, alive)) != 1 {
		t.Error("the start of another process removed an unfinished write")
	}
	tmp.discard()
	if left := inArea(t, alive); len(left) != 0 {
		t.Errorf("after discard: %q", left)
	}
}

func TestUploadSurvivesARestart(t *testing.T) {
	root := t.TempDir()
	first, err := New(Config{Root: root, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.CreateBucket(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	id, err := first.CreateUpload(t.Context(), loc("k"), upstream.CreateUploadRequest{Headers: object.Headers{ContentType: "a/b"}})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc("k"), ID: id}
	part, err := first.UploadPart(t.Context(), up, 7, upstream.PartRequest{Body: strings.NewReader("part"), Size: 4})
	if err := errors.Join(err, first.Close()); err != nil {
		t.Fatal(err)
	}
	b := newStore(t, root)
	page, err := b.ListParts(t.Context(), up, 0, 10)
	if err != nil || len(page.Parts) != 1 || page.Parts[0].ETag != part.ETag || !page.Parts[0].ModTime.Equal(part.ModTime) {
		t.Fatalf("ListParts = %+v, %v; want %+v", page, err, part)
	}
	if _, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}}); err != nil {
		t.Fatal(err)
	}
	if got, attrs := get(t, b, "k"); got != "part" || attrs.Headers.ContentType != "a/b" {
		t.Errorf("k holds %q, %+v", got, attrs)
	}
	if left, err := os.ReadDir(filepath.Join(root, uploadsDir, "b")); err != nil || len(left) != 0 {
		t.Errorf("after completion the upload left %v, %v", left, err)
	}
}

func TestDamagedPart(t *testing.T) {
	b, _ := newBucket(t)
	id, err := b.CreateUpload(t.Context(), loc("k"), upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc("k"), ID: id}
	part, err := b.UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("part"), Size: 4})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.root.Name(), uploadPath(up), partName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		write(t, path, string(whole[:n]))
		_, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
		wantCode(t, err, upstream.Unavailable)
	}
	if got := list(t, b); got != "" {
		t.Errorf("listed: %s", got)
	}
}

// sidecars counts the metadata files of the bucket.
func sidecars(t *testing.T, b *Backend) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.root.Name(), metaDir, "b"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return len(entries)
}

func TestWithoutAttributes(t *testing.T) {
	b, _ := newBucket(t)
	b.xattrs = false
	with := func(req *upstream.PutRequest) {
		req.Headers = object.Headers{ContentType: "x/y", User: map[string]string{"k": "v"}}
	}
	for round, data := range []string{"first", "second"} {
		attrs := put(t, b, "dir/k", data, with)
		got, stat := get(t, b, "dir/k")
		if got != data || stat.ETag != md5Of(data) || attrs.ETag != stat.ETag || stat.Headers.User["k"] != "v" {
			t.Errorf("round %d: %q, %+v", round, got, stat)
		}
		if n := sidecars(t, b); n != 1 {
			t.Errorf("round %d: %d sidecars", round, n)
		}
	}
	put(t, b, "dir/k/below", "x") // moves it aside
	if _, attrs := get(t, b, "dir/k"); attrs.ETag != md5Of("second") {
		t.Errorf("moved aside, it has %+v", attrs)
	}
	if _, err := b.Copy(t.Context(), loc("copy"), upstream.CopyRequest{Source: loc("dir/k")}); err != nil {
		t.Fatal(err)
	}
	if got, attrs := get(t, b, "copy"); got != "second" || attrs.Headers.ContentType != "x/y" {
		t.Errorf("the copy holds %q, %+v", got, attrs)
	}
	_, err := b.Put(t.Context(), loc("copy"), upstream.PutRequest{Body: strings.NewReader("z"), Size: 1, IfNoneMatch: true})
	wantCode(t, err, upstream.Changed)
	if n := sidecars(t, b); n != 3 {
		t.Errorf("%d sidecars of 3 objects", n)
	}
	for _, key := range []string{"dir/k", "dir/k/below", "copy"} {
		if err := b.Delete(t.Context(), loc(key), upstream.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, left := sidecars(t, b), inArea(t, b); n != 0 || len(left) != 0 {
		t.Errorf("after all deletions: %d sidecars, %q", n, left)
	}
}

// TestSidecarsAndReaders: a reader never sees a version with the ETag of another, or with a synthesised
// one, though writers remove sidecars all the time.
func TestSidecarsAndReaders(t *testing.T) {
	b, _ := newBucket(t)
	b.xattrs = false
	put(t, b, "k", "version 0")
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer wg.Wait()
	defer stop()
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s, err := b.Open(t.Context(), loc("k"), upstream.OpenOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(s.Body)
				_ = s.Body.Close()
				if err != nil || s.Attrs.ETag != md5Of(string(data)) {
					t.Errorf("%q has ETag %s, %v", data, s.Attrs.ETag, err)
					return
				}
			}
		})
	}
	for i := range 40 {
		put(t, b, "k", fmt.Sprintf("version %d", i))
	}
}

// TestMetadataTooBigForAnAttribute: ext4 has room for less than 4 KiB.
func TestMetadataTooBigForAnAttribute(t *testing.T) {
	b, _ := newBucket(t)
	user := map[string]string{}
	for i := range 100 {
		user[fmt.Sprintf("name-%d", i)] = strings.Repeat("v", 1000)
	}
	put(t, b, "k", "data", func(req *upstream.PutRequest) { req.Headers.User = user })
	_, attrs := get(t, b, "k")
	if len(attrs.Headers.User) != 100 || attrs.Headers.User["name-99"] != user["name-99"] || attrs.ETag != md5Of("data") {
		t.Errorf("%d entries of user metadata, ETag %s", len(attrs.Headers.User), attrs.ETag)
	}
}

func TestNoSpace(t *testing.T) {
	b, _ := newBucket(t)
	put(t, b, "old", "old")
	id, err := b.CreateUpload(t.Context(), loc("up"), upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	b.create = func(string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	data := bytes.Repeat([]byte("x"), 1<<20)
	_, err = b.Put(t.Context(), loc("old"), upstream.PutRequest{Body: bytes.NewReader(data), Size: 1 << 20})
	wantCode(t, err, upstream.NoSpace)
	up := upstream.Upload{Loc: loc("up"), ID: id}
	_, err = b.UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: bytes.NewReader(data), Size: 1 << 20})
	wantCode(t, err, upstream.NoSpace)
	_, err = b.Copy(t.Context(), loc("new"), upstream.CopyRequest{Source: loc("old")})
	wantCode(t, err, upstream.NoSpace)
	if got, _ := get(t, b, "old"); got != "old" || list(t, b) != "old" || len(inArea(t, b)) != 0 {
		t.Errorf("old holds %q; listed: %s; hidden: %q", got, list(t, b), inArea(t, b))
	}
}

func TestCodes(t *testing.T) {
	for errno, want := range map[syscall.Errno]upstream.Code{
		syscall.ENOSPC: upstream.NoSpace, syscall.EDQUOT: upstream.NoSpace, syscall.EROFS: upstream.Access,
		syscall.EACCES: upstream.Access, syscall.EIO: upstream.Unavailable, syscall.EMFILE: upstream.Unavailable,
		syscall.ENOENT: upstream.Unavailable, syscall.EXDEV: upstream.Unsupported, syscall.ENAMETOOLONG: upstream.InvalidKey,
	} {
		err := fail("Put", &os.PathError{Op: "open", Path: "x", Err: errno})
		if !errors.Is(err, want) || !errors.Is(err, errno) || upstream.CodeOf(err) != want {
			t.Errorf("%v: %v, want %v", errno, err, want)
		}
	}
}

// asNobody runs fn without root's right to ignore permissions, on its own thread.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if os.Getuid() != 0 {
		fn()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := unix.SetfsuidRetUid(0); err != nil {
			t.Fatal(err)
		}
	}()
	fn()
}

func TestReadOnlyDirectory(t *testing.T) {
	b, dir := newBucket(t)
	put(t, b, "k", "data")
	area := filepath.Join(b.root.Name(), b.area.path)
	for path, mode := range map[string]os.FileMode{area: 0o777, dir: 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	// So that those who are not root can search their way to the area and to the bucket.
	for path := area; path != b.root.Name(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		for _, key := range []string{"k", "new", "new/below"} {
			_, err := b.Put(t.Context(), loc(key), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
			wantCode(t, err, upstream.Access)
		}
		wantCode(t, b.Delete(t.Context(), loc("k"), upstream.DeleteOptions{}), upstream.Access)
		if got, _ := get(t, b, "k"); got != "data" {
			t.Errorf("k holds %q", got)
		}
	})
	if left := inArea(t, b); len(left) != 0 {
		t.Errorf("the hidden area holds %q", left)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // for the cleanup of those who are not root
		t.Fatal(err)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "b", "k"), "data")
	for _, path := range []string{filepath.Dir(root), root} {
		if err := os.Chmod(path, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		b, err := New(Config{Root: root, Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := get(t, b, "k"); got != "data" {
			t.Errorf("k holds %q", got)
		}
		_, err = b.Put(t.Context(), loc("k"), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1})
		wantCode(t, err, upstream.Access)
		wantCode(t, b.Delete(t.Context(), loc("k"), upstream.DeleteOptions{}), upstream.Access)
		wantCode(t, b.CreateBucket(t.Context(), "c"), upstream.Access)
		wantCode(t, b.DeleteBucket(t.Context(), "b"), upstream.Access)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, path := range []string{filepath.Dir(root), root} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoProcesses: stores that share a root see each other's objects, and create-only holds between them.
func TestTwoProcesses(t *testing.T) {
	one, _ := newBucket(t)
	two := newStore(t, one.root.Name())
	for i := range 20 {
		key := fmt.Sprintf("dir-%d/k", i%3)
		var wg sync.WaitGroup
		var errs [2]error
		for j, b := range []*Backend{one, two} {
			wg.Go(func() {
				req := upstream.PutRequest{Body: strings.NewReader("x"), Size: 1, IfNoneMatch: true}
				_, errs[j] = b.Put(t.Context(), loc(key), req)
			})
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v, %v; want one winner", i, errs[0], errs[1])
		}
		wantCode(t, errors.Join(errs[:]...), upstream.Changed)
		if err := two.Delete(t.Context(), loc(key), upstream.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDescriptors: a walk of a hostile tree holds few descriptors.
func TestDescriptors(t *testing.T) {
	b, _ := newBucket(t)
	put(t, b, strings.Repeat("/", 1000)+"x", "deep")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 200
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	if got := list(t, b); len(got) != 1001 {
		t.Errorf("listed %d bytes of keys", len(got))
	}
	page, err := b.List(t.Context(), upstream.ListRequest{Bucket: "b", Delimiter: "x", MaxKeys: 10})
	if err != nil || len(page.Prefixes) != 1 {
		t.Errorf("List = %+v, %v", page, err)
	}
	if err := b.Delete(t.Context(), loc(strings.Repeat("/", 1000)+"x"), upstream.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := b.DeleteBucket(t.Context(), "b"); err != nil {
		t.Error(err)
	}
}
