package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"unistore/config"
	"unistore/object"
	"unistore/upstream"
)

// call sends a signed request; lines are NAME: VALUE.
func (g *testGateway) call(method, path, body string, lines ...string) (*http.Response, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(g.unsigned(req))
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(b)
}

// upload stores an object of two parts and returns the answers to their uploads in order.
func (g *testGateway) upload(bucket, key string) (id string, done []types.CompletedPart) {
	g.t.Helper()
	up, err := g.client.CreateMultipartUpload(g.t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		g.t.Fatal(err)
	}
	for i, size := range []int{5 << 20, 100} {
		n := aws.Int32(int32(i + 1))
		out, err := g.client.UploadPart(g.t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId,
			PartNumber: n, Body: bytes.NewReader(bytesOf(uint64(i), size))})
		if err != nil {
			g.t.Fatal(err)
		}
		done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: n})
	}
	return *up.UploadId, done
}

func (g *testGateway) complete(bucket, key, id string, parts []types.CompletedPart, size *int64) (string, error) {
	out, err := g.client.CompleteMultipartUpload(g.t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key,
		UploadId: &id, MpuObjectSize: size, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

func TestA304TellsHowLongItHolds(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.call("PUT", "/data/k", "x", "Cache-Control: max-age=7", "Expires: Wed, 21 Oct 2030 07:28:00 GMT")
	full, _ := g.call("GET", "/data/k", "")
	res, _ := g.call("GET", "/data/k", "", "If-None-Match: *")
	for _, name := range []string{"ETag", "Last-Modified", "Cache-Control", "Expires"} {
		if got := res.Header.Get(name); res.StatusCode != 304 || got == "" || got != full.Header.Get(name) {
			t.Errorf("%d, %s: %q, of a 200 %q", res.StatusCode, name, got, full.Header.Get(name))
		}
	}
}

func TestNoStoreSeesWhatIsThere(t *testing.T) {
	front, behind := pair(t)
	front.bucket("data")
	front.put("data", "k", []byte("old"))
	if _, _, err := front.get("data", "k", ""); err != nil {
		t.Fatal(err)
	}
	behind.put("data", "k", []byte("newer"))
	for _, want := range []struct{ header, body string }{{"Cache-Control: no-store", "newer"}, {"X-A: b", "old"}} {
		if _, body := front.call("GET", "/data/k", "", want.header); body != want.body {
			t.Errorf("%s: %q, want %q", want.header, body, want.body)
		}
	}
	for header, want := range map[string]string{"Range: bytes=9-": "bytes */5", "Range: bytes=-2": "bytes 3-4/5"} {
		res, _ := front.call("GET", "/data/k", "", "Cache-Control: no-store", header)
		if got := res.Header.Get("Content-Range"); got != want {
			t.Errorf("%s: %d %q, want %q", header, res.StatusCode, got, want)
		}
	}
	if res, _ := front.call("GET", "/data/k", "", "Cache-Control: no-store", "Range: bytes=9-", "If-None-Match: *"); res.StatusCode != 304 {
		t.Errorf("a condition goes before the range: %d", res.StatusCode)
	}
}

func TestPartsByNumber(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	id, parts := g.upload("data", "k")
	if _, err := g.complete("data", "k", id, parts, nil); err != nil {
		t.Fatal(err)
	}
	g.put("data", "plain", []byte("hello"))
	for _, method := range []string{"GET", "HEAD"} {
		for _, c := range []struct {
			path, rng, count string
			status, length   int
		}{
			{"k?partNumber=1", "bytes 0-5242879/5242980", "2", 206, 5 << 20},
			{"k?partNumber=2", "bytes 5242880-5242979/5242980", "2", 206, 100},
			{"k?partNumber=3", "", "", 416, -1},
			{"plain?partNumber=1", "bytes 0-4/5", "", 206, 5},
			{"plain?partNumber=2", "", "", 416, -1},
		} {
			res, body := g.call(method, "/data/"+c.path, "")
			if res.StatusCode != c.status || res.Header.Get("Content-Range") != c.rng || res.Header.Get("x-amz-mp-parts-count") != c.count ||
				c.length >= 0 && res.ContentLength != int64(c.length) {
				t.Errorf("%s %s: %d %v", method, c.path, res.StatusCode, res.Header)
			}
			if c.status == 416 && method == "GET" && !strings.Contains(body, "<Code>InvalidPartNumber</Code>") {
				t.Errorf("%s: %s", c.path, body)
			}
		}
	}
	_, body := g.call("GET", "/data/k?attributes", "", "x-amz-object-attributes: ObjectParts")
	if !strings.Contains(body, "<PartsCount>2</PartsCount>") {
		t.Errorf("attributes: %s", body)
	}
}

func TestPartsOf(t *testing.T) {
	for etag, want := range map[string]int{"": 0, "d41d8cd98f00b204e9800998ecf8427e": 0, "d41d8cd98f00b204e9800998ecf8427e-12": 12,
		"a-": 0, "a-b": 0, "a-0": 0, "a--1": 0, "0123-abcd-4": 0} {
		if got := partsOf(etag); got != want {
			t.Errorf("%q: %d, want %d", etag, got, want)
		}
	}
}

func TestAnUploadIsCompletedAsPromisedAndOnce(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	id, parts := g.upload("data", "k")
	if _, err := g.complete("data", "k", id, parts, aws.Int64(5)); codeOfS3(err) != "InvalidRequest" {
		t.Errorf("a wrong size: %v", err)
	}
	if _, _, err := g.get("data", "k", ""); codeOfS3(err) != "NoSuchKey" {
		t.Errorf("stored: %v", err)
	}
	first, err := g.complete("data", "k", id, parts, aws.Int64(5<<20+100))
	if err != nil {
		t.Fatal(err)
	}
	// The client did not get the answer and asks again.
	if again, err := g.complete("data", "k", id, parts, aws.Int64(5<<20+100)); err != nil || again != first {
		t.Errorf("again: %q, %v; first %q", again, err, first)
	}
	if _, err := g.complete("data", "k", id, parts[:1], nil); codeOfS3(err) != "NoSuchUpload" {
		t.Errorf("again with other parts: %v", err)
	}
	g.put("data", "k", []byte("another object"))
	// The answer is about that upload, whatever has become of the object since, and changes nothing.
	if again, err := g.complete("data", "k", id, parts, nil); err != nil || again != first {
		t.Errorf("after the object has changed: %q, %v", again, err)
	}
	if body, _, err := g.get("data", "k", ""); err != nil || string(body) != "another object" {
		t.Errorf("the object: %q, %v", body, err)
	}
}

func TestDeleteWhateverIsThere(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	for _, c := range []struct {
		match  string
		there  bool
		status int
	}{{"*", true, 204}, {"*", false, 412}, {`"x"`, true, 412}, {`"x"`, false, 412}} {
		if c.there {
			g.put("data", "k", []byte("x"))
		} else {
			g.call("DELETE", "/data/k", "")
		}
		res, body := g.call("DELETE", "/data/k", "", "If-Match: "+c.match)
		if res.StatusCode != c.status {
			t.Errorf("%+v: %d %s", c, res.StatusCode, body)
		}
		if _, _, err := g.get("data", "k", ""); (err == nil) != (c.there && c.status != 204) {
			t.Errorf("%+v: read after it: %v", c, err)
		}
	}
	g.put("data", "k", []byte("x"))
	_, body := g.call("POST", "/data?delete", "<Delete><Object><Key>k</Key><ETag>*</ETag></Object><Object><Key>n</Key><ETag>*</ETag></Object></Delete>")
	if !strings.Contains(body, "<Deleted><Key>k</Key></Deleted>") || !strings.Contains(body, "<Key>n</Key><Code>PreconditionFailed</Code>") {
		t.Error(body)
	}
}

func TestAPutWithoutALengthStoresNothing(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.put("data", "k", []byte("precious"))
	_, r := g.raw(g.signed("PUT", "/data/k", -1))
	if res, body := answer(t, r); res.StatusCode != 411 || !strings.Contains(body, "<Code>MissingContentLength</Code>") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if got, _, err := g.get("data", "k", ""); string(got) != "precious" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestHeadersComeBack(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.call("PUT", "/data/bare", "x")
	g.call("PUT", "/data/k", "x", "Content-Encoding: gzip", "Content-Type: a/b", "x-amz-meta-name: Grüße", "x-amz-meta-ascii: =?x",
		"Content-Language: de", "Content-Disposition: inline", "Cache-Control: private", "Expires: never")
	res, _ := g.call("GET", "/data/bare", "")
	if got := res.Header.Get("Content-Type"); got != "binary/octet-stream" {
		t.Errorf("without a media type: %q", got)
	}
	res, _ = g.call("GET", "/data/k", "", "Accept-Encoding: gzip")
	for name, want := range map[string]string{"Content-Encoding": "gzip", "Content-Type": "a/b", "x-amz-meta-name": "=?UTF-8?b?R3LDvMOfZQ==?=",
		"x-amz-meta-ascii": "=?x", "Content-Language": "de", "Content-Disposition": "inline", "Cache-Control": "private", "Expires": "never",
		"Accept-Ranges": "bytes", "ETag": `"9dd4e461268c8034f5c8564e155c67a6"`} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res, body := g.call("PUT", "/data/latin", "x", "x-amz-meta-name: h\xe4"); res.StatusCode != 400 {
		t.Errorf("bytes that are no UTF-8: %d %s", res.StatusCode, body)
	}
}

func TestCopyOfTheNullVersion(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.put("data", "k", []byte("x"))
	res, body := g.call("PUT", "/data/copy", "", "x-amz-copy-source: /data/k?versionId=null")
	if res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if got, _, err := g.get("data", "copy", ""); string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAVersionThatAStoreDoesNotUnderstand(t *testing.T) {
	invalid := upstream.Errorf(upstream.Invalid, "Stat", "no uuid")
	if e := toS3(badVersion(invalid, "v")); e.Code != "InvalidArgument" {
		t.Errorf("with a version: %v", e)
	}
	if e := toS3(badVersion(invalid, "")); e.Code != "InvalidRequest" {
		t.Errorf("without one: %v", e)
	}
	missing := upstream.Errorf(upstream.NoVersion, "Stat", "gone")
	if got := badVersion(missing, "v"); !errors.Is(got, upstream.NoVersion) {
		t.Errorf("another error: %v", got)
	}
}

// waitingContext tells when somebody begins to wait for its end.
type waitingContext struct {
	context.Context
	waits func()
}

func (c waitingContext) Done() <-chan struct{} {
	c.waits()
	return c.Context.Done()
}

// TestRevalidationAsksAfterTheRequest: an answer that was under way before a request came does not tell what is
// there now, though it may come after it.
func TestRevalidationAsksAfterTheRequest(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	const before, now = "1", "333"
	for name, c := range map[string]struct {
		f     config.Freshness
		force bool
		want  string
	}{
		"revalidate": {config.Freshness{Revalidate: true}, false, now},
		"no-cache":   {config.Freshness{TTL: time.Hour}, true, now},
		"ttl":        {config.Freshness{TTL: time.Hour}, false, before},
	} {
		t.Run(name, func(t *testing.T) {
			g.put("data", name, []byte(now))
			where := target{route: config.Route{Freshness: c.f}, store: g.stores["disk"], client: "data", bucket: "data"}
			ck, l := where.cacheKey(name), g.service.learner
			early, lead := l.join(ck, false) // somebody has asked when it was before
			if !lead {
				t.Fatal("another flight")
			}
			waiting, got := make(chan struct{}), make(chan learned, 1)
			ctx := waitingContext{t.Context(), sync.OnceFunc(func() { close(waiting) })}
			go func() {
				defer close(got)
				answer, err := l.get(ctx, where, name, nil, c.force)
				if err != nil {
					t.Error(err)
					return
				}
				answer.release()
				got <- answer
			}()
			<-waiting
			early.attrs = object.Attrs{Size: int64(len(before)), ETag: "e", HeadersKnown: true}
			l.mu.Lock()
			delete(l.mu.flights, ck)
			l.mu.Unlock()
			close(early.done)
			if answer := <-got; answer.attrs.Size != int64(len(c.want)) {
				t.Errorf("size %d, want %d", answer.attrs.Size, len(c.want))
			}
		})
	}
}
