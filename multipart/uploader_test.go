package multipart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/checksum"
	"unistore/faults"
	"unistore/metrics"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
)

var sizes = []int{0, 1, part - 1, part, part + 1, 2 * part, 2*part + 1, 3*part - 1, 10*part + 7}

// calls that a body of size bytes must cause, as patterns; parts in any order.
func wantCalls(size int, known bool) string {
	if size <= 1 || (!known && size <= part && testLimits.MaxPut >= int64(size)) {
		return fmt.Sprintf(`^put\(%d\)$`, size)
	}
	n := (size + part - 1) / part
	return fmt.Sprintf(`^create( part\d+\(\d+\)){%d} complete\(%d\)$`, n, n)
}

func TestPutSizesAndOrders(t *testing.T) {
	orders := map[string]func(t *testing.T, tg *target, parts int){
		"as they come": func(*testing.T, *target, int) {},
		"random": func(t *testing.T, tg *target, parts int) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			tg.before = newShuffle(seed, 4, parts).turn
		},
		"last part first": func(t *testing.T, tg *target, _ int) {
			inject(t, tg, faults.Fault{Name: faults.UploadLastPartFirst})
		},
	}
	for order, arrange := range orders {
		for _, size := range sizes {
			for _, known := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/known=%v", order, size, known), func(t *testing.T) {
					tg := newTarget(testLimits)
					parts := (size + part - 1) / part
					arrange(t, tg, parts)
					u := newUploader(tg, Config{Parallel: 4})
					length := int64(-1)
					if known {
						length = int64(size)
					}
					attrs, err := write(t, u, tg, loc, body(size), length)
					if err != nil {
						t.Fatal(err)
					}
					if !regexp.MustCompile(wantCalls(size, known)).MatchString(tg.calls()) {
						t.Errorf("calls %s", tg.calls())
					}
					if multi := strings.HasSuffix(attrs.ETag, fmt.Sprintf("-%d", parts)); multi != (size > 1) {
						t.Errorf("ETag %s of %d parts", attrs.ETag, parts)
					}
					if order == "last part first" && size > part && !strings.HasPrefix(tg.calls(), fmt.Sprintf("create part%d(", parts)) {
						t.Errorf("part %d is not the first: %s", parts, tg.calls())
					}
					settled(t, u, tg)
				})
			}
		}
	}
}

// shuffle lets parts go on in a random order, as far as window parts at once allow.
type shuffle struct {
	rand   *rand.Rand
	window int
	mu     struct {
		sync.Mutex
		left    int // parts that have not had their turn
		waiting []int
		next    int // whose turn it is, 0 for nobody's
	}
	changed *sync.Cond
}

func newShuffle(seed uint64, window, parts int) *shuffle {
	s := &shuffle{rand: rand.New(rand.NewPCG(seed, 0)), window: window}
	s.mu.left = parts
	s.changed = sync.NewCond(&s.mu)
	return s
}

// turn returns when all parts that can be waiting are, and the draw falls on number.
func (s *shuffle) turn(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.waiting = append(s.mu.waiting, number)
	s.changed.Broadcast()
	for s.mu.next != number {
		if s.mu.next == 0 && len(s.mu.waiting) >= min(s.window, s.mu.left) {
			s.mu.next = s.mu.waiting[s.rand.IntN(len(s.mu.waiting))]
			s.changed.Broadcast()
			continue
		}
		s.changed.Wait()
	}
	s.mu.waiting = slices.DeleteFunc(s.mu.waiting, func(n int) bool { return n == number })
	s.mu.next = 0
	s.mu.left--
	s.changed.Broadcast()
}

// The production bug put back: the decision looks at size alone. The check of the tests above must see it,
// in every order, and must not see anything with Decide.
func TestSizeOnlyDecisionIsCaught(t *testing.T) {
	sizeOnly := func(_, size int64, _ bool, _ upstream.Limits) Mode {
		if size < part {
			return Single
		}
		return Multi
	}
	for _, lastFirst := range []bool{true, false} {
		for _, size := range []int{part + 1, 2*part + 1, 3*part - 1} {
			for name, decide := range map[string]func(int64, int64, bool, upstream.Limits) Mode{
				"position and size": Decide, "size only": sizeOnly,
			} {
				lim := testLimits
				lim.MaxPut = 0
				tg := newTarget(lim)
				if lastFirst {
					inject(t, tg, faults.Fault{Name: faults.UploadLastPartFirst})
				}
				u := newUploader(tg, Config{})
				u.decide = decide
				want := body(size)
				_, err := write(t, u, tg, loc, want, -1)
				got, _ := tg.content(t, loc)
				wrong := err != nil && !bytes.Equal(got, want)
				if wrong != (name == "size only") {
					t.Errorf("%s, %d bytes, last part first %v: %v, the store holds %d bytes", name, size, lastFirst, err, len(got))
				}
				if name == "size only" && len(got) != size%part {
					t.Errorf("the bug leaves %d bytes, not the tail of %d", len(got), size%part)
				}
				settled(t, u, tg)
			}
		}
	}
}

