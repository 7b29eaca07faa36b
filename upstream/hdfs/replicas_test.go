package hdfs

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"unistore/byterange"
	"unistore/upstream"
	"unistore/upstream/hdfs/internal/datanode"
	"unistore/upstream/hdfs/internal/wire"
)

// blocksOf is a file of blocks of one size, each with the same replicas.
func blocksOf(nodes []*wire.DatanodeInfo, count, size int) *wire.LocatedBlocks {
	all := &wire.LocatedBlocks{
		FileLength: proto.Uint64(uint64(count * size)), UnderConstruction: proto.Bool(false), IsLastBlockComplete: proto.Bool(true),
	}
	for i := range count {
		all.Blocks = append(all.Blocks, &wire.LocatedBlock{
			B: &wire.ExtendedBlock{
				PoolId: proto.String("p"), BlockId: proto.Uint64(uint64(i)), GenerationStamp: proto.Uint64(1), NumBytes: proto.Uint64(uint64(size)),
			},
			Offset: proto.Uint64(uint64(i * size)), Locs: nodes, Corrupt: proto.Bool(false),
			BlockToken: &wire.Token{Identifier: []byte{}, Password: []byte{}, Kind: proto.String(""), Service: proto.String("")},
		})
	}
	return all
}

// TestFailedReplicasComeLast: a DataNode that has failed is not asked again while another one serves, neither for
// the next blocks of the body nor, when it hangs, by the next body.
func TestFailedReplicasComeLast(t *testing.T) {
	const count, size = 4, 1000
	block := bytes.Repeat([]byte("x"), size)
	tests := map[string]struct {
		fail  func(c net.Conn, off uint64)
		asked int32 // how often the first replica is, by two bodies
	}{
		"hangs":                  {func(net.Conn, uint64) {}, 1},
		"hangs after some bytes": {func(c net.Conn, off uint64) { sendBlock(c, block[off:size/2], off) }, 1},
		"hangs up":               {func(c net.Conn, _ uint64) { _ = c.Close() }, 2},
		"hangs up after some bytes": {func(c net.Conn, off uint64) {
			sendBlock(c, block[off:min(off+100, size)], off)
			_ = c.Close()
		}, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			first := dataNode(t, func(c net.Conn, off, _ uint64) { asked.Add(1); test.fail(c, off) })
			second := dataNode(t, func(c net.Conn, off, _ uint64) { sendBlock(c, block[off:], off) })
			status := emulatedStatus(wire.FileStatus_IS_FILE, "k", 9, count*size)
			b := emulated(t, func(method string, _ []byte) (proto.Message, string) {
				if method == "getBlockLocations" {
					return &wire.GetBlockLocationsResponse{Locations: blocksOf([]*wire.DatanodeInfo{first, second}, count, size)}, ""
				}
				return &wire.GetFileInfoResponse{Fs: status}, ""
			})
			b.reads.Timeout = 2 * time.Second
			for range 2 {
				body, err := b.openFile(t.Context(), status, byterange.Range{Len: count * size})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(body)
				_ = body.Close()
				if err != nil || !bytes.Equal(got, bytes.Repeat(block, count)) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
			}
			if n := asked.Load(); n != test.asked {
				t.Errorf("the first replica was asked %d times, want %d", n, test.asked)
			}
		})
	}
}

// TestReplicasWithinIdleTimeout: a body does not count as standing still before all replicas have been tried.
func TestReplicasWithinIdleTimeout(t *testing.T) {
	b, err := New(Config{NameNodes: []string{"127.0.0.1:1"}, Root: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const replicas = 3
	if all := replicas * b.reads.Timeout; all >= upstream.DefaultIdleTimeout {
		t.Errorf("%d replicas that hang take %v, of %v", replicas, all, upstream.DefaultIdleTimeout)
	}
}

func TestSuspects(t *testing.T) {
	hung := &net.OpError{Op: "read", Err: io.ErrNoProgress}
	now := time.Unix(1000, 0)
	var s suspects
	s.add("damaged", datanode.ErrChecksum, now)
	s.add("hung", hung, now)
	for id, want := range map[string]bool{"hung": true, "damaged": false, "other": false} {
		if got := s.has(id, now.Add(suspectFor-1)); got != want {
			t.Errorf("%s: %v", id, got)
		}
		if s.has(id, now.Add(suspectFor)) {
			t.Errorf("%s is suspected for ever", id)
		}
	}
	s.add("later", hung, now.Add(suspectFor))
	if len(s.mu.until) != 1 {
		t.Errorf("kept %v", s.mu.until)
	}
}
