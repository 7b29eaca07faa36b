package fault_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"unistore/faults"
	"unistore/meta"
	"unistore/meta/enginetest"
	"unistore/meta/fault"
	"unistore/meta/mem"
)

// TestEngine: a wrapper with no fault, or with one that never matches, is a plain engine.
func TestEngine(t *testing.T) {
	never := faults.New(nil)
	arm(t, never, faults.Fault{Name: faults.MetaError, Operation: "another"})
	for name, set := range map[string]*faults.Set{"no set": nil, "empty": faults.New(nil), "no match": never} {
		t.Run(name, func(t *testing.T) {
			enginetest.Run(t, func(*testing.T) meta.Engine { return fault.Wrap(mem.New(), set) })
		})
	}
}

func arm(t *testing.T, set *faults.Set, f faults.Fault) {
	t.Helper()
	if err := set.Put(f); err != nil {
		t.Fatal(err)
	}
}

// TestPoints: each operation fails alone, and what a failed Apply leaves is as said.
func TestPoints(t *testing.T) {
	tests := []struct {
		op    string
		fails []string // of get, apply, scan
		holds []string // keys in the engine behind, afterwards
		seen  []string // keys that Scan delivered
	}{
		{fault.Get, []string{"get"}, []string{"a", "b", "c"}, []string{"a", "b", "c"}},
		{fault.Apply, []string{"apply"}, []string{"a", "b"}, []string{"a", "b"}},
		{fault.Applied, []string{"apply"}, []string{"a", "b", "c"}, []string{"a", "b", "c"}},
		{fault.Scan, []string{"scan"}, []string{"a", "b", "c"}, nil},
		{fault.Next, []string{"scan"}, []string{"a", "b", "c"}, []string{"a"}}, // with Skip 1
	}
	for _, test := range tests {
		t.Run(test.op, func(t *testing.T) {
			inner, set := mem.New(), faults.New(nil)
			apply(t, inner, "a", "b")
			e := fault.Wrap(inner, set)
			f := faults.Fault{Name: faults.MetaError, Operation: test.op, Error: "ENOSPC"}
			if test.op == fault.Next {
				f.Skip = 1
			}
			arm(t, set, f)

			var failed, seen []string
			note := func(op string, err error) {
				if err == nil {
					return
				}
				failed = append(failed, op)
				if !errors.Is(err, fault.ErrInjected) || !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("%s: %v", op, err)
				}
			}
			_, err := e.Get([]byte("a"))
			note("get", err)
			var b meta.Batch
			b.Put([]byte("c"), nil)
			note("apply", e.Apply(&b, true))
			note("scan", e.Scan(nil, nil, func(key, _ []byte) error {
				seen = append(seen, string(key))
				return nil
			}))
			if !slices.Equal(failed, test.fails) || !slices.Equal(seen, test.seen) {
				t.Errorf("failed %q, want %q; scanned %q, want %q", failed, test.fails, seen, test.seen)
			}
			if got := keys(t, inner); !slices.Equal(got, test.holds) {
				t.Errorf("the engine behind holds %q, want %q", got, test.holds)
			}
		})
	}
}

func apply(t *testing.T, e meta.Engine, keys ...string) {
	t.Helper()
	var b meta.Batch
	for _, key := range keys {
		b.Put([]byte(key), nil)
	}
	if err := e.Apply(&b, false); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, e meta.Engine) (all []string) {
	t.Helper()
	err := e.Scan(nil, nil, func(key, _ []byte) error {
		all = append(all, string(key))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDelay(t *testing.T) {
	set := faults.New(nil)
	e := fault.Wrap(mem.New(), set)
	apply(t, e, "a")
	const delay = 20 * time.Millisecond
	arm(t, set, faults.Fault{Name: faults.MetaError, Delay: delay})
	begin := time.Now()
	if _, err := e.Get([]byte("a")); err != nil || time.Since(begin) < delay {
		t.Errorf("a delay without an error number: %v after %v", err, time.Since(begin))
	}

	arm(t, set, faults.Fault{Name: faults.MetaError, Delay: time.Hour, Error: "EIO"})
	got := make(chan error)
	go func() {
		_, err := e.Get([]byte("a"))
		got <- err
	}()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err == nil {
		t.Error("a call cut short by Close succeeded")
	}
}
