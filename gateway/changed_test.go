package gateway

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"unistore/config"
)

// pair is a gateway and another one on the same store, which changes objects behind its back.
func pair(t *testing.T) (front, behind *testGateway) {
	t.Helper()
	dir := t.TempDir()
	front = startGateway(t, dir, nil)
	behind = startGateway(t, t.TempDir(), func(cfg *config.Config) {
		cfg.Upstreams = map[string]config.Upstream{"disk": {Type: "local", Root: filepath.Join(dir, "objects")}}
	})
	return front, behind
}

// TestAVersionThatIsGoneIsNotServed: once the upstream has said that a version is gone, its cached part is not shown
// any more, though it would have been fresh for long.
func TestAVersionThatIsGoneIsNotServed(t *testing.T) {
	old, replacement := bytesOf(1, 8<<20), bytesOf(2, 8<<20)
	const cached, missing = "bytes=0-1048575", "bytes=4194304-4259839"
	for name, change := range map[string]func(t *testing.T, g *testGateway){
		"deleted": func(t *testing.T, g *testGateway) {
			b, k := "gone", "k"
			if _, err := g.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &b, Key: &k}); err != nil {
				t.Fatal(err)
			}
		},
		"overwritten": func(_ *testing.T, g *testGateway) { g.put("gone", "k", replacement) },
		"cut":         func(_ *testing.T, g *testGateway) { g.put("gone", "k", replacement[:2<<20]) },
	} {
		t.Run(name, func(t *testing.T) {
			front, behind := pair(t)
			front.bucket("gone")
			front.put("gone", "k", old)
			if _, _, err := front.get("gone", "k", cached); err != nil {
				t.Fatal(err)
			}
			change(t, behind)
			got, _, err := front.get("gone", "k", missing)
			switch {
			case name == "deleted" && codeOfS3(err) != "NoSuchKey", name == "cut" && codeOfS3(err) != "InvalidRange":
				t.Errorf("the part that is not cached: %d bytes, %v", len(got), err)
			case name == "overwritten" && (err != nil || !bytes.Equal(got, replacement[4<<20:4<<20+len(got)])):
				t.Errorf("the part that is not cached: %d bytes, %v", len(got), err)
			}
			got, status, err := front.get("gone", "k", cached)
			if name == "deleted" {
				if codeOfS3(err) != "NoSuchKey" {
					t.Errorf("the cached part: %d bytes (%s), %v", len(got), status, err)
				}
			} else if err != nil || !bytes.Equal(got, replacement[:1<<20]) {
				t.Errorf("the cached part is not the new version's: %d bytes (%s), %v", len(got), status, err)
			}
		})
	}
}

// TestAReadCutByAChangeIsTheLast: a read that has begun with the cached part of a version that is gone is cut, and the
// next one gets the new version.
func TestAReadCutByAChangeIsTheLast(t *testing.T) {
	old, replacement := bytesOf(1, 8<<20), bytesOf(2, 8<<20)
	front, behind := pair(t)
	front.bucket("cut")
	front.put("cut", "k", old)
	if _, _, err := front.get("cut", "k", "bytes=0-1048575"); err != nil {
		t.Fatal(err)
	}
	behind.put("cut", "k", replacement)
	bucket, key := "cut", "k"
	out, err := front.client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	first, err := io.ReadAll(out.Body)
	out.Body.Close()
	if err == nil || len(first) == len(old) || !bytes.Equal(first, old[:len(first)]) {
		t.Errorf("%d bytes of the old version, then %v", len(first), err)
	}
	got, _, err := front.get("cut", "k", "")
	if err != nil || !bytes.Equal(got, replacement) {
		t.Errorf("the next read: %d bytes, %v", len(got), err)
	}
}
