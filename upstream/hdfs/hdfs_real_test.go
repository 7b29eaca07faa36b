//go:build e2e

package hdfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"unistore/e2e/servers"
	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/upstreamtest"
)

// cluster is the one real cluster of all cases here: a NameNode and two DataNodes. Files have one replica,
// where a case does not ask for two. Every case leaves it running.
type cluster struct {
	*servers.Hadoop
}

func (c *cluster) open(t testing.TB, replicas int) *Backend {
	t.Helper()
	b, err := New(Config{NameNodes: []string{c.Addr}, User: servers.HadoopUser, Root: "/unistore", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	d, err := b.serverDefaults(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	b.defaults.known = proto.Clone(d).(*wire.ServerDefaults)
	b.defaults.known.Replication = proto.Uint32(uint32(replicas))
	return b
}

// daemons are the goroutines of JVMs that a case has started.
var daemons = []goleak.Option{
	goleak.IgnoreAnyFunction("unistore/e2e/servers.startProcess.func1"),
	goleak.IgnoreAnyFunction("os/exec.(*Cmd).writerDescriptor.func1"),
}

// TestHadoop runs the conformance suite and then everything that only a real cluster can show.
func TestHadoop(t *testing.T) {
	c := &cluster{servers.StartHadoop(t, servers.HadoopConfig{DataNodes: 2, BlockSize: 1 << 20})}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c *cluster)
	}{
		{"conformance", conformance},
		{"conformance through the fault wrapper", wrapped},
		{"bit rot is not served", bitRot},
		{"a second replica", secondReplica},
		{"files of other programs", foreignFiles},
		{"metadata in several attributes", muchMetadata},
		{"conditions between processes", betweenProcesses},
		{"a model between processes", modelBetweenProcesses},
		{"completion resumes after a crash at every step", crashedCompletion},
		{"concat is refused because of a snapshot", snapshot},
		{"dead processes are swept", sweep},
		{"the first NameNode is dead", firstIsDead},
		{"cancelled while nodes stand still", standStill},
		{"DataNode killed in the middle of writes", killDataNodeWriting},
		{"DataNode killed in the middle of reads", killDataNodeReading},
		{"NameNode killed and restarted", killNameNode},
	} {
		t.Run(test.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			t.Cleanup(func() { // after the Backends are closed
				if err := goleak.Find(append(daemons[:len(daemons):len(daemons)], ignore)...); err != nil {
					t.Error(err)
				}
			})
			test.run(t, c)
		})
		if t.Failed() {
			return // the cluster may not be what the next one expects
		}
	}
}

func conformance(t *testing.T, c *cluster) {
	suite(t, c, "Hadoop", false, func(b upstream.Backend) upstream.Backend { return b })
}

// wrapped is conformance through the wrapper that injects faults, of which there are none, and without
// waiting for the disks of DataNodes.
func wrapped(t *testing.T, c *cluster) {
	suite(t, c, "Hadoop, through the fault wrapper", true, func(b upstream.Backend) upstream.Backend {
		return fault.Wrap(b, "hdfs", faults.New(nil))
	})
}

func suite(t *testing.T, c *cluster, store string, noSync bool, wrap func(upstream.Backend) upstream.Backend) {
	upstreamtest.Run(t, upstreamtest.Harness{
		New: func(t *testing.T) upstream.Backend {
			b, err := New(Config{
				NameNodes: []string{c.Addr}, User: servers.HadoopUser, Root: "/unistore", NoSync: noSync, Log: zerolog.Nop(),
			})
			if err != nil {
				t.Fatal(err)
			}
			return wrap(b)
		},
		MayRefuse: func(key string) bool { _, err := pathOf("Put", key); return err != nil },
		ManyKeys:  1100,
		Row:       upstreamtest.Row{Driver: "hdfs", Store: store, RunBy: "make e2e"},
	})
}

// bucket makes one and returns the place of a key in it.
func bucket(t testing.TB, b *Backend) func(key string) upstream.Loc {
	t.Helper()
	name := fmt.Sprintf("real-%d", time.Now().UnixNano())
	if err := b.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return func(key string) upstream.Loc { return upstream.Loc{Bucket: name, Key: key} }
}

func random(n int, seed uint64) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(p)
	return p
}

func put(ctx context.Context, b *Backend, loc upstream.Loc, data []byte) (string, error) {
	attrs, err := b.Put(ctx, loc, upstream.PutRequest{Body: bytes.NewReader(data), Size: int64(len(data))})
	return attrs.ETag, err
}

