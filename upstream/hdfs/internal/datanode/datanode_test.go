package datanode

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const chunk = 512

// emulate runs an emulated DataNode: serve gets each connection after its operation was read.
func emulate(t *testing.T, serve func(c net.Conn, in *bufio.Reader)) (*wire.DatanodeInfo, Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if _, err := io.ReadFull(in, make([]byte, 3)); err != nil {
					return
				}
				if n, err := binary.ReadUvarint(in); err != nil || func() error { _, err := in.Discard(int(n)); return err }() != nil {
					return
				}
				serve(c, in)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	addr := l.Addr().(*net.TCPAddr)
	node := &wire.DatanodeInfo{Id: &wire.DatanodeId{
		IpAddr: proto.String("127.0.0.1"), HostName: proto.String("localhost"), DatanodeUuid: proto.String("u"),
		XferPort: proto.Uint32(uint32(addr.Port)), InfoPort: proto.Uint32(0), IpcPort: proto.Uint32(0),
	}}
	return node, Config{
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
		ClientName: "c", DialTimeout: time.Second, Timeout: time.Minute, Sync: true,
	}
}

func located(node *wire.DatanodeInfo, size int) *wire.LocatedBlock {
	return &wire.LocatedBlock{
		B:      &wire.ExtendedBlock{PoolId: proto.String("p"), BlockId: proto.Uint64(1), GenerationStamp: proto.Uint64(1), NumBytes: proto.Uint64(uint64(size))},
		Offset: proto.Uint64(0), Locs: []*wire.DatanodeInfo{node}, Corrupt: proto.Bool(false),
		BlockToken: &wire.Token{Identifier: []byte{}, Password: []byte{}, Kind: proto.String(""), Service: proto.String("")},
	}
}

func send(c net.Conn, m proto.Message) {
	b, err := proto.Marshal(m)
	if err == nil {
		_, _ = c.Write(protowire.AppendBytes(nil, b))
	}
}

func sendReadOK(c net.Conn, offset int) {
	send(c, &wire.BlockOpResponse{Status: proto.Int32(0), ReadOpChecksumInfo: &wire.ReadOpChecksumInfo{
		Checksum: &wire.Checksum{Type: wire.Checksum_CRC32C.Enum(), BytesPerChecksum: proto.Uint32(chunk)}, ChunkOffset: proto.Uint64(uint64(offset)),
	}})
}

// sendPacket sends data with its checksums; flip is the byte to damage afterwards, or -1.
func sendPacket(c net.Conn, off int64, data []byte, flip int) {
	var sums []byte
	for rest := data; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
		sums = binary.BigEndian.AppendUint32(sums, crc32.Checksum(rest[:min(chunk, len(rest))], castagnoli))
	}
	h := &wire.PacketHeader{
		OffsetInBlock: &off, Seqno: proto.Int64(0), LastPacketInBlock: proto.Bool(len(data) == 0), DataLen: proto.Int32(int32(len(data))),
	}
	p, _ := appendHeader(nil, h, len(sums)+len(data))
	p = append(append(p, sums...), data...)
	if flip >= 0 {
		p[len(p)-len(data)+flip] ^= 1
	}
	_, _ = c.Write(p)
}

func block(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// serveBlock is a DataNode that has a block, in packets of 16 KiB, and may damage a byte of it.
func serveBlock(data []byte, from int, flip int) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, _ *bufio.Reader) {
		start := from / chunk * chunk
		sendReadOK(c, start)
		for off := start; off < len(data); off += 16 << 10 {
			end := min(off+16<<10, len(data))
			at := -1
			if flip >= off && flip < end {
				at = flip - off
			}
			sendPacket(c, int64(off), data[off:end], at)
		}
		sendPacket(c, int64(len(data)), nil, -1)
	}
}

