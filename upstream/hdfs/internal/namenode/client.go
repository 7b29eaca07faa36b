package namenode

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

// Config of a Client.
type Config struct {
	Addresses []string // host:port of every NameNode of the cluster
	User      string
	// Dial makes connections; it honours its context.
	Dial        func(ctx context.Context, addr string) (net.Conn, error)
	DialTimeout time.Duration
	CallTimeout time.Duration // for one answer
	// Patience is how long a call that has met a failure is sent again.
	Patience time.Duration
}

// The pauses between attempts grow from the first to the last.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Client calls whichever NameNode is active. Its methods are safe for concurrent use.
type Client struct {
	cfg  Config
	id   []byte
	name string
	last atomic.Int32  // call id
	dial chan struct{} // holds a token while nobody dials
	mu   struct {
		sync.Mutex
		conn   *conn // nil before the first call
		at     int   // whose connection conn is, or who is dialed next: an index of Addresses
		closed bool
	}
}

// New returns a client that connects with its first call.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg, id: make([]byte, 16), dial: make(chan struct{}, 1)}
	_, _ = rand.Read(c.id) // never fails: see crypto/rand
	c.name = fmt.Sprintf("unistore_%x", c.id)
	c.dial <- struct{}{}
	return c
}

// Name is the holder of the leases of files that are being written.
func (c *Client) Name() string { return c.name }

// Close ends the connection and waits for its goroutines. Calls under way fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.mu.closed = true
	old := c.mu.conn
	c.mu.Unlock()
	if old != nil {
		old.fail(errClosed)
		old.done.Wait()
	}
}

// Call calls a method of the NameNode. Its errors are a *RemoteError, a *LostError, or ctx's.
func (c *Client) Call(ctx context.Context, method string, req, resp proto.Message) error {
	id := c.last.Add(1) & math.MaxInt32 // ids below zero have meanings of their own: Hadoop's RpcConstants
	var giveUp time.Time                // set by the first failure
	reached := false                    // a NameNode may have got the call
	pause := firstPause
	for retry := int32(0); ; retry++ {
		sent, err := c.attempt(ctx, id, retry, call{method, req, resp})
		reached = reached || sent
		remote, answered := errors.AsType[*RemoteError](err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errClosed):
			return &LostError{Err: err, Unsent: !reached}
		case answered && !again(remote):
			return remote
		}
		if now := time.Now(); giveUp.IsZero() {
			giveUp = now.Add(c.cfg.Patience)
		} else if now.After(giveUp) {
			if answered {
				return remote
			}
			return &LostError{Err: err, Unsent: !reached}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, lastPause)
	}
}

// again reports whether the same call may do better elsewhere or later.
func again(err *RemoteError) bool {
	return Is(err, "StandbyException", "ObserverRetryOnActiveException", "RetriableException")
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call is what Call was asked for.
type call struct {
	method    string
	req, resp proto.Message
}

// attempt sends a call once. sent says whether a NameNode may have acted on it.
func (c *Client) attempt(ctx context.Context, id, retry int32, what call) (sent bool, err error) {
	request, err := frame(header(id, retry, c.id), &wire.RequestHeader{
		MethodName: proto.String(what.method), DeclaringClassProtocolName: proto.String(protocol),
		ClientProtocolVersion: proto.Uint64(1),
	}, what.req)
	if err != nil {
		return false, fmt.Errorf("%s: %w", what.method, err)
	}
	cn, err := c.connect(ctx)
	if err != nil {
		return false, err
	}
	a, sent, err := cn.call(ctx, id, request)
	if remote, ok := errors.AsType[*RemoteError](err); ok { // the NameNode refused the connection
		return sent, &RemoteError{Method: what.method, Class: remote.Class, Message: remote.Message}
	}
	if err != nil {
		return sent, err
	}
	if a.err != nil {
		a.err.Method = what.method
		if Is(a.err, "StandbyException", "ObserverRetryOnActiveException") {
			c.leave(cn)
		}
		return false, a.err
	}
	if err := proto.Unmarshal(a.message, what.resp); err != nil {
		return true, fmt.Errorf("%s: %w", what.method, err)
	}
	return true, nil
}

// leave turns to the next NameNode, unless somebody has done so already.
func (c *Client) leave(cn *conn) {
	c.mu.Lock()
	if c.mu.conn == cn && cn.broken() == nil {
		c.mu.at = (c.mu.at + 1) % len(c.cfg.Addresses)
	}
	c.mu.Unlock()
	cn.fail(errors.New("the NameNode is on standby"))
}

// connect returns a connection that works as far as is known.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	if cn, err := c.current(); cn != nil || err != nil {
		return cn, err
	}
	select {
	case <-c.dial:
		defer func() { c.dial <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if cn, err := c.current(); cn != nil || err != nil { // another one has dialed
		return cn, err
	}
	c.mu.Lock()
	old, addr := c.mu.conn, c.cfg.Addresses[c.mu.at]
	c.mu.Unlock()
	if old != nil {
		old.done.Wait() // it is broken: they are about to end
	}
	cn, err := c.open(ctx, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		if ctx.Err() == nil {
			c.mu.at = (c.mu.at + 1) % len(c.cfg.Addresses)
		}
		return nil, err
	case c.mu.closed:
		cn.fail(errClosed)
		return nil, errClosed
	}
	c.mu.conn = cn
	return cn, nil
}

// current returns the connection, or nil when it is broken or there is none yet.
func (c *Client) current() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, errClosed
	}
	if c.mu.conn == nil || c.mu.conn.broken() != nil {
		return nil, nil
	}
	return c.mu.conn, nil
}

func (c *Client) open(ctx context.Context, addr string) (*conn, error) {
	dctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	nc, err := c.cfg.Dial(dctx, addr)
	if err != nil {
		return nil, err
	}
	return newConn(nc, c.id, c.cfg.User, c.cfg.CallTimeout)
}
