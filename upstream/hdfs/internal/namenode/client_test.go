package namenode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// request is what an emulated NameNode was asked.
type request struct {
	id, retry int32
	clientID  string
	method    string
}

// reply is what it answers.
type reply struct {
	message proto.Message
	class   string // of an exception
	fatal   bool
	drop    bool // hang up instead
	silent  bool // never answer
}

// emulator is an emulated NameNode: it speaks the RPC and answers from a script, one request after the other.
type emulator struct {
	listener net.Listener
	answer   func(request) reply
	wg       sync.WaitGroup
	mu       struct {
		sync.Mutex
		conns    []net.Conn
		requests []request
		user     string
	}
}

func emulate(t *testing.T, answer func(request) reply) *emulator {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{listener: l, answer: answer}
	e.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.mu.conns = append(e.mu.conns, c)
			e.mu.Unlock()
			e.wg.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		e.mu.Lock()
		for _, c := range e.mu.conns {
			_ = c.Close()
		}
		e.mu.Unlock()
		e.wg.Wait()
	})
	return e
}

func (e *emulator) addr() string { return e.listener.Addr().String() }

func (e *emulator) asked() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]request(nil), e.mu.requests...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	f := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, f)
	return f, err
}

func (e *emulator) serve(c net.Conn) {
	defer c.Close()
	hello := make([]byte, len(preamble))
	if _, err := io.ReadFull(c, hello); err != nil || string(hello) != string(preamble) {
		return
	}
	for {
		f, err := readFrame(c)
		if err != nil {
			return
		}
		head, n := protowire.ConsumeBytes(f)
		second, _ := protowire.ConsumeBytes(f[n:])
		var h wire.RpcRequestHeader
		if proto.Unmarshal(head, &h) != nil {
			return
		}
		if h.GetCallId() == contextCallID {
			var hello wire.IpcConnectionContext
			_ = proto.Unmarshal(second, &hello)
			e.mu.Lock()
			e.mu.user = hello.GetUserInfo().GetEffectiveUser()
			e.mu.Unlock()
			continue
		}
		var m wire.RequestHeader
		_ = proto.Unmarshal(second, &m)
		req := request{h.GetCallId(), h.GetRetryCount(), string(h.GetClientId()), m.GetMethodName()}
		e.mu.Lock()
		e.mu.requests = append(e.mu.requests, req)
		e.mu.Unlock()
		if !e.respond(c, req, e.answer(req)) {
			return
		}
	}
}

func (e *emulator) respond(c net.Conn, req request, r reply) bool {
	h := &wire.RpcResponseHeader{CallId: proto.Uint32(uint32(req.id)), Status: wire.RpcResponseHeader_SUCCESS.Enum()}
	messages := []proto.Message{h, r.message}
	switch {
	case r.drop:
		return false
	case r.silent:
		return true
	case r.class != "":
		h.Status = wire.RpcResponseHeader_ERROR.Enum()
		if r.fatal {
			h.Status = wire.RpcResponseHeader_FATAL.Enum()
		}
		h.ExceptionClassName, h.ErrorMsg = &r.class, proto.String("words\n\tat a.stack.trace")
		messages = messages[:1]
	}
	f, err := frame(messages...)
	if err == nil {
		_, err = c.Write(f)
	}
	return err == nil && !r.fatal
}

func client(t *testing.T, patience time.Duration, addrs ...string) *Client {
	t.Helper()
	c := New(Config{
		Addresses: addrs, User: "somebody", DialTimeout: time.Second, CallTimeout: time.Minute, Patience: patience,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
	})
	t.Cleanup(c.Close)
	return c
}

func done(ok bool) reply { return reply{message: &wire.Done{Result: &ok}} }

func always(r reply) func(request) reply { return func(request) reply { return r } }

func TestCall(t *testing.T) {
	nn := emulate(t, always(done(true)))
	c := client(t, 0, nn.addr())
	if ok, err := c.Delete(t.Context(), "/x", false); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	if nn.mu.user != "somebody" || nn.asked()[0].method != "delete" {
		t.Errorf("user %q, requests %+v", nn.mu.user, nn.asked())
	}
}

