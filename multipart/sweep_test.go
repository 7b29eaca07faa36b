package multipart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"unistore/faults"
	"unistore/meta"
	metafault "unistore/meta/fault"
	metamem "unistore/meta/mem"
	"unistore/metrics"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/mem"
)

func TestDuty(t *testing.T) {
	const age = time.Hour
	at := func(minutes int) time.Time { return time.Unix(0, 0).Add(time.Duration(minutes) * time.Minute) }
	tests := []struct {
		name    string
		u       meta.Upload
		settled bool
		task    task
		when    time.Time
	}{
		{"intent", meta.Upload{Kind: meta.UploadPut, State: meta.UploadIntent, Started: at(1), Last: at(5)}, false, taskResolve, at(20)},
		{"intent of a client", meta.Upload{Kind: meta.UploadClient, State: meta.UploadIntent, Started: at(1), Last: at(1)}, false, taskResolve, at(16)},
		{"put", meta.Upload{Kind: meta.UploadPut, State: meta.UploadOpen, Started: at(1)}, false, taskAbort, time.Time{}},
		{"client", meta.Upload{Kind: meta.UploadClient, State: meta.UploadOpen, Started: at(1)}, false, taskAbort, at(61)},
		{"put completing", meta.Upload{Kind: meta.UploadPut, State: meta.UploadCompleting, Started: at(1), Ended: at(2)}, false, taskSettle, time.Time{}},
		{"client completing", meta.Upload{Kind: meta.UploadClient, State: meta.UploadCompleting, Started: at(1), Ended: at(2)}, false, taskSettle, time.Time{}},
		{"client completing, asked", meta.Upload{Kind: meta.UploadClient, State: meta.UploadCompleting, Started: at(1), Ended: at(2)}, true, taskAbort, at(61)},
		{"completed", meta.Upload{Kind: meta.UploadClient, State: meta.UploadCompleted, Started: at(1), Ended: at(2)}, false, taskForget, at(2 + 24*60)},
	}
	for _, tt := range tests {
		if task, when := duty(&tt.u, tt.settled, age); task != tt.task || !when.Equal(tt.when) {
			t.Errorf("%s: task %d at %v, want %d at %v", tt.name, task, when, tt.task, tt.when)
		}
	}
}

func TestBackoff(t *testing.T) {
	var got []time.Duration
	for _, tries := range []int{0, 1, 2, 8, 9, 1000} {
		got = append(got, backoff(tries, firstPause, lastPause))
	}
	if want := []time.Duration{1e9, 2e9, 4e9, 256e9, 300e9, 300e9}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// swept is a Journal over a database and a Sweeper over a store, with a clock of its own.
type swept struct {
	t       testing.TB
	engine  meta.Engine // outlives restarts
	backend *mem.Backend
	set     *faults.Set
	m       *metrics.Metrics
	store   *upstream.Store
	j       *Journal
	s       *Sweeper
	ahead   atomic.Int64
	forgot  struct {
		sync.Mutex
		keys []string
	}
}

const sweptAge = time.Hour

func newSwept(t testing.TB, limits upstream.Limits) *swept {
	t.Helper()
	limits.MaxParts, limits.MaxKey, limits.CreateOnly = 100, 1024, true
	f := &swept{t: t, set: faults.New(nil), engine: metamem.New(), backend: mem.New(mem.Config{Limits: limits})}
	if err := f.backend.CreateBucket(t.Context(), loc.Bucket); err != nil {
		t.Fatal(err)
	}
	f.restart()
	return f
}

// restart is what a crash and a start leave: the database and the store.
func (f *swept) restart() {
	f.t.Helper()
	f.m = metrics.New(prometheus.NewRegistry())
	f.store = upstream.NewStore("test", fault.Wrap(f.backend, "test", f.set), upstream.StoreConfig{Retries: -1})
	db, err := meta.NewDB(metafault.Wrap(f.engine, f.set))
	if err != nil {
		f.t.Fatal(err)
	}
	f.j = NewJournal(JournalConfig{DB: db, Metrics: f.m, Log: zerolog.Nop(), Now: f.now})
	f.s = NewSweeper(SweeperConfig{
		Journal: f.j, Stores: map[string]SweepStore{"test": f.store}, MaxAge: sweptAge, Metrics: f.m, Log: zerolog.Nop(), Faults: f.set,
		Forget: func(at meta.ObjectKey) {
			f.forgot.Lock()
			defer f.forgot.Unlock()
			f.forgot.keys = append(f.forgot.keys, at.Key)
		},
	})
}

func (f *swept) now() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }

