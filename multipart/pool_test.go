package multipart

import (
	"context"
	"errors"
	"testing"
	"time"

	"unistore/upstream"
)

func TestPoolRounds(t *testing.T) {
	p := newPool(1000, 300)
	tests := []struct{ n, want int64 }{{1, 300}, {300, 300}, {301, 600}, {1000, 1200}}
	for _, tt := range tests {
		got, err := p.reserve(t.Context(), tt.n)
		if err != nil || got != tt.want || p.used() != tt.want {
			t.Errorf("reserve(%d): %d, %v, want %d", tt.n, got, err, tt.want)
		}
		p.release(got)
	}
	all, _ := p.reserve(t.Context(), 1200)
	if _, ok := p.tryReserve(1); ok {
		t.Error("more than there is")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.reserve(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("reserve in vain: %v", err)
	}
	p.patience = time.Nanosecond
	if _, err := p.reserve(t.Context(), 1); !errors.Is(err, upstream.Throttled) {
		t.Errorf("reserve while others hold everything: %v", err)
	}
	p.release(all)
	if p.used() != 0 {
		t.Errorf("%d bytes in use", p.used())
	}
}

// Blocks are made only when none is free, so that those in use and the free ones are never more than were ever in
// use at once, and all are let go when nothing is in use.
func TestPoolKeepsBlocks(t *testing.T) {
	p := newPool(4*10, 10)
	made := map[*byte]bool{}
	take := func(n int) data {
		var d data
		for range n {
			b := p.take()
			made[&b[0]] = true
			d.blocks = append(d.blocks, b[:7])
		}
		return d
	}
	hold, _ := p.reserve(t.Context(), 1)
	for _, n := range []int{3, 1, 2, 3} {
		r, err := p.reserve(t.Context(), int64(n)*10)
		if err != nil {
			t.Fatal(err)
		}
		p.recycle(take(n))
		p.release(r)
	}
	if len(made) != 3 {
		t.Errorf("%d blocks were made, want 3", len(made))
	}
	for _, b := range p.mu.free {
		if len(b) != 10 {
			t.Errorf("a free block of %d bytes", len(b))
		}
	}
	p.release(hold)
	if len(p.mu.free) != 0 {
		t.Errorf("%d blocks are kept when nothing is in use", len(p.mu.free))
	}
}
