package netx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const busy = "HTTP/1.1 503 Slow Down\r\nContent-Length: 8\r\nConnection: close\r\n\r\nSlowDown"

// faulty fails with errs, in order, then accepts.
type faulty struct {
	net.Listener
	mu struct {
		sync.Mutex
		errs []error
	}
}

func (f *faulty) Accept() (net.Conn, error) {
	f.mu.Lock()
	if len(f.mu.errs) > 0 {
		err := f.mu.errs[0]
		f.mu.errs = f.mu.errs[1:]
		f.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	f.mu.Unlock()
	return f.Listener.Accept()
}

func TestAcceptSurvives(t *testing.T) {
	inner, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{Listener: inner}
	f.mu.errs = []error{syscall.EMFILE, syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.EINTR,
		errors.New("something new")}
	var log bytes.Buffer
	l := Wrap(f, Config{Log: zerolog.New(&log)})
	client := dial(t, l)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("accepted %v, want %v", c.RemoteAddr(), client.LocalAddr())
	}
	_ = c.Close()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("a burst of errors is %d log lines, want 1:\n%s", n, log.String())
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close = %v", err)
	}
}

func TestCloseEndsAccept(t *testing.T) {
	tests := map[string][]error{
		"waiting":     nil,
		"backing off": slices.Repeat([]error{errors.New("broken")}, 1000),
	}
	for name, errs := range tests {
		t.Run(name, func(t *testing.T) {
			inner, err := Listen("127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			f := &faulty{Listener: inner}
			f.mu.errs = errs
			l := Wrap(f, Config{Log: zerolog.Nop()})
			got := make(chan error)
			go func() {
				_, err := l.Accept()
				got <- err
			}()
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "Accept", got); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept = %v", err)
			}
		})
	}
}

func TestBurst(t *testing.T) {
	var b burst
	start := time.Now()
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {quiet, false}, {2 * quiet, false}, {3*quiet + 1, true}, {3*quiet + 2, false}} {
		if got := b.first(start.Add(test.after)); got != test.want {
			t.Errorf("first at %v = %t", test.after, got)
		}
	}
}

// serve accepts in the background; each connection reads one byte, answers it with ok and closes.
func serve(t *testing.T, l *Listener) {
	var handlers sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					_, _ = io.WriteString(c, "ok")
				}
			})
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		handlers.Wait()
	})
}

func TestMaxConns(t *testing.T) {
	var mu sync.Mutex
	var seen []int
	var rejected atomic.Int64
	budget := NewBudget(2)
	cfg := Config{
		Budget: budget, Busy: []byte(busy), Log: zerolog.Nop(),
		OnConns:  func(open int) { mu.Lock(); seen = append(seen, open); mu.Unlock() },
		OnReject: func() { rejected.Add(1) },
	}
	tcp, unix := listen(t, "tcp", cfg), listen(t, "unix", cfg)
	serve(t, tcp)
	serve(t, unix)

	first, second := dial(t, tcp), dial(t, unix) // together they fill the budget
	for _, c := range []net.Conn{first, second} {
		defer c.Close()
	}
	waitOpen(t, budget, 2)
	for _, l := range []*Listener{tcp, unix, tcp} {
		c := dial(t, l)
		// A request that nobody reads would make a reset of a plain close.
		if _, err := c.Write(bytes.Repeat([]byte("x"), 32<<10)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || string(got) != busy {
			t.Errorf("refused on %s: read %q, %v", l.Addr().Network(), got, err)
		}
		_ = c.Close()
	}
	if n := rejected.Load(); n != 3 {
		t.Errorf("OnReject was called %d times, want 3", n)
	}

	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(first); err != nil || string(got) != "ok" {
		t.Errorf("the first connection read %q, %v", got, err)
	}
	waitOpen(t, budget, 1)
	third := dial(t, unix)
	if _, err := third.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(third); err != nil || string(got) != "ok" {
		t.Errorf("a connection in the freed place read %q, %v", got, err)
	}
	_ = second.Close()
	waitOpen(t, budget, 0)
	mu.Lock()
	defer mu.Unlock()
	if want := []int{1, 2, 1, 2, 1, 0}; !slices.Equal(seen, want) {
		t.Errorf("OnConns saw %v, want %v", seen, want)
	}
}

func waitOpen(t *testing.T, b *Budget, want int) {
	t.Helper()
	for deadline := time.Now().Add(soon); b.Open() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d open connections, want %d", b.Open(), want)
		}
	}
}

// TestStorm: far more clients than places. Each is served or told, none hangs, and the place is free after it.
func TestStorm(t *testing.T) {
	const limit, clients = 10, 400
	var peak, rejected atomic.Int64
	budget := NewBudget(limit)
	l := listen(t, "tcp", Config{
		Budget: budget, Busy: []byte(busy), Log: zerolog.Nop(),
		OnConns:  func(open int) { peak.Store(max(peak.Load(), int64(open))) }, // calls are in order
		OnReject: func() { rejected.Add(1) },
	})
	serve(t, l)
	var ok, told, cut atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(soon))
			_, _ = c.Write([]byte("x"))
			got, err := io.ReadAll(c)
			switch {
			case string(got) == "ok" && err == nil:
				ok.Add(1)
			case string(got) == busy && err == nil:
				told.Add(1)
			case errors.Is(err, syscall.ECONNRESET): // beyond Lingerers
				cut.Add(1)
			default:
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	all.Wait()
	waitOpen(t, budget, 0)
	t.Logf("%d served, %d told, %d cut", ok.Load(), told.Load(), cut.Load())
	if ok.Load() < limit || told.Load()+cut.Load() != rejected.Load() || peak.Load() > limit {
		t.Errorf("%d rejected, %d open at once", rejected.Load(), peak.Load())
	}
}

// TestCloseCutsRefusals: a refused client that does not leave delays Close by nothing.
func TestCloseCutsRefusals(t *testing.T) {
	l := listen(t, "tcp", Config{MaxConns: 1, Busy: []byte(busy), Log: zerolog.Nop()})
	serve(t, l)
	holder := dial(t, l)
	waitOpen(t, l.cfg.Budget, 1)
	for range Lingerers + 10 {
		c := dial(t, l)
		if got, err := io.ReadAll(c); err != nil || string(got) != busy {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	begin := time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > lingerTime/2 {
		t.Errorf("Close took %v", took)
	}
	_ = holder.Close()
}
