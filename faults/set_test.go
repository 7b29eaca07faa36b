package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// pointChild makes the test binary arm process.kill and walk past two points.
const pointChild = "UNISTORE_FAULTS_POINT_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(pointChild) != "" {
		walkPoints()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func walkPoints() {
	s := New(nil)
	if err := s.Put(Fault{Name: ProcessKill, Operation: "second"}); err != nil {
		os.Exit(3)
	}
	fmt.Println("first")
	s.Point(Scope{Operation: "first"})
	fmt.Println("second")
	s.Point(Scope{Operation: "second"})
	fmt.Println("alive")
}

func put(t *testing.T, s *Set, f Fault) {
	t.Helper()
	if err := s.Put(f); err != nil {
		t.Fatal(err)
	}
}

// outcomes asks n times and draws '#' for each time the fault fired.
func outcomes(s *Set, name string, sc Scope, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '.'
		if _, ok := s.Fire(name, sc); ok {
			b[i] = '#'
		}
	}
	return string(b)
}

func TestFireSkipAndCount(t *testing.T) {
	tests := []struct {
		fault Fault
		want  string
	}{
		{Fault{}, "######"},
		{Fault{Skip: 2}, "..####"},
		{Fault{Count: 2}, "##...."},
		{Fault{Skip: 1, Count: 3}, ".###.."},
		{Fault{Skip: 9}, "......"},
		{Fault{Probability: 1}, "######"},
	}
	for _, tt := range tests {
		s := New(nil)
		tt.fault.Name = UpstreamReset
		put(t, s, tt.fault)
		if got := outcomes(s, UpstreamReset, Scope{}, 6); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.fault, got, tt.want)
		}
	}
}

func TestFireScope(t *testing.T) {
	sc := Scope{Upstream: "aws", Operation: "Open", Bucket: "lake", Key: "db/t1/f.parquet"}
	tests := []struct {
		fault Fault
		want  bool
	}{
		{Fault{}, true},
		{Fault{Upstream: "aws"}, true},
		{Fault{Upstream: "aw*"}, false},
		{Fault{Upstream: "ali"}, false},
		{Fault{Operation: "open"}, true},
		{Fault{Operation: "Put"}, false},
		{Fault{Bucket: "l*"}, true},
		{Fault{Bucket: "l?ke"}, true},
		{Fault{Bucket: "ake"}, false},
		{Fault{Key: "db/*.parquet"}, true},
		{Fault{Key: "*"}, true},
		{Fault{Key: "db?t1/f.parquet"}, true},
		{Fault{Key: "db/*.orc"}, false},
		{Fault{Key: "db"}, false},
		{Fault{Bucket: "lake", Key: "db/t[0-9]/*"}, true},
		{Fault{Bucket: "sea", Key: "db/*"}, false},
	}
	for _, tt := range tests {
		s := New(nil)
		tt.fault.Name = UpstreamReset
		put(t, s, tt.fault)
		if _, got := s.Fire(UpstreamReset, sc); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.fault, got, tt.want)
		}
		if _, got := s.Fire(UpstreamTruncate, sc); got {
			t.Errorf("%+v fired as %s", tt.fault, UpstreamTruncate)
		}
	}
}

func TestFireProbabilityIsReproducible(t *testing.T) {
	run := func(seed uint64) string {
		s := New(nil)
		put(t, s, Fault{Name: CacheReadError, Probability: 0.5, Seed: seed})
		return outcomes(s, CacheReadError, Scope{}, 256)
	}
	if a, b := run(7), run(7); a != b {
		t.Errorf("the same seed gave\n%s\n%s", a, b)
	}
	if a, b := run(7), run(8); a == b {
		t.Errorf("two seeds gave the same %s", a)
	}
	fired := 0
	for _, c := range run(7) {
		if c == '#' {
			fired++
		}
	}
	if fired < 96 || fired > 160 { // 128 +- 4 standard deviations of 8
		t.Errorf("fired %d of 256 at probability 0.5", fired)
	}
}