func mustPut(t testing.TB, b *Backend, loc upstream.Loc, data []byte) string {
	t.Helper()
	etag, err := put(t.Context(), b, loc, data)
	if err != nil {
		t.Fatal(err)
	}
	return etag
}

func get(ctx context.Context, b *Backend, loc upstream.Loc) ([]byte, error) {
	s, err := b.Open(ctx, loc, upstream.OpenOptions{})
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(s.Body)
	_ = s.Body.Close()
	if err == nil && int64(len(got)) != s.Range.Len {
		err = fmt.Errorf("%d bytes of %d without an error", len(got), s.Range.Len)
	}
	return got, err
}

func wantContent(t testing.TB, b *Backend, loc upstream.Loc, data []byte) {
	t.Helper()
	got, err := get(t.Context(), b, loc)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%q: %d bytes (right: %v), %v", loc.Key, len(got), bytes.Equal(got, data), err)
	}
}

// flip damages a byte in every replica of one DataNode that holds data.
func flip(t testing.TB, d *servers.Daemon, data []byte) int {
	t.Helper()
	files, err := d.Blocks()
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, file := range files {
		have, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, have) || len(have) < 1000 {
			continue
		}
		have[len(have)/2] ^= 1
		if err := os.WriteFile(file, have, 0o600); err != nil {
			t.Fatal(err)
		}
		flipped++
	}
	return flipped
}

// bitRot: a flipped bit on the only replica's disk is an error, and not a byte of its packet or of what
// follows is given out.
func bitRot(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	data := random(640_000, 1)
	mustPut(t, b, at("k"), data)
	if n := flip(t, c.DataNodes[0], data) + flip(t, c.DataNodes[1], data); n != 1 {
		t.Fatalf("%d replicas were damaged", n)
	}
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		s, err := b.Open(t.Context(), at("k"), upstream.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		_, err = io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{s.Body}, make([]byte, size))
		_ = s.Body.Close()
		if !errors.Is(err, upstream.Unavailable) || got.Len() > 320_000 || !bytes.Equal(got.Bytes(), data[:got.Len()]) {
			t.Errorf("reads of %d: %d bytes, %v", size, got.Len(), err)
		}
	}
}

// secondReplica: what one DataNode has damaged, the other one gives.
func secondReplica(t *testing.T, c *cluster) {
	b := c.open(t, 2)
	at := bucket(t, b)
	data := random(5_500_000, 2)
	mustPut(t, b, at("k"), data)
	if n := flip(t, c.DataNodes[0], data); n != 6 {
		t.Fatalf("%d replicas were damaged", n)
	}
	for range 3 {
		wantContent(t, b, at("k"), data)
	}
}

