package netx

import (
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Lingerers is how many refused connections a Listener keeps open at most, beyond its limit, until
	// their clients have read the answer. Count them into the reserve of FDBudget.
	Lingerers = 64
	// lingerTime bounds the whole of one refusal.
	lingerTime = 2 * time.Second
	// lingerBytes is how much of a request is read away. Closing a socket with unread input sends a reset,
	// which may overtake the answer (RFC 1122, 4.2.2.13).
	lingerBytes = 1 << 20
)

// refuser ends connections with an answer.
type refuser struct {
	busy  []byte
	slots chan struct{}

	running sync.WaitGroup // raised under mu while closed is false
	mu      struct {
		sync.Mutex
		closed bool
		conns  map[net.Conn]struct{} // being refused
	}
}

func (r *refuser) init(busy []byte) {
	r.busy = busy
	r.slots = make(chan struct{}, Lingerers)
	r.mu.conns = map[net.Conn]struct{}{}
}

// start refuses c without waiting for it.
func (r *refuser) start(c net.Conn) {
	select {
	case r.slots <- struct{}{}:
	default:
		r.now(c)
		return
	}
	if !r.add(c) {
		<-r.slots
		_ = c.Close()
		return
	}
	go func() {
		defer r.running.Done()
		defer func() { <-r.slots }()
		defer r.drop(c)
		r.linger(c)
	}()
}

func (r *refuser) add(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return false
	}
	r.mu.conns[c] = struct{}{}
	r.running.Add(1)
	return true
}

func (r *refuser) drop(c net.Conn) {
	r.mu.Lock()
	delete(r.mu.conns, c)
	r.mu.Unlock()
	_ = c.Close()
}

// linger answers, then reads until the client has closed its side, so that it sees the answer.
func (r *refuser) linger(c net.Conn) {
	if len(r.busy) == 0 {
		return
	}
	if err := c.SetDeadline(time.Now().Add(lingerTime)); err != nil {
		return
	}
	if _, err := c.Write(r.busy); err != nil {
		return
	}
	if w, ok := c.(interface{ CloseWrite() error }); !ok || w.CloseWrite() != nil {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, lingerBytes)) // whatever ends it, the refusal is over
}

// now answers as far as that takes no waiting, and closes.
func (r *refuser) now(c net.Conn) {
	defer c.Close()
	s, ok := c.(syscall.Conn)
	if !ok || len(r.busy) == 0 {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Write(func(fd uintptr) bool {
		_, _ = unix.Write(int(fd), r.busy) // the socket does not block, and its buffer is empty
		return true
	})
}

// close cuts short what is under way and waits for it.
func (r *refuser) close() {
	r.mu.Lock()
	r.mu.closed = true
	conns := slices.Collect(maps.Keys(r.mu.conns))
	r.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	r.running.Wait()
}
