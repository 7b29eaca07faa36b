package datanode

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"unistore/upstream/hdfs/internal/wire"
)

const (
	packetData = 64 << 10
	inFlight   = 8 // packets on their way to the connection

	heartbeatSeq   = -1
	heartbeatEvery = 20 * time.Second // DataNodes hang up after 60 s (dfs.client.socket-timeout)
)

// PipelineError is a failure to set up a pipeline.
type PipelineError struct {
	Bad *wire.DatanodeInfo // who is to blame
	Err error
}

func (e *PipelineError) Error() string { return "setting up a pipeline: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *PipelineError) Unwrap() error { return e.Err }

// Writer writes one block to its pipeline of DataNodes. It is for one goroutine; two goroutines of its own
// send packets and read acknowledgements until Close.
type Writer struct {
	l       *link
	chunk   int // bytes that have one checksum
	sync    bool
	seq     int64
	sent    int64 // bytes in packets
	data    []byte
	packets chan []byte   // to the sender
	free    chan []byte   // buffers to use again
	last    atomic.Int64  // number of the last packet, once there is one
	dead    chan struct{} // closed once mu.err is set
	acked   chan struct{} // closed when the last packet is acknowledged
	wg      sync.WaitGroup
	mu      struct {
		sync.Mutex
		err error
	}
}

// NewWriter sets up the pipeline of a new block, or returns a *PipelineError. The caller closes the Writer.
func NewWriter(ctx context.Context, cfg Config, block *wire.LocatedBlock, chunk int) (*Writer, error) {
	if len(block.GetLocs()) == 0 {
		return nil, errors.New("a block without DataNodes")
	}
	first := block.GetLocs()[0]
	l, resp, err := request(ctx, cfg, first, opWrite, writeRequest(cfg, block, chunk))
	if err != nil {
		return nil, &PipelineError{Bad: first, Err: err}
	}
	if err := refused(resp); err != nil {
		l.close()
		return nil, &PipelineError{Bad: badLink(block, resp.GetFirstBadLink()), Err: err}
	}
	w := &Writer{
		l: l, chunk: chunk, sync: cfg.Sync, data: make([]byte, 0, packetData),
		packets: make(chan []byte), free: make(chan []byte, inFlight),
		dead: make(chan struct{}), acked: make(chan struct{}),
	}
	w.last.Store(-1)
	w.wg.Go(w.send)
	w.wg.Go(w.acks)
	return w, nil
}

func writeRequest(cfg Config, block *wire.LocatedBlock, chunk int) *wire.OpWriteBlock {
	const pipelineSetupCreate = 6
	op := &wire.OpWriteBlock{
		Header: clientHeader(cfg, block), Targets: block.GetLocs()[1:], Stage: proto.Int32(pipelineSetupCreate),
		PipelineSize: proto.Uint32(uint32(len(block.GetLocs()))),
		MinBytesRcvd: proto.Uint64(block.GetB().GetNumBytes()), MaxBytesRcvd: proto.Uint64(0),
		LatestGenerationStamp: proto.Uint64(0),
		RequestedChecksum:     &wire.Checksum{Type: wire.Checksum_CRC32C.Enum(), BytesPerChecksum: proto.Uint32(uint32(chunk))},
	}
	if types := block.GetStorageTypes(); len(types) > 0 {
		op.StorageType, op.TargetStorageTypes = &types[0], types[1:]
	}
	if ids := block.GetStorageIds(); len(ids) > 0 {
		op.StorageId, op.TargetStorageIds = &ids[0], ids[1:]
	}
	return op
}

// badLink finds the DataNode that a refusal names; without a name it is the first.
func badLink(block *wire.LocatedBlock, name string) *wire.DatanodeInfo {
	for _, node := range block.GetLocs() {
		id := node.GetId()
		if name == fmt.Sprintf("%s:%d", id.GetIpAddr(), id.GetXferPort()) || name == fmt.Sprintf("%s:%d", id.GetHostName(), id.GetXferPort()) {
			return node
		}
	}
	return block.GetLocs()[0]
}

// fail ends the transfer, once.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	if w.mu.err == nil {
		w.mu.err = w.l.cause(err)
		close(w.dead)
	}
	w.mu.Unlock()
	w.l.close()
}

func (w *Writer) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.err
}

// Len is how many bytes were written.
func (w *Writer) Len() int64 { return w.sent + int64(len(w.data)) }

