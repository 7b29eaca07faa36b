package wire

import (
	"context"
	"io"
	"net"
	"sync"
)

// BodyWrite is how many bytes of a body go to the kernel at once: net/http's 32 KiB take four times as many calls. It
// is 128 KiB and room for the framing around them.
const BodyWrite = 132 << 10

var wideBuffers = sync.Pool{New: func() any { return new([BodyWrite]byte) }}

// wideConn is a TCP connection to which net/http copies bodies, when they are not encrypted, in large pieces.
type wideConn struct{ *net.TCPConn }

type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// wide makes the TCP connections of d wideConns.
func wide(d dial) dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			return wideConn{tcp}, err
		}
		return c, err
	}
}

// ReadFrom implements io.ReaderFrom.
func (c wideConn) ReadFrom(r io.Reader) (total int64, err error) {
	buf := wideBuffers.Get().(*[BodyWrite]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer wideBuffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			written, failed := c.Write(buf[:n])
			total += int64(written)
			if failed != nil {
				return total, failed
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