func TestRead(t *testing.T) {
	data := block(100_000)
	for _, r := range [][2]int{{0, 100_000}, {0, 1}, {511, 2}, {512, 512}, {99_999, 1}, {33_333, 44_444}, {16 << 10, 1}} {
		node, cfg := emulate(t, serveBlock(data, r[0], -1))
		in, err := NewReader(t.Context(), cfg, node, located(node, len(data)), int64(r[0]), int64(r[1]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		in.Close()
		if err != nil || !bytes.Equal(got, data[r[0]:r[0]+r[1]]) {
			t.Errorf("%v: %d bytes, %v", r, len(got), err)
		}
	}
}

// TestDamageIsNotHandedOut: not a byte of a packet that fails its checksum is given out, wherever in it the
// damage is, and however small the reads are.
func TestDamageIsNotHandedOut(t *testing.T) {
	data := block(100_000)
	for _, flip := range []int{0, 511, 16<<10 - 1, 16 << 10, 50_000, 99_999} {
		for _, size := range []int{1, 100, 512, 64 << 10} {
			node, cfg := emulate(t, serveBlock(data, 0, flip))
			in, err := NewReader(t.Context(), cfg, node, located(node, len(data)), 0, int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			buf := make([]byte, size)
			for err == nil {
				var n int
				n, err = in.Read(buf)
				got = append(got, buf[:n]...)
			}
			in.Close()
			if !errors.Is(err, ErrChecksum) {
				t.Errorf("byte %d, reads of %d: ended with %v", flip, size, err)
			}
			if len(got) > flip || !bytes.Equal(got, data[:len(got)]) {
				t.Errorf("byte %d, reads of %d: %d bytes were handed out", flip, size, len(got))
			}
		}
	}
}

func TestReadFailures(t *testing.T) {
	data := block(100_000)
	for name, serve := range map[string]func(net.Conn, *bufio.Reader){
		"hangs up at once": func(net.Conn, *bufio.Reader) {},
		"refuses":          func(c net.Conn, _ *bufio.Reader) { send(c, &wire.BlockOpResponse{Status: proto.Int32(1)}) },
		"hangs up in the middle": func(c net.Conn, _ *bufio.Reader) {
			sendReadOK(c, 0)
			sendPacket(c, 0, data[:1000], -1)
		},
		"ends early": func(c net.Conn, _ *bufio.Reader) {
			sendReadOK(c, 0)
			sendPacket(c, 0, data[:1024], -1)
			sendPacket(c, 1024, nil, -1)
		},
		"skips bytes": func(c net.Conn, _ *bufio.Reader) {
			sendReadOK(c, 0)
			sendPacket(c, 0, data[:1024], -1)
			sendPacket(c, 2048, data[2048:], -1)
		},
		"begins too late":  func(c net.Conn, _ *bufio.Reader) { sendReadOK(c, 512) },
		"a huge packet":    func(c net.Conn, _ *bufio.Reader) { sendReadOK(c, 0); _, _ = c.Write([]byte{0x7f, 0, 0, 0, 0, 20}) },
		"a packet of none": func(c net.Conn, _ *bufio.Reader) { sendReadOK(c, 0); _, _ = c.Write(make([]byte, 6)) },
	} {
		t.Run(name, func(t *testing.T) {
			node, cfg := emulate(t, serve)
			in, err := NewReader(t.Context(), cfg, node, located(node, len(data)), 0, int64(len(data)))
			if err != nil {
				return
			}
			defer in.Close()
			if got, err := io.ReadAll(in); err == nil || !bytes.Equal(got, data[:len(got)]) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestSilentDataNode(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	node, cfg := emulate(t, func(c net.Conn, _ *bufio.Reader) { sendReadOK(c, 0); <-hold })
	ctx, cancel := context.WithCancel(t.Context())
	in, err := NewReader(ctx, cfg, node, located(node, 10), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	errs := make(chan error)
	go func() { _, err := in.Read(make([]byte, 10)); errs <- err }()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	cfg.Timeout = 50 * time.Millisecond
	in, err = NewReader(t.Context(), cfg, node, located(node, 10), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Read(make([]byte, 10)); err == nil {
		t.Error("a silent DataNode is no error")
	}
}

// pipeline is a DataNode that takes a block. It acknowledges as script says.
func pipeline(t *testing.T, got *bytes.Buffer, script func(packet int, h *wire.PacketHeader) (reply []int32, seq int64, ok bool)) (*wire.DatanodeInfo, Config) {
	return emulate(t, func(c net.Conn, in *bufio.Reader) {
		send(c, &wire.BlockOpResponse{Status: proto.Int32(0)})
		for i := 0; ; i++ {
			var head [6]byte
			if _, err := io.ReadFull(in, head[:]); err != nil {
				return
			}
			p := make([]byte, int(binary.BigEndian.Uint32(head[:]))-4+int(binary.BigEndian.Uint16(head[4:])))
			if _, err := io.ReadFull(in, p); err != nil {
				return
			}
			size := binary.BigEndian.Uint16(head[4:])
			var h wire.PacketHeader
			if err := proto.Unmarshal(p[:size], &h); err != nil {
				t.Error(err)
				return
			}
			payload := p[size:]
			data := payload[len(payload)-int(h.GetDataLen()):]
			if err := verify(castagnoli, chunk, payload[:len(payload)-len(data)], data); err != nil || h.GetOffsetInBlock() != int64(got.Len()) {
				t.Errorf("packet %d for byte %d of %d: %v", i, h.GetOffsetInBlock(), got.Len(), err)
			}
			got.Write(data)
			if h.GetLastPacketInBlock() != h.GetSyncBlock() {
				t.Errorf("packet %d: last %v, synced %v", i, h.GetLastPacketInBlock(), h.GetSyncBlock())
			}
			reply, seq, ok := script(i, &h)
			if !ok {
				return
			}
			send(c, &wire.PipelineAck{Seqno: &seq, Reply: reply})
		}
	})
}

func TestWrite(t *testing.T) {
	for _, n := range []int{1, 511, 512, 513, packetData - 1, packetData, packetData + 1, 1_000_000} {
		var got bytes.Buffer
		node, cfg := pipeline(t, &got, func(_ int, h *wire.PacketHeader) ([]int32, int64, bool) { return []int32{0}, h.GetSeqno(), true })
		w, err := NewWriter(t.Context(), cfg, located(node, 0), chunk)
		if err != nil {
			t.Fatal(err)
		}
		data := block(n)
		for rest := data; len(rest) > 0 && err == nil; {
			step := min(len(rest), 77_777)
			_, err = w.Write(rest[:step])
			rest = rest[step:]
		}
		if err == nil {
			err = w.Finish()
		}
		w.Close()
		if err != nil || !bytes.Equal(got.Bytes(), data) || w.Len() != int64(n) {
			t.Errorf("%d bytes: %d arrived, %v", n, got.Len(), err)
		}
	}
}

func TestWriteFailures(t *testing.T) {
	for name, script := range map[string]func(int, *wire.PacketHeader) ([]int32, int64, bool){
		"an error of the second DataNode": func(_ int, h *wire.PacketHeader) ([]int32, int64, bool) { return []int32{0, 1}, h.GetSeqno(), true },
		"out of order":                    func(_ int, h *wire.PacketHeader) ([]int32, int64, bool) { return []int32{0}, h.GetSeqno() + 1, true },
		"hangs up":                        func(i int, h *wire.PacketHeader) ([]int32, int64, bool) { return []int32{0}, h.GetSeqno(), i < 3 },
		"the last packet fails": func(_ int, h *wire.PacketHeader) ([]int32, int64, bool) {
			if h.GetLastPacketInBlock() {
				return []int32{1}, h.GetSeqno(), true
			}
			return []int32{0}, h.GetSeqno(), true
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			node, cfg := pipeline(t, &got, script)
			w, err := NewWriter(t.Context(), cfg, located(node, 0), chunk)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			for i := 0; i < 100 && err == nil; i++ {
				_, err = w.Write(block(packetData))
			}
			if err == nil {
				err = w.Finish()
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestPipelineIsRefused(t *testing.T) {
	var second *wire.DatanodeInfo
	first, cfg := emulate(t, func(c net.Conn, _ *bufio.Reader) {
		send(c, &wire.BlockOpResponse{Status: proto.Int32(1), FirstBadLink: proto.String(fmt.Sprintf("127.0.0.1:%d", second.GetId().GetXferPort()))})
	})
	second, _ = emulate(t, func(net.Conn, *bufio.Reader) {})
	b := located(first, 0)
	b.Locs = append(b.Locs, second)
	_, err := NewWriter(t.Context(), cfg, b, chunk)
	if bad, ok := errors.AsType[*PipelineError](err); !ok || bad.Bad != second {
		t.Errorf("%v, want the second DataNode to be blamed", err)
	}
}

func TestWriteIsCancelled(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	node, cfg := emulate(t, func(c net.Conn, _ *bufio.Reader) { send(c, &wire.BlockOpResponse{Status: proto.Int32(0)}); <-hold })
	ctx, cancel := context.WithCancel(t.Context())
	w, err := NewWriter(ctx, cfg, located(node, 0), chunk)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	errs := make(chan error)
	go func() {
		_, err := w.Write(block(1000))
		if err == nil {
			err = w.Finish() // nobody acknowledges
		}
		errs <- err
	}()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
