package multipart

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// pool is the memory for parts that all uploads share. Memory is reserved for a whole part before its first
// byte is read and released when the part is stored: nobody waits for memory while holding a part
// that is not complete, so uploads never wait for each other in a circle.
type pool struct {
	limit  int64
	common int64 // the size of buffers worth keeping
	sem    *semaphore.Weighted
	mu     struct {
		sync.Mutex
		inUse int64    // reserved bytes
		free  [][]byte // buffers of common bytes; kept until nothing is in use
	}
}

func newPool(limit, common int64) *pool {
	return &pool{limit: limit, common: common, sem: semaphore.NewWeighted(limit)}
}

// reserve waits for n bytes, at most limit, or returns ctx's error.
func (p *pool) reserve(ctx context.Context, n int64) error {
	if err := p.sem.Acquire(ctx, n); err != nil {
		return err
	}
	p.add(n)
	return nil
}

// tryReserve takes n bytes if they are free.
func (p *pool) tryReserve(n int64) bool {
	ok := p.sem.TryAcquire(n)
	if ok {
		p.add(n)
	}
	return ok
}

func (p *pool) release(n int64) {
	p.add(-n)
	p.sem.Release(n)
}

func (p *pool) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.inUse += n
	if p.mu.inUse == 0 {
		p.mu.free = nil
	}
}

func (p *pool) used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.inUse
}

// buffer returns n bytes of any content; the caller has reserved them.
func (p *pool) buffer(n int64) []byte {
	if b := p.recycled(n); b != nil {
		return b
	}
	return make([]byte, n)
}

func (p *pool) recycled(n int64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.mu.free) - 1
	if n != p.common || last < 0 {
		return nil
	}
	b := p.mu.free[last]
	p.mu.free[last] = nil
	p.mu.free = p.mu.free[:last]
	return b
}

// recycle takes back a buffer that nobody reads any more, before its reservation is released.
func (p *pool) recycle(b []byte) {
	if int64(cap(b)) != p.common {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.free = append(p.mu.free, b[:cap(b)])
}