// The same through the policy layer, as the gateway runs it.
func TestPutThroughAStore(t *testing.T) {
	for _, size := range sizes {
		tg := newTarget(testLimits)
		inject(t, tg, faults.Fault{Name: faults.UploadLastPartFirst})
		store := upstream.NewStore("test", fault.Wrap(tg.store, "test", tg.set), upstream.StoreConfig{})
		tg.Target = store
		u := newUploader(tg, Config{Parallel: 4})
		if _, err := write(t, u, tg, loc, body(size), -1); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		settled(t, u, tg)
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestKnownSizeStreams(t *testing.T) {
	lim := testLimits
	lim.MaxPut = 10 * part
	tg := newTarget(lim)
	u := newUploader(tg, Config{})
	var most int64
	src := readerFunc(func(p []byte) (int, error) {
		most = max(most, u.InUse())
		return 0, nil
	})
	data := bytes.NewReader(body(10 * part))
	_, err := u.Put(t.Context(), tg, loc, upstream.PutRequest{Size: 10 * part, Body: readerFunc(func(p []byte) (int, error) {
		_, _ = src(p)
		return data.Read(p)
	})})
	if err != nil || most != 0 || tg.calls() != fmt.Sprintf("put(%d)", 10*part) {
		t.Errorf("%v, %d bytes buffered, calls %s", err, most, tg.calls())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestUnknownShortBodyIsOnePut(t *testing.T) {
	lim := testLimits
	lim.MaxPut = 0
	for _, size := range []int{0, 1, part - 1, part} {
		tg := newTarget(lim)
		u := newUploader(tg, Config{})
		_, err := write(t, u, tg, loc, body(size), -1)
		if err != nil || tg.calls() != fmt.Sprintf("put(%d)", size) {
			t.Errorf("%d bytes: %v, calls %s", size, err, tg.calls())
		}
		settled(t, u, tg)
	}
}

// Parts too large for memory pass through it unbuffered.
func TestLargePartsStream(t *testing.T) {
	for _, size := range []int{2, 4 * part, 4*part - 1, 4*part + 1} {
		tg := newTarget(testLimits)
		u := newUploader(tg, Config{})
		want := body(size)
		req := upstream.PutRequest{Body: unsized{bytes.NewReader(want)}, Size: int64(size)}
		attrs, err := u.newSession(t.Context(), tg, loc, req, plan{lim: testLimits, size: int64(size), fixed: 2 * part, buffer: part}).run()
		if err != nil || attrs.Size != int64(size) {
			t.Fatalf("%d bytes: %+v, %v", size, attrs, err)
		}
		if got, _ := tg.content(t, loc); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: corruption", size)
		}
		settled(t, u, tg)
	}
	for name, size := range map[string]int{"short": 4*part - 1, "long": 4*part + 1} {
		tg := newTarget(testLimits)
		u := newUploader(tg, Config{})
		req := upstream.PutRequest{Body: unsized{bytes.NewReader(body(size))}, Size: 4 * part}
		_, err := u.newSession(t.Context(), tg, loc, req, plan{lim: testLimits, size: 4 * part, fixed: 2 * part, buffer: part}).run()
		if code := upstream.CodeOf(err); err == nil || (code != upstream.TooShort && code != upstream.Invalid) {
			t.Errorf("%s body: %v", name, err)
		}
		if _, there := tg.content(t, loc); there {
			t.Errorf("%s body: an object is there", name)
		}
		settled(t, u, tg)
	}
}

func TestHeadersConditionsAndChecksumArePassedOn(t *testing.T) {
	want := body(3*part + 5)
	table := crc32.MakeTable(crc32.Castagnoli)
	h := crc32.New(table)
	_, _ = h.Write(want)
	promise := &object.Checksum{Algorithm: "CRC32C", Value: checksum.Encode(h), Type: "FULL_OBJECT"}
	headers := object.Headers{ContentType: "text/x", User: map[string]string{"a": "b"}}
	put := func(tg *target, edit func(*upstream.PutRequest)) error {
		req := upstream.PutRequest{Body: bytes.NewReader(want), Size: -1, Headers: headers, Checksum: promise}
		edit(&req)
		u := newUploader(tg, Config{})
		_, err := u.Put(context.Background(), tg, loc, req)
		settled(t, u, tg)
		return err
	}
	tg := newTarget(testLimits)
	if err := put(tg, func(r *upstream.PutRequest) { r.IfNoneMatch = true }); err != nil {
		t.Fatal(err)
	}
	attrs, err := tg.store.Stat(t.Context(), loc, upstream.StatOptions{Checksums: true})
	if err != nil || attrs.Headers.ContentType != "text/x" || attrs.Headers.User["a"] != "b" {
		t.Errorf("headers %+v, %v", attrs.Headers, err)
	}
	if !slices.ContainsFunc(attrs.Checksums, func(c object.Checksum) bool { return c.Value == promise.Value }) {
		t.Errorf("checksums %v, want %v", attrs.Checksums, promise)
	}
	if err := put(tg, func(r *upstream.PutRequest) { r.IfNoneMatch = true }); !errors.Is(err, upstream.Changed) {
		t.Errorf("IfNoneMatch on an object that is there: %v", err)
	}
	if err := put(tg, func(r *upstream.PutRequest) { r.IfMatch = "other" }); !errors.Is(err, upstream.Changed) {
		t.Errorf("IfMatch of another version: %v", err)
	}
	if err := put(tg, func(r *upstream.PutRequest) { r.IfMatch = attrs.ETag }); err != nil {
		t.Errorf("IfMatch of this version: %v", err)
	}
	wrong := func(r *upstream.PutRequest) {
		r.Checksum = &object.Checksum{Algorithm: "CRC32C", Value: "AAAAAA==", Type: "FULL_OBJECT"}
	}
	if err := put(tg, wrong); !errors.Is(err, upstream.BadDigest) {
		t.Errorf("a wrong checksum: %v", err)
	}
}

func TestManyUploadsShareTheMemory(t *testing.T) {
	for _, lastFirst := range []bool{false, true} {
		tg := newTarget(testLimits)
		if lastFirst {
			inject(t, tg, faults.Fault{Name: faults.UploadLastPartFirst})
		}
		u := newUploader(tg, Config{Memory: 4 * part, Parallel: 3})
		var mu sync.Mutex
		var most int64
		tg.before = func(int) {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, u.InUse())
		}
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				l := upstream.Loc{Bucket: loc.Bucket, Key: fmt.Sprint(i)}
				size := int64(-1)
				want := body(8*part + i)
				if i%2 == 0 {
					size = int64(len(want))
				}
				if _, err := write(t, u, tg, l, want, size); err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if most > 4*part {
			t.Errorf("%d bytes of memory were in use, the bound is %d", most, 4*part)
		}
		settled(t, u, tg)
	}
}

func TestMetrics(t *testing.T) {
	m := metrics.New(prometheus.NewRegistry())
	tg := newTarget(testLimits)
	u := newUploader(tg, Config{Metrics: m})
	tg.before = func(int) {
		if got := testutil.ToFloat64(m.Uploads.WithLabelValues("open")); got != 1 {
			t.Errorf("%v active uploads, want 1", got)
		}
		if got := testutil.ToFloat64(m.UploadMemory); got < part || got > 3*part {
			t.Errorf("%v bytes of memory, want those of 1 to 3 parts", got)
		}
	}
	if _, err := write(t, u, tg, loc, body(3*part), -1); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(m.UploadMemory); got != 0 {
		t.Errorf("%v bytes of memory are still in use", got)
	}
	if got := testutil.ToFloat64(m.UploadParts.WithLabelValues("ok")); got != 3 {
		t.Errorf("%v parts, want 3", got)
	}
	inject(t, tg, faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 500})
	inject(t, tg, faults.Fault{Name: faults.UploadPartError, Skip: 1, Count: 1})
	u.cfg.Parallel = 1
	if _, err := write(t, u, tg, loc, body(3*part), -1); !errors.Is(err, upstream.Unavailable) {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(m.UploadParts.WithLabelValues("error")); got != 1 {
		t.Errorf("%v failed parts, want 1", got)
	}
	if got := testutil.ToFloat64(m.Uploads.WithLabelValues("abandoned")); got != 1 {
		t.Errorf("%v abandoned uploads, want 1", got)
	}
	if got := testutil.ToFloat64(m.Uploads.WithLabelValues("open")); got != 0 {
		t.Errorf("%v active uploads, want 0", got)
	}
}