// Write implements io.Writer. The block may not grow beyond its size: that is the caller's to see to.
func (w *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, packetData-len(w.data))
		w.data = append(w.data, p[done:done+n]...)
		done += n
		if len(w.data) == packetData {
			if err := w.flush(false); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// Finish sends what is left and returns when the whole pipeline has all of it.
func (w *Writer) Finish() error {
	if len(w.data) > 0 {
		if err := w.flush(false); err != nil {
			return err
		}
	}
	w.last.Store(w.seq)
	if err := w.flush(true); err != nil {
		return err
	}
	select {
	case <-w.acked:
		return nil
	case <-w.dead:
		return w.err()
	}
}

// flush gives a packet of what was written to the sender.
func (w *Writer) flush(last bool) error {
	var packet []byte
	select {
	case packet = <-w.free:
	default:
		packet = make([]byte, 0, packetData+packetData/512*4+64)
	}
	packet, err := w.packet(packet[:0], last)
	if err != nil {
		return err
	}
	w.seq++
	w.sent += int64(len(w.data))
	w.data = w.data[:0]
	select {
	case w.packets <- packet:
		return nil
	case <-w.dead:
		return w.err()
	}
}

// packet appends a packet with w.data: lengths, header, checksums, data.
func (w *Writer) packet(buf []byte, last bool) ([]byte, error) {
	h := &wire.PacketHeader{
		OffsetInBlock: &w.sent, Seqno: &w.seq, LastPacketInBlock: &last, DataLen: proto.Int32(int32(len(w.data))),
	}
	if last && w.sync {
		h.SyncBlock = proto.Bool(true) // to the disk, before it is acknowledged
	}
	chunks := (len(w.data) + w.chunk - 1) / w.chunk
	buf, err := appendHeader(buf, h, 4*chunks+len(w.data))
	if err != nil {
		return nil, err
	}
	for rest := w.data; len(rest) > 0; {
		n := min(w.chunk, len(rest))
		buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(rest[:n], castagnoli))
		rest = rest[n:]
	}
	return append(buf, w.data...), nil
}

func appendHeader(buf []byte, h *wire.PacketHeader, payload int) ([]byte, error) {
	size := proto.Size(h)
	buf = binary.BigEndian.AppendUint32(buf, uint32(payload+4))
	buf = binary.BigEndian.AppendUint16(buf, uint16(size))
	return proto.MarshalOptions{}.MarshalAppend(buf, h)
}

// send writes packets, and signs of life while there are none.
func (w *Writer) send() {
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	beat, err := appendHeader(nil, &wire.PacketHeader{
		OffsetInBlock: proto.Int64(0), Seqno: proto.Int64(heartbeatSeq), LastPacketInBlock: proto.Bool(false), DataLen: proto.Int32(0),
	}, 0)
	if err != nil {
		w.fail(err)
		return
	}
	for {
		var p []byte
		select {
		case <-w.dead:
			return
		case <-ticker.C:
			p = beat
		case p = <-w.packets:
			ticker.Reset(heartbeatEvery)
		}
		if err := w.l.nc.SetWriteDeadline(time.Now().Add(w.l.timeout)); err != nil {
			w.fail(err)
			return
		}
		if _, err := w.l.nc.Write(p); err != nil {
			w.fail(err)
			return
		}
		if len(p) > len(beat) {
			select {
			case w.free <- p:
			default:
			}
		}
	}
}

// acks reads acknowledgements until that of the last packet. Even an idle pipeline acknowledges the signs of
// life, so that a silent one is a failed one.
func (w *Writer) acks() {
	var next int64
	for {
		ack, err := w.ack()
		if err != nil {
			w.fail(err)
			return
		}
		if ack == heartbeatSeq {
			continue
		}
		if ack != next {
			w.fail(fmt.Errorf("packet %d is acknowledged where %d should be", ack, next))
			return
		}
		if ack == w.last.Load() {
			close(w.acked)
			return
		}
		next++
	}
}

func (w *Writer) ack() (int64, error) {
	if err := w.l.nc.SetReadDeadline(time.Now().Add(w.l.timeout)); err != nil {
		return 0, err
	}
	var ack wire.PipelineAck
	if err := w.l.message(&ack); err != nil {
		return 0, err
	}
	for i, status := range ack.GetReply() {
		if status != 0 {
			return 0, fmt.Errorf("DataNode %d of the pipeline answers with status %d", i, status)
		}
	}
	return ack.GetSeqno(), nil
}

var errAbandoned = errors.New("the block was abandoned")

// Close ends the transfer, whether it has finished or not, and waits for the goroutines.
func (w *Writer) Close() {
	w.fail(errAbandoned)
	w.wg.Wait()
}
