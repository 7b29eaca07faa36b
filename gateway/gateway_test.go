package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rs/zerolog"

	"unistore/cache"
	"unistore/config"
	"unistore/s3api"
	"unistore/upstream"
)

func bytesOf(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func (g *testGateway) bucket(name string) {
	g.t.Helper()
	if _, err := g.client.CreateBucket(g.t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		g.t.Fatal(err)
	}
}

func (g *testGateway) put(bucket, key string, body []byte) {
	g.t.Helper()
	_, err := g.client.PutObject(g.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		g.t.Fatal(err)
	}
}

// get returns the body and the Cache-Status of a read; rng is a Range header or empty.
func (g *testGateway) get(bucket, key, rng string) ([]byte, string, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if rng != "" {
		in.Range = &rng
	}
	out, err := g.client.GetObject(g.t.Context(), in)
	if err != nil {
		return nil, "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err == nil && int64(len(b)) != aws.ToInt64(out.ContentLength) {
		g.t.Errorf("%s %s: %d bytes, promised %d", key, rng, len(b), aws.ToInt64(out.ContentLength))
	}
	raw, _ := awsResponse(out.ResultMetadata)
	return b, raw.Header.Get("Cache-Status"), err
}

func codeOfS3(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return fmt.Sprint(e.HTTPStatusCode())
	}
	return fmt.Sprint(err)
}

// upstreamCalls sums unistore_upstream_requests_total over the operations that move an object's data
// or attributes.
func (g *testGateway) upstreamCalls(ops ...string) float64 {
	g.t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != "unistore_upstream_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "operation" && (len(ops) == 0 || strings.Contains(strings.Join(ops, " "), l.GetValue())) {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return total
}

func TestReadsEqualTheSourceColdAndWarm(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	const page, block = 64 << 10, 1 << 20
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, size := range []int{0, 1, page - 1, page, block - 1, block, block + 1, 5*block + 77} {
		key := fmt.Sprintf("size-%d", size)
		body := bytesOf(uint64(size), size)
		g.put("data", key, body)
		for range 20 {
			checkRandomRange(t, g, r, key, body)
		}
		whole, _, err := g.get("data", key, "")
		if err != nil || !bytes.Equal(whole, body) {
			t.Fatalf("%s: whole object differs (%v)", key, err)
		}
		before := g.upstreamCalls("Open", "Stat")
		for range 20 {
			checkRandomRange(t, g, r, key, body)
		}
		if d := g.upstreamCalls("Open", "Stat") - before; d != 0 && size > 0 {
			t.Errorf("%s: %v upstream requests for warm reads", key, d)
		}
	}
}

// checkRandomRange reads a closed, open-ended, suffix or unsatisfiable range and compares it.
func checkRandomRange(t *testing.T, g *testGateway, r *rand.Rand, key string, body []byte) {
	t.Helper()
	size := len(body)
	from := r.IntN(size + 3)
	n := 1 + r.IntN(size+10)
	var header string
	var want []byte
	switch r.IntN(3) {
	case 0:
		header = fmt.Sprintf("bytes=%d-%d", from, from+n-1)
		want = body[min(from, size):min(from+n, size)]
	case 1:
		header = fmt.Sprintf("bytes=%d-", from)
		want = body[min(from, size):]
	default:
		header = fmt.Sprintf("bytes=-%d", n)
		want = body[max(size-n, 0):]
	}
	got, _, err := g.get("data", key, header)
	if len(want) == 0 {
		if codeOfS3(err) != "InvalidRange" {
			t.Fatalf("%s %s: want InvalidRange, got %v", key, header, err)
		}
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s %s: %d bytes, want %d, equal %v, err %v", key, header, len(got), len(want), bytes.Equal(got, want), err)
	}
}

func TestColdReadCostsOneUpstreamRequest(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	body := bytesOf(1, 40<<20)
	for i, rng := range []string{"bytes=20000000-21048575", "bytes=-65536", "bytes=0-0", "bytes=41000000-", ""} {
		key := fmt.Sprintf("k%d", i)
		src := body
		if rng == "" {
			src = body[:3<<20]
		}
		g.put("data", key, src)
		before := g.upstreamCalls("Open", "Stat")
		if _, _, err := g.get("data", key, rng); err != nil {
			t.Fatal(err)
		}
		if d := g.upstreamCalls("Open", "Stat") - before; d != 1 {
			t.Errorf("cold %q: %v upstream requests, want 1", rng, d)
		}
		_, status, err := g.get("data", key, rng)
		if err != nil || !strings.HasPrefix(status, "unistore; hit") {
			t.Errorf("second %q: %q, %v", rng, status, err)
		}
		if d := g.upstreamCalls("Open", "Stat") - before; d != 1 {
			t.Errorf("warm %q: %v more upstream requests", rng, d-1)
		}
	}
}

