package prefetch

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/byterange"
	"unistore/cache"
	"unistore/meta"
	"unistore/meta/mem"
	"unistore/metrics"
	"unistore/object"
)

// pinless is a cache with much room that holds nothing and counts releases.
type pinless struct{ unpinned atomic.Int64 }

func (*pinless) Stats() cache.Stats                                        { return cache.Stats{Capacity: 1 << 50, PinLimit: 1 << 50} }
func (*pinless) Resident(cache.Key, object.Attrs, []byterange.Range) int64 { return 0 }
func (*pinless) PinsOf(string) (cache.PinState, bool)                      { return cache.PinState{}, false }
func (*pinless) Renew(string, time.Duration) (until time.Time, ok bool)    { return time.Time{}, false }
func (c *pinless) Unpin(string) bool                                       { c.unpinned.Add(1); return true }

// endless is a store with a listing that never ends, and objects of 1 MiB. held, when not nil, holds what is looked up one
// by one, whatever its context says.
type endless struct {
	pages atomic.Int64
	asked atomic.Int64
	held  chan struct{}
}

func (e *endless) Resolve(_ context.Context, bucket, key string) (Target, error) {
	e.asked.Add(1)
	if e.held != nil {
		<-e.held
	}
	return Target{Key: cache.Key{Upstream: "u", Bucket: bucket, Key: key}, ETag: "e", Size: mib}, nil
}

func (e *endless) List(_ context.Context, bucket, prefix, after string) (found []Found, next string, err error) {
	e.pages.Add(1)
	for i := range 100 {
		key := fmt.Sprintf("%s%s%03d", prefix, after, i)
		found = append(found, Found{Key: key, At: cache.Key{Upstream: "u", Bucket: bucket, Key: key}, ETag: "e", Size: mib})
	}
	return found, after + "x", nil
}

// failing is an Engine that refuses changes when it is told to.
type failing struct {
	meta.Engine
	fail atomic.Bool
}

func (f *failing) Apply(b *meta.Batch, sync bool) error {
	if f.fail.Load() {
		return errors.New("no space left")
	}
	return f.Engine.Apply(b, sync)
}

type registryTest struct {
	*Registry
	store  *endless
	cache  *pinless
	engine *failing
	db     *meta.DB
}

func newRegistryTest(t *testing.T, store *endless) *registryTest {
	t.Helper()
	r := &registryTest{store: store, cache: &pinless{}, engine: &failing{Engine: mem.New()}}
	var err error
	if r.db, err = meta.NewDB(r.engine); err != nil {
		t.Fatal(err)
	}
	p, _ := newTest(t, &filler{}, Budget{Memory: 64 * mib, Jobs: 4})
	r.Registry = OpenRegistry(RegistryConfig{
		Prefetcher: p, Cache: r.cache, DB: r.db, Resolver: store, Metrics: metrics.New(prometheus.NewRegistry()),
	})
	t.Cleanup(func() { r.Close() })
	return r
}

func prefixes(n int) (entries []Entry) {
	for i := range n {
		prefix := fmt.Sprintf("p%04d/", i)
		entries = append(entries, Entry{Bucket: "b", Prefix: &prefix})
	}
	return entries
}

// slotsOf returns the room that is taken, by all and by one query.
func (r *registryTest) slotsOf(name string) (all, own int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q := r.mu.queries[name]; q != nil {
		own = q.slots
	}
	return r.mu.slots, own
}

