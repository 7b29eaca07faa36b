package netx

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// copyBuffer is the unit of copying through memory.
const copyBuffer = 64 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// Conn is an accepted connection. Beyond net.Conn, a write fails when the client takes nothing for
// WriteStall, however long the whole takes; SetWriteDeadline holds besides.
type Conn struct {
	inner                net.Conn
	raw                  syscall.RawConn // nil when inner is not a socket
	bodyIdle, writeStall time.Duration

	closing  sync.Once
	closeErr error
	release  func() // called once, by Close

	sentFile, sentCopy atomic.Int64
	peerDone, heard    atomic.Bool

	mu struct {
		sync.Mutex
		body        bool // SetBodyIdle(true)
		interrupted bool // in body mode, a deadline in the past was set
		read, write deadline
	}
}

var (
	_ net.Conn      = (*Conn)(nil)
	_ io.ReaderFrom = (*Conn)(nil)
)

func newConn(c net.Conn, bodyIdle, writeStall time.Duration, release func()) *Conn {
	conn := &Conn{inner: c, bodyIdle: bodyIdle, writeStall: writeStall, release: release}
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			conn.raw = raw
		}
	}
	return conn
}

// LocalAddr returns the address of the listener's side.
func (c *Conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// RemoteAddr returns the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.inner.RemoteAddr() }

// Read reads what is there, up to len(p) bytes.
func (c *Conn) Read(p []byte) (int, error) {
	if err := c.armRead(); err != nil {
		return 0, err
	}
	n, err := c.inner.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	if err == io.EOF {
		c.peerDone.Store(true)
	}
	return n, err
}

// Heard reports whether the client has ever sent a byte.
func (c *Conn) Heard() bool { return c.heard.Load() }

// PeerDone reports whether a Read has met the end of what the client sends. A parser that asked for more than
// there was met it too, which is how a body cut between two chunks is told from a whole one.
func (c *Conn) PeerDone() bool { return c.peerDone.Load() }

// Write writes all of p or fails. Its time limit is one of standstill: between one and two and a half
// times WriteStall without a byte.
func (c *Conn) Write(p []byte) (int, error) {
	sent := 0
	for {
		if err := c.armWrite(); err != nil {
			return sent, err
		}
		n, err := c.inner.Write(p[sent:])
		sent += n
		c.sentCopy.Add(int64(n))
		if err == nil || !c.goesOn(err, n > 0) {
			return sent, err
		}
	}
}

// ReadFrom sends all of r: a *FileRegion by sendfile, anything else through memory.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if region, ok := r.(*FileRegion); ok {
		n, err := c.sendRegion(region)
		var broken *FileError
		if region.KeepErr && errors.As(err, &broken) {
			region.Err, err = err, nil
		}
		return n, err
	}
	buf, _ := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	// Without its ReadFrom, which would come back here.
	return io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{r}, buf[:])
}

// Sent returns how many bytes went out so far: straight from files, and through memory.
func (c *Conn) Sent() (file, memory int64) { return c.sentFile.Load(), c.sentCopy.Load() }

// CloseWrite ends the stream to the client; reading goes on.
func (c *Conn) CloseWrite() error {
	if w, ok := c.inner.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection. Calling it again returns the same.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.closeErr = c.inner.Close()
		c.release()
	})
	return c.closeErr
}

// Abort closes the connection with a reset where the socket knows one, so that a client can not take a
// cut answer for a whole one. What is still in the send buffer is lost.
func (c *Conn) Abort() error {
	if t, ok := c.inner.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0) // fails only when closed
	}
	return c.Close()
}

// SetBodyIdle says whether a request body is being read. While it is, each Read may take BodyIdle, and the
// deadline of SetReadDeadline waits until it is over; only one in the past, which is how a server interrupts a
// connection, holds at once.
func (c *Conn) SetBodyIdle(on bool) {
	if c.bodyIdle <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.body == on {
		return
	}
	c.mu.body, c.mu.interrupted = on, false
	if !on {
		_ = c.applyReadLocked(c.mu.read.user) // fails only when closed, and so will the Read
	}
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the moment at which Reads fail, zero for none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.read.user = t
	if c.mu.body {
		c.mu.interrupted = !t.IsZero() && !t.After(time.Now())
		if !c.mu.interrupted {
			return nil
		}
	}
	return c.applyReadLocked(t)
}

func (c *Conn) applyReadLocked(t time.Time) error {
	c.mu.read.armed = t
	return c.inner.SetReadDeadline(t)
}

// SetWriteDeadline sets the moment at which Writes fail even if they progress, zero for none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.write.user = t
	if c.writeStall <= 0 {
		return c.inner.SetWriteDeadline(t)
	}
	c.mu.write.armed = time.Time{} // whatever is armed, the user's may be earlier or no longer be
	return c.armWriteLocked()
}

func (c *Conn) armRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.body || c.mu.interrupted {
		return nil
	}
	at, changed := c.mu.read.next(time.Now(), c.bodyIdle, time.Time{})
	if !changed {
		return nil
	}
	return c.applyReadLocked(at)
}

func (c *Conn) armWrite() error {
	if c.writeStall <= 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.armWriteLocked()
}

func (c *Conn) armWriteLocked() error {
	at, changed := c.mu.write.next(time.Now(), c.writeStall, c.mu.write.user)
	if !changed {
		return nil
	}
	c.mu.write.armed = at
	return c.inner.SetWriteDeadline(at)
}

// goesOn reports whether a write that failed with err is to be continued: the deadline was ours, and
// the client took something meanwhile.
func (c *Conn) goesOn(err error, progress bool) bool {
	if !progress || c.writeStall <= 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	user := c.mu.write.user
	return user.IsZero() || time.Now().Before(user)
}

// deadline is one direction's: what the user of the connection wants and what is set on the socket.
type deadline struct {
	user, armed time.Time
}

// next returns the deadline to set so that the coming call may stand still for idle but not beyond limit
// (zero: none), and whether it differs from the armed one. It sets a quarter more than idle, and keeps what leaves
// at least idle: most calls do not touch the timer.
func (d *deadline) next(now time.Time, idle time.Duration, limit time.Time) (time.Time, bool) {
	at := now.Add(idle + idle/4)
	if !limit.IsZero() && limit.Before(at) {
		return limit, !d.armed.Equal(limit)
	}
	if d.armed.IsZero() || d.armed.Sub(now) < idle || d.armed.After(at) {
		return at, true
	}
	return d.armed, false
}
