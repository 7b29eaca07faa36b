package local

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// blocked checks that a call waits for what the test holds, and gives up when its context ends.
func blocked(t *testing.T, name string, call func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := call(ctx); err == nil {
		t.Errorf("%s did not wait", name)
	} else {
		wantCode(t, err, upstream.Cancelled)
	}
}

func hold(t *testing.T, l *semantics.Locks, name string) {
	t.Helper()
	unlock, err := l.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
}

func TestWritersOfAKeyWait(t *testing.T) {
	b, _ := newBucket(t)
	etag := put(t, b, "k", "old").ETag
	put(t, b, "src", "src")
	hold(t, b.keys, "b/k")
	blocked(t, "Put", func(ctx context.Context) error {
		_, err := b.Put(ctx, loc("k"), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1, IfMatch: etag})
		return err
	})
	blocked(t, "Delete", func(ctx context.Context) error {
		return b.Delete(ctx, loc("k"), upstream.DeleteOptions{IfMatch: etag})
	})
	blocked(t, "Copy", func(ctx context.Context) error {
		_, err := b.Copy(ctx, loc("k"), upstream.CopyRequest{Source: loc("src")})
		return err
	})
	if got, _ := get(t, b, "k"); got != "old" || len(inArea(t, b)) != 0 {
		t.Errorf("k holds %q; hidden: %q", got, inArea(t, b))
	}
	put(t, b, "k2", "another key does not wait")
}

func TestEndsOfAnUploadWait(t *testing.T) {
	b, _ := newBucket(t)
	id, err := b.CreateUpload(t.Context(), loc("k"), upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc("k"), ID: id}
	part, err := b.UploadPart(t.Context(), up, 1, upstream.PartRequest{Body: strings.NewReader("part"), Size: 4})
	if err != nil {
		t.Fatal(err)
	}
	hold(t, b.names, id)
	blocked(t, "CompleteUpload", func(ctx context.Context) error {
		_, err := b.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
		return err
	})
	blocked(t, "AbortUpload", func(ctx context.Context) error { return b.AbortUpload(ctx, up) })
}

func TestMakersOfABucketWait(t *testing.T) {
	b, _ := newBucket(t)
	hold(t, b.names, "b")
	blocked(t, "CreateBucket", func(ctx context.Context) error { return b.CreateBucket(ctx, "b") })
	blocked(t, "DeleteBucket", func(ctx context.Context) error { return b.DeleteBucket(ctx, "b") })
}

// TestListWaitsForMoves: while an object is moved aside, a directory that is read may miss it.
func TestListWaitsForMoves(t *testing.T) {
	b, _ := newBucket(t)
	put(t, b, "k", "x")
	b.asides.running.Add(1)
	blocked(t, "List", func(ctx context.Context) error {
		_, err := b.List(ctx, upstream.ListRequest{Bucket: "b", MaxKeys: 10})
		return err
	})
	b.asides.running.Add(-1)
	if got := list(t, b); got != "k" {
		t.Errorf("listed: %s", got)
	}
}

// TestFailedWritesLeaveNoDirectories: those made for a write whose condition fails go again.
func TestFailedWritesLeaveNoDirectories(t *testing.T) {
	b, dir := newBucket(t)
	_, err := b.Put(t.Context(), loc("x/y/z"), upstream.PutRequest{Body: strings.NewReader("x"), Size: 1, IfMatch: "none"})
	wantCode(t, err, upstream.NotExist)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the bucket holds %v, %v", left, err)
	}
}
