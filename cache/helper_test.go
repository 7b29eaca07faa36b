package cache

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"unistore/byterange"
	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
	"unistore/meta/mem"
	"unistore/metrics"
	"unistore/object"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	page     = PageSize
	blockLen = 256 << 10 // the block size of most tests: 4 pages
)

// origin is an upstream with one version of each key, which counts what is asked of it.
type origin struct {
	mu struct {
		sync.Mutex
		data    map[string][]byte
		version map[string]int
		drafts  int
		fetches int
		bytes   int64
		ranges  []byterange.Range
		open    int
	}
	// hook, when set, is called for every Fetch and may replace its body or fail it. It is set before use.
	hook func(ctx context.Context, key string, r byterange.Range, body io.Reader) (io.Reader, error)
}

func newOrigin() *origin {
	o := &origin{}
	o.mu.data = make(map[string][]byte)
	o.mu.version = make(map[string]int)
	return o
}

// put makes a new version of size bytes and returns its attributes.
func (o *origin) put(key string, size int) object.Attrs {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.version[key]++
	data := make([]byte, size)
	seed := uint64(o.mu.version[key])
	for _, b := range []byte(key) {
		seed = seed*31 + uint64(b)
	}
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = src.Read(data)
	o.mu.data[key] = data
	return o.attrsLocked(key)
}

func (o *origin) attrsLocked(key string) object.Attrs {
	return object.Attrs{
		Size: int64(len(o.mu.data[key])), ETag: fmt.Sprintf("etag-%d", o.mu.version[key]), HeadersKnown: true,
		ModTime: time.Unix(int64(1000+o.mu.version[key]), 0).UTC(),
	}
}

func (o *origin) attrs(key string) object.Attrs {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.attrsLocked(key)
}

func (o *origin) content(key string) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.data[key]
}

// fetch returns a FetchFunc for one version of key.
func (o *origin) fetch(key, etag string) FetchFunc {
	return func(ctx context.Context, r byterange.Range) (io.ReadCloser, error) {
		return o.get(ctx, key, etag, r)
	}
}

func (o *origin) get(ctx context.Context, key, etag string, r byterange.Range) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o.mu.Lock()
	if etag != o.attrsLocked(key).ETag {
		o.mu.Unlock()
		return nil, fmt.Errorf("if-match: %w", ErrChanged)
	}
	o.mu.fetches++
	o.mu.open++
	o.mu.ranges = append(o.mu.ranges, r)
	var body io.Reader = bytes.NewReader(o.mu.data[key][r.Off:r.End()])
	o.mu.Unlock()
	if o.hook != nil {
		var err error
		if body, err = o.hook(ctx, key, r, body); err != nil {
			o.closed()
			return nil, err
		}
	}
	return &originBody{Reader: body, o: o}, nil
}

func (o *origin) closed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.open--
}

type originBody struct {
	io.Reader
	o    *origin
	once sync.Once
}

func (b *originBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.o.mu.Lock()
	b.o.mu.bytes += int64(n)
	b.o.mu.Unlock()
	return n, err
}

func (b *originBody) Close() error {
	b.once.Do(func() {
		b.o.closed()
		if c, ok := b.Reader.(io.Closer); ok {
			_ = c.Close()
		}
	})
	return nil
}

// first returns a response under way for r of the current version.
func (o *origin) first(t testing.TB, key string, r byterange.Range) *First {
	t.Helper()
	body, err := o.get(t.Context(), key, o.attrs(key).ETag, r)
	if err != nil {
		t.Fatal(err)
	}
	return &First{Range: r, Body: body}
}

func (o *origin) counts() (fetches int, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.fetches, o.mu.bytes
}

// env is a cache over an origin, with everything that outlives a restart.
type env struct {
	t   testing.TB
	o   *origin
	dir string
	eng meta.Engine
	cfg Config
	m   *metrics.Metrics
	f   *faults.Set
	c   *Cache
}

func newEnv(t testing.TB, change func(*Config)) *env {
	t.Helper()
	e := &env{t: t, o: newOrigin(), dir: t.TempDir(), eng: mem.New(), f: faults.New(nil)}
	e.cfg = Config{Size: 32 << 20, BlockSize: blockLen, MaxRun: 1 << 20, Tick: 10 * time.Millisecond, Probe: 20 * time.Millisecond, Stall: time.Minute}
	if change != nil {
		change(&e.cfg)
	}
	e.open()
	t.Cleanup(e.close)
	return e
}

func (e *env) open() {
	e.t.Helper()
	db, err := meta.NewDB(e.eng)
	if err != nil {
		e.t.Fatal(err)
	}
	e.m = metrics.New(prometheus.NewRegistry())
	cfg := e.cfg
	cfg.Dir, cfg.DB, cfg.Metrics, cfg.Faults = e.dir, db, e.m, e.f
	if e.c, err = Open(cfg); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) close() {
	if e.c == nil {
		return
	}
	if err := e.c.Close(); err != nil {
		e.t.Errorf("Close: %v", err)
	}
	e.c = nil
}

func (e *env) restart() {
	e.t.Helper()
	e.close()
	e.open()
}

func keyOf(name string) Key { return Key{Upstream: "up", Bucket: "bucket", Key: name} }

// request is a read of [off, off+n) of the current version.
func (e *env) request(name string, off, n int64) ReadRequest {
	a := e.o.attrs(name)
	return ReadRequest{
		Key: keyOf(name), Attrs: a, Range: byterange.Range{Off: off, Len: n}, Fetch: e.o.fetch(name, a.ETag),
	}
}

