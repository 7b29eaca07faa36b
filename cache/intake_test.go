package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/cache/device"
	"unistore/faults"
	"unistore/object"
)

// draft is a body of size bytes that is not yet at the origin.
func (o *origin) draft(size int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.drafts++
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{31: 1, 0: byte(o.mu.drafts), 1: byte(o.mu.drafts >> 8)}).Read(data)
	return data
}

// commit makes data the current version of key.
func (o *origin) commit(key string, data []byte) object.Attrs {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.version[key]++
	o.mu.data[key] = data
	return o.attrsLocked(key)
}

// through is one write that passes through, in the order of the gateway.
type through struct {
	e    *env
	name string
	data []byte
	w    *Writing
	in   *Intake
}

// begin starts to write size bytes to name. told says whether the size is known from the beginning.
func (e *env) begin(name string, size int, told bool) *through {
	return e.beginWith(name, e.o.draft(size), told)
}

func (e *env) beginWith(name string, data []byte, told bool) *through {
	t := &through{e: e, name: name, data: data, w: e.c.Overwrite(keyOf(name))}
	e.c.Forget(keyOf(name))
	size := len(data)
	if !told {
		size = -1
	}
	t.in = e.c.Intake(t.w, int64(size))
	return t
}

// pass lets the body pass, in pieces of odd sizes.
func (t *through) pass() {
	body := t.in.Tee(bytes.NewReader(t.data))
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{body}, make([]byte, 50_001)); err != nil {
		t.e.t.Fatal(err)
	}
}

// commit ends a write as one that the origin has taken.
func (t *through) commit() (published bool) {
	a := t.e.o.commit(t.name, t.data)
	published = t.in.Publish(a)
	t.end(published)
	return published
}

func (t *through) end(published bool) {
	t.in.Drop(OutcomeFailed)
	if !published {
		t.e.c.Forget(keyOf(t.name))
	}
	t.w.Done()
}

func (e *env) outcomes(o Outcome) int {
	return int(testutil.ToFloat64(e.m.CacheWrites.WithLabelValues(string(o))))
}

// wantOnly checks that so many writes have ended as o, and none otherwise.
func (e *env) wantOnly(o Outcome, n int) {
	e.t.Helper()
	for _, other := range []Outcome{
		OutcomeKept, OutcomeFailed, OutcomeContended, OutcomeShare, OutcomeBusy, OutcomeNoRoom, OutcomeSlow,
		OutcomeDisk, OutcomeRecords, OutcomeBypassed, OutcomeMismatch, OutcomeUnseen,
	} {
		want := 0
		if other == o {
			want = n
		}
		if got := e.outcomes(other); got != want {
			e.t.Errorf("%d writes ended as %q, want %d", got, string(other), want)
		}
	}
}

// Once it is committed, a write is read without a request to the upstream, after a restart too.
func TestAWriteThatPassesIsResident(t *testing.T) {
	for _, size := range []int{0, 1, page - 1, page, page + 1, blockLen - 1, blockLen, blockLen + 1, 5*blockLen + 3*page + 7} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprint(size, told), func(t *testing.T) {
				e := newEnv(t, nil)
				e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), e.o.put("k", 2*blockLen))
				e.read("k", 0, 2*blockLen) // an old version, resident
				e.wantFetches(1)
				w := e.begin("k", size, told)
				w.pass()
				if s := e.c.Stats(); s.Blocks != 0 {
					t.Errorf("%d blocks before the commit", s.Blocks)
				}
				if !w.commit() {
					t.Fatal("not published")
				}
				for range 2 {
					if got, ok := e.c.Stat(keyOf("k")); !ok || got.Attrs.ETag != e.o.attrs("k").ETag {
						t.Errorf("known: %+v, %t", got, ok)
					}
					if size > 0 {
						if res := e.read("k", 0, int64(size)); res.Source != SourceCache {
							t.Errorf("%+v", res)
						}
					}
					e.wantFetches(0)
					e.idle()
					e.checkDisk()
					e.wantOnly(OutcomeKept, 1)
					e.restart()
					e.c.countOutcome(OutcomeKept) // counters begin anew
				}
			})
		}
	}
}

// slowDisk is a device whose writes wait while it is shut.
type slowDisk struct {
	device.Device
	mu   sync.Mutex
	wait chan struct{}
}

func (d *slowDisk) shut() (open func()) {
	ch := make(chan struct{})
	d.set(ch)
	return func() { d.set(nil); close(ch) }
}

func (d *slowDisk) set(ch chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wait = ch
}

func (d *slowDisk) Create(ref device.Ref) (device.File, error) {
	f, err := d.Device.Create(ref)
	return slowFile{f, d}, err
}

