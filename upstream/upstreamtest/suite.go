// Package upstreamtest is the conformance suite of the seam upstream.Backend: what its comments promise,
// as cases that every driver passes. A driver's test is one call:
//
//	func TestConformance(t *testing.T) {
//		upstreamtest.Run(t, upstreamtest.Harness{New: func(t *testing.T) upstream.Backend { ... }})
//	}
//
// What a driver cannot do by its nature it says in Limits, by lacking an optional interface, or, where
// neither can tell, in the Harness.
package upstreamtest

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"unistore/upstream"
)

// Harness tells the suite how to get at a driver and what to expect of its store.
type Harness struct {
	// New returns a Backend; the suite closes it. It is called a few times. The store behind may be
	// shared and hold other buckets.
	New func(t *testing.T) upstream.Backend
	// BucketPrefix begins the names of the buckets that the suite makes; "conformance" if empty.
	BucketPrefix string
	// MakeBucket returns an empty bucket for one case. When nil, the suite makes unique buckets with
	// upstream.Bucketer and deletes them at the end.
	MakeBucket func(t testing.TB, b upstream.Backend) string
	// MayRefuse reports whether the store may refuse a key with InvalidKey; nil: it holds every key.
	MayRefuse func(key string) bool
	// OpaqueETags: ETags are not hex MD5, nor "md5-of-md5s-N" for multipart objects.
	OpaqueETags bool
	// ManyKeys is how many keys the case of the long listing writes; 2500 if 0.
	ManyKeys int
	// Deviations are the cases that the store is known to fail, by full name, each with the reason.
	// They run; one that passes fails the suite, so that the list stays true.
	Deviations map[string]string
	// Row is where docs/conformance.md tells of this run; the zero value: nowhere.
	Row Row
}

// seedVariable is the environment variable that repeats a random run.
const seedVariable = "UNISTORE_TEST_SEED"

// caseTimeout ends a case whose store hangs.
const caseTimeout = 2 * time.Minute

// promptly is how long a cancelled call may take to return: wide, for slow machines, and still far below
// every timeout a store may have.
const promptly = 15 * time.Second

// testCase is one promise.
type testCase struct {
	name  string
	needs ability
	run   func(e *env)
}

// ability is what a Backend must have for a case to apply; the zero value is nothing.
type ability uint8

const (
	buckets ability = 1 << iota
	multipart
	serverCopy
	batchDelete
	createOnly
	replaceOnly
	storesChecksums
)

func abilities(b upstream.Backend) ability {
	limits := b.Limits()
	var have ability
	add := func(a ability, ok bool) {
		if ok {
			have |= a
		}
	}
	_, ok := b.(upstream.Bucketer)
	add(buckets, ok)
	_, ok = b.(upstream.Multiparter)
	add(multipart, ok)
	_, ok = b.(upstream.Copier)
	add(serverCopy, ok)
	_, ok = b.(upstream.BatchDeleter)
	add(batchDelete, ok)
	add(createOnly, limits.CreateOnly)
	add(replaceOnly, limits.ReplaceOnly)
	add(storesChecksums, limits.StoresChecksums)
	return have
}

// Run runs the suite as subtests of t and logs how many cases it had.
func Run(t *testing.T, h Harness) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	s := newSuite(t, h)
	t.Run("suite", func(t *testing.T) { s.runAll(t) })
	if err := s.b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := goleak.Find(ignore); err != nil {
		t.Errorf("goroutines left after Close: %v", err)
	}
	if !t.Failed() {
		s.checkRecord(t)
	}
	t.Logf("conformance: %d cases (%d of them known deviations of the store), %d not applicable, seed %d",
		s.ran, s.deviated, s.skipped, s.seed)
}

type suite struct {
	h                      Harness
	b                      upstream.Backend
	have                   ability
	seed                   uint64
	ran, deviated, skipped int
}

