package netx

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestDeadlineNext(t *testing.T) {
	const idle = 8 * time.Second
	now := time.Now()
	at := func(s int) time.Time { return now.Add(time.Duration(s) * time.Second) }
	var none time.Time
	tests := []struct {
		name         string
		armed, limit time.Time
		want         time.Time
		changed      bool
	}{
		{"first", none, none, at(10), true},
		{"enough left", at(9), none, at(9), false},
		{"just enough left", at(8), none, at(8), false},
		{"too little left", at(7), none, at(10), true},
		{"passed", at(-1), none, at(10), true},
		{"somebody's later one", at(11), none, at(10), true},
		{"limit first", none, at(3), at(3), true},
		{"limit armed", at(3), at(3), at(3), false},
		{"limit moved", at(3), at(4), at(4), true},
		{"limit far", at(9), at(60), at(9), false},
		{"limit passed", at(9), at(-1), at(-1), true},
	}
	for _, test := range tests {
		d := deadline{armed: test.armed}
		if got, changed := d.next(now, idle, test.limit); !got.Equal(test.want) || changed != test.changed {
			t.Errorf("%s: %v, %t; want %v, %t", test.name, got.Sub(now), changed, test.want.Sub(now), test.changed)
		}
	}
}

func bothNetworks(t *testing.T, test func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) { test(t, network) })
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &timeout) && timeout.Timeout()
}

func TestWriteStall(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		const stall = 50 * time.Millisecond
		server, client := pair(t, network, Config{WriteStall: stall})
		tight(t, server, client)
		begin := time.Now()
		n, err := server.Write(make([]byte, 32<<20))
		if took := time.Since(begin); !isTimeout(err) || n == 0 || took < stall || took > soon {
			t.Errorf("Write to a client that does not read = %d, %v after %v", n, err, took)
		}
		// The connection is not spoilt for one that reads again. TCP may take a while to notice.
		server.writeStall = time.Minute
		got := receive(client)
		if m, err := server.Write([]byte("more")); m != 4 || err != nil {
			t.Errorf("Write after the stall = %d, %v", m, err)
		}
		_ = server.Close()
		if data := within(t, "client", got); len(data) != n+4 {
			t.Errorf("the client read %d bytes, %d were written", len(data), n+4)
		}
	})
}

// TestSlowReader: one Write that takes many times WriteStall succeeds, as the client keeps reading.
func TestSlowReader(t *testing.T) {
	const stall, step, size = 300 * time.Millisecond, 10 * time.Millisecond, 4 << 20
	server, client := pair(t, "unix", Config{WriteStall: stall}) // no TCP window between the steps
	tight(t, server, client)
	data := pattern(0, size)
	written := make(chan error, 1)
	begin := time.Now()
	go func() {
		_, err := server.Write(data)
		_ = server.Close()
		written <- err
	}()
	var got []byte
	buf := make([]byte, 32<<10)
	for len(got) < size {
		time.Sleep(step) // the slowness is the subject
		n, err := client.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buf[:n]...)
	}
	if err := within(t, "Write", written); err != nil {
		t.Errorf("Write to a slow reader: %v", err)
	}
	if took := time.Since(begin); took < 2*stall {
		t.Errorf("took %v, which proves nothing", took)
	}
	if !bytes.Equal(got, data) {
		t.Error("the bytes differ")
	}
}

func TestWriteDeadline(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		server, client := pair(t, network, Config{})
		tight(t, server, client)
		result := make(chan error, 1)
		go func() {
			_, err := server.Write(make([]byte, 32<<20))
			result <- err
		}()
		if _, err := io.ReadFull(client, make([]byte, 1<<20)); err != nil { // it runs, and progresses
			t.Fatal(err)
		}
		if err := server.SetWriteDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := within(t, "Write", result); !isTimeout(err) {
			t.Errorf("interrupted Write = %v", err)
		}
		if _, err := server.Write([]byte("x")); !isTimeout(err) {
			t.Errorf("Write after the deadline = %v", err)
		}
		if err := server.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if _, err := server.Write([]byte("x")); err != nil {
			t.Errorf("Write without a deadline = %v", err)
		}
	})
}

