package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"unistore/netx"
)

const (
	// drainLimit and drainTime bound what is read of a body that nobody wants any more, so that a client which
	// writes before it reads gets the answer instead of a reset (bytes; duration).
	drainLimit = 32 << 20
	drainTime  = 5 * time.Second
)

var errBodyOver = errors.New("the request is over")

// requestBody is the raw body of one request. fasthttp's stream aliases buffers that live only as
// long as the handler, so no Read may be under way after finish: finish interrupts one that is.
type requestBody struct {
	stream io.Reader // nil: no body
	conn   *netx.Conn
	want   int64 // Content-Length, or -1

	busy chan struct{} // holds one token; whoever has it may read
	got  int64         // guarded by busy
	eof  bool          // guarded by busy
	err  error         // guarded by busy; of a Read that failed: what follows can not be told apart any more
	over atomic.Bool
}

func newRequestBody(fc *fasthttp.RequestCtx) *requestBody {
	b := &requestBody{want: int64(fc.Request.Header.ContentLength())}
	b.stream = fc.RequestBodyStream()
	if b.stream == nil || b.want == 0 || b.want == -2 {
		b.stream = nil
		return b
	}
	b.busy = make(chan struct{}, 1)
	b.busy <- struct{}{}
	b.conn = connOf(fc.Conn())
	if b.conn != nil {
		b.conn.SetBodyIdle(true)
	}
	return b
}

// connOf finds our own connection under TLS, or nil when there is none.
func connOf(c net.Conn) *netx.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	own, _ := c.(*netx.Conn)
	return own
}

// Read implements io.Reader. A body that ends before its Content-Length or its last chunk is
// io.ErrUnexpectedEOF: fasthttp's stream says io.EOF there.
func (b *requestBody) Read(p []byte) (int, error) {
	<-b.busy
	defer func() { b.busy <- struct{}{} }()
	if b.over.Load() {
		return 0, errBodyOver
	}
	if b.eof {
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.stream.Read(p)
	b.got += int64(n)
	switch {
	case err == nil:
		return n, nil
	case err != io.EOF:
		b.err = err
	case b.got < b.want || b.want < 0 && b.conn != nil && b.conn.PeerDone():
		b.err = io.ErrUnexpectedEOF
	default:
		b.eof = true
		return n, err
	}
	return n, b.err
}

// unblock ends a Read that is under way and fails all later ones. It may be called at any time, from any
// goroutine, more than once.
func (b *requestBody) unblock() {
	if b.stream == nil {
		return
	}
	b.over.Store(true)
	if b.conn != nil {
		_ = b.conn.SetReadDeadline(time.Unix(1, 0)) // fails only when closed
	}
	<-b.busy
	b.busy <- struct{}{}
}

// interrupt is unblock, or nil where that could not end a Read.
func (b *requestBody) interrupt() func() {
	if b.stream == nil || b.conn == nil {
		return nil
	}
	return b.unblock
}

// finish ends the use of the body when the handler is done. A rest of bounded size is read and thrown
// away. It reports whether the connection can carry another request: only if the whole body has been read.
func (b *requestBody) finish() (keep bool) {
	if b.stream == nil {
		return true
	}
	if !b.over.Load() {
		b.drain()
	}
	b.unblock()
	if b.conn != nil {
		b.conn.SetBodyIdle(false)
	}
	return b.eof || b.want >= 0 && b.got == b.want
}

func (b *requestBody) drain() {
	timer := time.AfterFunc(drainTime, b.unblock)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, b, drainLimit)
}

// sentBody is a response's body on its way out. fasthttp closes it, sent or not, which is how we learn that
// the client left.
type sentBody struct {
	body io.ReadCloser
	done func(sent int64, err error) // called once, at Close
	sent int64
	err  error
}

// Read implements io.Reader for connections that can not take the file themselves.
func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.sent += int64(n)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// WriteTo implements io.WriterTo: the body knows best how its bytes leave.
func (b *sentBody) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, b.body)
	b.sent += n
	b.err = err
	return n, err
}

// Close implements io.Closer.
func (b *sentBody) Close() error {
	err := b.body.Close()
	if b.done != nil {
		b.done(b.sent, b.err)
		b.done = nil
	}
	return err
}