func TestFirstThatFiresWins(t *testing.T) {
	s := New(nil)
	put(t, s, Fault{Name: UpstreamError, Bucket: "a", Status: 403, Count: 1})
	put(t, s, Fault{Name: UpstreamError, Status: 503})
	var got []int
	for range 3 {
		f, _ := s.Fire(UpstreamError, Scope{Bucket: "a"})
		got = append(got, f.Status)
	}
	if want := []int{403, 503, 503}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	want := []Status{
		{Fault: Fault{Name: UpstreamError, Bucket: "a", Status: 403, Count: 1}, Matched: 3, Fired: 1},
		{Fault: Fault{Name: UpstreamError, Status: 503}, Matched: 2, Fired: 2},
	}
	if d := cmp.Diff(want, s.List()); d != "" {
		t.Error(d)
	}
}

func TestPutReplacesSameScope(t *testing.T) {
	s := New(nil)
	put(t, s, Fault{Name: UpstreamError, Upstream: "aws", Status: 500})
	put(t, s, Fault{Name: UpstreamError, Status: 404})
	s.Fire(UpstreamError, Scope{Upstream: "aws"})
	put(t, s, Fault{Name: UpstreamError, Upstream: "aws", Status: 403, Count: 1})
	want := []Status{
		{Fault: Fault{Name: UpstreamError, Upstream: "aws", Status: 403, Count: 1}},
		{Fault: Fault{Name: UpstreamError, Status: 404}},
	}
	if d := cmp.Diff(want, s.List()); d != "" {
		t.Error(d)
	}
}

func TestRemoveAndClear(t *testing.T) {
	s := New(nil)
	put(t, s, Fault{Name: UpstreamError, Upstream: "aws"})
	put(t, s, Fault{Name: UpstreamError})
	put(t, s, Fault{Name: MetaError})
	if s.Remove(UpstreamReset) {
		t.Error("removed a fault that was not set")
	}
	if !s.Remove(UpstreamError) || len(s.List()) != 1 {
		t.Errorf("after Remove: %v", s.List())
	}
	if _, ok := s.Fire(UpstreamError, Scope{}); ok {
		t.Error("a removed fault fired")
	}
	if _, ok := s.Fire(MetaError, Scope{}); !ok {
		t.Error("the other fault is gone")
	}
	s.Clear()
	if _, ok := s.Fire(MetaError, Scope{}); ok || s.List() != nil {
		t.Error("a fault is left after Clear")
	}
	put(t, s, Fault{Name: MetaError})
	if !s.Remove(MetaError) || s.active.Load() != nil {
		t.Error("the empty set is not the cheap one")
	}
}

func TestNilSet(t *testing.T) {
	var s *Set
	if _, ok := s.Fire(MetaError, Scope{}); ok {
		t.Error("fired")
	}
	s.Point(Scope{})
	s.Clear()
	if s.Remove(MetaError) || s.List() != nil {
		t.Error("a nil Set holds something")
	}
	if s.Put(Fault{Name: MetaError}) == nil {
		t.Error("a nil Set took a fault")
	}
}

func TestOnFire(t *testing.T) {
	var names []string
	s := New(func(name string) { names = append(names, name) })
	put(t, s, Fault{Name: MetaError, Count: 2})
	outcomes(s, MetaError, Scope{}, 5)
	if want := []string{MetaError, MetaError}; !slices.Equal(names, want) {
		t.Errorf("onFire saw %v, want %v", names, want)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := New(nil)
	put(t, s, Fault{Name: MetaError, Skip: 10, Count: 100})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				s.Fire(MetaError, Scope{})
				s.Fire(UpstreamError, Scope{})
				s.List()
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			_ = s.Put(Fault{Name: UpstreamError})
			s.Remove(UpstreamError)
		}
	})
	wg.Wait()
	if got := s.List(); len(got) != 1 || got[0].Matched != 1600 || got[0].Fired != 100 {
		t.Errorf("%+v, want 1600 matches and 100 fired", got)
	}
}

func TestPointKillsThisProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), pointChild+"=1")
	out, err := cmd.Output()
	if string(out) != "first\nsecond\n" {
		t.Errorf("the child printed %q", out)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatalf("the child ended with %v", err)
	}
	if ws := exit.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("the child ended with %v, want SIGKILL", exit)
	}
}

func BenchmarkFire(b *testing.B) {
	set := New(nil)
	other := New(nil)
	if err := other.Put(Fault{Name: MetaError}); err != nil {
		b.Fatal(err)
	}
	for _, bb := range []struct {
		name string
		set  *Set
	}{{"nil", nil}, {"empty", set}, {"other", other}} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				bb.set.Fire(UpstreamError, Scope{Upstream: "aws"})
			}
		})
	}
}
