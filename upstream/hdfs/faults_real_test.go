//go:build e2e

package hdfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"unistore/e2e/servers"
	"unistore/upstream"
)

func firstIsDead(t *testing.T, c *cluster) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	b, err := New(Config{NameNodes: []string{l.Addr().String(), c.Addr}, User: servers.HadoopUser, Root: "/unistore", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	at := bucket(t, b)
	mustPut(t, b, at("k"), []byte("found"))
	wantContent(t, b, at("k"), []byte("found"))
}

// within fails when a call that was cancelled takes long to return.
func within(t *testing.T, what string, call func() error) {
	t.Helper()
	errs := make(chan error, 1)
	go func() { errs <- call() }()
	select {
	case err := <-errs:
		if !errors.Is(err, upstream.Cancelled) {
			t.Errorf("%s: %v, want Cancelled", what, err)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("%s did not return", what)
	}
}

// standStill: whatever waits for a node that stands still (SIGSTOP) returns when it is cancelled.
func standStill(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	data := random(20<<20, 5)
	mustPut(t, b, at("k"), data)
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	c.NameNode.Pause()
	within(t, "Stat", func() error { _, err := b.Stat(soon(), at("k"), upstream.StatOptions{}); return err })
	within(t, "List", func() error {
		_, err := b.List(soon(), upstream.ListRequest{Bucket: at("").Bucket, MaxKeys: 10})
		return err
	})
	within(t, "Put", func() error { _, err := put(soon(), b, at("k2"), data); return err })
	c.NameNode.Resume()
	for _, d := range c.DataNodes {
		d.Pause()
	}
	within(t, "reading", func() error { _, err := get(soon(), b, at("k")); return err })
	within(t, "writing", func() error { _, err := put(soon(), b, at("k2"), data); return err })
	for _, d := range c.DataNodes {
		d.Resume()
	}
	c.Await(t)
	wantContent(t, b, at("k"), data)
	if _, err := get(t.Context(), b, at("k2")); !errors.Is(err, upstream.NotExist) {
		t.Errorf("a cancelled write is there: %v", err)
	}
	mustPut(t, b, at("k2"), data)
	wantContent(t, b, at("k2"), data)
}

// signalling calls reached once after n bytes of a body.
type signalling struct {
	io.Reader
	n       int
	reached func()
}

func (s *signalling) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p[:min(len(p), 64<<10)])
	if s.n > 0 && n >= s.n {
		s.reached()
	}
	s.n -= n
	return n, err
}

// killDataNodeWriting kills the DataNodes in the middle of writes. The object is the old one or the new one, whole.
func killDataNodeWriting(t *testing.T, c *cluster) {
	b := c.open(t, 2)
	at := bucket(t, b)
	old := random(3<<20, 6)
	failed := 0
	for round, after := range []int{1, 1 << 20, 3<<20 + 17, 6<<20 - 1} {
		victim := c.DataNodes[round%2]
		loc := at(fmt.Sprintf("k%d", round))
		mustPut(t, b, loc, old)
		data := random(6<<20, uint64(100+round))
		body := &signalling{Reader: bytes.NewReader(data), n: after, reached: victim.Kill}
		_, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: body, Size: int64(len(data))})
		want := data
		if err != nil {
			failed++
			want = old
			if code := upstream.CodeOf(err); code != upstream.Unavailable {
				t.Errorf("after %d bytes: %v", after, err)
			}
		}
		wantContent(t, b, loc, want) // from the replica that is left
		victim.Start(t)
		c.Await(t)
		wantContent(t, b, loc, want)
		mustPut(t, b, loc, data)
		wantContent(t, b, loc, data)
	}
	t.Logf("%d of 4 writes failed, the others succeeded; every object was whole", failed)
}

// killDataNodeReading kills DataNodes in the middle of reads.
func killDataNodeReading(t *testing.T, c *cluster) {
	data := random(40<<20, 7)
	for replicas, wantError := range map[int]bool{1: true, 2: false} {
		b := c.open(t, replicas)
		at := bucket(t, b)
		mustPut(t, b, at("k"), data)
		s, err := b.Open(t.Context(), at("k"), upstream.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(s.Body, got); err != nil {
			t.Fatal(err)
		}
		victims := c.DataNodes // of one replica each block is on one or the other
		if replicas == 2 {
			victims = c.DataNodes[:1]
		}
		for _, d := range victims {
			d.Kill()
		}
		rest, err := io.ReadAll(s.Body)
		_ = s.Body.Close()
		got = append(got, rest...)
		if !bytes.Equal(got, data[:len(got)]) {
			t.Fatalf("%d replicas: wrong bytes", replicas)
		}
		if wantError != (err != nil) || !wantError && len(got) != len(data) || err != nil && !errors.Is(err, upstream.Unavailable) {
			t.Errorf("%d replicas: %d bytes, %v", replicas, len(got), err)
		}
		for _, d := range victims {
			d.Start(t)
		}
		c.Await(t)
		wantContent(t, b, at("k"), data)
	}
}

// killNameNode kills the NameNode while objects are written, completed, read and deleted, and restarts it. Nothing that
// was acknowledged is lost, nothing is half there, and the same Backend goes on.
func killNameNode(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	type result struct {
		key  string
		data []byte
		err  error
	}
	for round := range 2 {
		up, parts, whole := startUpload(t, b, at(fmt.Sprintf("%d/upload", round)))
		var wg sync.WaitGroup
		var mu sync.Mutex
		var results []result
		started := make(chan struct{}, 1000)
		for w := range 4 {
			wg.Go(func() {
				for i := range 200 {
					r := result{key: fmt.Sprintf("%d/%d/%d", round, w, i), data: random(50_000+i, uint64(1000*w+i))}
					_, r.err = put(t.Context(), b, at(r.key), r.data)
					mu.Lock()
					results = append(results, r)
					mu.Unlock()
					started <- struct{}{}
					if r.err != nil {
						return
					}
				}
			})
		}
		for range 10 + 7*round {
			<-started
		}
		completed := make(chan error, 1)
		go func() {
			_, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts})
			completed <- err
		}()
		time.Sleep(time.Duration(round*4) * time.Millisecond) // another step of the completion
		c.NameNode.Kill()
		wg.Wait()
		cerr := <-completed
		if _, err := b.Stat(t.Context(), at("x"), upstream.StatOptions{}); !errors.Is(err, upstream.Unavailable) {
			t.Errorf("without a NameNode: %v", err)
		}
		c.NameNode.Start(t)
		c.Await(t)
		good, bad := 0, 0
		for _, r := range results {
			got, err := get(t.Context(), b, at(r.key))
			switch {
			case r.err == nil && (err != nil || !bytes.Equal(got, r.data)):
				t.Errorf("%s was acknowledged and is %d bytes, %v", r.key, len(got), err)
			case r.err != nil && err == nil && !bytes.Equal(got, r.data):
				t.Errorf("%s has failed and is there with other bytes", r.key)
			case r.err != nil && err != nil && !errors.Is(err, upstream.NotExist):
				t.Errorf("%s has failed and is %v", r.key, err)
			case r.err == nil:
				good++
			default:
				bad++
			}
		}
		if cerr != nil {
			if _, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts}); err != nil && !errors.Is(err, upstream.NoUpload) {
				t.Errorf("completing again, after %v: %v", cerr, err)
			}
		}
		wantContent(t, b, up.Loc, whole)
		t.Logf("round %d: %d writes acknowledged and whole, %d failed and absent or whole; completion: %v", round, good, bad, cerr)
	}
}