type slowFile struct {
	device.File
	d *slowDisk
}

func (f slowFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	wait := f.d.wait
	f.d.mu.Unlock()
	if wait != nil {
		<-wait
	}
	return f.File.WriteAt(p, off)
}

// What gives a write up leaves nothing, and never fails it.
func TestWhatGivesAWriteUpLeavesNothing(t *testing.T) {
	const size = 3*blockLen + 5
	for _, test := range []struct {
		name string
		want Outcome
		do   func(e *env, d *slowDisk)
	}{
		{"refused by the upstream", OutcomeFailed, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			w.end(false)
		}},
		{"the client leaves", OutcomeFailed, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			body := w.in.Tee(io.MultiReader(bytes.NewReader(w.data[:2*blockLen+9]), errReader{errBroken}))
			if _, err := io.Copy(io.Discard, body); !errors.Is(err, errBroken) {
				e.t.Error(err)
			}
			w.end(false)
		}},
		{"a body that is never read", OutcomeFailed, func(e *env, _ *slowDisk) { e.begin("k", size, true).end(false) }},
		{"a body that is shorter than promised", OutcomeMismatch, func(e *env, _ *slowDisk) {
			w := e.begin("k", size+1, true)
			w.data = w.data[:size]
			w.pass()
			w.commit()
		}},
		{"a body that is longer than promised", OutcomeMismatch, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.data = append(w.data, 1)
			w.pass()
			w.commit()
		}},
		{"a commit before the end of the body", OutcomeMismatch, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			if _, err := io.ReadFull(w.in.Tee(bytes.NewReader(w.data)), make([]byte, size)); err != nil {
				e.t.Error(err)
			}
			w.commit()
		}},
		{"an answer of another size", OutcomeMismatch, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			w.end(w.in.Publish(object.Attrs{Size: size - 1, ETag: "e"}))
		}},
		{"an answer without an ETag", OutcomeMismatch, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			w.end(w.in.Publish(object.Attrs{Size: size}))
		}},
		{"another write under way", OutcomeContended, func(e *env, _ *slowDisk) {
			other := e.c.Overwrite(keyOf("k"))
			defer other.Done()
			w := e.begin("k", size, true)
			w.pass()
			w.commit()
		}},
		{"another write that came and went", OutcomeContended, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			other := e.c.Overwrite(keyOf("k"))
			e.c.Forget(keyOf("k"))
			other.Done()
			w.pass()
			w.commit()
		}},
		{"forgotten after the body's end", OutcomeContended, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			e.c.Forget(keyOf("k"))
			w.commit()
		}},
		{"all is dropped after the body's end", OutcomeContended, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			if _, err := e.c.DropMatching(e.t.Context(), Scope{}); err != nil {
				e.t.Error(err)
			}
			w.commit()
		}},
		{"larger than the share", OutcomeShare, func(e *env, _ *slowDisk) {
			w := e.begin("k", int(e.c.stagedLimit())+1, true)
			w.pass()
			w.commit()
		}},
		{"larger than the share, of unknown size", OutcomeShare, func(e *env, _ *slowDisk) {
			w := e.begin("k", int(e.c.stagedLimit())+1, false)
			w.pass()
			w.commit()
		}},
		{"everything is pinned", OutcomeNoRoom, func(e *env, _ *slowDisk) {
			e.o.put("pinned", 14*blockLen)
			req := e.request("pinned", 0, 14*blockLen)
			req.Pin = &PinRequest{Query: "q", Kind: PinHard, TTL: time.Hour}
			e.do(req)
			w := e.begin("k", size, true)
			w.pass()
			w.commit()
		}},
		{"the disk refuses a file", OutcomeDisk, func(e *env, _ *slowDisk) { e.writeUnder(faults.CacheWriteError, "create", 1, size) }},
		{"the disk refuses a page", OutcomeDisk, func(e *env, _ *slowDisk) { e.writeUnder(faults.CacheWriteError, "write", 6, size) }},
		{"the database refuses an intent", OutcomeRecords, func(e *env, _ *slowDisk) { e.writeUnder(faults.MetaError, "apply", 3, size) }},
		{"the database refuses to publish", OutcomeRecords, func(e *env, _ *slowDisk) {
			w := e.begin("k", size, true)
			w.pass()
			eventually(e.t, "all is written", func() bool { return len(e.c.queued) == 0 })
			put(e.t, e.f, faults.Fault{Name: faults.MetaError, Operation: "apply", Count: 1})
			w.commit()
		}},
		{"out of use", OutcomeBypassed, func(e *env, _ *slowDisk) {
			e.c.guard.trip(sideWrite, errBroken)
			w := e.begin("k", size, true)
			w.pass()
			w.commit()
		}},
		{"records out of use in the midst", OutcomeBypassed, func(e *env, _ *slowDisk) { e.writeAcross(sideRecords, size) }},
		{"writing out of use in the midst", OutcomeBypassed, func(e *env, _ *slowDisk) { e.writeAcross(sideWrite, size) }},
		{"reading out of use in the midst", OutcomeBypassed, func(e *env, _ *slowDisk) { e.writeAcross(sideRead, size) }},
		{"the disk is too slow for the body", OutcomeSlow, func(e *env, d *slowDisk) {
			open := d.shut()
			w := e.begin("k", 32*blockLen, true)
			w.pass()
			w.commit()
			open()
		}},
		{"the disk is too slow for the commit", OutcomeSlow, func(e *env, d *slowDisk) {
			open := d.shut()
			w := e.begin("k", 7, true)
			w.pass()
			w.commit()
			open()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := new(slowDisk)
			e := newEnvOn(t, onMem, func(c *Config) {
				dir, err := device.NewDir(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				d.Device = dir
				c.Device = d
				c.Size, c.Unpublished, c.PinLimit, c.MaxRun = 16*blockLen, .5, .94, blockLen
				if test.want == OutcomeSlow {
					c.Size, c.Stall = 128*blockLen, 20*time.Millisecond
				}
			})
			test.do(e, d)
			e.f.Clear()
			e.c.retryRecords()
			e.idle()
			e.wantOnly(test.want, 1)
			e.checkRecords(d.Device)
			if _, ok := e.c.Stat(keyOf("k")); ok {
				t.Error("it is known")
			}
			if test.want == OutcomeSlow {
				return
			}
			w := e.begin("k", size, true) // and the next one is kept
			w.pass()
			if kept := w.commit(); kept != (test.want != OutcomeNoRoom) {
				t.Errorf("the next one is kept: %t", kept)
			}
			e.idle()
			e.checkRecords(d.Device)
		})
	}
}