// round lets time pass and sweeps.
func (f *swept) round(d time.Duration) time.Time {
	f.t.Helper()
	f.ahead.Add(int64(d))
	return f.s.Round(f.t.Context())
}

// states are the uploads of the journal, those of the store, and what is recorded.
func (f *swept) states() string {
	f.t.Helper()
	counts := map[string]int{}
	for _, v := range f.j.Views(func(View) bool { return true }) {
		counts[v.Kind+" "+v.State]++
	}
	page, err := f.backend.ListUploads(f.t.Context(), upstream.ListUploadsRequest{Bucket: loc.Bucket, MaxUploads: 1000})
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimPrefix(fmt.Sprint(counts), "map") + fmt.Sprintf(" store %d", len(page.Uploads))
}

func (f *swept) want(want, when string) {
	f.t.Helper()
	if got := f.states(); got != want {
		f.t.Errorf("%s: %s, want %s", when, got, want)
	}
}

// records counts the keys of the database that belong to uploads.
func (f *swept) records() (n int) {
	f.t.Helper()
	for _, prefix := range []string{"mu/", "mv/"} {
		if err := f.engine.Scan([]byte(prefix), nil, func(_, _ []byte) error { n++; return nil }); err != nil {
			f.t.Fatal(err)
		}
	}
	return n
}

func (f *swept) counted(outcome string) float64 {
	return testutil.ToFloat64(f.m.UploadsSwept.WithLabelValues(outcome))
}

// begin begins an upload of a key at the store, with one part.
func (f *swept) begin(kind meta.UploadKind, key string) (*Entry, upstream.Upload, upstream.Part) {
	f.t.Helper()
	at := upstream.Loc{Bucket: loc.Bucket, Key: key}
	e := f.j.Begin(kind, meta.ObjectKey{Upstream: "test", Bucket: at.Bucket, Key: key})
	id, err := f.backend.CreateUpload(f.t.Context(), at, upstream.CreateUploadRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	e.Opened(id)
	up := upstream.Upload{Loc: at, ID: id}
	p, err := f.backend.UploadPart(f.t.Context(), up, 1, upstream.PartRequest{Body: bytes.NewReader(body(part)), Size: part})
	if err != nil {
		f.t.Fatal(err)
	}
	p.Number, p.Size = 1, part
	if kind == meta.UploadClient {
		e.Part(p)
	}
	return e, up, p
}

func (f *swept) complete(up upstream.Upload, p upstream.Part) object.Attrs {
	f.t.Helper()
	attrs, err := f.backend.CompleteUpload(f.t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{p}})
	if err != nil {
		f.t.Fatal(err)
	}
	return attrs
}

func (f *swept) exists(key string) bool {
	f.t.Helper()
	_, err := f.backend.Stat(f.t.Context(), upstream.Loc{Bucket: loc.Bucket, Key: key}, upstream.StatOptions{})
	return err == nil
}

