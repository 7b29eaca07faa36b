package datanode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

// ErrChecksum says that a replica is damaged, or was on its way.
var ErrChecksum = errors.New("the bytes do not match their checksum")

// Reader streams a range of one replica of a block. It is for one goroutine, except Close.
type Reader struct {
	l      *link
	table  *crc32.Table // nil: the replica has no checksums
	chunk  int64        // bytes that have one checksum
	next   int64        // where in the block the next packet begins
	skip   int64        // bytes before the range that come with its first chunk
	left   int64        // bytes of the range that have not been handed out
	packet []byte
	ready  []byte // of packet: verified, not yet handed out
}

// NewReader asks a DataNode for n bytes (more than none) of a block from off. The caller closes the Reader.
func NewReader(ctx context.Context, cfg Config, node *wire.DatanodeInfo, block *wire.LocatedBlock, off, n int64) (*Reader, error) {
	l, resp, err := request(ctx, cfg, node, opRead, &wire.OpReadBlock{
		Header: clientHeader(cfg, block), Offset: proto.Uint64(uint64(off)), Len: proto.Uint64(uint64(n)),
	})
	if err != nil {
		return nil, err
	}
	r := &Reader{l: l, left: n}
	if err := errors.Join(refused(resp), r.setUp(resp.GetReadOpChecksumInfo(), off)); err != nil {
		l.close()
		return nil, err
	}
	return r, nil
}

func (r *Reader) setUp(info *wire.ReadOpChecksumInfo, off int64) error {
	r.chunk, r.next = int64(info.GetChecksum().GetBytesPerChecksum()), int64(info.GetChunkOffset())
	r.skip = off - r.next
	switch info.GetChecksum().GetType() {
	case wire.Checksum_NULL:
		r.chunk = 0
	case wire.Checksum_CRC32:
		r.table = crc32.IEEETable
	case wire.Checksum_CRC32C:
		r.table = castagnoli
	}
	if r.skip < 0 || (r.table != nil && r.chunk <= 0) {
		return fmt.Errorf("the DataNode answers for byte %d with chunks of %d from byte %d", off, r.chunk, r.next)
	}
	return nil
}

// Read implements io.Reader: the range, then io.EOF.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	for len(r.ready) == 0 {
		if err := r.fill(); err != nil {
			return 0, r.l.cause(err)
		}
	}
	n := copy(p, r.ready[:min(int64(len(r.ready)), r.left)])
	r.ready = r.ready[n:]
	r.left -= int64(n)
	return n, nil
}

// fill reads and verifies one packet.
func (r *Reader) fill() error {
	if err := r.l.nc.SetReadDeadline(time.Now().Add(r.l.timeout)); err != nil {
		return err
	}
	var head [6]byte // length of the payload and 4, length of the header
	if _, err := io.ReadFull(r.l.in, head[:]); err != nil {
		return err
	}
	payload := int64(binary.BigEndian.Uint32(head[:])) - 4
	size := int64(binary.BigEndian.Uint16(head[4:]))
	if payload < 0 || payload > maxPacket {
		return fmt.Errorf("a packet of %d bytes", payload)
	}
	if int64(cap(r.packet)) < size+payload {
		r.packet = make([]byte, size+payload)
	}
	r.packet = r.packet[:size+payload]
	if _, err := io.ReadFull(r.l.in, r.packet); err != nil {
		return err
	}
	var h wire.PacketHeader
	if err := proto.Unmarshal(r.packet[:size], &h); err != nil {
		return err
	}
	return r.accept(&h, r.packet[size:])
}

// accept takes a packet's payload: checksums, then data.
func (r *Reader) accept(h *wire.PacketHeader, payload []byte) error {
	n := int64(h.GetDataLen())
	if n == 0 { // the end, or a sign of life
		if h.GetLastPacketInBlock() {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	if n < 0 || n > int64(len(payload)) || h.GetOffsetInBlock() != r.next {
		return fmt.Errorf("a packet of %d bytes for byte %d, in a payload of %d for byte %d", n, h.GetOffsetInBlock(), len(payload), r.next)
	}
	sums, data := payload[:int64(len(payload))-n], payload[int64(len(payload))-n:]
	if r.table != nil {
		if err := verify(r.table, r.chunk, sums, data); err != nil {
			return err
		}
	}
	r.next += n
	drop := min(r.skip, n)
	r.skip -= drop
	r.ready = data[drop:]
	return nil
}

func verify(table *crc32.Table, chunk int64, sums, data []byte) error {
	for len(data) > 0 {
		n := min(chunk, int64(len(data)))
		if len(sums) < 4 || crc32.Checksum(data[:n], table) != binary.BigEndian.Uint32(sums) {
			return ErrChecksum
		}
		sums, data = sums[4:], data[n:]
	}
	return nil
}

// Close ends the transfer. It may be called while a Read is under way, which then fails.
func (r *Reader) Close() { r.l.close() }
