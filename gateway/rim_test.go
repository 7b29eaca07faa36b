package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/metrics"
	"unistore/netx"
)

// raw sends text on a new connection and returns the connection and a reader of its answers.
func (g *testGateway) raw(text string) (net.Conn, *bufio.Reader) {
	g.t.Helper()
	c, err := net.Dial("tcp", g.Addresses()[0])
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		g.t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// signed renders a request with its signature, header lines and blank line, without the body.
func (g *testGateway) signed(method, path string, length int) string {
	g.t.Helper()
	req, err := http.NewRequest(method, g.url+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.ContentLength = max(int64(length), 0)
	g.unsigned(req)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, req.Host)
	fmt.Fprintf(&b, "Host-Ignored: 1\r\n")
	_ = req.Header.Write(&b)
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	return strings.Replace(b.String(), "Host-Ignored: 1\r\n", "", 1) + "\r\n"
}

func answer(t *testing.T, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// A connection on which nothing was asked is closed without a word when its time is over; half a request is answered.
func TestConnectionsThatAreNotUsed(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t.Context(), serverConfig{Service: &service{}, Metrics: metrics.New(prometheus.NewRegistry()), Log: zerolog.Nop()})
	s.app.Server().ReadTimeout = 50 * time.Millisecond
	ended := make(chan error, 1)
	go func() {
		ended <- s.Serve(netx.Wrap(raw, netx.Config{Budget: netx.NewBudget(10), WriteStall: time.Minute, Log: zerolog.Nop()}))
	}()
	for sent, want := range map[string]string{"": "", "GET / HT": "HTTP/1.1 400 Bad Request"} {
		c, err := net.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if line, _, _ := strings.Cut(string(got), "\r\n"); err != nil || line != want {
			t.Errorf("after %q: %q, %v, want %q", sent, got, err, want)
		}
		c.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestATruncatedBodyStoresNothing(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	for _, sent := range []int{0, 1, 100, 9000, 100_000} {
		c, r := g.raw(g.signed("PUT", "/data/cut", 200_000) + strings.Repeat("x", sent))
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r)
		c.Close()
		if _, _, err := g.get("data", "cut", ""); codeOfS3(err) != "NoSuchKey" {
			t.Fatalf("%d of 200000 bytes were stored: %v", sent, err)
		}
	}
}

func TestAChunkedBodyIsStoredWholeOrNotAtAll(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	head := g.signed("PUT", "/data/k", -1)
	head = strings.TrimSuffix(head, "\r\n") + "Transfer-Encoding: chunked\r\n\r\n"
	for body, stored := range map[string]bool{
		"5\r\nhello\r\n0\r\n\r\n": true,
		"5\r\nhello\r\n":          false, // cut between two chunks
		"5\r\nhello\r\n0\r\n":     false,
		"5\r\nhel":                false,
		"":                        false,
	} {
		c, r := g.raw(head + body)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r)
		c.Close()
		got, _, err := g.get("data", "k", "")
		if stored && (err != nil || string(got) != "hello") || !stored && codeOfS3(err) != "NoSuchKey" {
			t.Errorf("%q: %q, %v", body, got, err)
		}
		_, _ = g.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("data"), Key: aws.String("k")})
	}
}

func TestASlowBodyTimesOut(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = 300 * time.Millisecond })
	g.bucket("data")
	_, r := g.raw(g.signed("PUT", "/data/slow", 200_000) + strings.Repeat("x", 10_000))
	res, body := answer(t, r)
	if res.StatusCode != 400 || !strings.Contains(body, "<Code>RequestTimeout</Code>") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, _, err := g.get("data", "slow", ""); codeOfS3(err) != "NoSuchKey" {
		t.Errorf("stored: %v", err)
	}
}

func TestARefusedBodyDoesNotBecomeTheNextRequest(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	payload := strings.Repeat("DELETE /data/victim HTTP/1.1\r\n\r\n", 4000)
	bad := strings.Replace(g.signed("PUT", "/data/k", len(payload)), "Signature=", "Signature=00", 1)
	_, r := g.raw(bad + payload + g.signed("GET", "/data?list-type=2", 0))
	res, body := answer(t, r)
	if res.StatusCode != 403 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	res, body = answer(t, r)
	if res.StatusCode != 200 || !strings.Contains(body, "<KeyCount>0</KeyCount>") {
		t.Errorf("the connection is out of step: %d %s", res.StatusCode, body)
	}
}

func TestMalformedRequestsGetAnS3Error(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	for name, text := range map[string]string{
		"no host or auth":  "GET / HTTP/1.1\r\n\r\n",
		"garbage":          "\x00\x01\x02\r\n\r\n",
		"bad length":       "PUT /data/k HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
		"huge header":      "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("y", 40<<10) + "\r\n\r\n",
		"bad percent":      "GET /data/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"dot dot":          "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"absolute":         "GET http://elsewhere/data/k HTTP/1.1\r\nHost: x\r\n\r\n",
		"chunked and junk": "PUT /data/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, r := g.raw(text)
			res, body := answer(t, r)
			if res.StatusCode < 400 || res.StatusCode > 499 && res.StatusCode != 501 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if !strings.Contains(body, "<Error><Code>") && !strings.Contains(body, "<Error>\n") {
				t.Errorf("no S3 error: %q", body)
			}
		})
	}
}

func TestKeepAliveAndExpectContinue(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	head := strings.Replace(g.signed("PUT", "/data/k", 5), "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
	c, r := g.raw(head)
	line, err := r.ReadString('\n')
	if err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q %v", line, err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if res, body := answer(t, r); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if _, err := io.WriteString(c, g.signed("GET", "/data/k", 0)); err != nil {
		t.Fatal(err)
	}
	res, body := answer(t, r)
	if res.StatusCode != 200 || body != "hello" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if id := res.Header.Get("x-amz-request-id"); len(id) != 16 {
		t.Errorf("request id %q", id)
	}
}

func TestHeadHasTheLengthAndNoBody(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	g.put("data", "k", bytes.Repeat([]byte("z"), 12345))
	c, r := g.raw(g.signed("HEAD", "/data/k", 0))
	req, _ := http.NewRequest("HEAD", "/", nil)
	res, err := http.ReadResponse(r, req)
	if err != nil || res.StatusCode != 200 || res.ContentLength != 12345 {
		t.Fatalf("%v %v", res, err)
	}
	if _, err := io.WriteString(c, g.signed("GET", "/data/nope", 0)); err != nil {
		t.Fatal(err)
	}
	if res, _ := answer(t, r); res.StatusCode != 404 {
		t.Errorf("after the HEAD: %d", res.StatusCode)
	}
}
