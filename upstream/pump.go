package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// pumpBuffer is the unit in which a pump reads ahead; it holds two. 64 KiB is one or two records of
// TLS or a socket buffer's worth: larger ones gain nothing.
const pumpBuffer = 64 << 10

var pumpBuffers = sync.Pool{New: func() any { return new([pumpBuffer]byte) }}

// errAborted is a pump's Read whose request has ended: no failure of the source.
var errAborted = errors.New("the request ended while its body was read")

// pump reads a source in a goroutine of its own, so that a driver's Read of it returns when the
// request's context is done although the source's Read is stuck. net/http, for one, waits for its body's
// Read after the context has ended.
//
// The goroutine starts with the first Read. stop waits for it, so nobody reads the source after stop;
// a source whose Read ignores the end of its own context holds stop up.
// Read is called by one goroutine at a time (SizedReader sees to it).
type pump struct {
	src  io.Reader
	ctx  context.Context // of the request
	free chan *[pumpBuffer]byte
	full chan chunk
	quit chan struct{}
	wg   sync.WaitGroup

	cur chunk // what Read delivers from, at offset at; no buffer before the first
	at  int

	mu struct {
		sync.Mutex
		running, stopped bool
	}
}

type chunk struct {
	buf *[pumpBuffer]byte
	n   int
	err error // after the n bytes
}

func newPump(ctx context.Context, src io.Reader) *pump {
	return &pump{
		src:  src,
		ctx:  ctx,
		free: make(chan *[pumpBuffer]byte, 2),
		full: make(chan chunk, 2),
		quit: make(chan struct{}),
	}
}

// Replayer is a body in memory: Read never blocks, and Rewind lets it be read from its start again. A request that
// carries one can be repeated as if it had none.
type Replayer interface {
	io.Reader
	Rewind()
}

// neverBlocks reports whether r is in memory, where a pump would only copy.
func neverBlocks(r io.Reader) bool {
	switch r.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader, Replayer:
		return true
	default:
		return false
	}
}

// Read waits for one byte, and takes with it what else is there.
func (p *pump) Read(b []byte) (n int, err error) {
	for {
		if p.cur.buf == nil || p.at == p.cur.n {
			if n > 0 && !p.ready() {
				return n, nil
			}
			if n == 0 {
				if err := p.next(); err != nil {
					return 0, err
				}
			}
		}
		m := copy(b[n:], p.cur.buf[p.at:p.cur.n])
		p.at += m
		n += m
		switch {
		case p.at == p.cur.n && p.cur.err != nil:
			return n, p.cur.err
		case n == len(b), m == 0:
			return n, nil
		}
	}
}

// next waits for another chunk, giving back the one that has been read.
func (p *pump) next() error {
	p.start()
	p.giveBack()
	select {
	case p.cur = <-p.full:
		p.at = 0
		return nil
	case <-p.ctx.Done():
		return fmt.Errorf("%w: %w", errAborted, context.Cause(p.ctx))
	case <-p.quit:
		return errAborted
	}
}

// ready is next if there is a chunk now.
func (p *pump) ready() bool {
	p.giveBack()
	select {
	case p.cur = <-p.full:
		p.at = 0
		return true
	default:
		return false
	}
}

func (p *pump) giveBack() {
	if p.cur.buf != nil {
		p.free <- p.cur.buf
		p.cur, p.at = chunk{}, 0
	}
}

func (p *pump) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.running || p.mu.stopped {
		return
	}
	p.mu.running = true
	for range cap(p.free) {
		p.free <- pumpBuffers.Get().(*[pumpBuffer]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
	p.wg.Go(p.run)
}

// run reads ahead until the source ends, at most two buffers.
func (p *pump) run() {
	for {
		var c chunk
		select {
		case c.buf = <-p.free:
		case <-p.quit:
			return
		}
		c.n, c.err = p.src.Read(c.buf[:])
		select {
		case p.full <- c: // never blocks: there are as many places as buffers
		case <-p.quit:
			return
		}
		if c.err != nil {
			return
		}
	}
}

// stop ends the goroutine and any Read, and waits for the goroutine.
func (p *pump) stop() {
	p.mu.Lock()
	if !p.mu.stopped {
		p.mu.stopped = true
		close(p.quit)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// release gives the buffers back. It is called after stop, when no Read can come any more.
func (p *pump) release() {
	if p.cur.buf != nil {
		pumpBuffers.Put(p.cur.buf)
	}
	for {
		select {
		case buf := <-p.free:
			pumpBuffers.Put(buf)
		case c := <-p.full:
			pumpBuffers.Put(c.buf)
		default:
			return
		}
	}
}
