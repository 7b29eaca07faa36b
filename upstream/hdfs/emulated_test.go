package hdfs

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

// serve runs an emulated server until the test ends: handle gets each connection, and must return when it is
// closed.
func serve(t *testing.T, handle func(c net.Conn, in *bufio.Reader)) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { defer c.Close(); handle(c, bufio.NewReader(c)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr)
}

// nameNode answers a call of an emulated NameNode: with a message, or the class of an exception.
type nameNode func(method string, req []byte) (answer proto.Message, class string)

// emulated returns a Backend whose NameNode is emulated: one call after the other.
func emulated(t *testing.T, answer nameNode) *Backend {
	t.Helper()
	addr := serve(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := in.Discard(7); err != nil { // the preamble
			return
		}
		for nameNodeCall(c, in, answer) == nil {
		}
	})
	b, err := New(Config{NameNodes: []string{addr.String()}, Root: "/r", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func nameNodeCall(c net.Conn, in *bufio.Reader, answer nameNode) error {
	var size [4]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(in, frame); err != nil {
		return err
	}
	var parts [3][]byte // of the frame that opens the connection there are two
	for i := 0; i < len(parts) && len(frame) > 0; i++ {
		part, n := protowire.ConsumeBytes(frame)
		if n < 0 {
			return protowire.ParseError(n)
		}
		parts[i], frame = part, frame[n:]
	}
	var h wire.RpcRequestHeader
	if err := proto.Unmarshal(parts[0], &h); err != nil || h.GetCallId() < 0 {
		return err
	}
	var m wire.RequestHeader
	if err := proto.Unmarshal(parts[1], &m); err != nil {
		return err
	}
	head := &wire.RpcResponseHeader{CallId: proto.Uint32(uint32(h.GetCallId())), Status: wire.RpcResponseHeader_SUCCESS.Enum()}
	messages := []proto.Message{head, nil}
	var class string
	if messages[1], class = answer(m.GetMethodName(), parts[2]); class != "" {
		head.Status, head.ExceptionClassName = wire.RpcResponseHeader_ERROR.Enum(), &class
		messages = messages[:1]
	}
	var body []byte
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		body = protowire.AppendBytes(body, b)
	}
	_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return err
}

func emulatedStatus(kind wire.FileStatus_Type, name string, id, length uint64) *wire.FileStatus {
	return &wire.FileStatus{
		FileType: kind.Enum(), Path: []byte(name), Length: &length, FileId: &id, Permission: &wire.FsPermission{Perm: proto.Uint32(0o644)},
		Owner: proto.String(""), Group: proto.String(""), ModificationTime: proto.Uint64(1), AccessTime: proto.Uint64(1),
	}
}

// dataNode returns an emulated DataNode: handle gets each read after its request.
func dataNode(t *testing.T, handle func(c net.Conn, off, n uint64)) *wire.DatanodeInfo {
	addr := serve(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := in.Discard(3); err != nil { // version and operation
			return
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return
		}
		msg := make([]byte, size)
		if _, err := io.ReadFull(in, msg); err != nil {
			return
		}
		var op wire.OpReadBlock
		if err := proto.Unmarshal(msg, &op); err != nil {
			t.Error(err)
			return
		}
		handle(c, op.GetOffset(), op.GetLen())
		_, _ = io.Copy(io.Discard, in) // until the reader hangs up
	})
	return &wire.DatanodeInfo{Id: &wire.DatanodeId{
		IpAddr: proto.String("127.0.0.1"), HostName: proto.String("localhost"), DatanodeUuid: proto.String(addr.String()),
		XferPort: proto.Uint32(uint32(addr.Port)), InfoPort: proto.Uint32(0), IpcPort: proto.Uint32(0),
	}}
}

// sendBlock answers a read with the bytes of data from off, as one packet without checksums.
func sendBlock(c net.Conn, data []byte, off uint64) {
	resp, err := proto.Marshal(&wire.BlockOpResponse{Status: proto.Int32(0), ReadOpChecksumInfo: &wire.ReadOpChecksumInfo{
		Checksum: &wire.Checksum{Type: wire.Checksum_NULL.Enum(), BytesPerChecksum: proto.Uint32(512)}, ChunkOffset: &off,
	}})
	if err != nil {
		return
	}
	head, err := proto.Marshal(&wire.PacketHeader{
		OffsetInBlock: proto.Int64(int64(off)), Seqno: proto.Int64(0), LastPacketInBlock: proto.Bool(false), DataLen: proto.Int32(int32(len(data))),
	})
	if err != nil {
		return
	}
	out := protowire.AppendBytes(nil, resp)
	out = binary.BigEndian.AppendUint32(out, uint32(4+len(data)))
	out = binary.BigEndian.AppendUint16(out, uint16(len(head)))
	_, _ = c.Write(append(append(out, head...), data...))
}
