package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"unistore/byterange"
	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/mem"
	"unistore/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a store in memory whose parts may be small, which makes the suite quick.
func small() *mem.Backend {
	lim := mem.DefaultLimits
	lim.MinPart = 1 << 10
	return mem.New(mem.Config{Limits: lim})
}

func TestConformance(t *testing.T) {
	row := upstreamtest.Row{Driver: "mem", Store: "memory, through the fault wrapper", RunBy: "make test"}
	upstreamtest.Run(t, upstreamtest.Harness{Row: row, New: func(*testing.T) upstream.Backend {
		return Wrap(small(), "test", faults.New(nil))
	}})
}

// A body that is only delayed and split is still the same body.
func TestConformanceWithHarmlessFaults(t *testing.T) {
	set := faults.New(nil)
	inject(t, set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1 << 40, Total: 1 << 40})
	inject(t, set, faults.Fault{Name: faults.UpstreamLatency, Delay: 1})
	upstreamtest.Run(t, upstreamtest.Harness{ManyKeys: 1100, New: func(*testing.T) upstream.Backend {
		return Wrap(small(), "test", set)
	}})
}

const bucket = "bucket"

var loc = upstream.Loc{Bucket: bucket, Key: "dir/key"}

func inject(tb testing.TB, set *faults.Set, f faults.Fault) {
	tb.Helper()
	if err := set.Put(f); err != nil {
		tb.Fatal(err)
	}
}

// world is a store that holds content at loc, wrapped.
type world struct {
	upstream.Backend
	tb    testing.TB
	inner *mem.Backend
	set   *faults.Set
}

func newWorld(tb testing.TB, content string) *world {
	tb.Helper()
	w := &world{tb: tb, inner: mem.New(mem.Config{Limits: upstream.Limits{MaxKey: 1024, ReplaceOnly: true}}), set: faults.New(nil)}
	w.Backend = Wrap(w.inner, "test", w.set)
	if err := w.inner.CreateBucket(context.Background(), bucket); err != nil {
		tb.Fatal(err)
	}
	w.must(w.put(w.inner, content))
	return w
}

func (w *world) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal(err)
	}
}

func (w *world) put(b upstream.Backend, content string) error {
	_, err := b.Put(context.Background(), loc, upstream.PutRequest{Body: strings.NewReader(content), Size: int64(len(content))})
	return err
}

// read returns what a GET of loc delivers and how it ends; io.EOF is nil.
func (w *world) read(opts upstream.OpenOptions) (string, error) {
	s, err := w.Open(context.Background(), loc, opts)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(s.Body)
	if cerr := s.Body.Close(); cerr != nil {
		w.tb.Error(cerr)
	}
	return string(got), err
}

func (w *world) etag() string {
	w.tb.Helper()
	attrs, err := w.Stat(context.Background(), loc, upstream.StatOptions{})
	w.must(err)
	return attrs.ETag
}

