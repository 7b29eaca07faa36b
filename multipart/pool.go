package multipart

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"unistore/upstream"
)

// patience is how long an upload waits for memory: clients that send their bodies slowly may hold all of it for as long
// as they like, and those who wait must not hang with them.
const patience = 2 * time.Minute

// blockSize is the unit of memory (bytes): small, so that a short body takes little; large enough that its cost
// vanishes beside that of filling it.
const blockSize = 256 << 10

// pool is the memory for parts that all uploads share. Memory is reserved for a whole part before its first
// byte is read and released when the part is stored: nobody waits for memory while holding a part
// that is not complete, so uploads never wait for each other in a circle.
//
// It is handed out in blocks of one size, whatever the size of parts: so a block that was given back fits
// everybody, and blocks in use and free ones together never exceed limit.
type pool struct {
	limit    int64 // a multiple of block
	block    int64
	patience time.Duration
	gauge    prometheus.Gauge // of inUse, or nil
	sem      *semaphore.Weighted
	mu       struct {
		sync.Mutex
		inUse int64    // reserved bytes
		free  [][]byte // blocks; kept until nothing is in use
	}
}

// newPool returns a pool of limit bytes, rounded up to blocks.
func newPool(limit, block int64) *pool {
	p := &pool{block: block, patience: patience}
	p.limit = p.round(limit)
	p.sem = semaphore.NewWeighted(p.limit)
	return p
}

// round is the memory that n bytes take.
func (p *pool) round(n int64) int64 { return ceilDiv(n, p.block) * p.block }

// reserve waits for the memory of n bytes, at most limit, and returns how much that is: what release takes. The
// error is ctx's, or Throttled when none was free for as long as patience.
func (p *pool) reserve(ctx context.Context, n int64) (int64, error) {
	n = p.round(n)
	waiting, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	if err := p.sem.Acquire(waiting, n); err != nil {
		if ctx.Err() == nil {
			return 0, upstream.Errorf(upstream.Throttled, opPut, "other uploads held all memory for %v", p.patience)
		}
		return 0, ctx.Err()
	}
	p.add(n)
	return n, nil
}

// tryReserve is reserve if the memory is free now.
func (p *pool) tryReserve(n int64) (int64, bool) {
	n = p.round(n)
	if !p.sem.TryAcquire(n) {
		return 0, false
	}
	p.add(n)
	return n, true
}

func (p *pool) release(reserved int64) {
	p.add(-reserved)
	p.sem.Release(reserved)
}

func (p *pool) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.inUse += n
	if p.gauge != nil {
		p.gauge.Set(float64(p.mu.inUse))
	}
	if p.mu.inUse == 0 {
		p.mu.free = nil
	}
}

func (p *pool) used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.inUse
}

// take returns a block of any content; the caller has reserved it.
func (p *pool) take() []byte {
	if b := p.recycled(); b != nil {
		return b
	}
	return make([]byte, p.block)
}

func (p *pool) recycled() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.mu.free) - 1
	if last < 0 {
		return nil
	}
	b := p.mu.free[last]
	p.mu.free[last] = nil
	p.mu.free = p.mu.free[:last]
	return b
}

// recycle takes back the blocks of a part that nobody reads any more, before its reservation is released.
func (p *pool) recycle(d data) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range d.blocks {
		p.mu.free = append(p.mu.free, b[:cap(b)])
	}
}