func TestAfterARestart(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.begin(meta.UploadPut, "put")
	f.begin(meta.UploadClient, "client")
	putDone, up, p := f.begin(meta.UploadPut, "put-done")
	putDone.Completing([]upstream.Part{p})
	f.complete(up, p) // and then the process ended
	putLate, _, p := f.begin(meta.UploadPut, "put-late")
	putLate.Completing([]upstream.Part{p})
	clientDone, doneUp, doneP := f.begin(meta.UploadClient, "client-done")
	clientDone.Completing([]upstream.Part{doneP})
	f.complete(doneUp, doneP)
	clientLate, _, p := f.begin(meta.UploadClient, "client-late")
	clientLate.Completing([]upstream.Part{p})
	f.want("[client completing:2 client open:1 put completing:2 put open:1] store 4", "before")

	f.restart()
	f.want("[client completing:2 client open:1 put abandoned:3] store 4", "after the restart")
	if n := testutil.ToFloat64(f.m.UploadsResumed); n != 3 {
		t.Errorf("%v uploads resumed", n)
	}
	places := f.j.Unsettled()
	slices.SortFunc(places, func(a, b meta.ObjectKey) int { return strings.Compare(a.Key, b.Key) })
	if len(places) != 4 || places[0].Key != "client-done" {
		t.Errorf("unsettled: %v", places)
	}
	f.round(0)
	f.want("[client completing:2 client open:1 put abandoned:2] store 3", "after a round") // one is aborted, and will be once more
	slices.Sort(f.forgot.keys)
	if diff := cmp.Diff([]string{"client-done", "put-done"}, f.forgot.keys); diff != "" {
		t.Error(diff)
	}
	f.round(2 * time.Minute)
	f.want("[client completing:1 client open:2 put abandoned:1] store 2", "after the grace")
	f.round(abortAgain)
	f.want("[client completing:1 client open:2] store 2", "after it was aborted once more")
	if !f.exists("put-done") || !f.exists("client-done") || f.exists("put-late") {
		t.Error("a committed object is gone, or one has come")
	}
	// The client that was not answered asks again, and only it gets the answer.
	again := f.j.Adopt("test", doneUp)
	if _, done, _ := again.Result([]upstream.Part{doneP}); done {
		t.Error("what nobody has seen is taken for completed")
	}
	again.Completing([]upstream.Part{doneP})
	again.Completed(object.Attrs{ETag: "e-1", Size: part})
	if attrs, done, err := f.j.Adopt("test", doneUp).Result([]upstream.Part{doneP}); !done || err != nil || attrs.ETag != "e-1" {
		t.Errorf("%+v %v %v", attrs, done, err)
	}
	f.round(2 * sweptAge)
	f.want("[] store 0", "after the age limit")
	f.restart()
	if attrs, done, err := f.j.Adopt("test", doneUp).Result([]upstream.Part{doneP}); !done || err != nil || attrs.ETag != "e-1" || attrs.Size != part {
		t.Errorf("after one more restart: %+v %v %v", attrs, done, err)
	}
	f.round(25 * time.Hour)
	if n := f.records(); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

func TestIntentsAreResolvedByAge(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	at := meta.ObjectKey{Upstream: "test", Bucket: loc.Bucket, Key: "k"}
	create := func(key string) {
		if _, err := f.backend.CreateUpload(t.Context(), upstream.Loc{Bucket: loc.Bucket, Key: key}, upstream.CreateUploadRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	create("k")
	create("k2")
	f.j.Begin(meta.UploadPut, at) // and then the process ended
	f.begin(meta.UploadClient, "k")
	f.restart()
	f.round(sweptAge - time.Minute)
	f.want("[client open:1 put intent:1] store 3", "before its age")
	f.round(2 * time.Minute)
	f.want("[] store 1", "after its age") // k2 is another's
	if got := f.counted(sweptResolved); got != 1 {
		t.Errorf("%v resolved", got)
	}
	f.ahead.Store(int64(-2 * sweptAge))
	at.Key = "far"
	f.j.Begin(meta.UploadPut, at)
	create("far") // by another node, two hours later
	f.restart()
	f.round(2 * sweptAge)
	f.want("[] store 2", "an upload of the key from another time")

	f.ahead.Store(int64(-resolveWindow / 2))
	at.Key = "near"
	f.j.Begin(meta.UploadPut, at)
	create("near") // by another node, some minutes later: it may grow as old as any
	f.restart()
	f.round(sweptAge + resolveWindow/4)
	f.want("[put intent:1] store 3", "when only the intent is too old")
	f.round(resolveWindow / 2)
	f.want("[] store 2", "when the upload is, too")
}

// TestFailedIntents: what the store has surely not done needs no record; retries of one key are one record.
func TestFailedIntents(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	at := meta.ObjectKey{Upstream: "test", Bucket: loc.Bucket, Key: "k"}
	for _, err := range []error{upstream.NoBucket, upstream.Access, upstream.Throttled, upstream.Unsupported,
		&upstream.Error{Code: upstream.Unavailable, Unsent: true}} {
		f.j.Begin(meta.UploadClient, at).Failed(err)
	}
	f.want("[] store 0", "after refusals")
	for range 1000 {
		f.ahead.Add(int64(time.Second))
		f.j.Begin(meta.UploadClient, at).Failed(upstream.Unavailable)
		f.j.Begin(meta.UploadClient, at).Failed(context.Canceled)
	}
	f.want("[client intent:1] store 0", "after retries")
	if n := f.records(); n != 1 {
		t.Errorf("%d records", n)
	}
	f.restart()
	f.want("[client intent:1] store 0", "after a restart")
	f.round(resolveWindow - time.Minute)
	f.want("[client intent:1] store 0", "while a store may be at it")
	f.round(2 * time.Minute)
	f.want("[] store 0", "when there is no such upload")
}

// TestAStoreThatIsDown is asked ever less often, by one upload at a time, and swept when it is back.
func TestAStoreThatIsDown(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	for i := range 50 {
		f.begin(meta.UploadPut, fmt.Sprint(i))
	}
	f.restart()
	if err := f.set.Put(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 500}); err != nil {
		t.Fatal(err)
	}
	asked := func() int64 { return f.set.List()[0].Fired }
	if wait := f.round(0).Sub(f.now()); wait <= 0 || wait > firstPause {
		t.Errorf("the next round is in %v, want %v at most", wait, firstPause)
	}
	for range 60 {
		f.round(time.Second)
	}
	if n := asked(); n < 3 || n > 7*sweepParallel {
		t.Errorf("the store was asked %d times in a minute", n)
	}
	f.want("[put abandoned:50] store 50", "while it is down")
	f.set.Clear()
	f.round(lastPause)
	f.want("[put abandoned:50] store 0", "when it is back")
	f.round(abortAgain)
	f.want("[] store 0", "after they were aborted once more")
	if n := f.counted(sweptAborted); n != 50 {
		t.Errorf("%v uploads aborted", n)
	}
	if err := f.set.Put(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Status: 403}); err != nil {
		t.Fatal(err)
	}
	f.begin(meta.UploadPut, "k")
	f.restart()
	for range 60 {
		f.round(time.Minute)
	}
	if n := asked(); n < 4 || n > 7 {
		t.Errorf("a store that refuses was asked %d times in an hour", n)
	}
	f.want("[put abandoned:1] store 1", "while the store refuses")
	for range 40 {
		f.round(time.Hour)
	}
	f.want("[] store 1", "after a day of refusals")
}

// TestOneUploadThatAlwaysFails does not keep the others waiting.
func TestOneUploadThatAlwaysFails(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	for i := range 200 {
		f.begin(meta.UploadPut, fmt.Sprint(i))
	}
	f.restart()
	if err := f.set.Put(faults.Fault{Name: faults.UpstreamError, Operation: "AbortUpload", Key: "77", Status: 500}); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		f.round(time.Second)
	}
	f.want("[put abandoned:1] store 1", "after half a minute")
	if n := f.set.List()[0].Fired; n > 8 {
		t.Errorf("it was tried %d times in half a minute", n)
	}
}