func TestBodyFaultsOnRead(t *testing.T) {
	const content = "0123456789"
	tests := []struct {
		name  string
		fault faults.Fault
		rng   byterange.Spec
		want  string
		err   error
	}{
		{"reset at once", faults.Fault{Name: faults.UpstreamReset}, byterange.All(), "", syscall.ECONNRESET},
		{"reset", faults.Fault{Name: faults.UpstreamReset, After: 4}, byterange.All(), "0123", syscall.ECONNRESET},
		{"reset of a range", faults.Fault{Name: faults.UpstreamReset, After: 2}, byterange.Closed(5, 9), "56", syscall.ECONNRESET},
		{"reset has a code", faults.Fault{Name: faults.UpstreamReset, After: 2}, byterange.All(), "01", upstream.Unavailable},
		{"reset in place of the end", faults.Fault{Name: faults.UpstreamReset, After: 10}, byterange.All(), content, syscall.ECONNRESET},
		{"reset after the end", faults.Fault{Name: faults.UpstreamReset, After: 11}, byterange.All(), content, nil},
		{"truncate at once", faults.Fault{Name: faults.UpstreamTruncate}, byterange.All(), "", nil},
		{"truncate", faults.Fault{Name: faults.UpstreamTruncate, After: 9}, byterange.All(), "012345678", nil},
		{"truncate after the end", faults.Fault{Name: faults.UpstreamTruncate, After: 10}, byterange.All(), content, nil},
		{"corrupt first", faults.Fault{Name: faults.UpstreamCorrupt}, byterange.All(), "\xcf123456789", nil},
		{"corrupt last", faults.Fault{Name: faults.UpstreamCorrupt, After: 9}, byterange.All(), "012345678\xc6", nil},
		{"corrupt after the end", faults.Fault{Name: faults.UpstreamCorrupt, After: 10}, byterange.All(), content, nil},
		{"other key", faults.Fault{Name: faults.UpstreamReset, Key: "other"}, byterange.All(), content, nil},
		{"other upstream", faults.Fault{Name: faults.UpstreamReset, Upstream: "other"}, byterange.All(), content, nil},
	}
	for _, tt := range tests {
		w := newWorld(t, content)
		inject(t, w.set, tt.fault)
		got, err := w.read(upstream.OpenOptions{Range: tt.rng})
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
		w.set.Clear()
		if got, err := w.read(upstream.OpenOptions{}); got != content || err != nil {
			t.Errorf("%s: the fault did something lasting: %q, %v", tt.name, got, err)
		}
	}
}

