package gateway

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"unistore/config"
)

// begun renders a signed request up to the blank line. lines are NAME: VALUE; length is of the body.
func (g *testGateway) begun(method, path, hash string, length int, lines ...string) string {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.ContentLength = int64(length)
	for _, l := range append(lines, "X-Amz-Content-Sha256: "+hash) {
		name, value, _ := strings.Cut(l, ": ")
		req.Header.Set(name, value)
	}
	creds := aws.Credentials{AccessKeyID: "AKTEST", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(g.t.Context(), creds, req, hash, "s3", "us-east-1", now()); err != nil {
		g.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, req.Host)
	_ = req.Header.Write(&b)
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", length)
	return b.String()
}

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// stalled are the requests that have a body: each sends half of it and stops.
func (g *testGateway) stalled() map[string]string {
	id := g.create("data", "part", "", "")
	big := strings.Repeat("x", 1<<20)
	const plain, chunked = "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	trailer := []string{"X-Amz-Trailer: x-amz-checksum-crc32", "X-Amz-Decoded-Content-Length: 1048576"}
	keys := "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 900) + "</Delete>"
	parts := "<CompleteMultipartUpload>" + strings.Repeat("<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>", 900) + "</CompleteMultipartUpload>"
	where := "<CreateBucketConfiguration>" + strings.Repeat(" ", 20_000) + "</CreateBucketConfiguration>"
	query := `{"id":"q-1","files":[` + strings.Repeat(`{"bucket":"data","key":"k"},`, 900) + `{"bucket":"data","key":"k"}]}`
	half := func(s string) string { return s[:len(s)/2] }
	return map[string]string{
		"PUT":                    g.begun("PUT", "/data/k", plain, len(big)) + half(big),
		"PUT with its hash":      g.begun("PUT", "/data/k", hashOf(big), len(big)) + half(big),
		"PUT, no byte":           g.begun("PUT", "/data/k", plain, len(big)),
		"small PUT":              g.begun("PUT", "/data/k", plain, 10) + "01234",
		"PUT in chunks":          g.begun("PUT", "/data/k", chunked, len(big)+100, trailer...) + "10000\r\n" + half(big[:65536]),
		"PUT before its trailer": g.begun("PUT", "/data/k", chunked, len(big)+100, trailer...) + "100000\r\n" + big + "\r\n0\r\n",
		"part":                   g.begun("PUT", "/data/part?partNumber=1&uploadId="+id, plain, len(big)) + half(big),
		"part in chunks":         g.begun("PUT", "/data/part?partNumber=1&uploadId="+id, chunked, len(big)+100, trailer...) + "10000\r\n" + half(big[:65536]),
		"completion":             g.begun("POST", "/data/part?uploadId="+id, hashOf(parts), len(parts)) + half(parts),
		"deletion of many":       g.begun("POST", "/data?delete", hashOf(keys), len(keys)) + half(keys),
		"bucket":                 g.begun("PUT", "/new", hashOf(where), len(where)) + half(where),
		"control":                g.begun("POST", "/_unistore/v1/residency", hashOf(query), len(query)) + half(query),
		"refused":                strings.Replace(g.begun("PUT", "/data/k", plain, len(big)), "Signature=", "Signature=00", 1) + half(big),
	}
}

// TestEveryStalledBodyTimesOut: whatever reads the body, the client is told RequestTimeout and cut off, nothing is stored,
// and nothing is left.
func TestEveryStalledBodyTimesOut(t *testing.T) {
	const idle = 400 * time.Millisecond
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = idle })
	g.bucket("data")
	requests := g.stalled()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	before := settled()
	for name, text := range requests {
		started := time.Now()
		c, r := g.raw(text)
		res, body := answer(t, r)
		want := "<Code>RequestTimeout</Code>"
		switch name {
		case "control":
			want = `"code":"RequestTimeout"`
		case "refused":
			want = "<Code>SignatureDoesNotMatch</Code>"
		}
		if res.StatusCode/100 != 4 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
		if took := time.Since(started); took < idle/2 && name != "refused" || took > 15*time.Second {
			t.Errorf("%s: answered after %v", name, took)
		}
		if n, err := io.Copy(io.Discard, r); n != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: after the answer %d bytes, %v; want the end", name, n, err)
		}
		_ = c.Close()
	}
	if res, _ := g.call("GET", "/data/k", ""); res.StatusCode != 404 {
		t.Errorf("stored: %d", res.StatusCode)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	after := settledTo(before)
	if after.goroutines > before.goroutines+3 || after.files > before.files+3 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if n := g.service.uploader.InUse(); n != 0 {
		t.Errorf("%d bytes of uploads are still held", n)
	}
}

// TestASlowSenderIsNotTimedOut: only standing still is.
func TestASlowSenderIsNotTimedOut(t *testing.T) {
	const idle = time.Second
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = idle })
	g.bucket("data")
	const first = 100_000 // beyond what is read before the request is looked at
	c, r := g.raw(g.begun("PUT", "/data/k", "UNSIGNED-PAYLOAD", first+8) + strings.Repeat("x", first))
	for i := range 8 {
		time.Sleep(idle / 4) // a client that takes its time: twice the limit in all
		if _, err := fmt.Fprintf(c, "%d", i); err != nil {
			t.Fatal(err)
		}
	}
	if res, body := answer(t, r); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestAStalledBodyEndsWithItsGateway: a read that waits for a client does not hold the end up.
func TestAStalledBodyEndsWithItsGateway(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = time.Hour })
	g.bucket("data")
	readers := map[string]*bufio.Reader{}
	for name, text := range g.stalled() {
		switch name {
		case "refused", "PUT, no byte", "small PUT": // nobody reads these yet, or any more
		default:
			_, readers[name] = g.raw(text)
		}
	}
	for range 500 { // until all are being read
		if n := strings.Count(stacks(), "requestBody).Read"); n >= len(readers) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	started := time.Now()
	g.cutAll() // what the drain does when its time is over
	for name, r := range readers {
		_, _ = io.Copy(io.Discard, r) // whatever is said: it ends
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("%s: ended after %v", name, took)
		}
	}
}

func stacks() string {
	b := make([]byte, 8<<20)
	return string(b[:runtime.Stack(b, true)])
}

type inUse struct{ goroutines, files int }

func usage() inUse {
	files, _ := os.ReadDir("/proc/self/fd")
	return inUse{runtime.NumGoroutine(), len(files)}
}

// settled is what is in use once it does not fall any more.
func settled() inUse {
	last := usage()
	for range 20 {
		time.Sleep(20 * time.Millisecond)
		if u := usage(); u.goroutines < last.goroutines || u.files < last.files {
			last = u
		}
	}
	return last
}

// settledTo waits until no more is in use than want, or for some seconds.
func settledTo(want inUse) inUse {
	u := usage()
	for range 200 {
		if u = usage(); u.goroutines <= want.goroutines && u.files <= want.files {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return u
}
