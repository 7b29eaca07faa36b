package netx

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

const (
	// DefaultBodyIdle stands in for a zero in Config.
	DefaultBodyIdle = 60 * time.Second
	// DefaultWriteStall stands in for a zero in Config. Query engines stop reading for minutes while they
	// work on a row group.
	DefaultWriteStall = 5 * time.Minute

	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// quiet is how long accept must go without an error before the next one is logged again.
	quiet = 10 * time.Second
)

// Config says how a Listener treats its connections.
type Config struct {
	// MaxConns is the number of connections open at once; 0 or less is no limit. Ignored with Budget.
	MaxConns int
	// Budget, shared by several Listeners, replaces MaxConns.
	Budget *Budget
	// BodyIdle is how long a request body may make no progress, see Conn.SetBodyIdle. WriteStall is how
	// long a response may make no progress. 0 is the default, less is no limit.
	BodyIdle, WriteStall time.Duration
	// Busy is what a refused connection reads before its end: a whole HTTP response. Leave it empty behind TLS.
	Busy []byte
	// OnConns is told the number of open connections of the Budget after each change, in order. OnReject is
	// called for each refused connection. Both must return at once and may be nil.
	OnConns  func(open int)
	OnReject func()
	Log      zerolog.Logger
}

// Listener accepts *Conn, up to a limit.
type Listener struct {
	inner net.Listener
	cfg   Config

	closing  sync.Once
	closeErr error
	done     chan struct{} // closed by Close

	burst  burst
	refuse refuser
	spare  spare
}

// Wrap returns l with the rules of cfg. Closing the Listener closes l.
func Wrap(l net.Listener, cfg Config) *Listener {
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(cfg.MaxConns)
	}
	if cfg.BodyIdle == 0 {
		cfg.BodyIdle = DefaultBodyIdle
	}
	if cfg.WriteStall == 0 {
		cfg.WriteStall = DefaultWriteStall
	}
	if cfg.OnConns == nil {
		cfg.OnConns = func(int) {}
	}
	if cfg.OnReject == nil {
		cfg.OnReject = func() {}
	}
	w := &Listener{inner: l, cfg: cfg, done: make(chan struct{})}
	w.refuse.init(cfg.Busy)
	w.spare.open()
	return w
}

// Addr returns the address of the listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept returns the next connection, a *Conn. Its only error is net.ErrClosed, after Close.
func (l *Listener) Accept() (net.Conn, error) {
	backoff := minBackoff
	for {
		c, err := l.inner.Accept()
		if l.closed() {
			if err == nil {
				_ = c.Close()
			}
			return nil, net.ErrClosed
		}
		if err == nil {
			if conn := l.admit(c); conn != nil {
				return conn, nil
			}
			backoff = minBackoff
			continue
		}
		if l.burst.first(time.Now()) {
			l.cfg.Log.Warn().Err(err).Msg("accept fails, retrying")
		}
		if isOutOfFDs(err) {
			if conn, ok := l.shed(); ok {
				return conn, nil
			}
		}
		select {
		case <-time.After(backoff):
		case <-l.done:
			return nil, net.ErrClosed
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func isOutOfFDs(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// admit returns nil when the connection is over the limit: then it is refused.
func (l *Listener) admit(c net.Conn) *Conn {
	if !l.cfg.Budget.take(l.cfg.OnConns) {
		l.cfg.OnReject()
		l.refuse.start(c)
		return nil
	}
	return newConn(c, l.cfg.BodyIdle, l.cfg.WriteStall, func() { l.cfg.Budget.give(l.cfg.OnConns) })
}

// shed accepts with the spare descriptor while there is no other, and refuses what comes: clients
// that wait in the queue would learn nothing. It returns a connection as soon as there is room again,
// and false when it can not go on.
func (l *Listener) shed() (net.Conn, bool) {
	for l.spare.release() {
		c, err := l.inner.Accept()
		room := l.spare.open()
		if err != nil {
			return nil, false
		}
		if room {
			if conn := l.admit(c); conn != nil {
				return conn, true
			}
			continue
		}
		l.cfg.OnReject()
		l.refuse.now(c)
		l.spare.open()
	}
	l.spare.open() // for the next time
	return nil, false
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Close ends Accept and waits for the refusals under way, which it cuts short. Accepted connections stay
// open. Calling it again returns the same.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.done)
		l.closeErr = l.inner.Close()
		l.refuse.close()
		l.spare.close()
	})
	return l.closeErr
}

// burst tells the first of a row of errors.
type burst struct {
	mu struct {
		sync.Mutex
		last time.Time
	}
}

func (b *burst) first(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	isFirst := b.mu.last.IsZero() || now.Sub(b.mu.last) > quiet
	b.mu.last = now
	return isFirst
}

// spare is a descriptor kept to be given up when there is no other.
type spare struct {
	mu struct {
		sync.Mutex
		file   *os.File // nil while given up
		closed bool
	}
}

// open reports whether a spare is held afterwards.
func (s *spare) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file == nil && !s.mu.closed {
		if f, err := os.Open(os.DevNull); err == nil {
			s.mu.file = f
		}
	}
	return s.mu.file != nil
}

// release reports whether there was a spare to give up.
func (s *spare) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file == nil {
		return false
	}
	_ = s.mu.file.Close()
	s.mu.file = nil
	return true
}

func (s *spare) close() {
	s.release()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
}
