package multipart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/mem"
)

func TestMain(m *testing.M) {
	if point := os.Getenv(killChild); point != "" {
		uploadUntilKilled(point)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// part is the part size of most tests: small, so that many parts are cheap.
const part = 1 << 10

// testLimits let parts be small, and no body of a known length above one byte be a single PUT.
var testLimits = upstream.Limits{MaxParts: 100, MaxPut: 1, MaxObject: 1 << 30, MaxKey: 1024,
	CreateOnly: true, ReplaceOnly: true, StoresChecksums: true}

var loc = upstream.Loc{Bucket: "bucket", Key: "dir/object"}

// body returns n bytes that depend on their position.
func body(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// unsized hides every method of a reader but Read.
type unsized struct{ io.Reader }

// target is a store in memory with faults, which records what is asked of it.
type target struct {
	Target
	store *mem.Backend
	set   *faults.Set
	// before, when not nil, runs before every UploadPart.
	before func(number int)
	mu     struct {
		sync.Mutex
		calls []string
	}
}

func newTarget(lim upstream.Limits) *target {
	t := &target{store: mem.New(mem.Config{Limits: lim}), set: faults.New(nil)}
	if err := t.store.CreateBucket(context.Background(), loc.Bucket); err != nil {
		panic(err)
	}
	wrapped := fault.Wrap(t.store, "test", t.set)
	t.Target = struct {
		upstream.Backend
		upstream.Multiparter
	}{wrapped, wrapped.(upstream.Multiparter)}
	return t
}

func (t *target) Name() string { return "test" }

func (t *target) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.calls = append(t.mu.calls, fmt.Sprintf(format, args...))
}

func (t *target) calls() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.mu.calls, " ")
}

func (t *target) Put(ctx context.Context, l upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	t.note("put(%d)", req.Size)
	return t.Target.Put(ctx, l, req)
}

func (t *target) CreateUpload(ctx context.Context, l upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	t.note("create")
	return t.Target.CreateUpload(ctx, l, req)
}

func (t *target) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	if t.before != nil {
		t.before(number)
	}
	p, err := t.Target.UploadPart(ctx, up, number, req)
	t.note("part%d(%d)", number, req.Size)
	return p, err
}

func (t *target) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	t.note("complete(%d)", len(req.Parts))
	return t.Target.CompleteUpload(ctx, up, req)
}

func (t *target) AbortUpload(ctx context.Context, up upstream.Upload) error {
	t.note("abort")
	return t.Target.AbortUpload(ctx, up)
}

// content returns the object's bytes, or nil and false when there is none.
func (t *target) content(tb testing.TB, l upstream.Loc) ([]byte, bool) {
	tb.Helper()
	s, err := t.store.Open(context.Background(), l, upstream.OpenOptions{})
	if upstream.CodeOf(err) == upstream.NotExist && err != nil {
		return nil, false
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = s.Body.Close() }()
	got, err := io.ReadAll(s.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return got, true
}

// settled fails the test when something of an upload is left.
func settled(tb testing.TB, u *Uploader, t *target) {
	tb.Helper()
	if n := u.InUse(); n != 0 {
		tb.Errorf("%d bytes of memory are still in use", n)
	}
	page, err := t.store.ListUploads(context.Background(), upstream.ListUploadsRequest{Bucket: loc.Bucket, MaxUploads: 1000})
	if err != nil {
		tb.Fatal(err)
	}
	if len(page.Uploads) != 0 {
		tb.Errorf("%d uploads are left in the store", len(page.Uploads))
	}
}

// write puts want and reports, as an error, a failure or any difference between want and what the store
// then holds.
func write(tb testing.TB, u *Uploader, t *target, l upstream.Loc, want []byte, size int64) (object.Attrs, error) {
	tb.Helper()
	attrs, err := u.Put(context.Background(), t, l, upstream.PutRequest{Body: unsized{bytes.NewReader(want)}, Size: size})
	if err != nil {
		return attrs, err
	}
	got, ok := t.content(tb, l)
	if !ok || !bytes.Equal(got, want) {
		return attrs, fmt.Errorf("corruption: wrote %d bytes, the store holds %d (there: %v)", len(want), len(got), ok)
	}
	if attrs.Size != int64(len(want)) {
		return attrs, fmt.Errorf("size %d for %d bytes", attrs.Size, len(want))
	}
	return attrs, nil
}

func newUploader(t *target, cfg Config) *Uploader {
	cfg.PartSize = part
	cfg.Faults = t.set
	cfg.Log = zerolog.Nop()
	if cfg.Memory == 0 {
		cfg.Memory = 16 * part
	}
	if cfg.Journal == nil {
		cfg.Journal = NewJournal(JournalConfig{Metrics: cfg.Metrics})
	}
	return NewUploader(cfg)
}

func inject(tb testing.TB, t *target, f faults.Fault) {
	tb.Helper()
	if err := t.set.Put(f); err != nil {
		tb.Fatal(err)
	}
}