// One call, and all together, find no more files than there is room for, and list no further.
func TestRegistrationIsBounded(t *testing.T) {
	r := newRegistryTest(t, &endless{})
	r.limits.query, r.limits.all = 550, 800
	register := func(name string, entries []Entry) Accepted {
		t.Helper()
		a, err := r.Register(t.Context(), Registration{Name: name, Class: ClassRegistered, Entries: entries})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := register("one", prefixes(3000))
	if a.Files != 550 || a.Rejections != 3000 || len(a.Rejected) != MaxRejected || a.Rejected[0].Reason != string(rejectMany) {
		t.Errorf("%d files, %d rejected, %d named: %+v", a.Files, a.Rejections, len(a.Rejected), a.Rejected[:1])
	}
	if n := r.store.pages.Load(); n > 6+resolveSide {
		t.Errorf("%d pages were listed for 550 files", n)
	}
	a = register("two", []Entry{{Bucket: "b", Key: "v", ETag: "other"}})
	if a.Files != 0 || a.Rejections != 1 {
		t.Errorf("%d files, %+v", a.Files, a.Rejected)
	}
	a, err := r.Append(t.Context(), "two", prefixes(1))
	if err != nil || a.Files != 250 || a.Rejections != 1 {
		t.Errorf("%d files, %+v", a.Files, a.Rejected)
	}
	for _, e := range []Entry{{Bucket: "b", Key: "k"}, prefixes(1)[0]} {
		if a := register(e.Key+"three", []Entry{e}); a.Files != 0 || len(a.Rejected) != 1 || a.Rejected[0].Reason != string(rejectFull) {
			t.Errorf("%+v", a)
		}
	}
	if all, own := r.slotsOf("two"); all != 800 || own != 250 {
		t.Errorf("%d and %d slots are taken", all, own)
	}
	if err := r.Release("one"); err != nil {
		t.Fatal(err)
	}
	if all, _ := r.slotsOf("one"); all != 250 {
		t.Errorf("%d slots are taken after a release", all)
	}
	if _, err := r.Append(t.Context(), "two", make([]Entry, MaxEntries+1)); !errors.Is(err, ErrEntries) {
		t.Error(err)
	}
	if _, err := r.Register(t.Context(), Registration{Name: "x", Entries: make([]Entry, MaxEntries+1)}); !errors.Is(err, ErrEntries) {
		t.Error(err)
	}
}

// A name is free again when nothing of its query runs any more.
func TestNameOfAnEndingQuery(t *testing.T) {
	r := newRegistryTest(t, &endless{held: make(chan struct{})})
	r.limits.query = 3
	if _, err := r.Register(t.Context(), Registration{Name: "q", Class: ClassRegistered, Entries: prefixes(1)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a piece is under way", func() bool { return r.store.asked.Load() > 0 })
	if err := r.Release("q"); err != nil {
		t.Fatal(err)
	}
	if s, err := r.Status("q"); err != nil || s.State != QueryReleased {
		t.Errorf("%+v, %v", s, err)
	}
	if len(r.List()) != 0 {
		t.Errorf("%+v", r.List())
	}
	if _, err := r.Append(t.Context(), "q", nil); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Register(over, Registration{Name: "q"}); !errors.Is(err, ErrExists) {
		t.Errorf("the name of a query of which a piece is under way: %v", err)
	}
	close(r.store.held)
	if _, err := r.Register(t.Context(), Registration{Name: "q", TTL: time.Hour}); err != nil {
		t.Error(err)
	}
	if s, err := r.Status("q"); err != nil || s.State != QueryReady {
		t.Errorf("%+v, %v", s, err)
	}
	names := 0
	if err := r.db.Queries(func(meta.Query, error) error { names++; return nil }); err != nil || names != 1 {
		t.Errorf("%d records, %v", names, err)
	}
}

// A piece that was pinned while its query ended is released before the name is free.
func TestPiecePinnedAtTheEnd(t *testing.T) {
	r := newRegistryTest(t, &endless{})
	q := r.newQuery("q", ClassRegistered, cache.PinHard, time.Now().Add(time.Hour))
	q.flying = mib
	r.mu.Lock()
	r.putLocked(q)
	r.mu.Unlock()
	if err := r.Release("q"); err != nil || r.cache.unpinned.Load() != 1 {
		t.Fatal(err, r.cache.unpinned.Load())
	}
	r.over(q, piece{file: &file{}, rng: byterange.Range{Len: mib}}, JobResult{Pin: cache.PinResult{Bytes: mib}})
	if n := r.cache.unpinned.Load(); n != 2 {
		t.Errorf("released %d times", n)
	}
	select {
	case <-q.over:
	default:
		t.Error("the name is not free")
	}
}

// A query whose record can not be removed has not been released: it says so, and is tried again.
func TestReleaseThatIsNotRecorded(t *testing.T) {
	r := newRegistryTest(t, &endless{})
	r.limits.query = 3
	a, err := r.Register(t.Context(), Registration{Name: "q", Class: ClassRegistered, Credentials: true, Entries: prefixes(1)})
	if err != nil {
		t.Fatal(err)
	}
	r.engine.fail.Store(true)
	if err := r.Release("q"); err == nil {
		t.Error("a release that is not recorded is no error")
	}
	if s, err := r.Status("q"); err != nil || s.State != QueryEnding {
		t.Errorf("%+v, %v", s, err)
	}
	if _, _, _, ok := r.Lookup(a.Minted.AccessKey); ok {
		t.Error("the credentials are good")
	}
	r.engine.fail.Store(false)
	if err := r.Release("q"); err != nil {
		t.Error(err)
	}
	if s, err := r.Status("q"); err != nil || s.State != QueryReleased {
		t.Errorf("%+v, %v", s, err)
	}
	if files, _, err := r.db.QueryFiles("q"); len(files) != 0 || err != nil {
		t.Errorf("%+v, %v", files, err)
	}
	if err := r.db.Queries(func(q meta.Query, _ error) error { return errors.New(q.Name) }); err != nil {
		t.Errorf("a record stays: %v", err)
	}
}
