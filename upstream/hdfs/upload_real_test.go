//go:build e2e

package hdfs

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// upload makes one with parts of 5 MiB and a short last one, sent out of order, one of them twice.
func startUpload(t *testing.T, b *Backend, loc upstream.Loc) (upstream.Upload, []upstream.Part, []byte) {
	t.Helper()
	id, err := b.CreateUpload(t.Context(), loc, upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	up := upstream.Upload{Loc: loc, ID: id}
	var whole []byte
	parts := make([]upstream.Part, 3)
	bodies := [][]byte{random(5<<20, 11), random(5<<20+12345, 12), random(1000, 13)}
	for _, send := range []struct {
		number int
		body   []byte
	}{{9, bodies[2]}, {4, random(5<<20, 99)}, {1, bodies[0]}, {4, bodies[1]}} {
		part, err := b.UploadPart(t.Context(), up, send.number, upstream.PartRequest{Body: bytes.NewReader(send.body), Size: int64(len(send.body))})
		if err != nil {
			t.Fatal(err)
		}
		parts[map[int]int{1: 0, 4: 1, 9: 2}[send.number]] = part
	}
	for _, body := range bodies {
		whole = append(whole, body...)
	}
	return up, parts, whole
}

// crashedCompletion stops a completion after each of its steps, as a crash would, and goes on, or aborts,
// with another Backend.
func crashedCompletion(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	steps := []string{"nothing", "frozen", "whole", "plan", "concat", "record", "placed"}
	for after := range steps {
		for _, abort := range []bool{false, true} {
			key := steps[after]
			if abort {
				key += " and aborted"
			}
			up, parts, whole := startUpload(t, b, at(key))
			crashAfter(t, b, up, parts, after)
			other := c.open(t, 1)
			placed := steps[after] == "placed"
			if _, err := get(t.Context(), other, up.Loc); !placed && !errors.Is(err, upstream.NotExist) {
				t.Fatalf("%s: the object is there: %v", key, err)
			}
			if page, err := other.ListUploads(t.Context(), upstream.ListUploadsRequest{Bucket: up.Bucket, MaxUploads: 10}); err != nil ||
				len(page.Uploads) != 1 || page.Uploads[0].ID != up.ID || page.Uploads[0].Key != key {
				t.Fatalf("%s: listed as %+v, %v", key, page, err)
			}
			if page, err := other.ListParts(t.Context(), up, 0, 100); err != nil || !placed && len(page.Parts) != 3 {
				t.Fatalf("%s: parts %+v, %v", key, page, err)
			}
			if abort {
				if err := other.AbortUpload(t.Context(), up); err != nil {
					t.Fatalf("%s: %v", key, err)
				}
			} else {
				attrs, err := other.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts})
				if placed && !errors.Is(err, upstream.NoUpload) || !placed && (err != nil || attrs.Size != int64(len(whole))) {
					t.Fatalf("%s: %+v, %v", key, attrs, err)
				}
			}
			if abort && !placed {
				if _, err := get(t.Context(), other, up.Loc); !errors.Is(err, upstream.NotExist) {
					t.Fatalf("%s: the object is there: %v", key, err)
				}
			} else {
				wantContent(t, b, up.Loc, whole)
			}
			waitEmpty(t, other, up.Bucket)
			if err := other.Delete(t.Context(), up.Loc, upstream.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// waitEmpty waits until nothing is left of uploads: one that was placed is removed in the background.
func waitEmpty(t *testing.T, b *Backend, bucket string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		entries, err := b.readDir(t.Context(), b.uploadsOf(bucket))
		if err == nil && len(entries) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("uploads stay behind: %v, %v", entries, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// crashAfter does the first steps of a completion.
func crashAfter(t *testing.T, b *Backend, up upstream.Upload, parts []upstream.Part, after int) {
	t.Helper()
	ctx := t.Context()
	dir := b.uploadDir(up) + frozen
	etag, err := semantics.MultipartETag(parts)
	if err != nil {
		t.Fatal(err)
	}
	whole := dir + "/" + wholeFile + etag
	var status *wire.FileStatus
	steps := []func() error{
		func() error { return b.nn.Rename(ctx, b.uploadDir(up), dir, false) },
		func() error { _, err := b.createEmpty(ctx, whole); return err },
		func() error { return b.writePlan(ctx, "test", dir, parts, etag) },
		func() error {
			err := b.nn.Concat(ctx, whole, []string{dir + "/00001", dir + "/00004", dir + "/00009"})
			if err == nil {
				status, err = b.nn.Info(ctx, whole)
			}
			return err
		},
		func() error {
			r := &semantics.Record{ETag: etag}
			r.Describe(stampOf(status))
			return b.writePieces(ctx, "test", whole, r)
		},
		func() error { return b.place(ctx, "test", up.Loc, status.GetFileId(), condition{}) },
	}
	for _, step := range steps[:after] {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot: files that are in a snapshot cannot be concatenated; they are copied then.
func snapshot(t *testing.T, c *cluster) {
	b := c.open(t, 1)
	at := bucket(t, b)
	up, parts, whole := startUpload(t, b, at("k"))
	super := namenode.New(namenode.Config{
		Addresses: []string{c.Addr}, User: "hdfs", Dial: dial, DialTimeout: time.Second, CallTimeout: time.Minute,
	})
	defer super.Close()
	call := func(method, name string) {
		t.Helper()
		req := &wire.CreateSnapshotRequest{SnapshotRoot: proto.String("/unistore")}
		if name != "" {
			req.SnapshotName = &name
		}
		if err := super.Call(t.Context(), method, req, &wire.Empty{}); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	call("allowSnapshot", "")
	call("createSnapshot", "s")
	probe := b.uploadDir(up)
	if err := b.nn.Concat(t.Context(), probe+"/00001", []string{probe + "/00004"}); !concatRefused(err) {
		t.Fatalf("concat is not refused: %v", err)
	}
	attrs, err := b.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: parts})
	if err != nil || attrs.Size != int64(len(whole)) {
		t.Fatalf("%+v, %v", attrs, err)
	}
	wantContent(t, b, at("k"), whole)
	waitEmpty(t, b, at("").Bucket)
	call("deleteSnapshot", "s")
	call("disallowSnapshot", "")
}

// sweep: what a dead process was writing is removed by another one, and what a living one is writing is not.
func sweep(t *testing.T, c *cluster) {
	living, dead := c.open(t, 1), c.open(t, 1)
	ctx := t.Context()
	for _, b := range []*Backend{living, dead} {
		if _, err := b.stage(ctx, "test"); err != nil { // an unfinished write
			t.Fatal(err)
		}
	}
	if err := dead.area.beat(ctx); err != nil {
		t.Fatal(err)
	}
	if err := living.area.beat(ctx); err != nil {
		t.Fatal(err)
	}
	if s, err := living.info(ctx, dead.area.path); err != nil || s == nil {
		t.Fatalf("a living process was swept: %v", err)
	}
	living.area.deadAfter = 0 // as if two hours had passed: both clocks are the NameNode's
	time.Sleep(5 * time.Millisecond)
	if err := living.area.beat(ctx); err != nil {
		t.Fatal(err)
	}
	if s, err := living.info(ctx, dead.area.path); err != nil || s != nil {
		t.Errorf("a dead process was not swept: %v", err)
	}
	if s, err := living.info(ctx, living.area.path); err != nil || s == nil {
		t.Errorf("the sweeper has swept itself: %v", err)
	}
	// One that was taken for dead writes on.
	at := bucket(t, living)
	mustPut(t, dead, at("k"), []byte("alive"))
	wantContent(t, living, at("k"), []byte("alive"))
}