// raw writes a file as another program would.
func raw(t testing.TB, b *Backend, path string, data []byte) {
	t.Helper()
	tmp, err := b.stage(t.Context(), "test")
	if err == nil {
		_, err = tmp.Write(data)
	}
	if err == nil {
		err = tmp.close()
	}
	if err == nil {
		err = b.nn.Rename(t.Context(), inode(tmp.id), path, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	tmp.done = true
	tmp.discard()
}

func foreignFiles(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	data := random(100_000, 3)
	path := b.bucketPath(at("").Bucket) + "/table.parquet"
	raw(t, b, path, data)
	wantContent(t, b, at("table.parquet"), data)
	first, err := b.Stat(t.Context(), at("table.parquet"), upstream.StatOptions{})
	if err != nil || len(first.ETag) != 34 || first.ETag[32:] != "-1" {
		t.Fatalf("%+v, %v", first, err)
	}
	page, err := b.List(t.Context(), upstream.ListRequest{Bucket: at("").Bucket, MaxKeys: 10})
	if err != nil || len(page.Objects) != 1 || page.Objects[0].ETag != first.ETag || page.Objects[0].Size != 100_000 {
		t.Fatalf("%+v, %v", page, err)
	}
	raw(t, b, path, data) // the same bytes, but who knows
	if again, err := b.Stat(t.Context(), at("table.parquet"), upstream.StatOptions{}); err != nil || again.ETag == first.ETag {
		t.Errorf("replaced, it has the same ETag: %+v, %v", again, err)
	}
	// A record that was copied along with another file's attributes does not count.
	mustPut(t, b, at("ours"), data)
	ours, err := b.find(t.Context(), "test", at("ours"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.writePieces(t.Context(), "test", path, ours.record); err != nil {
		t.Fatal(err)
	}
	if f, err := b.find(t.Context(), "test", at("table.parquet")); err != nil || f.record.ETag == ours.record.ETag {
		t.Errorf("a record of another file counts: %+v, %v", f, err)
	}
	if err := b.Delete(t.Context(), at("table.parquet"), upstream.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

// muchMetadata: an attribute holds less than 16 KiB; what needs several is there whole, and none is left of it by the next
// version, which needs one.
func muchMetadata(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	long := strings.Repeat("0123456789abcdef", 2500)
	_, err := b.Put(t.Context(), at("k"), upstream.PutRequest{
		Body: strings.NewReader("x"), Size: 1, Headers: object.Headers{User: map[string]string{"long": long}},
	})
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := b.Stat(t.Context(), at("k"), upstream.StatOptions{})
	if err != nil || attrs.Headers.User["long"] != long {
		t.Fatalf("%d bytes of %d, %v", len(attrs.Headers.User["long"]), len(long), err)
	}
	etag := mustPut(t, b, at("k"), []byte("y"))
	attrs, err = b.Stat(t.Context(), at("k"), upstream.StatOptions{})
	if err != nil || len(attrs.Headers.User) != 0 || attrs.ETag != etag {
		t.Fatalf("%+v, %v", attrs, err)
	}
}

// betweenProcesses: conditions hold between two Backends, which share nothing but the cluster.
func betweenProcesses(t *testing.T, c *cluster) {
	backends := []*Backend{c.open(t, 1), c.open(t, 1)}
	at := bucket(t, backends[0])
	for round := range 10 {
		for name, prepare := range map[string]func(*upstream.PutRequest){
			"create":  func(r *upstream.PutRequest) { r.IfNoneMatch = true },
			"replace": nil,
		} {
			loc := at(fmt.Sprintf("%s/%d", name, round))
			if prepare == nil {
				etag := mustPut(t, backends[0], loc, []byte("first"))
				prepare = func(r *upstream.PutRequest) { r.IfMatch = etag }
			}
			won := make([]bool, 8)
			var wg sync.WaitGroup
			for i := range won {
				wg.Go(func() {
					data := random(1000+i, uint64(i))
					req := upstream.PutRequest{Body: bytes.NewReader(data), Size: int64(len(data))}
					prepare(&req)
					_, err := backends[i%2].Put(t.Context(), loc, req)
					if won[i] = err == nil; err != nil && !errors.Is(err, upstream.Changed) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			winner := slices.Index(won, true)
			if winner < 0 || slices.Index(won[winner+1:], true) >= 0 {
				t.Fatalf("%s: winners %v", name, won)
			}
			wantContent(t, backends[1], loc, random(1000+winner, uint64(winner)))
		}
	}
}

// modelBetweenProcesses: random operations on keys that clash, by two Backends in turn, against a map.
func modelBetweenProcesses(t *testing.T, c *cluster) {
	backends := []*Backend{c.open(t, 1), c.open(t, 1)}
	at := bucket(t, backends[0])
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	keys := []string{"a", "a/b", "a/b/c", "a/", "b", "b:", "b:/1", "c//d", "c/", "../x"}
	held := map[string][]byte{}
	for step := range 250 {
		b := backends[rng.IntN(2)]
		key := keys[rng.IntN(len(keys))]
		switch rng.IntN(4) {
		case 0, 1:
			held[key] = random(rng.IntN(3000), rng.Uint64())
			mustPut(t, b, at(key), held[key])
		case 2:
			if err := b.Delete(t.Context(), at(key), upstream.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			delete(held, key)
		default:
			got, err := get(t.Context(), b, at(key))
			want, ok := held[key]
			if ok && (err != nil || !bytes.Equal(got, want)) || !ok && !errors.Is(err, upstream.NotExist) {
				t.Fatalf("seed %d, step %d: %q is %d bytes, %v; want %d, %v", seed, step, key, len(got), err, len(want), ok)
			}
		}
		page, err := b.List(t.Context(), upstream.ListRequest{Bucket: at("").Bucket, MaxKeys: 100})
		var listed []string
		for _, o := range page.Objects {
			listed = append(listed, o.Key)
		}
		var want []string
		for k := range held {
			want = append(want, k)
		}
		slices.Sort(want)
		if err != nil || !slices.Equal(listed, want) {
			t.Fatalf("seed %d, step %d: listed %q, %v; want %q", seed, step, listed, err, want)
		}
	}
}