// checkRecords compares index, files and records of a device that is not in the directory of the cache.
func (e *env) checkRecords(d device.Device) {
	e.t.Helper()
	var onDisk int64
	n := 0
	err := d.Walk(func(id uint64) error {
		f, err := d.Open(device.Ref{ID: id})
		if err != nil {
			return err
		}
		defer f.Close()
		size, err := f.Allocated()
		onDisk += size
		n++
		return err
	})
	s := e.c.Stats()
	if err != nil || onDisk != s.Resident || n != s.Blocks {
		e.t.Errorf("%d files of %d bytes, %v; the index counts %d of %d", n, onDisk, err, s.Blocks, s.Resident)
	}
}

// writeUnder writes while the operation fails once, after skip others.
func (e *env) writeUnder(fault, op string, skip int64, size int) {
	e.t.Helper()
	put(e.t, e.f, faults.Fault{Name: fault, Operation: op, Skip: skip, Count: 1})
	w := e.begin("k", size, true)
	w.pass()
	w.commit()
}

// writeAcross writes while s goes out of use and comes back, after the body has passed.
func (e *env) writeAcross(s side, size int) {
	e.t.Helper()
	w := e.begin("k", size, true)
	w.pass()
	e.c.guard.trip(s, errBroken)
	eventually(e.t, "healed", func() bool { return e.c.guard.sides() == 0 })
	w.commit()
}

// What the upstream has said to questions from before a write does not bring the old version back.
func TestAnswersFromBeforeAWriteAreVoid(t *testing.T) {
	e := newEnv(t, nil)
	k := keyOf("k")
	old := e.o.put("k", 3*page)
	w := e.begin("k", 2*page, true)
	during := e.c.Begin(k)
	e.c.Forget(k) // as a reader does who finds out that an older version is gone: before the end it means nothing
	w.pass()
	late := e.c.Begin(k)
	e.c.Learn(k, e.c.Begin(k), old)
	if !w.commit() {
		t.Fatal("not published")
	}
	for _, token := range []Token{during, late} {
		if e.c.Learn(k, token, old) {
			t.Error("the old version was learned")
		}
	}
	e.read("k", 0, 2*page)
	e.wantFetches(0)
	e.restart()
	if got, ok := e.c.Stat(k); !ok || got.Attrs.ETag != e.o.attrs("k").ETag {
		t.Errorf("%+v, %t", got, ok)
	}
}

