package gateway

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
)

// TestAWriteMayComeLate: the answer to a write was lost, a read has found the old version, and the store commits the write
// then. A route that never asks again asks nevertheless, while that can be.
func TestAWriteMayComeLate(t *testing.T) {
	dir := t.TempDir()
	front := startGateway(t, dir, func(cfg *config.Config) {
		cfg.EnableFaults = true
		cfg.Buckets[0].Freshness = config.Freshness{Immutable: true}
	})
	behind := startGateway(t, t.TempDir(), func(cfg *config.Config) {
		cfg.Upstreams = map[string]config.Upstream{"disk": {Type: "local", Root: filepath.Join(dir, "objects")}}
	})
	front.bucket("late")
	read := func(key string) string {
		t.Helper()
		body, _, err := front.get("late", key, "")
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	writes := map[string]func(key string) error{
		"put": func(key string) error {
			_, err := front.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("late"), Key: &key, Body: strings.NewReader("new")})
			return err
		},
		"delete": func(key string) error {
			_, err := front.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("late"), Key: &key})
			return err
		},
		"copy": func(key string) error {
			_, err := front.client.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("late"), Key: &key, CopySource: aws.String("late/source")})
			return err
		},
	}
	behind.put("late", "source", []byte("copied"))
	for key, write := range writes {
		behind.put("late", key, []byte("old"))
		front.inject(faults.Fault{Name: faults.UpstreamReset, Key: key, Bucket: "late"})
		if err := write(key); err == nil {
			t.Errorf("%s: no failure", key)
		}
		front.faults.Clear()
		behind.put("late", key, []byte("old"))
		if got := read(key); got != "old" {
			t.Errorf("%s: read %q before the store has committed", key, got)
		}
		behind.put("late", key, []byte("committed late"))
		if got := read(key); got != "committed late" {
			t.Errorf("%s: read %q when the store has committed", key, got)
		}
	}
	if n := int(testutil.ToFloat64(front.metrics.WriteDoubts)); n != len(writes) {
		t.Errorf("%d objects in doubt, want %d", n, len(writes))
	}
	front.wait(doubtSpan)
	if got := read("put"); got != "committed late" {
		t.Error(got)
	}
	behind.put("late", "put", []byte("another"))
	if got := read("put"); got != "committed late" {
		t.Errorf("read %q: an immutable object was asked for without doubt", got)
	}
}

func TestDoubts(t *testing.T) {
	now := time.Unix(1000, 0)
	d := newDoubts(func() time.Time { return now }, nil)
	key := func(i int) cache.Key { return cache.Key{Bucket: "b", Key: strconv.Itoa(i)} }
	d.add(key(1))
	now = now.Add(doubtSpan - 1)
	d.add(key(2))
	if !d.has(key(1)) || !d.has(key(2)) || d.has(key(3)) {
		t.Error("before the end of the first")
	}
	now = now.Add(1)
	if d.has(key(1)) || !d.has(key(2)) {
		t.Error("after the end of the first")
	}
	now = now.Add(doubtSpan / 2)
	d.add(key(2)) // once more
	now = now.Add(doubtSpan / 2)
	if !d.has(key(2)) {
		t.Error("the second one of a key counts")
	}
	for i := range maxDoubts {
		d.add(key(10 + i))
	}
	if d.has(key(2)) || !d.has(key(10)) || len(d.mu.queue) != maxDoubts || len(d.mu.until) != maxDoubts {
		t.Errorf("%d in the queue, %d known", len(d.mu.queue), len(d.mu.until))
	}
	now = now.Add(doubtSpan)
	if d.has(key(10)) || len(d.mu.queue)+len(d.mu.until) != 0 {
		t.Error("something is left")
	}
}