// read reads [off, off+n) and checks every byte.
func (e *env) read(name string, off, n int64) Result {
	e.t.Helper()
	return e.do(e.request(name, off, n))
}

func (e *env) do(req ReadRequest) Result {
	e.t.Helper()
	res, got, err := readAll(e.c, req)
	if err != nil {
		e.t.Fatalf("read %v: %v", req.Range, err)
	}
	want := e.o.content(req.Key.Key)[req.Range.Off:req.Range.End()]
	if !bytes.Equal(got, want) {
		e.t.Fatalf("read %v: wrong bytes (%d, want %d; first difference at %d)", req.Range, len(got), len(want), diff(got, want))
	}
	return res
}

func diff(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// readAll reads a request through WriteTo.
func readAll(c *Cache, req ReadRequest) (Result, []byte, error) {
	r, err := c.Read(context.Background(), req)
	if err != nil {
		return Result{}, nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	bw := bufio.NewWriter(&out)
	n, err := r.WriteTo(bw)
	if err == nil {
		err = bw.Flush()
	}
	if err == nil && n != req.Range.Len {
		err = fmt.Errorf("WriteTo gave %d bytes of %d and no error", n, req.Range.Len)
	}
	return r.Result(), out.Bytes(), err
}

// eventually waits until ok. It polls: what it waits for is the end of other goroutines' work.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// idle waits until nothing is under way and the dead blocks are removed, then checks that nothing is held.
func (e *env) idle() {
	e.t.Helper()
	e.c.expirePins()
	e.c.evict() // what maintenance would find to do later
	eventually(e.t, "idle", func() bool {
		s := e.c.Stats()
		e.c.mu.Lock()
		trash, indexed := len(e.c.mu.trash), int64(0)
		for b := range e.c.mu.all() {
			indexed += e.c.mu.bytes(b)
		}
		e.c.mu.Unlock()
		records := 0
		err := e.c.db.Blocks(func(*meta.Block, error) error { records++; return nil })
		return s.Fills == 0 && s.Readers == 0 && s.Intakes == 0 && trash == 0 && err == nil && records == s.Blocks &&
			s.Resident == indexed && e.c.guard.sides() == 0 && !e.c.retry.pending()
	})
	e.c.mu.Lock()
	defer e.c.mu.Unlock()
	checkPins(e.t, &e.c.mu.index, "idle")
	if limit := int64(e.c.cfg.PinLimit * float64(e.c.cfg.Size)); e.c.mu.pins.hard > max(0, limit) || e.c.mu.pins.hard > e.c.mu.resident {
		e.t.Errorf("%d bytes pinned hard: limit %d, resident %d", e.c.mu.pins.hard, limit, e.c.mu.resident)
	}
	if e.c.mu.reserved != 0 || e.c.mu.staged != 0 || e.c.mu.unseen != 0 || len(e.c.queued) != 0 {
		e.t.Errorf("%d bytes are reserved by nobody, %d of them by writes, %d on disk; %d pages are queued",
			e.c.mu.reserved, e.c.mu.staged, e.c.mu.unseen, len(e.c.queued))
	}
	for b := range e.c.mu.all() {
		if b.refs != 0 || b.use != nil {
			e.t.Errorf("block %d is held by nobody: refs %d, use %v", b.index, b.refs, b.use)
		}
	}
	e.o.mu.Lock()
	defer e.o.mu.Unlock()
	if e.o.mu.open != 0 {
		e.t.Errorf("%d upstream bodies were not closed", e.o.mu.open)
	}
}

// checkDisk compares index, files and records: the same files, and the same bytes.
func (e *env) checkDisk() {
	e.t.Helper()
	var onDisk int64
	files := map[string]int64{}
	err := filepath.WalkDir(filepath.Join(e.dir, "blocks"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		files[d.Name()] = st.Blocks * 512
		onDisk += st.Blocks * 512
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.t.Fatal(err)
	}
	s := e.c.Stats()
	if onDisk != s.Resident {
		e.t.Errorf("%d bytes on disk, the index counts %d", onDisk, s.Resident)
	}
	if len(files) != s.Blocks {
		e.t.Errorf("%d files, %d blocks in the index", len(files), s.Blocks)
	}
	records := 0
	err = e.c.db.Blocks(func(b *meta.Block, err error) error {
		records++
		if _, ok := files[fmt.Sprintf("%016x", b.FileID)]; !ok || err != nil || b.State != meta.BlockReady {
			e.t.Errorf("record of file %x: file there %t, state %d, %v", b.FileID, ok, b.State, err)
		}
		return nil
	})
	if err != nil || records != s.Blocks {
		e.t.Errorf("%d records, %d blocks in the index, %v", records, s.Blocks, err)
	}
	if s.Resident > s.Capacity {
		e.t.Errorf("%d bytes in a cache of %d", s.Resident, s.Capacity)
	}
}

func (e *env) errorCount(kind errorKind) int {
	return int(testutil.ToFloat64(e.m.CacheErrors.WithLabelValues(string(kind))))
}

// wantFetches checks how many upstream requests there were since the last call.
func (e *env) wantFetches(n int) {
	e.t.Helper()
	e.o.mu.Lock()
	defer e.o.mu.Unlock()
	if e.o.mu.fetches != n {
		e.t.Errorf("%d upstream requests, want %d: %v", e.o.mu.fetches, n, e.o.mu.ranges)
	}
	e.o.mu.fetches, e.o.mu.bytes, e.o.mu.ranges = 0, 0, nil
}

func put(t testing.TB, s *faults.Set, f faults.Fault) {
	t.Helper()
	if err := s.Put(f); err != nil {
		t.Fatal(err)
	}
}

var _ device.Device = (*device.Mem)(nil)
