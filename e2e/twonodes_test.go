//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestAnotherNodeTakesOver: a client's upload is begun at one node, which is killed; another takes the next part and
// completes it. Both answer the same to whoever asks to complete it once more, and know of no unfinished upload.
func TestAnotherNodeTakesOver(t *testing.T) {
	for _, kind := range []string{"local", "versitygw", "minio", "hdfs"} {
		t.Run(kind, func(t *testing.T) {
			upstreams := upstreamYAML(t, kind, t.TempDir())
			one, two := startGateway(t, upstreams, ""), startGateway(t, upstreams, "")
			createBucket(t, one.client(), "nodes")
			what := content{7, 2*clientPart + 999}
			begun, err := one.client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("nodes"), Key: aws.String("k")})
			if err != nil {
				t.Fatal(err)
			}
			parts := make([]types.CompletedPart, 3)
			send := func(g *gatewayProcess, n int32) {
				t.Helper()
				data := make([]byte, min(clientPart, what.size-int64(n-1)*clientPart))
				what.fill(data, int64(n-1)*clientPart)
				out, err := g.client().UploadPart(t.Context(), &s3.UploadPartInput{
					Bucket: aws.String("nodes"), Key: aws.String("k"), UploadId: begun.UploadId, PartNumber: &n, Body: bytes.NewReader(data),
				})
				if err != nil {
					t.Fatal(err)
				}
				parts[n-1] = types.CompletedPart{PartNumber: &n, ETag: out.ETag}
			}
			complete := func(g *gatewayProcess) string {
				t.Helper()
				out, err := g.client().CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
					Bucket: aws.String("nodes"), Key: aws.String("k"), UploadId: begun.UploadId,
					MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
				})
				if err != nil {
					t.Fatal(err)
				}
				return aws.ToString(out.ETag)
			}
			send(one, 3)
			send(two, 1)
			one.stop(syscall.SIGKILL)
			send(two, 2)
			first := complete(two)
			one.start()
			c := rawClient(2)
			defer c.CloseIdleConnections()
			for name, g := range map[string]*gatewayProcess{"one": one, "two": two} {
				if again := complete(g); again != first {
					t.Errorf("%s: Complete again: %s, the first answer was %s", name, again, first)
				}
				if etag, err := g.check(t.Context(), c, "/nodes/k", what); err != nil || etag != first {
					t.Errorf("%s: %s, %v", name, etag, err)
				}
				eventually(t, 10*time.Second, func() string {
					if n := g.metric("unistore_uploads") - g.metric("unistore_uploads", `"completed"`); n != 0 {
						return fmt.Sprintf("%s: %v unfinished uploads", name, n)
					}
					return ""
				})
			}
		})
	}
}

// TestSweepWaitsForTheStore: a start finds the upload of a PUT that is gone, and the store down. It is aborted when the
// store is back.
func TestSweepWaitsForTheStore(t *testing.T) {
	srv := startUpstream(t, "versitygw")
	v := &victim{t: t, c: rawClient(2), direct: clientOf(srv.Endpoint, srv.AccessKey, srv.SecretKey), now: map[string]content{}}
	defer v.c.CloseIdleConnections()
	v.g = startWith(t, setup{upstreams: s3YAML(srv.Endpoint, srv.AccessKey, srv.SecretKey)})
	v.s3 = v.g.client()
	createBucket(t, v.s3, "kill")
	v.keys = []string{"k"}
	s := strike{write: "put", point: "upload.part", skip: 1}
	v.now["k"] = content{1, 300_000}
	put(t, v.s3, "kill", "k", v.now["k"].bytes())
	put(t, v.s3, "kill", "other", v.now["k"].bytes())
	v.now["other"] = v.now["k"]
	v.look(s, "other") // without anything cached the gateway is not ready while its store is down
	v.g.fault("process.kill", "operation="+s.point, "skip=1")
	v.write(s, "k", content{2, 2*gatewayPart + 1})
	v.fell(s)
	if v.leftOver() == "" {
		t.Fatal("the process was killed in the midst of an upload, and there is none")
	}
	srv.Kill()
	v.g.start()
	eventually(t, 10*time.Second, func() string {
		if v.g.metric("unistore_uploads_swept_total", `"failed"`) == 0 {
			return "no attempt while the store is down"
		}
		return ""
	})
	if got := fmt.Sprint(v.listed("k")); got != "[put abandoned]" {
		t.Errorf("uploads %s", got)
	}
	srv.Restart(t)
	v.nothingLeft()
	v.look(s, "k")
}
