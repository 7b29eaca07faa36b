package netx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSend sends the middle of a warm file over loopback: a region by ReadFrom (directly and through a
// bufio.Writer, as HTTP servers do), the standard library's sendfile (io.Copy of an own *os.File to a
// *net.TCPConn), and a copy through memory.
func BenchmarkSend(b *testing.B) {
	const fileSize, off = 16 << 20, 4096
	f := patternFile(b, fileSize)
	ways := []struct {
		name string
		send func(c *Conn, w *bufio.Writer, own *os.File, n int64) (int64, error)
	}{
		{"region", func(c *Conn, _ *bufio.Writer, _ *os.File, n int64) (int64, error) {
			return c.ReadFrom(&FileRegion{File: f, Off: off, Len: n})
		}},
		{"bufio", func(_ *Conn, w *bufio.Writer, _ *os.File, n int64) (int64, error) {
			return w.ReadFrom(&FileRegion{File: f, Off: off, Len: n})
		}},
		{"stdlib", func(c *Conn, _ *bufio.Writer, own *os.File, n int64) (int64, error) {
			if _, err := own.Seek(off, io.SeekStart); err != nil {
				return 0, err
			}
			return io.Copy(c.inner, io.LimitReader(own, n))
		}},
		{"memory", func(c *Conn, _ *bufio.Writer, _ *os.File, n int64) (int64, error) {
			return c.copyRegion(&FileRegion{File: f, Off: off, Len: n})
		}},
	}
	for _, size := range []int64{64 << 10, 1 << 20, 8 << 20} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, way.name), func(b *testing.B) {
				server, client := pair(b, "tcp", Config{})
				go drain(b, client)
				w := bufio.NewWriterSize(server, 4096)
				own, err := os.Open(f.Name())
				if err != nil {
					b.Fatal(err)
				}
				defer own.Close()
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if n, err := way.send(server, w, own, size); n != size || err != nil {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

// drain receives without a copy (MSG_TRUNC, tcp(7)), so that the sender's side is what is measured.
func drain(b *testing.B, c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		b.Errorf("drain: %T", c)
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		b.Error(err)
		return
	}
	buf := make([]byte, 4<<20)
	for {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil || failed != nil || n == 0 {
			return
		}
	}
}
