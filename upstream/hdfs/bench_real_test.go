//go:build e2e

package hdfs

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"unistore/e2e/servers"
	"unistore/upstream"
)

// BenchmarkHadoop is the speed of the driver on a NameNode and a DataNode of this machine, whose disk the
// DataNode syncs every block to.
func BenchmarkHadoop(bench *testing.B) {
	h := servers.StartHadoop(bench, servers.HadoopConfig{DataNodes: 1, BlockSize: 16 << 20})
	b, err := New(Config{NameNodes: []string{h.Addr}, User: servers.HadoopUser, Root: "/unistore", Log: zerolog.Nop()})
	if err != nil {
		bench.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	at := bucket(bench, b)
	big, small := random(64<<20, 1), random(10_000, 2)
	bench.Run("Put 64MiB", func(bench *testing.B) {
		bench.SetBytes(int64(len(big)))
		for bench.Loop() {
			mustPut(bench, b, at("big"), big)
		}
	})
	bench.Run("Get 64MiB", func(bench *testing.B) {
		bench.SetBytes(int64(len(big)))
		for bench.Loop() {
			read(bench, b, at("big"))
		}
	})
	var next atomic.Int64
	bench.Run("Put 10kB, 10 at once", func(bench *testing.B) {
		bench.SetParallelism(5) // of two processors
		bench.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				mustPut(bench, b, at(fmt.Sprintf("small/%d", next.Add(1))), small)
			}
		})
	})
	bench.Run("Get 10kB, 10 at once", func(bench *testing.B) {
		bench.SetParallelism(5)
		bench.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				read(bench, b, at("small/1"))
			}
		})
	})
	bench.Run("Stat", func(bench *testing.B) {
		for bench.Loop() {
			if _, err := b.Stat(bench.Context(), at("big"), upstream.StatOptions{}); err != nil {
				bench.Fatal(err)
			}
		}
	})
	bench.Run("List", func(bench *testing.B) {
		lines := 0
		for bench.Loop() {
			page, err := b.List(bench.Context(), upstream.ListRequest{Bucket: at("").Bucket, MaxKeys: 1000})
			if err != nil {
				bench.Fatal(err)
			}
			lines = len(page.Objects)
		}
		bench.ReportMetric(float64(lines), "lines")
	})
}

func read(bench *testing.B, b *Backend, loc upstream.Loc) {
	bench.Helper()
	s, err := b.Open(bench.Context(), loc, upstream.OpenOptions{})
	if err != nil {
		bench.Fatal(err)
	}
	defer func() { _ = s.Body.Close() }()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s.Body}, make([]byte, 256<<10)); err != nil {
		bench.Fatal(err)
	}
}