// The policy layer must notice a body that ends early.
func TestStoreNoticesTruncation(t *testing.T) {
	w := newWorld(t, "0123456789")
	store := upstream.NewStore("test", w.Backend, upstream.StoreConfig{Retries: -1})
	inject(t, w.set, faults.Fault{Name: faults.UpstreamTruncate, After: 9})
	s, err := store.Open(t.Context(), loc, upstream.OpenOptions{})
	w.must(err)
	defer func() { _ = s.Body.Close() }()
	if got, err := io.ReadAll(s.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBodyFaultsOnWrite(t *testing.T) {
	tests := []struct {
		name  string
		fault faults.Fault
		want  string // what the store holds afterwards
		err   error
	}{
		{"reset", faults.Fault{Name: faults.UpstreamReset, After: 4}, "old", syscall.ECONNRESET},
		{"answer lost", faults.Fault{Name: faults.UpstreamReset, After: 100}, "0123456789", syscall.ECONNRESET},
		{"truncate", faults.Fault{Name: faults.UpstreamTruncate, After: 4}, "old", upstream.TooShort},
		{"corrupt", faults.Fault{Name: faults.UpstreamCorrupt, After: 9}, "012345678\xc6", nil},
		{"error", faults.Fault{Name: faults.UpstreamError, Status: 507}, "old", upstream.NoSpace},
		{"only reads", faults.Fault{Name: faults.UpstreamReset, Operation: "Open"}, "0123456789", nil},
	}
	for _, tt := range tests {
		w := newWorld(t, "old")
		inject(t, w.set, tt.fault)
		if err := w.put(w, "0123456789"); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		w.set.Clear()
		if got, err := w.read(upstream.OpenOptions{}); got != tt.want || err != nil {
			t.Errorf("%s: the store holds %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestLostAnswers(t *testing.T) {
	w := newWorld(t, "x")
	m, ok := w.Backend.(upstream.Multiparter)
	if !ok {
		t.Fatal("no multipart uploads")
	}
	id, err := m.CreateUpload(t.Context(), loc, upstream.CreateUploadRequest{})
	w.must(err)
	up := upstream.Upload{Loc: loc, ID: id}
	part, err := m.UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("new"), Size: 3})
	w.must(err)
	inject(t, w.set, faults.Fault{Name: faults.UpstreamReset, Operation: "CompleteUpload"})
	_, err = m.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	if !errors.Is(err, upstream.Unavailable) {
		t.Errorf("CompleteUpload: %v", err)
	}
	if got, err := w.read(upstream.OpenOptions{}); got != "new" || err != nil {
		t.Errorf("the store holds %q, %v", got, err)
	}
	inject(t, w.set, faults.Fault{Name: faults.UpstreamReset, Operation: "Delete"})
	if err := w.Delete(t.Context(), loc, upstream.DeleteOptions{}); !errors.Is(err, upstream.Unavailable) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := w.read(upstream.OpenOptions{}); !errors.Is(err, upstream.NotExist) {
		t.Errorf("after a Delete whose answer was lost: %v", err)
	}
}

func TestErrorStatus(t *testing.T) {
	tests := map[int]upstream.Code{
		0: upstream.Unavailable, 400: upstream.Invalid, 401: upstream.Access, 403: upstream.Access,
		404: upstream.NotExist, 408: upstream.Unavailable, 409: upstream.Conflict, 412: upstream.Changed,
		413: upstream.TooLarge, 416: upstream.RangeError, 418: upstream.Invalid, 429: upstream.Throttled,
		500: upstream.Unavailable, 501: upstream.Unsupported, 502: upstream.Unavailable, 503: upstream.Throttled,
		504: upstream.Unavailable, 507: upstream.NoSpace,
	}
	for status, want := range tests {
		w := newWorld(t, "x")
		inject(t, w.set, faults.Fault{Name: faults.UpstreamError, Status: status, Count: 1})
		if _, err := w.read(upstream.OpenOptions{}); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
		if _, err := w.read(upstream.OpenOptions{}); err != nil {
			t.Errorf("%d: after the fault: %v", status, err)
		}
	}
}

func TestErrorReachesEveryOperation(t *testing.T) {
	w := newWorld(t, "x")
	inject(t, w.set, faults.Fault{Name: faults.UpstreamError, Status: 404})
	b, _ := w.Backend.(upstream.Bucketer)
	m, _ := w.Backend.(upstream.Multiparter)
	c, _ := w.Backend.(upstream.Copier)
	d, _ := w.Backend.(upstream.BatchDeleter)
	ctx, up := t.Context(), upstream.Upload{Loc: loc, ID: "x"}
	empty := bytes.NewReader(nil)
	tests := map[string]struct {
		call func() error
		want upstream.Code
	}{
		"Stat":           {func() error { _, err := w.Stat(ctx, loc, upstream.StatOptions{}); return err }, upstream.NotExist},
		"Open":           {func() error { _, err := w.Open(ctx, loc, upstream.OpenOptions{}); return err }, upstream.NotExist},
		"Put":            {func() error { _, err := w.Put(ctx, loc, upstream.PutRequest{Body: empty}); return err }, upstream.NoBucket},
		"Delete":         {func() error { return w.Delete(ctx, loc, upstream.DeleteOptions{}) }, upstream.NoBucket},
		"List":           {func() error { _, err := w.List(ctx, upstream.ListRequest{Bucket: bucket, MaxKeys: 1}); return err }, upstream.NoBucket},
		"ListBuckets":    {func() error { _, err := b.ListBuckets(ctx); return err }, upstream.NoBucket},
		"StatBucket":     {func() error { _, err := b.StatBucket(ctx, bucket); return err }, upstream.NoBucket},
		"CreateBucket":   {func() error { return b.CreateBucket(ctx, bucket) }, upstream.NoBucket},
		"DeleteBucket":   {func() error { return b.DeleteBucket(ctx, bucket) }, upstream.NoBucket},
		"CreateUpload":   {func() error { _, err := m.CreateUpload(ctx, loc, upstream.CreateUploadRequest{}); return err }, upstream.NoBucket},
		"UploadPart":     {func() error { _, err := m.UploadPart(ctx, up, 1, upstream.PartRequest{Body: empty}); return err }, upstream.NoUpload},
		"CompleteUpload": {func() error { _, err := m.CompleteUpload(ctx, up, upstream.CompleteRequest{}); return err }, upstream.NoUpload},
		"AbortUpload":    {func() error { return m.AbortUpload(ctx, up) }, upstream.NoUpload},
		"ListParts":      {func() error { _, err := m.ListParts(ctx, up, 0, 1); return err }, upstream.NoUpload},
		"ListUploads": {func() error {
			_, err := m.ListUploads(ctx, upstream.ListUploadsRequest{Bucket: bucket, MaxUploads: 1})
			return err
		}, upstream.NoBucket},
		"Copy":        {func() error { _, err := c.Copy(ctx, loc, upstream.CopyRequest{Source: loc}); return err }, upstream.NotExist},
		"CopyPart":    {func() error { _, err := c.CopyPart(ctx, up, 1, upstream.CopyPartRequest{Source: loc}); return err }, upstream.NoUpload},
		"DeleteBatch": {func() error { _, err := d.DeleteBatch(ctx, bucket, []string{"a"}); return err }, upstream.NoBucket},
	}
	for op, tt := range tests {
		err := tt.call()
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || e.Op != op || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", op, err, tt.want)
		}
	}
	if got := w.set.List()[0].Fired; got != int64(len(tests)) {
		t.Errorf("fired %d times for %d calls", got, len(tests))
	}
}

func TestETagChange(t *testing.T) {
	w := newWorld(t, "0123456789")
	first := w.etag()
	inject(t, w.set, faults.Fault{Name: faults.UpstreamETagChange, Skip: 1, Count: 1})
	open := func(etag string) error { _, err := w.read(upstream.OpenOptions{IfMatch: etag}); return err }
	w.must(open(first)) // skipped
	if err := open(first); !errors.Is(err, upstream.Changed) {
		t.Errorf("If-Match of the version before: %v", err)
	}
	second := w.etag()
	if second == first {
		t.Fatal("the ETag is the same")
	}
	w.must(open(second))
	if err := open(first); !errors.Is(err, upstream.Changed) {
		t.Errorf("the change did not last: %v", err)
	}
	if _, err := w.read(upstream.OpenOptions{IfNoneMatch: second}); !errors.Is(err, upstream.NotModified) {
		t.Errorf("If-None-Match of this version: %v", err)
	}
	if got, err := w.read(upstream.OpenOptions{IfNoneMatch: first}); got != "0123456789" || err != nil {
		t.Errorf("If-None-Match of the version before: %q, %v", got, err)
	}
	page, err := w.List(t.Context(), upstream.ListRequest{Bucket: bucket, MaxKeys: 10})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].ETag != second {
		t.Errorf("the listing says %+v, %v; want %s", page.Objects, err, second)
	}
	putIf := func(etag string) error {
		_, err := w.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("new"), Size: 3, IfMatch: etag})
		return err
	}
	if err := putIf(first); !errors.Is(err, upstream.Changed) {
		t.Errorf("Put over the version before: %v", err)
	}
	w.must(putIf(second))
	want, err := w.inner.Stat(t.Context(), loc, upstream.StatOptions{})
	if err != nil || w.etag() != want.ETag {
		t.Errorf("after a write the ETag is %s, want the store's %s (%v)", w.etag(), want.ETag, err)
	}
	if err := open(second); !errors.Is(err, upstream.Changed) {
		t.Errorf("If-Match of a version that was replaced: %v", err)
	}
}

