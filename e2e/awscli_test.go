//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// kinds are the upstreams that every client session runs on.
var kinds = []string{"local", "versitygw", "minio", "hdfs"}

// emulated are the clouds, for which there is no server to be had: only UniStore's emulators of them.
var emulated = []string{"oss on the emulator", "obs on the emulator", "cos on the emulator"}

// writeRandom makes a file of size bytes and returns its SHA-256.
func writeRandom(t *testing.T, path string, size int64, seed byte) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	src := io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
	if _, err := io.Copy(io.MultiWriter(f, h), src); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestAwscliSession is what an operator does by hand, from mb to rb.
func TestAwscliSession(t *testing.T) {
	for _, kind := range append(slices.Clone(kinds), emulated...) {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			g.aws("s3", "mb", "s3://data")
			size := int64(1 << 30)
			if slices.Contains(emulated, kind) {
				size = int64(count(64<<20, 1<<30)) // of the emulator's memory
			}
			copyBigFile(t, g, size)
			syncManyFiles(t, g)
			presign(t, g)
			g.aws("s3", "rm", "--recursive", "--only-show-errors", "s3://data")
			if out := g.aws("s3", "ls", "--recursive", "s3://data"); strings.TrimSpace(out) != "" {
				t.Errorf("left after rm --recursive:\n%s", out)
			}
			g.aws("s3", "rb", "s3://data")
			if out := g.aws("s3", "ls"); strings.Contains(out, "data") {
				t.Errorf("left after rb: %s", out)
			}
		})
	}
}

func copyBigFile(t *testing.T, g *gatewayProcess, size int64) {
	t.Helper()
	big, back := filepath.Join(g.dir, "big"), filepath.Join(g.dir, "back")
	want := writeRandom(t, big, size, 7)
	g.aws("s3", "cp", "--only-show-errors", big, "s3://data/big file+1%.bin")
	for _, pass := range []string{"cold", "warm"} {
		g.aws("s3", "cp", "--only-show-errors", "s3://data/big file+1%.bin", back)
		if got := sumOf(t, back); got != want {
			t.Fatalf("%s: sha256 %s, want %s", pass, got, want)
		}
	}
	_ = os.Remove(big)
	_ = os.Remove(back)
}

func syncManyFiles(t *testing.T, g *gatewayProcess) {
	t.Helper()
	up, down := filepath.Join(g.dir, "up"), filepath.Join(g.dir, "down")
	sums := map[string]string{}
	// sync uploads a file that is newer than its object, and S3 tells LastModified in whole seconds: a file that is uploaded in
	// the second it was written in looks newer. Files from before the test do not.
	written := time.Now().Add(-time.Minute)
	for i := range 1000 {
		name := fmt.Sprintf("d%d/sub dir/file+%d é.txt", i%10, i)
		path := filepath.Join(up, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		sums[name] = writeRandom(t, path, int64(i*37), byte(i))
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
	}
	g.aws("s3", "sync", "--only-show-errors", up, "s3://data/tree")
	if n := strings.Count(g.aws("s3", "ls", "--recursive", "s3://data/tree/"), "\n"); n != 1000 {
		t.Errorf("ls --recursive shows %d of 1000", n)
	}
	if out := g.aws("s3", "sync", up, "s3://data/tree"); strings.Contains(out, "upload:") {
		t.Errorf("a second sync uploads again:\n%s", tailOf(out, 500))
	}
	g.aws("s3", "sync", "--only-show-errors", "s3://data/tree", down)
	for name, want := range sums {
		if got := sumOf(t, filepath.Join(down, name)); got != want {
			t.Fatalf("%s differs after the round trip", name)
		}
	}
}

func presign(t *testing.T, g *gatewayProcess) {
	t.Helper()
	url := strings.TrimSpace(g.aws("s3", "presign", "s3://data/tree/d3/sub dir/file+3 é.txt"))
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if body := readAll(t, res.Body); res.StatusCode != http.StatusOK || len(body) != 3*37 {
		t.Errorf("presigned: %d, %d bytes: %s", res.StatusCode, len(body), tailOf(string(body), 300))
	}
	res, err = http.Get(strings.Replace(url, "file%2B3", "file%2B13", 1))
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusForbidden {
		t.Errorf("a presigned URL was good for another key: %d", res.StatusCode)
	}
}
