package namenode

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

// protocol is the interface of the NameNode that clients call.
const protocol = "org.apache.hadoop.hdfs.protocol.ClientProtocol"

// The preamble of a connection: version 9, service class 0, no authentication.
var preamble = []byte{'h', 'r', 'p', 'c', 9, 0, 0}

// contextCallID is the call id of the frame that opens a connection.
const contextCallID = -3

// maxFrame bounds what is read as one answer: Hadoop's default for ipc.maximum.response.length.
const maxFrame = 128 << 20

// conn is one connection to a NameNode. A goroutine writes, another one reads; both end when it breaks.
type conn struct {
	nc      net.Conn
	timeout time.Duration
	frames  chan []byte   // to the writer
	dead    chan struct{} // closed once mu.err is set
	done    sync.WaitGroup
	mu      struct {
		sync.Mutex
		err     error // why it broke
		waiting map[int32]chan<- answer
	}
}

// answer is a response: its message, or the error that came instead.
type answer struct {
	message []byte
	err     *RemoteError // Method is empty
}

// newConn takes over nc, says who we are, and starts the goroutines.
func newConn(nc net.Conn, clientID []byte, user string, timeout time.Duration) (*conn, error) {
	hello, err := frame(header(contextCallID, 0, clientID), &wire.IpcConnectionContext{
		UserInfo: &wire.UserInformation{EffectiveUser: proto.String(user)},
		Protocol: proto.String(protocol),
	})
	if err == nil {
		err = nc.SetWriteDeadline(time.Now().Add(timeout))
	}
	if err == nil {
		_, err = nc.Write(append(preamble[:len(preamble):len(preamble)], hello...))
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	c := &conn{nc: nc, timeout: timeout, frames: make(chan []byte), dead: make(chan struct{})}
	c.mu.waiting = map[int32]chan<- answer{}
	c.done.Go(c.write)
	c.done.Go(c.read)
	return c, nil
}

// fail breaks the connection, once. Calls that wait on it end.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.mu.err == nil {
		c.mu.err = err
		close(c.dead)
	}
	c.mu.Unlock()
	_ = c.nc.Close() // what was sent is answered or lost
}

// broken returns why the connection broke, or nil.
func (c *conn) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

func (c *conn) write() {
	for {
		select {
		case <-c.dead:
			return
		case f := <-c.frames:
			err := c.nc.SetWriteDeadline(time.Now().Add(c.timeout))
			if err == nil {
				_, err = c.nc.Write(f)
			}
			if err != nil {
				c.fail(err)
				return
			}
		}
	}
}

func (c *conn) read() {
	for {
		id, a, fatal, err := readAnswer(c.nc)
		if err == nil && fatal {
			err = a.err
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		waiter := c.mu.waiting[id]
		delete(c.mu.waiting, id)
		c.mu.Unlock()
		if waiter != nil {
			waiter <- a // has room
		}
	}
}

// call sends one request and waits for its answer. sent says whether the NameNode may have got it.
func (c *conn) call(ctx context.Context, id int32, request []byte) (a answer, sent bool, err error) {
	waiter := make(chan answer, 1)
	c.mu.Lock()
	c.mu.waiting[id] = waiter
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.mu.waiting, id)
	}()
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case c.frames <- request:
	case <-c.dead:
		return answer{}, false, c.broken()
	case <-ctx.Done():
		return answer{}, false, ctx.Err()
	case <-timer.C:
		c.fail(errTimeout)
		return answer{}, false, errTimeout
	}
	select {
	case a = <-waiter:
		return a, true, nil
	case <-c.dead:
		return answer{}, true, c.broken()
	case <-ctx.Done():
		return answer{}, true, ctx.Err()
	case <-timer.C:
		c.fail(errTimeout)
		return answer{}, true, errTimeout
	}
}

func header(id, retry int32, clientID []byte) *wire.RpcRequestHeader {
	return &wire.RpcRequestHeader{
		RpcKind: proto.Int32(2), RpcOp: proto.Int32(0),
		CallId: proto.Int32(id), ClientId: clientID, RetryCount: proto.Int32(retry),
	}
}

// frame is messages as they are sent: each after its length, all after the length of all (4 bytes).
func frame(messages ...proto.Message) ([]byte, error) {
	f := make([]byte, 4, 256)
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			return nil, err
		}
		f = protowire.AppendBytes(f, b)
	}
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	return f, nil
}

// readAnswer reads one response. fatal says that the connection ends with it.
func readAnswer(r io.Reader) (id int32, a answer, fatal bool, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, a, false, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return 0, a, false, fmt.Errorf("an answer of %d bytes", n)
	}
	f := make([]byte, n)
	if _, err := io.ReadFull(r, f); err != nil {
		return 0, a, false, err
	}
	head, used := protowire.ConsumeBytes(f)
	if used < 0 {
		return 0, a, false, fmt.Errorf("the header of an answer: %w", protowire.ParseError(used))
	}
	var h wire.RpcResponseHeader
	if err := proto.Unmarshal(head, &h); err != nil {
		return 0, a, false, fmt.Errorf("the header of an answer: %w", err)
	}
	id = int32(h.GetCallId())
	if h.GetStatus() != wire.RpcResponseHeader_SUCCESS {
		a.err = &RemoteError{Class: h.GetExceptionClassName(), Message: firstLine(h.GetErrorMsg())}
		return id, a, h.GetStatus() == wire.RpcResponseHeader_FATAL, nil
	}
	if a.message, used = protowire.ConsumeBytes(f[used:]); used < 0 {
		return 0, a, false, fmt.Errorf("the message of an answer: %w", protowire.ParseError(used))
	}
	return id, a, false, nil
}
