package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// answers is a transport that gives one canned answer.
type answers struct {
	status int
	body   io.Reader
	seen   *http.Request
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.seen = req
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"X-Id": {"1"}}, Body: io.NopCloser(a.body), ContentLength: -1, Request: req,
		TransferEncoding: []string{"chunked"},
	}, nil
}

func watched(t *testing.T, method, url string, header map[string]string, a *answers) (*http.Response, *Exchange, error) {
	t.Helper()
	ctx, x := Begin(t.Context())
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = []string{v} // as SDKs do it, in any spelling
	}
	resp, err := Watch{a}.RoundTrip(req)
	return resp, x, err
}

func TestErrorUnder200(t *testing.T) {
	const doc = `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>m</Message><RequestId>r</RequestId></Error>`
	long := strings.Repeat(" \r\n", 1<<20)
	for name, c := range map[string]struct {
		method, url string
		header      map[string]string
		body        string
		want        int // status; 0 is no answer
	}{
		"complete":                          {"POST", "http://h/k?uploadId=1", nil, doc, 500},
		"complete, after white space":       {"POST", "http://h/k?uploadId=1", nil, long + doc, 500},
		"complete, well":                    {"POST", "http://h/k?uploadId=1", nil, " \n<R><ETag>e</ETag></R>\n", 200},
		"complete, with characters not XML": {"POST", "http://h/k?uploadId=1", nil, "<R><Key>\x01</Key></R>", 200},
		"complete, empty":                   {"POST", "http://h/k?uploadId=1", nil, "", 0},
		"complete, only white space":        {"POST", "http://h/k?uploadId=1", nil, "  \n", 0},
		"complete, cut":                     {"POST", "http://h/k?uploadId=1", nil, "<R><ETag>e</ETag>", 0},
		"complete, error cut":               {"POST", "http://h/k?uploadId=1", nil, "<Error><Code>x</Code>", 0},
		"complete, no XML":                  {"POST", "http://h/k?uploadId=1", nil, "ok", 0},
		"complete, endless":                 {"POST", "http://h/k?uploadId=1", nil, "<R>" + strings.Repeat("x", 2<<20) + "</R>", 0},
		"copy":                              {"PUT", "http://h/k", map[string]string{"X-Amz-Copy-Source": "b/k"}, doc, 500},
		"copy, lower case":                  {"PUT", "http://h/k", map[string]string{"x-obs-copy-source": "b/k"}, doc, 500},
		"copy part":                         {"PUT", "http://h/k?partNumber=1&uploadId=2", map[string]string{"X-Cos-Copy-Source": "b/k"}, doc, 500},
		"an object that looks like it":      {"GET", "http://h/k", nil, doc, 200},
		"create upload":                     {"POST", "http://h/k?uploads", nil, "", 200},
		"put":                               {"PUT", "http://h/k", nil, "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			resp, x, err := watched(t, c.method, c.url, c.header, &answers{status: 200, body: strings.NewReader(c.body)})
			if c.want == 0 {
				if err == nil || x.Answer().Status != 0 {
					t.Fatalf("answer %+v, error %v; want none", x.Answer(), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.want || x.Answer().Status != c.want {
				t.Errorf("status %d, noted %d; want %d", resp.StatusCode, x.Answer().Status, c.want)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || strings.TrimLeft(string(got), " \r\n") != strings.TrimLeft(c.body, " \r\n") {
				t.Errorf("the SDK reads %q, %v", got, err)
			}
			if want := (Document{Code: "InternalError", Message: "m", RequestID: "r"}); c.want == 500 {
				have := x.Answer().Error
				have.XMLName.Local = ""
				if have != want {
					t.Errorf("document %+v", have)
				}
			}
		})
	}
}

func TestBrokenConnectionAfter200IsNoAnswer(t *testing.T) {
	broken := errors.New("reset")
	body := io.MultiReader(strings.NewReader("  "), iotest.ErrReader(broken))
	if _, _, err := watched(t, "POST", "http://h/k?uploadId=1", nil, &answers{status: 200, body: body}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestErrorDocumentsAreBoundedAndNoted(t *testing.T) {
	for name, c := range map[string]struct{ body, code string }{
		"XML":     {"<Error><Code>NoSuchKey</Code></Error>", "NoSuchKey"},
		"JSON":    {`{"code":"NoSuchKey","message":"m","request_id":"r"}`, "NoSuchKey"},
		"HTML":    {"<html><body>502</body></html>", ""},
		"nothing": {"", ""},
		"endless": {"<Error><Code>SlowDown</Code>" + strings.Repeat(" ", 3<<20), "SlowDown"},
	} {
		resp, x, err := watched(t, "GET", "http://h/k", nil, &answers{status: 404, body: strings.NewReader(c.body)})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Answer().Error.Code; got != c.code {
			t.Errorf("%s: code %q, want %q", name, got, c.code)
		}
		if b, _ := io.ReadAll(resp.Body); len(b) > maxError {
			t.Errorf("%s: %d bytes are passed on", name, len(b))
		}
	}
}

func TestKeep(t *testing.T) {
	ctx, x := Begin(t.Context())
	x.Keep = true
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/?uploads", http.NoBody)
	resp, err := Watch{&answers{status: 200, body: strings.NewReader("<R/>")}}.RoundTrip(req)
	if err != nil || string(x.Answer().Body) != "<R/>" {
		t.Fatalf("%q, %v", x.Answer().Body, err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "<R/>" {
		t.Errorf("the SDK reads %q", b)
	}
}

// TestShape: what a driver sets is what is sent, whatever the SDK has put there.
func TestShape(t *testing.T) {
	ctx, x := Begin(t.Context())
	x.Set("X-Cos-Copy-Source", "right")
	x.Set("X-Empty", "")
	body, err := x.Send(strings.NewReader("hello"), 5)
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPut, "http://h/k", bytes.NewReader([]byte("the SDK's own")))
	req.Header["x-cos-copy-source"] = []string{"wrong"}
	req.Header.Set("Content-Length", "13")
	a := &answers{status: 200, body: http.NoBody}
	if _, err := (Shape{a}).RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(a.seen.Body)
	if string(got) != "hello" || a.seen.ContentLength != 5 || a.seen.Header.Get("Content-Length") != "5" || !body.Done() {
		t.Errorf("sent %q, length %d", got, a.seen.ContentLength)
	}
	if len(a.seen.Header) != 2 || a.seen.Header.Get("X-Cos-Copy-Source") != "right" {
		t.Errorf("header %v", a.seen.Header)
	}
	if req.Header.Get("Content-Length") != "13" || len(req.Header) != 2 {
		t.Errorf("the SDK's request was changed: %v", req.Header)
	}
}

func TestSendConfirmsTheEndOfNothing(t *testing.T) {
	_, x := Begin(t.Context())
	if _, err := x.Send(strings.NewReader("x"), 0); err == nil {
		t.Error("one byte is no error where none was announced")
	}
	if _, err := x.Send(nil, 0); err != nil {
		t.Error(err)
	}
}