func newSuite(t *testing.T, h Harness) *suite {
	t.Helper()
	if h.BucketPrefix == "" {
		h.BucketPrefix = "conformance"
	}
	if h.ManyKeys == 0 {
		h.ManyKeys = 2500
	}
	if h.MayRefuse == nil {
		h.MayRefuse = func(string) bool { return false }
	}
	s := &suite{h: h, seed: uint64(time.Now().UnixNano())}
	if v := os.Getenv(seedVariable); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
		s.seed = seed
	}
	t.Logf("seed %d (repeat with %s)", s.seed, seedVariable)
	s.b = h.New(t)
	s.have = abilities(s.b)
	if h.MakeBucket == nil && s.have&buckets == 0 {
		t.Fatal("Harness.MakeBucket is needed: the Backend is no Bucketer")
	}
	return s
}

func (s *suite) runAll(t *testing.T) {
	known := map[string]bool{}
	for _, c := range allCases() {
		if known[c.name] {
			t.Errorf("two cases are named %q", c.name)
		}
		known[c.name] = true
		if s.have&c.needs != c.needs {
			s.skipped++
			continue
		}
		s.ran++
		t.Run(c.name, func(t *testing.T) { s.runCase(t, c) })
	}
	for name := range s.h.Deviations {
		if !known[name] {
			t.Errorf("Harness.Deviations names %q, which is no case", name)
		}
	}
}

func allCases() []testCase {
	var all []testCase
	for _, group := range [][]testCase{
		putCases(), headerCases(), failedPutCases(), conditionCases(), readCases(), keyCases(), listCases(),
		pagingCases(), multipartCases(), completeCases(), uploadListCases(), copyCases(), bucketCases(), cancelCases(),
		concurrencyCases(),
	} {
		// By name, so that groups made of maps come in the same order every time.
		slices.SortFunc(group, func(a, b testCase) int { return cmp.Compare(a.name, b.name) })
		all = append(all, group...)
	}
	return all
}

func (s *suite) runCase(t *testing.T, c testCase) {
	reason, deviates := s.h.Deviations[c.name]
	if !deviates {
		c.run(s.newEnv(t, t, c.name))
		return
	}
	s.deviated++
	rec := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // its own goroutine, since FailNow ends it
		defer close(done)
		c.run(s.newEnv(t, rec, c.name))
	}()
	<-done
	if !rec.Failed() {
		t.Errorf("passes now: remove it from Harness.Deviations (%s)", reason)
		return
	}
	t.Logf("known deviation: %s: %s", reason, rec.first())
}

// recorder is a testing.TB whose failures are kept, not reported.
type recorder struct {
	testing.TB
	mu struct {
		sync.Mutex
		failed bool
		words  string // of the first failure
	}
}

func (r *recorder) record(words string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.mu.failed {
		r.mu.words = words
	}
	r.mu.failed = true
}

func (r *recorder) first() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.words
}

// Failed implements testing.TB.
func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.failed
}

// Fail implements testing.TB.
func (r *recorder) Fail() { r.record("") }

// FailNow implements testing.TB.
func (r *recorder) FailNow() { r.record(""); runtime.Goexit() }

// Error implements testing.TB.
func (r *recorder) Error(args ...any) { r.record(fmt.Sprint(args...)) }

// Errorf implements testing.TB.
func (r *recorder) Errorf(format string, args ...any) { r.record(fmt.Sprintf(format, args...)) }

// Fatal implements testing.TB.
func (r *recorder) Fatal(args ...any) { r.record(fmt.Sprint(args...)); runtime.Goexit() }

// Fatalf implements testing.TB.
func (r *recorder) Fatalf(format string, args ...any) {
	r.record(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

var bucketCount atomic.Int64

// newEnv prepares the world of one case: an empty bucket, a context, random numbers of its own.
func (s *suite) newEnv(t *testing.T, tb testing.TB, name string) *env {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	t.Cleanup(cancel)
	e := &env{TB: tb, h: s.h, b: s.b, ctx: ctx, rng: rand.New(rand.NewPCG(s.seed, h.Sum64()))}
	if s.h.MakeBucket != nil {
		e.bucket = s.h.MakeBucket(t, s.b)
		return e
	}
	e.bucket = e.newBucket()
	return e
}