func TestBodyIdle(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		const idle = 50 * time.Millisecond
		server, client := pair(t, network, Config{BodyIdle: idle})
		hour := time.Now().Add(time.Hour)
		if err := server.SetReadDeadline(hour); err != nil {
			t.Fatal(err)
		}
		server.SetBodyIdle(true)
		send(t, client, "a")
		expectRead(t, server, "a")
		begin := time.Now()
		if _, err := server.Read(make([]byte, 1)); !isTimeout(err) || time.Since(begin) < idle {
			t.Errorf("Read of a stalled body = %v after %v", err, time.Since(begin))
		}
		send(t, client, "b") // what comes late is not lost
		expectRead(t, server, "b")

		server.SetBodyIdle(false)
		if !server.mu.read.armed.Equal(hour) {
			t.Errorf("afterwards the deadline is %v, want the server's %v", server.mu.read.armed, hour)
		}
		send(t, client, "c")
		expectRead(t, server, "c")
	})
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expectRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// TestBodyOutlivesServerDeadline: the server's deadline, which was for the header, does not cut a body that flows.
func TestBodyOutlivesServerDeadline(t *testing.T) {
	server, client := pair(t, "tcp", Config{})
	server.SetBodyIdle(true)
	past := time.Now().Add(time.Millisecond)
	if err := server.SetReadDeadline(past); err != nil {
		t.Fatal(err)
	}
	for time.Now().Before(past.Add(time.Millisecond)) {
		send(t, client, "x")
		expectRead(t, server, "x")
	}
	server.SetBodyIdle(false)
	if _, err := server.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("Read after the body = %v, want the server's deadline", err)
	}
}

// TestBodyInterrupted: a deadline in the past ends a Read of a body, and the next ones, until it is lifted.
func TestBodyInterrupted(t *testing.T) {
	server, client := pair(t, "tcp", Config{BodyIdle: time.Hour})
	server.SetBodyIdle(true)
	result := make(chan error, 1)
	go func() {
		send(t, client, "x")
		_, err := io.ReadFull(server, make([]byte, 2)) // the second never comes
		result <- err
	}()
	if err := server.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "Read", result); !isTimeout(err) {
		t.Errorf("interrupted Read = %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("the next Read = %v", err)
	}
	if err := server.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	send(t, client, "yz")
	if _, err := io.ReadFull(server, make([]byte, 2)); err != nil {
		t.Errorf("Read after the interruption was lifted = %v", err)
	}
}

func TestAbortAndClose(t *testing.T) {
	for _, abort := range []bool{false, true} {
		server, client := pair(t, "tcp", Config{})
		send(t, server, "part")
		expectRead(t, client, "part")
		end, want := server.Close, io.EOF
		if abort {
			end, want = server.Abort, error(syscall.ECONNRESET)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("abort %t: the client reads %v, want %v", abort, err, want)
		}
	}
	server, client := pair(t, "unix", Config{})
	if err := server.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("unix: the client reads on after Abort")
	}
}

func TestCloseOnce(t *testing.T) {
	var mu sync.Mutex
	var seen []int
	l := listen(t, "tcp", Config{OnConns: func(open int) { mu.Lock(); seen = append(seen, open); mu.Unlock() }})
	dial(t, l)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var closers sync.WaitGroup
	for range 8 {
		closers.Go(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	if len(seen) != 2 || l.cfg.Budget.Open() != 0 {
		t.Errorf("OnConns saw %v, %d are open", seen, l.cfg.Budget.Open())
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
}

func TestCloseWrite(t *testing.T) {
	bothNetworks(t, func(t *testing.T, network string) {
		server, client := pair(t, network, Config{})
		send(t, server, "bye")
		if err := server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); err != nil || string(got) != "bye" {
			t.Errorf("the client read %q, %v", got, err)
		}
		send(t, client, "thanks")
		expectRead(t, server, "thanks")
	})
}
