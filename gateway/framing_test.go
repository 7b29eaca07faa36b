package gateway

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"unistore/config"
)

// with adds header lines to a rendered request.
func with(request string, lines ...string) string {
	return strings.Replace(request, "\r\n\r\n", "\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n", 1)
}

func TestAmbiguousFramingIsRefused(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	put := g.signed("PUT", "/data/k", -1)
	const chunked = "5\r\nhello\r\n0\r\n\r\n"
	for name, c := range map[string]struct{ request, code string }{
		"length and chunked":    {with(put, "Content-Length: 5", "Transfer-Encoding: chunked") + chunked, "BadRequest"},
		"chunked and length":    {with(put, "Transfer-Encoding: chunked", "Content-Length: 5") + chunked, "BadRequest"},
		"two lengths":           {with(put, "Content-Length: 5", "Content-Length: 6") + "hello!", "BadRequest"},
		"two codings":           {with(put, "Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunked, "BadRequest"},
		"compressed":            {with(put, "Transfer-Encoding: gzip, chunked") + chunked, "NotImplemented"},
		"unknown coding":        {with(put, "Transfer-Encoding: xchunked") + chunked, "NotImplemented"},
		"odd identity":          {with(put, "Transfer-Encoding: Identity", "Content-Length: 5") + "hello", "NotImplemented"},
		"two hosts":             {with(put, "Content-Length: 5", "Host: elsewhere") + "hello", "BadRequest"},
		"no host":               {"GET / HTTP/1.1\r\n\r\n", "BadRequest"},
		"folded":                {with(put, "Content-Length: 5", "X-A: b\r\n c") + "hello", "BadRequest"},
		"space before a colon":  {with(put, "Content-Length : 5") + "hello", "BadRequest"},
		"a length of no digits": {with(put, "Content-Length: +5") + "hello", "BadRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := g.raw(c.request)
			res, body := answer(t, r)
			if !strings.Contains(body, "<Code>"+c.code+"</Code>") || !res.Close {
				t.Errorf("%d, close %v: %s", res.StatusCode, res.Close, body)
			}
			if _, _, err := g.get("data", "k", ""); codeOfS3(err) != "NoSuchKey" {
				t.Errorf("stored: %v", err)
			}
		})
	}
	for name, request := range map[string]string{
		"chunked": with(put, "Transfer-Encoding: Chunked") + chunked,
		"length":  with(put, "Content-Length: 5", "Content-Length: 5") + "hello",
	} {
		_, r := g.raw(request)
		if res, body := answer(t, r); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
}

func TestUnknownMethodsGetAnS3Error(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	for request, code := range map[string]string{
		"FOO / HTTP/1.1\r\nHost: x\r\n\r\n":       "AccessDenied", // nothing is said to strangers
		"PRI * HTTP/2.0\r\nHost: x\r\n\r\n":       "AccessDenied",
		g.signed("FOO", "/data/k", -1):            "MethodNotAllowed",
		g.signed("get", "/data/k", -1):            "MethodNotAllowed",
		g.signed("PATCH", "/data", -1):            "MethodNotAllowed",
		"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n": "AccessDenied",
	} {
		_, r := g.raw(request)
		res, body := answer(t, r)
		if !strings.Contains(body, "<Code>"+code+"</Code>") || len(res.Header.Get("x-amz-request-id")) != 16 {
			t.Errorf("%q: %d %s", request, res.StatusCode, body)
		}
	}
}

func TestOnlyWelcomeClientsAreToldToContinue(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Buckets[0].Name = "data*" })
	g.bucket("data")
	bad := strings.Replace(g.signed("PUT", "/data/k", 5), "Signature=", "Signature=00", 1)
	for name, c := range map[string]struct{ request, code string }{
		"wrong signature":  {bad, "SignatureDoesNotMatch"},
		"no signature":     {"PUT /data/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", "AccessDenied"},
		"no such bucket":   {g.signed("PUT", "/nowhere/k", 5), "NoSuchBucket"},
		"bad key":          {g.signed("PUT", "/data/"+strings.Repeat("k", 1025), 5), "KeyTooLongError"},
		"too large":        {g.signed("PUT", "/data/k", maxObject+1), "EntityTooLarge"},
		"too large a part": {g.signed("PUT", "/data/k?partNumber=1&uploadId=u", maxPut+1), "EntityTooLarge"},
		"chunked":          {with(strings.Replace(bad, "Content-Length: 5\r\n", "", 1), "Transfer-Encoding: chunked"), "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := g.raw(with(c.request, "Expect: 100-continue"))
			res, body := answer(t, r)
			if !strings.Contains(body, "<Code>"+c.code+"</Code>") || !res.Close {
				t.Errorf("%d, close %v: %s", res.StatusCode, res.Close, body)
			}
		})
	}
	for _, expect := range []string{"Expect: 100-continue", "expect: 100-continue", "EXPECT: 100-Continue"} {
		c, r := g.raw(with(g.signed("PUT", "/data/k", 5), expect))
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
			t.Fatalf("%s: %q %v", expect, line, err)
		}
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if res, body := answer(t, r); res.StatusCode != 200 || res.Close {
			t.Errorf("%s: %d %s", expect, res.StatusCode, body)
		}
	}
}

func TestTheFirstBytesOfABodyAreNotWaitedForLonger(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = 300 * time.Millisecond })
	g.bucket("data")
	for _, sent := range []string{"", "hel"} {
		started := time.Now()
		_, r := g.raw(g.signed("PUT", "/data/slow", 5) + sent)
		if res, body := answer(t, r); !strings.Contains(body, "<Code>RequestTimeout</Code>") {
			t.Errorf("%q: %d %s", sent, res.StatusCode, body)
		}
		if took := time.Since(started); took > 10*time.Second {
			t.Errorf("%q: answered after %v", sent, took)
		}
		c, r := g.raw(g.signed("PUT", "/data/slow", 5) + sent)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if res, body := answer(t, r); !strings.Contains(body, "<Code>IncompleteBody</Code>") {
			t.Errorf("%q, cut: %d %s", sent, res.StatusCode, body)
		}
	}
	if _, _, err := g.get("data", "slow", ""); codeOfS3(err) != "NoSuchKey" {
		t.Errorf("stored: %v", err)
	}
}

func TestABodyWithoutALimitOfTime(t *testing.T) {
	g := startGateway(t, t.TempDir(), func(c *config.Config) { c.Limits.RequestBodyIdle = 0 })
	g.bucket("data")
	c, r := g.raw(g.signed("PUT", "/data/k", 5))
	for _, part := range []string{"he", "llo"} {
		time.Sleep(20 * time.Millisecond) // a client that is not at once
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
	}
	if res, body := answer(t, r); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