func TestConcurrentColdReadersShareTheFill(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	body := bytesOf(2, 8<<20)
	g.put("data", "k", body)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			got, _, err := g.get("data", "k", "")
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("differs: %v", err)
			}
		})
	}
	wg.Wait()
	if n := g.upstreamCalls("Open", "Stat"); n > 2 {
		t.Errorf("%v upstream requests for 32 readers", n)
	}
}

func TestAWriteIsVisibleAtOnceUnderEveryFreshness(t *testing.T) {
	for name, f := range map[string]config.Freshness{"immutable": {Immutable: true}, "ttl": {TTL: 1 << 40}, "revalidate": {Revalidate: true}} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Buckets[0].Freshness = f })
			g.bucket("data")
			for i := range 20 {
				body := bytesOf(uint64(i), 100_000+i)
				g.put("data", "k", body)
				got, _, err := g.get("data", "k", "")
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("write %d is not what is read: %v", i, err)
				}
			}
			if _, err := g.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("data"), Key: aws.String("k")}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := g.get("data", "k", ""); codeOfS3(err) != "NoSuchKey" {
				t.Errorf("after the deletion: %v", err)
			}
		})
	}
}

func TestRestartKeepsTheCache(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, nil)
	g.bucket("data")
	body := bytesOf(3, 3<<20)
	g.put("data", "k", body)
	if _, _, err := g.get("data", "k", ""); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g = startGateway(t, dir, nil)
	got, status, err := g.get("data", "k", "")
	if err != nil || !bytes.Equal(got, body) || !strings.HasPrefix(status, "unistore; hit") {
		t.Fatalf("after the restart: %q, %v", status, err)
	}
	if n := g.upstreamCalls("Open", "Stat"); n != 0 {
		t.Errorf("%v upstream requests after the restart", n)
	}
}

func TestMultipartListCopyDelete(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	ctx, bucket, key := t.Context(), aws.String("data"), aws.String("dir/big object+1%")
	up, err := g.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ContentType: aws.String("x/y")})
	if err != nil {
		t.Fatal(err)
	}
	parts := [][]byte{bytesOf(1, 5<<20), bytesOf(2, 5<<20), bytesOf(3, 17)}
	done := make([]types.CompletedPart, 3)
	for _, i := range []int{2, 0, 1} { // the short last part first
		out, err := g.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId,
			PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(parts[i])})
		if err != nil {
			t.Fatal(err)
		}
		done[i] = types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1))}
	}
	listed, err := g.client.ListParts(ctx, &s3.ListPartsInput{Bucket: bucket, Key: key, UploadId: up.UploadId})
	if err != nil || len(listed.Parts) != 3 {
		t.Fatalf("ListParts: %v, %v", listed, err)
	}
	if _, err := g.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key,
		UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}); err != nil {
		t.Fatal(err)
	}
	want := bytes.Join(parts, nil)
	if got, _, err := g.get("data", *key, ""); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the object differs: %v", err)
	}
	if _, err := g.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"),
		CopySource: aws.String("data/dir/big%20object%2B1%25")}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := g.get("data", "copy", ""); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the copy differs: %v", err)
	}
	page, err := g.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
	if err != nil || len(page.Contents) != 1 || len(page.CommonPrefixes) != 1 {
		t.Fatalf("list: %+v, %v", page, err)
	}
	del, err := g.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: key}, {Key: aws.String("copy")}, {Key: aws.String("never")}}}})
	if err != nil || len(del.Errors) != 0 || len(del.Deleted) != 3 {
		t.Fatalf("delete: %+v, %v", del, err)
	}
	if _, err := g.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
}

func TestConditionsOfReadsAndWrites(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.put("data", "k", []byte("one"))
	ctx, bucket, key := t.Context(), aws.String("data"), aws.String("k")
	head, err := g.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, IfMatch: aws.String(`"other"`)})
	if codeOfS3(err) != "PreconditionFailed" {
		t.Errorf("If-Match: %v", err)
	}
	_, err = g.client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, IfNoneMatch: head.ETag})
	if e, ok := errors.AsType[*smithyhttp.ResponseError](err); !ok || e.HTTPStatusCode() != http.StatusNotModified {
		t.Errorf("If-None-Match: %v", err)
	}
	_, err = g.client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("two"), IfNoneMatch: aws.String("*")})
	if codeOfS3(err) != "PreconditionFailed" {
		t.Errorf("create only: %v", err)
	}
	_, err = g.client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("two"), IfMatch: head.ETag})
	if err != nil {
		t.Errorf("replace: %v", err)
	}
	if got, _, _ := g.get("data", "k", ""); string(got) != "two" {
		t.Errorf("read %q", got)
	}
}

