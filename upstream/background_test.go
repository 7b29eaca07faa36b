package upstream

import (
	"context"
	"testing"
	"testing/synctest"
)

// Background calls never hold the last quarter of the slots: a call that somebody waits for finds one.
func TestBackgroundLeavesSlots(t *testing.T) {
	s := NewStore("s", nil, StoreConfig{MaxConnections: 8})
	ctx := t.Context()
	var held []*attempt
	hold := func(ctx context.Context) error {
		a, err := s.begin(ctx, s.read("Open"))
		if err == nil {
			held = append(held, a)
		}
		return err
	}
	for range 6 {
		if err := hold(Background(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel := context.WithCancel(Background(ctx))
	waits := make(chan error)
	go func() { _, err := s.begin(gone, s.read("Open")); waits <- err }()
	for range 2 {
		if err := hold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-waits; CodeOf(err) != Cancelled {
		t.Errorf("a seventh background call: %v", err)
	}
	for _, a := range held {
		a.end(nil)
		a.end(nil)
	}
	if len(s.slots) != 0 || len(s.behind) != 0 {
		t.Errorf("%d slots and %d of the background are held by nobody", len(s.slots), len(s.behind))
	}
	// A background call that finds no slot gives its place in the background back.
	for range 8 {
		if err := hold(ctx); err != nil {
			t.Fatal(err)
		}
	}
	gone, cancel = context.WithCancel(Background(ctx))
	go func() { _, err := s.begin(gone, s.read("Open")); waits <- err }()
	cancel()
	if err := <-waits; CodeOf(err) != Cancelled || len(s.behind) != 0 {
		t.Errorf("%v, %d held", err, len(s.behind))
	}
}

// A background call for which somebody waits by now takes a slot like any other, whether it waited before or not.
func TestWantedCallsLeaveTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStore("s", nil, StoreConfig{MaxConnections: 3})
		var held []*attempt
		for range 2 {
			a, err := s.begin(Background(t.Context()), s.read("Open"))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, a)
		}
		wanted := make(chan struct{})
		ctx := BackgroundUntil(t.Context(), wanted)
		begun := make(chan *attempt, 1)
		go func() {
			a, err := s.begin(ctx, s.read("Open"))
			if err != nil {
				t.Error(err)
			}
			begun <- a
		}()
		synctest.Wait()
		if len(begun) != 0 || !IsBackground(ctx) {
			t.Fatal("a third background call does not wait")
		}
		close(wanted)
		synctest.Wait()
		if len(begun) != 1 || IsBackground(ctx) {
			t.Fatal("a call that is wanted waits in the background")
		}
		held = append(held, <-begun)
		if len(s.slots) != 3 || len(s.behind) != 2 {
			t.Errorf("%d slots and %d of the background are held", len(s.slots), len(s.behind))
		}
		held[2].end(nil)
		if a, err := s.begin(ctx, s.read("Open")); err != nil {
			t.Error(err)
		} else {
			held[2] = a
		}
		for _, a := range held {
			a.end(nil)
		}
		if len(s.slots) != 0 || len(s.behind) != 0 {
			t.Errorf("%d slots and %d of the background are held by nobody", len(s.slots), len(s.behind))
		}
	})
}