// TestStraysOfAStoreOfOurs: uploads that no record knows go by age there, and nowhere else.
func TestStraysOfAStoreOfOurs(t *testing.T) {
	for _, own := range []bool{true, false} {
		f := newSwept(t, upstream.Limits{OwnUploads: own})
		f.begin(meta.UploadClient, "k")
		f.engine = metamem.New()
		f.restart()
		f.round(sweptAge - time.Minute)
		f.want("[] store 1", "before its age")
		f.round(10 * time.Minute)
		want := map[bool]string{true: "[] store 0", false: "[] store 1"}[own]
		f.want(want, fmt.Sprintf("after its age, of our own: %v", own))
	}
}

// TestHeal: a database that is replaced under the Journal gets the records again.
func TestHeal(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.begin(meta.UploadClient, "k")
	if err := f.engine.Scan([]byte("mu/"), nil, func(key, _ []byte) error {
		var b meta.Batch
		b.Delete(slices.Clone(key))
		return f.engine.Apply(&b, false)
	}); err != nil {
		t.Fatal(err)
	}
	f.round(maxWait + time.Second)
	f.restart()
	f.want("[client open:1] store 1", "after it was healed")
}

// TestDamagedRecords are no reason not to start, and parts without an upload go.
func TestDamagedRecords(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.begin(meta.UploadClient, "k")
	if err := f.engine.Scan([]byte("mu/"), nil, func(key, value []byte) error {
		var b meta.Batch
		b.Put(slices.Clone(key), append(slices.Clone(value), 0))
		return f.engine.Apply(&b, false)
	}); err != nil {
		t.Fatal(err)
	}
	f.restart()
	f.want("[] store 1", "after a restart")
	if n := f.records(); n != 1 {
		t.Errorf("%d records, want that of the part", n)
	}
	f.j.discardStrayParts(t.Context())
	if n := f.records(); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// TestUnreadableRecords: a database that can not be scanned is no reason not to start; the next start reads it.
func TestUnreadableRecords(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.begin(meta.UploadClient, "a")
	f.begin(meta.UploadClient, "b")
	if err := f.set.Put(faults.Fault{Name: faults.MetaError, Operation: "next", Skip: 1}); err != nil {
		t.Fatal(err)
	}
	f.restart()
	if n := testutil.ToFloat64(f.m.UploadJournalErrors); n != 1 {
		t.Errorf("%v errors", n)
	}
	f.begin(meta.UploadClient, "c")
	f.set.Clear()
	f.restart()
	f.want("[client open:3] store 3", "at the next start")
}

func TestAJournalThatIsFull(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.j.cfg.DB = nil
	at := func(i int) meta.ObjectKey { return meta.ObjectKey{Upstream: "test", Bucket: "b", Key: fmt.Sprint(i)} }
	var last *Entry
	for i := range maxUnfinished {
		last = f.j.Begin(meta.UploadPut, at(i))
	}
	if e := f.j.Begin(meta.UploadPut, at(-1)); e != nil || last == nil {
		t.Errorf("entries %v and %v", e, last)
	}
	last.Gone()
	if e := f.j.Begin(meta.UploadPut, at(-1)); e == nil {
		t.Error("no entry when there is room again")
	}
}

func TestResultsAreBounded(t *testing.T) {
	f := newSwept(t, upstream.Limits{})
	f.j.cfg.DB = nil
	for i := range maxResults + 5 {
		e := f.j.Adopt("test", upstream.Upload{ID: fmt.Sprint(i)})
		e.Completing(nil)
		e.Completed(object.Attrs{ETag: "e"})
	}
	for i, want := range map[int]bool{0: false, 4: false, 5: true, maxResults + 4: true} {
		if _, done, _ := f.j.Find("test", upstream.Upload{ID: fmt.Sprint(i)}).Result(nil); done != want {
			t.Errorf("result %d: %v", i, done)
		}
	}
}

// TestNilJournal: nothing is known, nothing fails.
func TestNilJournal(t *testing.T) {
	var j *Journal
	e := j.Begin(meta.UploadClient, meta.ObjectKey{})
	e.Opened("x")
	e.Failed(upstream.Unavailable)
	e.Part(upstream.Part{})
	e.Completing(nil)
	e.Refused(upstream.Invalid)
	e.Completed(object.Attrs{})
	e.Abandoned()
	e.Aborted(true)
	e.Gone()
	release, err := j.Adopt("", upstream.Upload{}).Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	release()
	if _, done, err := j.Find("", upstream.Upload{}).Result(nil); done || err != nil {
		t.Error(done, err)
	}
	if n := len(j.Views(nil)); n != 0 {
		t.Error(n)
	}
}

func TestDigestOfParts(t *testing.T) {
	a := upstream.Part{Number: 1, ETag: `"ABC"`, Size: 7}
	same := upstream.Part{Number: 1, ETag: "abc"}
	if digestOf([]upstream.Part{a}) != digestOf([]upstream.Part{same}) {
		t.Error("quotes, case and size count")
	}
	lists := [][]upstream.Part{nil, {a}, {{Number: 2, ETag: "abc"}}, {a, a}, {{Number: 1, ETag: "ab"}, {Number: 2, ETag: "c"}},
		{{Number: 1, ETag: "a"}, {Number: 2, ETag: "bc"}}}
	seen := map[[32]byte]int{}
	for i, l := range lists {
		if other, ok := seen[digestOf(l)]; ok {
			t.Errorf("lists %d and %d have one digest", i, other)
		}
		seen[digestOf(l)] = i
	}
}

// TestModel does random things to uploads, with a failing database, a failing store and restarts in between. In the
// end, when every age limit has passed, neither the store nor the records know of an upload, no object is there that
// was not completed, and none is missing that was.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	f := newSwept(t, upstream.Limits{OwnUploads: true}) // a record that can not be written may be lost
	objects := map[string]bool{}
	type live struct {
		e  *Entry
		up upstream.Upload
		p  upstream.Part
	}
	var uploads []live
	for i := range 600 {
		switch n := r.IntN(20); {
		case n < 6:
			kind := meta.UploadPut
			if r.IntN(2) == 0 {
				kind = meta.UploadClient
			}
			e, up, p := f.begin(kind, fmt.Sprint(i))
			uploads = append(uploads, live{e, up, p})
		case n < 8:
			f.j.Begin(meta.UploadClient, meta.ObjectKey{Upstream: "test", Bucket: loc.Bucket, Key: fmt.Sprint(i % 7)}).Failed(upstream.Unavailable)
		case n < 13 && len(uploads) > 0:
			k := r.IntN(len(uploads))
			l := uploads[k]
			uploads = slices.Delete(uploads, k, k+1)
			l.e.Completing([]upstream.Part{l.p})
			if attrs, err := f.backend.CompleteUpload(t.Context(), l.up, upstream.CompleteRequest{Parts: []upstream.Part{l.p}}); err == nil {
				objects[l.up.Key] = true
				if r.IntN(3) > 0 {
					l.e.Completed(attrs)
				} else { // the answer is lost
					l.e.Refused(upstream.Unavailable)
				}
			} else if !errors.Is(err, upstream.NoUpload) { // swept meanwhile
				t.Fatal(err)
			}
		case n == 13 && len(uploads) > 0:
			uploads[r.IntN(len(uploads))].e.Abandoned()
		case n < 16:
			f.round(time.Duration(r.IntN(int(20 * time.Minute))))
		case n == 16:
			f.set.Clear()
			f.restart()
			uploads = nil
		case n == 17:
			fault := faults.Fault{Name: faults.MetaError, Operation: "apply", Probability: 0.3, Seed: r.Uint64()}
			if err := f.set.Put(fault); err != nil {
				t.Fatal(err)
			}
		case n == 18:
			fault := faults.Fault{Name: faults.UpstreamError, Status: 500, Probability: 0.5, Seed: r.Uint64()}
			if err := f.set.Put(fault); err != nil {
				t.Fatal(err)
			}
		case n == 19:
			f.set.Clear()
		}
	}
	f.set.Clear()
	f.restart()
	f.ahead.Add(int64(30 * time.Hour))
	for range 10 {
		f.round(time.Hour)
	}
	f.j.discardStrayParts(t.Context())
	f.want("[] store 0", "in the end")
	if n := f.records(); n != 0 {
		t.Errorf("%d records are left", n)
	}
	for i := range 600 {
		if key := fmt.Sprint(i); f.exists(key) != objects[key] {
			t.Errorf("object %s: there %v, completed %v", key, f.exists(key), objects[key])
		}
	}
}