func TestRightsAreChecked(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) {
		c.Credentials = append(c.Credentials,
			config.Credential{AccessKey: "AKREAD", SecretKey: config.NewSecret("secret"), Buckets: []string{"*"}, ReadOnly: true},
			config.Credential{AccessKey: "AKELSE", SecretKey: config.NewSecret("secret"), Buckets: []string{"other-*"}})
	})
	g.bucket("data")
	g.put("data", "k", []byte("x"))
	if _, _, err := g.get("data", "k", ""); err != nil { // warm: a hit is authorised like a miss
		t.Fatal(err)
	}
	as := func(key, secret string) *s3.Client {
		o := g.client.Options()
		o.Credentials = aws.CredentialsProviderFunc(staticKeys(key, secret))
		return s3.New(o)
	}
	get := &s3.GetObjectInput{Bucket: aws.String("data"), Key: aws.String("k")}
	put := &s3.PutObjectInput{Bucket: aws.String("data"), Key: aws.String("k"), Body: strings.NewReader("y")}
	for _, c := range []struct{ key, secret, get, put string }{
		{"AKREAD", "secret", "", "AccessDenied"},
		{"AKELSE", "secret", "AccessDenied", "AccessDenied"},
		{"AKTEST", "wrong", "SignatureDoesNotMatch", "SignatureDoesNotMatch"},
		{"AKNONE", "secret", "InvalidAccessKeyId", "InvalidAccessKeyId"},
	} {
		client := as(c.key, c.secret)
		out, err := client.GetObject(t.Context(), get)
		if err == nil {
			out.Body.Close()
		}
		if got := codeOfS3(err); c.get != "" && got != c.get || c.get == "" && err != nil {
			t.Errorf("%s/%s get: %v", c.key, c.secret, err)
		}
		if _, err := client.PutObject(t.Context(), put); codeOfS3(err) != c.put {
			t.Errorf("%s/%s put: %v", c.key, c.secret, err)
		}
	}
	if _, err := as("AKELSE", "secret").CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("other-b"),
		Key: aws.String("k"), CopySource: aws.String("data/k")}); codeOfS3(err) != "AccessDenied" {
		t.Errorf("a copy read what its caller may not: %v", err)
	}
}

func TestEveryUpstreamCodeHasAnS3Error(t *testing.T) {
	for _, code := range upstream.Codes() {
		e := toS3(fmt.Errorf("wrapped: %w", upstream.Errorf(code, "Op", "secret detail")))
		if e.Code == "" || e.Code == s3api.ErrInternalError || e.Code.Status() == 0 {
			t.Errorf("%v maps to %q", code, e.Code)
		}
		if strings.Contains(e.Error(), "secret detail") {
			t.Errorf("%v shows the store's words to the client", code)
		}
	}
	if e := toS3(errors.New("bug")); e.Code != s3api.ErrInternalError {
		t.Errorf("an unknown failure is %s", e.Code)
	}
}

// unsigned signs a raw request with UNSIGNED-PAYLOAD.
func (g *testGateway) unsigned(req *http.Request) *http.Request {
	const hash = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", hash)
	creds := aws.Credentials{AccessKeyID: "AKTEST", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(g.t.Context(), creds, req, hash, "s3", "us-east-1", now()); err != nil {
		g.t.Fatal(err)
	}
	return req
}

// A gateway that is told to stop before it has begun to accept stops.
func TestStopAtOnce(t *testing.T) {
	dir := t.TempDir()
	for range 10 {
		startGateway(t, dir, nil).stop()
	}
}

// The policy of the configuration is the cache's: each that the cache has starts, and a made-up one does not.
func TestThePolicyReachesTheCache(t *testing.T) {
	for _, policy := range cache.Policies {
		g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Cache.Policy = policy })
		g.bucket("data")
		g.put("data", "k", []byte("x"))
		if got, _, err := g.get("data", "k", ""); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", policy, got, err)
		}
		cfg := *g.cfg
		g.stop()
		cfg.Cache.Policy = "made-up"
		if _, err := New(t.Context(), &cfg, Options{Log: zerolog.Nop()}); err == nil {
			t.Fatal("a made-up policy was accepted: the key does not reach the cache")
		}
	}
}