// Blocks that a reader of the new version has brought before it was published stay, and the others are added.
func TestPublishBesideReadersOfTheSameVersion(t *testing.T) {
	e := newEnv(t, nil)
	w := e.begin("k", 4*blockLen, true)
	w.pass()
	a := e.o.commit("k", w.data)
	e.read("k", blockLen+page, page) // who knows of it by another way
	e.wantFetches(1)
	r, err := e.c.Read(t.Context(), e.request("k", 0, 4*blockLen)) // is in the midst
	if err != nil {
		t.Fatal(err)
	}
	if !w.in.Publish(a) {
		t.Error("not published")
	}
	w.end(true)
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	r.Close()
	e.read("k", 0, 4*blockLen)
	e.idle()
	e.checkDisk()
}

// A closed cache ends what is under way, and so does a second Close.
func TestCloseEndsIntakes(t *testing.T) {
	e := newEnv(t, nil)
	w := e.begin("k", 3*blockLen, true)
	w.pass()
	e.restart()
	if w.in.Publish(e.o.commit("k", w.data)) {
		t.Error("published in a closed cache")
	}
	w.in.Drop(OutcomeFailed)
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Blocks != 0 {
		t.Errorf("%+v", s)
	}
}

// There is an end to how many writes are kept at once, and each makes room for another.
func TestAsManyIntakesAsMayBe(t *testing.T) {
	e := newEnv(t, nil)
	open := make([]*through, maxIntakes)
	for i := range open {
		open[i] = e.begin(fmt.Sprint("k", i), 1, true)
	}
	w := e.begin("one more", 1, true)
	w.pass()
	if w.commit() || e.outcomes(OutcomeBusy) != 1 {
		t.Errorf("%d writes ended as busy", e.outcomes(OutcomeBusy))
	}
	for i, w := range open {
		if i%2 == 0 {
			w.pass()
			if !w.commit() {
				t.Errorf("write %d is not kept", i)
			}
		} else {
			w.end(false)
		}
	}
	e.idle()
	e.checkDisk()
	if s := e.c.Stats(); s.Blocks != maxIntakes/2 {
		t.Errorf("%+v", s)
	}
}

// down is an upstream that is down, under clients who try again for ever, while others read what is cached. It returns
// the most that was reserved at any time.
func (e *env) down(retries int) (worst Stats) {
	const clients = 8
	size := 3*blockLen + 11
	body := e.o.draft(size)
	e.o.put("read", 8*blockLen)
	e.read("read", 0, 8*blockLen)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for id := range clients {
		wg.Go(func() {
			for i := range retries / clients {
				w := e.beginWith(fmt.Sprint("k", id), body, i%2 == 0)
				if i%3 == 0 {
					w.data = body[:1+i*997%size] // the connection breaks
				}
				w.pass()
				w.end(false)
				mu.Lock()
				if s := e.c.Stats(); s.Reserved > worst.Reserved {
					worst = s
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		if res := e.read("read", 0, 8*blockLen); res.Source == SourceBypass {
			e.t.Error("a read was not served by the cache")
		}
	}
	wg.Wait()
	eventually(e.t, "the intakes have ended", func() bool { return e.c.Stats().Intakes == 0 })
	return worst
}

// An upstream that is down for long under clients who try again for ever does not fill the cache. Without the removal
// of what was not committed, it would.
func TestAnUpstreamThatIsDownDoesNotFillTheCache(t *testing.T) {
	const retries = 400
	small := func(c *Config) { c.Size, c.MaxRun = 64*blockLen, blockLen }
	t.Run("as it is", func(t *testing.T) {
		e := newEnv(t, small)
		worst := e.down(retries)
		e.idle() // nothing is reserved
		e.checkDisk()
		e.read("read", 0, 8*blockLen)
		e.o.put("more", 50*blockLen)
		e.read("more", 0, 50*blockLen) // takes most: eviction works
		if res := e.read("more", 0, 50*blockLen); res.Source != SourceCache {
			t.Errorf("%+v", res)
		}
		e.idle()
		e.checkDisk()
		t.Logf("%d failed writes: at most %d bytes unpublished of %d allowed; then %+v",
			retries, worst.Unpublished, e.c.stagedLimit(), e.c.Stats())
		if worst.Unpublished > e.c.stagedLimit() || e.outcomes(OutcomeKept) != 0 {
			t.Errorf("worst %+v", worst)
		}
	})
	t.Run("without the removal", func(t *testing.T) {
		e := newEnv(t, small)
		e.c.discard = func(*staging, []staged) {}
		e.down(retries)
		s := e.c.Stats()
		t.Logf("%+v; %d files, %d blocks", s, len(e.blockFiles()), s.Blocks)
		if s.Reserved == 0 || len(e.blockFiles()) == s.Blocks || e.outcomes(OutcomeShare) == 0 {
			t.Error("this test can not fail")
		}
	})
}
