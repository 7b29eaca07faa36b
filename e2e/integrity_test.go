//go:build e2e

package e2e

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"testing"
)

// promises are header lines by which a client says what its body is.
func promises(data []byte) map[string][2]string {
	sum := md5.Sum(data)
	crc := crc32.ChecksumIEEE(data)
	raw := []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}
	return map[string][2]string{
		"nothing": {"X-Nothing", "1"},
		"MD5":     {"Content-MD5", base64.StdEncoding.EncodeToString(sum[:])},
		"CRC32":   {"X-Amz-Checksum-Crc32", base64.StdEncoding.EncodeToString(raw)},
	}
}

// call sends one signed request with a header line and returns the answer with its text.
func (g *gatewayProcess) call(method, path string, body []byte, line [2]string) (*http.Response, string) {
	g.t.Helper()
	req, err := signedWith(g.t.Context(), method, g.url()+path, bytes.NewReader(body), map[string]string{line[0]: line[1]})
	if err != nil {
		g.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(text)
}

// TestCorruptedOnTheWay: bytes that change between the gateway and its store are never called stored, whatever the client has
// promised of them; sent again they are.
func TestCorruptedOnTheWay(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			createBucket(t, g.client(), "data")
			data := content{1, 300_000}.bytes()
			// These have no atomic conditional deletion: what they took wrongly stays, since another's could be deleted.
			stays := kind == "minio" || kind == "versitygw"
			for range 2 { // a store of which nothing is known, and one that has answered
				for name, line := range promises(data) {
					for _, at := range []string{"0", "150000", "299999"} {
						corruptOnce(t, g, corruption{name, line, at, stays}, data)
					}
				}
			}
			if n := g.metric("unistore_upstream_requests_total", `outcome="corrupted"`); n == 0 {
				t.Error("nothing was counted")
			}
			if left := g.metric("unistore_upstream_disowned_total", `outcome="left"`); (left > 0) != stays {
				t.Errorf("%v objects stayed", left)
			}
		})
	}
}

type corruption struct {
	name  string
	line  [2]string // the promise
	at    string    // byte
	stays bool      // the object may be there then, with other bytes
}

// corruptOnce writes an object and a part of which one byte is changed on the way, then without that.
func corruptOnce(t *testing.T, g *gatewayProcess, c corruption, data []byte) {
	t.Helper()
	name, line, at := c.name, c.line, c.at
	_, text := g.call("POST", "/data/part?uploads=", nil, [2]string{"X-Nothing", "1"})
	_, id, _ := strings.Cut(text, "<UploadId>")
	id, _, ok := strings.Cut(id, "</UploadId>")
	if !ok {
		t.Fatal(text)
	}
	paths := []string{"/data/k", "/data/part?partNumber=1&uploadId=" + id}
	g.fault("upstream.corrupt", "after="+at)
	for _, path := range paths {
		if res, text := g.call("PUT", path, data, line); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s, byte %s, %s: %d %s", name, at, path, res.StatusCode, text)
		}
	}
	g.clearFaults()
	res, got := g.call("GET", "/data/k", nil, [2]string{"Cache-Control", "no-store"})
	if stayed := c.stays && res.StatusCode == http.StatusOK && got != string(data); res.StatusCode != http.StatusNotFound && !stayed {
		t.Errorf("%s, byte %s: the object is there: %d", name, at, res.StatusCode)
	}
	etag := ""
	for _, path := range paths {
		res, text := g.call("PUT", path, data, line)
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: sent again to %s: %d %s", name, path, res.StatusCode, text)
		}
		etag = res.Header.Get("ETag")
	}
	doc := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"
	if res, text := g.call("POST", "/data/part?uploadId="+id, []byte(doc), [2]string{"X-Nothing", "1"}); res.StatusCode != http.StatusOK {
		t.Errorf("%s: complete: %d %s", name, res.StatusCode, text)
	}
	for _, path := range []string{"/data/k", "/data/part"} {
		if res, got := g.call("GET", path, nil, [2]string{"X-Nothing", "1"}); got != string(data) {
			t.Errorf("%s: %s: %d, %d bytes are not those that were sent", name, path, res.StatusCode, len(got))
		}
		if res, text := g.call("DELETE", path, nil, [2]string{"X-Nothing", "1"}); res.StatusCode != http.StatusNoContent {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	}
}

// TestConditionsWhoseAnswerIsLost: the store has acted and its answer is lost. The client is told that it succeeded if
// that can be seen, and never that it met a conflict with itself.
func TestConditionsWhoseAnswerIsLost(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := startGateway(t, upstreamYAML(t, kind, t.TempDir()), "")
			createBucket(t, g.client(), "data")
			lose := func(op string) { g.fault("upstream.reset", "operation="+op, "after=1MiB", "count=1") }
			want := func(what string, res *http.Response, text string, status int) {
				t.Helper()
				if res.StatusCode != status {
					t.Errorf("%s: %d %s, want %d", what, res.StatusCode, text, status)
				}
			}
			create := [2]string{"If-None-Match", "*"}
			lose("Put")
			res, text := g.call("PUT", "/data/k", []byte("first"), create)
			want("create", res, text, 200)
			lose("Put")
			res, text = g.call("PUT", "/data/k", []byte("second"), [2]string{"If-Match", res.Header.Get("ETag")})
			want("replace", res, text, 200)
			second := res.Header.Get("ETag")
			lose("Put")
			res, text = g.call("PUT", "/data/k", []byte("third"), create)
			want("create over another object", res, text, 503)
			res, text = g.call("PUT", "/data/k", []byte("third"), create)
			want("create over another object, answered", res, text, 412)
			lose("Put")
			res, text = g.call("PUT", "/data/lock", nil, create)
			want("an empty object", res, text, 503)
			res, text = g.call("PUT", "/data/copy", nil, [2]string{"x-amz-copy-source", "/data/k"})
			want("copy", res, text, 200)
			completeLost(t, g, lose, second)
			if _, got := g.call("GET", "/data/k", nil, [2]string{"X-Nothing", "1"}); got != "whole" {
				t.Errorf("%q", got)
			}
		})
	}
}

// completeLost replaces the object of that ETag by an upload; the answer to its completion is lost.
func completeLost(t *testing.T, g *gatewayProcess, lose func(op string), etag string) {
	t.Helper()
	_, text := g.call("POST", "/data/k?uploads=", nil, [2]string{"X-Nothing", "1"})
	_, id, _ := strings.Cut(text, "<UploadId>")
	id, _, _ = strings.Cut(id, "</UploadId>")
	res, _ := g.call("PUT", "/data/k?partNumber=1&uploadId="+id, []byte("whole"), [2]string{"X-Nothing", "1"})
	doc := fmt.Sprintf("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>", res.Header.Get("ETag"))
	lose("CompleteUpload")
	if res, text := g.call("POST", "/data/k?uploadId="+id, []byte(doc), [2]string{"If-Match", etag}); res.StatusCode != http.StatusOK {
		t.Errorf("complete: %d %s", res.StatusCode, text)
	}
}
