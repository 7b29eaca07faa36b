//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	tmtypes "github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// startMultipart is a gateway before one kind of store, with the buckets data and, in a store of its own, other-b. The
// smallest part of local stores is one byte.
func startMultipart(t *testing.T, kind string) *gatewayProcess {
	t.Helper()
	dir := t.TempDir()
	up := upstreamYAML(t, kind, dir)
	if kind == "local" {
		up = fmt.Sprintf("  up: {type: local, root: %q, min_part: 1}\n", filepath.Join(dir, "objects"))
	}
	up += fmt.Sprintf("  second: {type: local, root: %q}\n", filepath.Join(dir, "second"))
	g := startWith(t, setup{upstreams: up, extra: "  other-*: {upstream: second}\n"})
	createBucket(t, g.client(), "data")
	createBucket(t, g.client(), "other-b")
	return g
}

// TestMultipartByBoto3 uploads by boto3's transfer manager and by its raw calls. S3 servers have parts of 5 MiB at least, so
// only the local store, where that is configurable, is sent 10,000 of them (with UNISTORE_E2E_FULL=1); the others get
// some parts with numbers up to 10,000.
func TestMultipartByBoto3(t *testing.T) {
	script, err := filepath.Abs("testdata/multipart.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startMultipart(t, kind)
			python := tool(t, "python")
			number, size := count(8, 40), 5<<20
			if kind == "local" {
				number, size = count(300, 10_000), 100
			}
			seed := seedOf(t, 20261125)
			for _, args := range [][]string{
				{"transfer", "data", "0", "1", "5242880", "15728641", "26214400"},
				{"parts", "data", strconv.Itoa(number), strconv.Itoa(size), strconv.FormatUint(seed, 10)},
				{"checksums", "data"},
				{"copies", "data", "other-b"},
				{"refusals", "data"},
			} {
				t.Log(strings.TrimSpace(g.run(python, append([]string{script}, args...)...)))
			}
			if n := g.metric("unistore_upstream_requests_total", `outcome="corrupted"`); n != 0 {
				t.Errorf("%v writes were called corrupted", n)
			}
		})
	}
}

// TestMultipartByAwscli copies a large file with several sizes of parts.
func TestMultipartByAwscli(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startMultipart(t, kind)
			size := int64(count(60<<20, 512<<20)) + 12345
			file, back := filepath.Join(g.dir, "file"), filepath.Join(g.dir, "back")
			want := writeRandom(t, file, size, 3)
			for _, c := range []struct{ threshold, part, parallel string }{
				{"8MB", "8MB", "10"}, {"1GB", "8MB", "10"}, {"5MB", "5MB", "20"}, {"16MB", "17MB", "2"},
			}[:count(2, 4)] {
				config := filepath.Join(g.dir, "awsconfig")
				text := fmt.Sprintf("[default]\ns3 =\n  multipart_threshold = %s\n  multipart_chunksize = %s\n  max_concurrent_requests = %s\n",
					c.threshold, c.part, c.parallel)
				if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				env := []string{"AWS_CONFIG_FILE=" + config}
				g.runEnv(env, tool(t, "aws"), "s3", "cp", "--only-show-errors", file, "s3://data/"+c.part)
				g.runEnv(env, tool(t, "aws"), "s3", "cp", "--only-show-errors", "s3://data/"+c.part, "s3://other-b/copy")
				g.runEnv(env, tool(t, "aws"), "s3", "cp", "--only-show-errors", "s3://other-b/copy", back)
				if got := sumOf(t, back); got != want {
					t.Errorf("%+v: sha256 %s, want %s", c, got, want)
				}
			}
			_ = os.Remove(file)
			_ = os.Remove(back)
		})
	}
}

// TestMultipartByGoTransferManager uploads bodies of known and unknown length, with several checksums.
func TestMultipartByGoTransferManager(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startMultipart(t, kind)
			for _, alg := range []tmtypes.ChecksumAlgorithm{"", "SHA256", "CRC32", "CRC32C", "SHA1"}[:count(2, 5)] {
				for i, size := range []int64{0, 1, 5 << 20, 16<<20 - 1, 16 << 20, int64(count(40<<20, 256<<20)) + 3} {
					transferOne(t, g, alg, content{uint64(i), size}, i%2 == 1)
				}
			}
		})
	}
}

// transferOne uploads and downloads one object.
func transferOne(t *testing.T, g *gatewayProcess, alg tmtypes.ChecksumAlgorithm, what content, unsized bool) {
	t.Helper()
	tm := transfermanager.New(g.client(), func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = 5<<20, 8<<20, 6
	})
	key := fmt.Sprintf("tm/%s-%d", alg, what.size)
	var body io.Reader = bytes.NewReader(what.bytes())
	if unsized {
		body = struct{ io.Reader }{body}
	}
	in := &transfermanager.UploadObjectInput{Bucket: aws.String("data"), Key: &key, Body: body, ChecksumAlgorithm: alg}
	if _, err := tm.UploadObject(t.Context(), in); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "back"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := &transfermanager.DownloadObjectInput{Bucket: aws.String("data"), Key: &key, WriterAt: f}
	if _, err := tm.DownloadObject(t.Context(), out); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if n, err := what.compare(io.NewSectionReader(f, 0, 1<<62), 0); err != nil || n != what.size {
		t.Errorf("%s: %d bytes, %v", key, n, err)
	}
	head, err := g.client().HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("data"), Key: &key, ChecksumMode: "ENABLED"})
	if err != nil || aws.ToInt64(head.ContentLength) != what.size {
		t.Errorf("%s: %+v, %v", key, head, err)
	}
}