func TestManyCallsAtOnceGetTheirOwnAnswers(t *testing.T) {
	// Answers come in reverse, by threes.
	var mu sync.Mutex
	var held []func()
	nn := emulate(t, nil)
	nn.answer = func(req request) reply {
		mu.Lock()
		defer mu.Unlock()
		nn.mu.Lock()
		c := nn.mu.conns[0]
		nn.mu.Unlock()
		held = append(held, func() {
			nn.respond(c, req, reply{message: &wire.GetFileInfoResponse{Fs: &wire.FileStatus{
				FileType: wire.FileStatus_IS_FILE.Enum(), Path: []byte{}, Length: proto.Uint64(uint64(req.id)), Permission: &wire.FsPermission{Perm: proto.Uint32(0)},
				Owner: proto.String(""), Group: proto.String(""), ModificationTime: proto.Uint64(0), AccessTime: proto.Uint64(0),
			}}})
		})
		if len(held) == 3 {
			for i := range held {
				held[2-i]()
			}
			held = nil
		}
		return reply{silent: true}
	}
	c := client(t, 0, nn.addr())
	var wg sync.WaitGroup
	got := make([]uint64, 30)
	for i := range got {
		wg.Go(func() {
			s, err := c.Info(t.Context(), "/x")
			if err != nil {
				t.Error(err)
			}
			got[i] = s.GetLength()
		})
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for _, id := range got {
		if seen[id] || id == 0 {
			t.Errorf("answer %d came twice or never", id)
		}
		seen[id] = true
	}
}

func TestLostAnswerIsAskedForAgainUnderTheSameID(t *testing.T) {
	var calls atomic.Int32
	nn := emulate(t, func(request) reply { return reply{drop: calls.Add(1) < 3, message: done(true).message} })
	c := client(t, time.Minute, nn.addr())
	if ok, err := c.Delete(t.Context(), "/x", false); !ok || err != nil {
		t.Fatalf("%v, %v", ok, err)
	}
	asked := nn.asked()
	if len(asked) != 3 {
		t.Fatalf("asked %+v", asked)
	}
	for i, r := range asked {
		if r.id != asked[0].id || r.clientID != asked[0].clientID || r.retry != int32(i) {
			t.Errorf("attempt %d was %+v, after %+v", i, r, asked[0])
		}
	}
}

// TestCallIDsBeginAgain: no call has an id below zero, however many calls there were.
func TestCallIDsBeginAgain(t *testing.T) {
	nn := emulate(t, always(done(true)))
	c := client(t, 0, nn.addr())
	c.last.Store(math.MaxInt32 - 2)
	var want []int32
	for _, id := range []int32{math.MaxInt32 - 1, math.MaxInt32, 0, 1} {
		if ok, err := c.Delete(t.Context(), "/x", false); !ok || err != nil {
			t.Fatalf("call %d: %v, %v", id, ok, err)
		}
		want = append(want, id)
	}
	var got []int32
	for _, r := range nn.asked() {
		got = append(got, r.id)
	}
	if !slices.Equal(got, want) {
		t.Errorf("ids %d, want %d", got, want)
	}
}

func TestStandbyAndDeadNameNodes(t *testing.T) {
	standby := emulate(t, always(reply{class: "org.apache.hadoop.ipc.StandbyException"}))
	active := emulate(t, always(done(true)))
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	c := client(t, time.Minute, dead.Addr().String(), standby.addr(), active.addr())
	for range 3 {
		if ok, err := c.Delete(t.Context(), "/x", false); !ok || err != nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if n := len(standby.asked()); n != 1 {
		t.Errorf("the standby was asked %d times: the active one is not remembered", n)
	}
	if n := len(active.asked()); n != 3 {
		t.Errorf("the active one was asked %d times", n)
	}
}

func TestNobodyThere(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	c := client(t, time.Millisecond, dead.Addr().String())
	_, err = c.Info(t.Context(), "/x")
	lost, ok := errors.AsType[*LostError](err)
	if !ok || !lost.Unsent {
		t.Errorf("%v, want a LostError that says that nothing was sent", err)
	}
	nn := emulate(t, always(reply{drop: true}))
	c = client(t, time.Millisecond, nn.addr())
	_, err = c.Info(t.Context(), "/x")
	if lost, ok := errors.AsType[*LostError](err); !ok || lost.Unsent {
		t.Errorf("%v, want a LostError that does not say that nothing was sent", err)
	}
}

func TestRefused(t *testing.T) {
	nn := emulate(t, always(reply{class: "org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLongException"}))
	c := client(t, time.Minute, nn.addr())
	_, err := c.Info(t.Context(), "/x")
	if !Is(err, "PathComponentTooLongException") || err.Error() != "getFileInfo: FSLimitException$PathComponentTooLongException: words" {
		t.Errorf("%v", err)
	}
	// A cluster with Kerberos refuses the connection itself.
	secure := emulate(t, always(reply{class: "org.apache.hadoop.security.AccessControlException", fatal: true}))
	c = client(t, time.Minute, secure.addr())
	if _, err := c.Info(t.Context(), "/x"); !Is(err, "AccessControlException") {
		t.Errorf("%v", err)
	}
	if n := len(secure.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestSilentNameNode(t *testing.T) {
	asked := make(chan struct{}, 2)
	nn := emulate(t, func(request) reply { asked <- struct{}{}; return reply{silent: true} })
	c := client(t, time.Minute, nn.addr())
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { _, err := c.Info(ctx, "/x"); errs <- err }()
	<-asked
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	c.cfg.CallTimeout, c.cfg.Patience = 50*time.Millisecond, time.Millisecond
	c.mu.conn.fail(errors.New("a new one has the new timeout"))
	if _, err := c.Info(t.Context(), "/x"); !errors.Is(err, errTimeout) {
		t.Errorf("%v, want the timeout", err)
	}
}

func TestClosed(t *testing.T) {
	asked := make(chan struct{}, 2)
	nn := emulate(t, func(request) reply { asked <- struct{}{}; return reply{silent: true} })
	c := client(t, time.Minute, nn.addr())
	errs := make(chan error)
	go func() { _, err := c.Info(t.Context(), "/x"); errs <- err }()
	<-asked
	c.Close()
	if err := <-errs; !errors.Is(err, errClosed) {
		t.Errorf("%v", err)
	}
}

func TestNonsense(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"a huge frame": {0xff, 0xff, 0xff, 0xff}, "an empty frame": {0, 0, 0, 0},
		"a header that is none": {0, 0, 0, 3, 2, 0xff, 0xff}, "a length beyond the frame": {0, 0, 0, 1, 50},
	} {
		t.Run(name, func(t *testing.T) {
			nn := emulate(t, nil)
			nn.answer = func(request) reply {
				nn.mu.Lock()
				defer nn.mu.Unlock()
				_, _ = nn.mu.conns[len(nn.mu.conns)-1].Write(bytes)
				return reply{silent: true}
			}
			c := client(t, time.Millisecond, nn.addr())
			if _, err := c.Info(t.Context(), "/x"); err == nil {
				t.Error("no error")
			} else if _, ok := errors.AsType[*LostError](err); !ok {
				t.Error(fmt.Errorf("not a LostError: %w", err))
			}
		})
	}
}