func TestETagChangesAgain(t *testing.T) {
	w := newWorld(t, "x")
	inject(t, w.set, faults.Fault{Name: faults.UpstreamETagChange, Count: 3})
	seen := map[string]bool{}
	for range 3 {
		seen[w.etag()] = true
	}
	if last := w.etag(); len(seen) != 3 || !seen[last] {
		t.Errorf("ETags %v, then %s", seen, last)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "x")
		inject(t, w.set, faults.Fault{Name: faults.UpstreamLatency, Delay: 200 * time.Millisecond, Operation: "Open"})
		start := time.Now()
		_, err := w.read(upstream.OpenOptions{})
		if took := time.Since(start); err != nil || took != 200*time.Millisecond {
			t.Errorf("a read took %v, %v", took, err)
		}
		w.etag()
		if took := time.Since(start); took != 200*time.Millisecond {
			t.Errorf("Stat was delayed to %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start = time.Now()
		_, err = w.Open(ctx, loc, upstream.OpenOptions{})
		if took := time.Since(start); took != time.Millisecond || !errors.Is(err, upstream.Cancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a cancelled read took %v, %v", took, err)
		}
	})
}

// near fails unless took is want, up to a hundredth.
func near(t *testing.T, what string, took, want time.Duration) {
	t.Helper()
	if took < want-want/100 || took > want+want/100 {
		t.Errorf("%s took %v, want %v", what, took, want)
	}
}

