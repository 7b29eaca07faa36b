package multipart

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// pool is the memory for parts that all uploads share. Memory is reserved for a whole part before its first
// byte is read and released when the part is stored: nobody waits for memory while holding a part
// that is not complete, so uploads never wait for each other in a circle.
type pool struct {
	limit  int64
	common int64 // the size of buffers worth keeping
	sem    *semaphore.Weighted
	inUse  atomic.Int64
	free   sync.Pool // of *[]byte with common bytes
}

func newPool(limit, common int64) *pool {
	return &pool{limit: limit, common: common, sem: semaphore.NewWeighted(limit)}
}

// reserve waits for n bytes, at most limit, or returns ctx's error.
func (p *pool) reserve(ctx context.Context, n int64) error {
	if err := p.sem.Acquire(ctx, n); err != nil {
		return err
	}
	p.inUse.Add(n)
	return nil
}

// tryReserve takes n bytes if they are free.
func (p *pool) tryReserve(n int64) bool {
	ok := p.sem.TryAcquire(n)
	if ok {
		p.inUse.Add(n)
	}
	return ok
}

func (p *pool) release(n int64) {
	p.inUse.Add(-n)
	p.sem.Release(n)
}

// buffer returns n bytes of any content; the caller has reserved them.
func (p *pool) buffer(n int64) []byte {
	if n == p.common {
		if b, ok := p.free.Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, n)
}

// recycle takes back a buffer that nobody reads any more.
func (p *pool) recycle(b []byte) {
	if int64(cap(b)) == p.common {
		b = b[:cap(b)]
		p.free.Put(&b)
	}
}
