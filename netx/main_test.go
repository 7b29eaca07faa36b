package netx

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		os.Exit(exhaustedChild())
	}
	goleak.VerifyTestMain(m)
}

// listen returns a Listener on a fresh address of the network, closed at the end of the test.
func listen(t testing.TB, network string, cfg Config) *Listener {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = "unix:" + filepath.Join(t.TempDir(), "s")
	}
	inner, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	l := Wrap(inner, cfg)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t testing.TB, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// pair returns both ends of a connection.
func pair(t testing.TB, network string, cfg Config) (server *Conn, client net.Conn) {
	t.Helper()
	l := listen(t, network, cfg)
	client = dial(t, l)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, ok := accepted.(*Conn)
	if !ok {
		t.Fatalf("Accept returned a %T", accepted)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server, client
}

// tight makes the buffers between the ends small, so that a writer soon waits for the reader.
func tight(t testing.TB, server *Conn, client net.Conn) {
	t.Helper()
	type sized interface {
		SetWriteBuffer(int) error
		SetReadBuffer(int) error
	}
	out, ok1 := server.inner.(sized)
	in, ok2 := client.(sized)
	if !ok1 || !ok2 {
		t.Fatal("no buffers to set")
	}
	if err := out.SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	if err := in.SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
}

// receive reads until the end in the background.
func receive(c net.Conn) <-chan []byte {
	got := make(chan []byte, 1)
	go func() {
		data, _ := io.ReadAll(c) // what arrived before an error is compared by the caller
		got <- data
	}()
	return got
}

// soon is a time that nothing here takes unless it hangs.
const soon = 20 * time.Second

func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		t.Fatalf("%s: nothing after %v", what, soon)
		panic("unreachable")
	}
}
