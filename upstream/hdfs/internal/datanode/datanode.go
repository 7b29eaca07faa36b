// Package datanode reads and writes blocks of an HDFS cluster: Hadoop's data transfer, version 28,
// without encryption or authentication.
//
// Bytes are handed out only after the checksums that came with them have been compared, and a block is
// written only once every DataNode of its pipeline has acknowledged all of it.
// Every call ends when its context does.
package datanode

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

// Operations of the protocol.
const (
	version = 28
	opWrite = 80
	opRead  = 81
)

// maxMessage bounds a message that is not a packet. maxPacket is Hadoop's PacketReceiver.MAX_PACKET_SIZE.
const (
	maxMessage = 1 << 20
	maxPacket  = 16 << 20
)

// Config of all transfers.
type Config struct {
	// Dial makes connections; it honours its context.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// ClientName is the holder of the leases of files that are written.
	ClientName  string
	DialTimeout time.Duration
	// Timeout is how long a DataNode may neither send nor take a byte.
	Timeout time.Duration
	// Hostnames: DataNodes are reached by the names that they have given, not by their addresses.
	Hostnames bool
	// Sync: what is acknowledged is on the disks of the DataNodes, not only in their memory.
	Sync bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// link is a connection to a DataNode; it is closed when ctx ends.
type link struct {
	ctx     context.Context
	nc      net.Conn
	in      *bufio.Reader
	timeout time.Duration
	stop    func() bool
}

// request opens a connection and sends an operation. The caller closes the link.
func request(ctx context.Context, cfg Config, node *wire.DatanodeInfo, op byte, msg proto.Message) (*link, *wire.BlockOpResponse, error) {
	host := node.GetId().GetIpAddr()
	if cfg.Hostnames {
		host = node.GetId().GetHostName()
	}
	dctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	nc, err := cfg.Dial(dctx, net.JoinHostPort(host, strconv.Itoa(int(node.GetId().GetXferPort()))))
	if err != nil {
		return nil, nil, err
	}
	l := &link{ctx: ctx, nc: nc, in: bufio.NewReaderSize(nc, 64<<10), timeout: cfg.Timeout}
	l.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
	resp, err := l.ask(op, msg)
	if err != nil {
		l.close()
		return nil, nil, l.cause(err)
	}
	return l, resp, nil
}

func (l *link) ask(op byte, msg proto.Message) (*wire.BlockOpResponse, error) {
	b, err := proto.Marshal(msg)
	if err != nil {
		return nil, err
	}
	if err := l.nc.SetDeadline(time.Now().Add(l.timeout)); err != nil {
		return nil, err
	}
	if _, err := l.nc.Write(protowire.AppendBytes([]byte{0, version, op}, b)); err != nil {
		return nil, err
	}
	var resp wire.BlockOpResponse
	if err := l.message(&resp); err != nil {
		return nil, err
	}
	return &resp, nil
}

// message reads a message after its length.
func (l *link) message(m proto.Message) error {
	n, err := binary.ReadUvarint(l.in)
	if err != nil {
		return err
	}
	if n > maxMessage {
		return fmt.Errorf("a message of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(l.in, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

// cause is why the link failed: the end of its context explains every other error.
func (l *link) cause(err error) error {
	if cerr := l.ctx.Err(); cerr != nil {
		return cerr
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // the DataNode hung up
	}
	return err
}

func (l *link) close() {
	l.stop()
	_ = l.nc.Close() // whatever is still wanted of it has been read
}

func clientHeader(cfg Config, b *wire.LocatedBlock) *wire.ClientOperationHeader {
	return &wire.ClientOperationHeader{
		BaseHeader: &wire.BaseHeader{Block: b.GetB(), Token: b.GetBlockToken()}, ClientName: proto.String(cfg.ClientName),
	}
}

// refused is the error of a status that is not success, or nil.
func refused(resp *wire.BlockOpResponse) error {
	if resp.GetStatus() == 0 {
		return nil
	}
	return fmt.Errorf("the DataNode refused with status %d: %s", resp.GetStatus(), resp.GetMessage())
}
