package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	"unistore/meta"
	"unistore/netx"
)

// pipe returns a connection of the server's kind and what a client reads from it.
func pipe(t testing.TB) (*netx.Conn, net.Conn) {
	t.Helper()
	inner, err := netx.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := netx.Wrap(inner, netx.Config{})
	defer l.Close()
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		client.Close()
	})
	return server.(*netx.Conn), client
}

func TestWarmReadIsSendfile(t *testing.T) {
	e := newEnv(t, nil)
	const size = 8 << 20
	e.o.put("k", size)
	e.read("k", 0, size)
	server, client := pipe(t)
	got := make(chan []byte, 1)
	go func() {
		data := make([]byte, size)
		_, err := io.ReadFull(client, data)
		if err != nil {
			t.Error(err)
		}
		got <- data
	}()
	r, err := e.c.Read(t.Context(), e.request("k", 0, size))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	bw := bufio.NewWriter(server)
	n, err := r.WriteTo(bw)
	if n != size || err != nil || bw.Flush() != nil {
		t.Errorf("WriteTo = %d, %v", n, err)
	}
	if !bytes.Equal(<-got, e.o.content("k")) {
		t.Error("wrong bytes")
	}
	if file, memory := server.Sent(); file != size || memory != 0 {
		t.Errorf("%d bytes by sendfile, %d through memory", file, memory)
	}
}

func BenchmarkWarm(b *testing.B) {
	for _, size := range []int64{16 << 10, 64 << 10, 1 << 20, 8 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			e := newEnv(b, func(c *Config) { c.Size, c.BlockSize = 1<<30, 1<<20 })
			e.o.put("k", 16<<20)
			e.read("k", 0, 16<<20)
			server, client := pipe(b)
			go func() { _, _ = io.Copy(io.Discard, client) }()
			bw := bufio.NewWriter(server)
			req := e.request("k", 8<<20-size/2, size)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				r, err := e.c.Read(context.Background(), req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := r.WriteTo(bw); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
			b.StopTimer()
			server.Close()
		})
	}
}

// BenchmarkIndex reports what a block costs in memory and at start.
func BenchmarkIndex(b *testing.B) {
	for _, blocks := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(blocks), func(b *testing.B) {
			e := newEnv(b, func(c *Config) { c.Size, c.BlockSize = 2<<40, 1<<20 })
			var ch meta.Changes
			crc := make([]uint32, 16)
			for i := range blocks {
				rec := meta.Block{
					FileID: uint64(i), Index: uint32(i % 1000), Size: 1000 << 20, State: meta.BlockReady,
					Origin: meta.OriginDemand, Pages: meta.Pages{1<<16 - 1}, CRC: crc,
				}
				copy(rec.Object[:], fmt.Sprint(i/1000))
				ch.PutBlock(&rec)
				ch.PutUsed(rec.FileID, uint32(i))
			}
			if err := e.c.db.Write(&ch, false); err != nil {
				b.Fatal(err)
			}
			ch = meta.Changes{}
			e.close()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			for b.Loop() {
				e.open()
				b.StopTimer()
				if n := e.c.Stats().Blocks; n != blocks {
					b.Fatalf("%d blocks", n)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(blocks), "B/block")
				e.close()
				b.StartTimer()
			}
		})
	}
}