func TestBandwidth(t *testing.T) {
	content := strings.Repeat("x", 1<<20)
	readers := func(w *world, n int) time.Duration {
		start := time.Now()
		done := make(chan error)
		for range n {
			go func() {
				got, err := w.read(upstream.OpenOptions{})
				if err == nil && got != content {
					err = errors.New("other bytes")
				}
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return time.Since(start)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, content)
		inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1 << 19})
		near(t, "one stream of 1 MiB at 512 KiB/s", readers(w, 1), 2*time.Second)
		near(t, "four streams at 512 KiB/s each", readers(w, 4), 2*time.Second)
		start := time.Now()
		w.must(w.put(w, content))
		near(t, "a write at 512 KiB/s", time.Since(start), 2*time.Second)

		inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Total: 1 << 19})
		near(t, "four streams at 512 KiB/s together", readers(w, 4), 8*time.Second)

		inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1 << 18, Total: 1 << 19})
		near(t, "one stream, limited by its own rate", readers(w, 1), 4*time.Second)
		near(t, "four streams, limited together", readers(w, 4), 8*time.Second)
	})
}

// A slow stream delivers evenly, not in bursts at the end.
func TestBandwidthIsEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, strings.Repeat("x", 1<<20))
		inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1 << 20})
		s, err := w.Open(t.Context(), loc, upstream.OpenOptions{})
		w.must(err)
		defer func() { _ = s.Body.Close() }()
		start := time.Now()
		buf := make([]byte, 1<<20)
		for read := 0; read < 1<<20; {
			n, err := s.Body.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			read += n
			want := time.Duration(read) * time.Second / (1 << 20)
			if d := time.Since(start) - want; d < -time.Millisecond || d > time.Millisecond {
				t.Fatalf("%d bytes after %v, want %v", read, time.Since(start), want)
			}
		}
	})
}

func TestSlowStreamEndsWithItsContextAndWithClose(t *testing.T) {
	for _, how := range []string{"context", "Close"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "0123456789")
			inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, err := w.Open(ctx, loc, upstream.OpenOptions{})
			w.must(err)
			done := make(chan error)
			go func() {
				_, err := io.ReadAll(s.Body)
				done <- err
			}()
			synctest.Wait()
			if how == "context" {
				cancel()
			} else {
				w.must(s.Body.Close())
			}
			if err := <-done; !errors.Is(err, upstream.Cancelled) {
				t.Errorf("%s: %v", how, err)
			}
			_ = s.Body.Close()
		})
	}
}

func TestSlowWriteEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "old")
		inject(t, w.set, faults.Fault{Name: faults.UpstreamBandwidth, Rate: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := w.Put(ctx, loc, upstream.PutRequest{Body: strings.NewReader("0123456789"), Size: 10})
		if took := time.Since(start); !errors.Is(err, upstream.Cancelled) || took != 3500*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
		w.set.Clear()
		if got, err := w.read(upstream.OpenOptions{}); got != "old" || err != nil {
			t.Errorf("the store holds %q, %v", got, err)
		}
	})
}
