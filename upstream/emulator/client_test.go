package emulator

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sign signs r as a client does, by the emulator's own reading of the algorithms: what the tests that use it show is
// not that the algorithms are right (that is for the published examples and for the vendors' clients) but what they cover.
func sign(e *Emulator, r *http.Request, accessKey, secret string) {
	c := &call{r: r}
	_ = e.resolve(c) // a bad URL is for the server to refuse
	now := e.cfg.Now().UTC()
	switch e.cfg.Dialect {
	case OSS:
		r.Header.Set("x-oss-date", now.Format(ossTime))
		a := ossAuthorization{accessKey: accessKey, day: now.Format("20060102"), region: e.cfg.Region}
		r.Header.Set("Authorization", fmt.Sprintf("%s Credential=%s/%s/%s/oss/%s,Signature=%s", ossV4, accessKey, a.day, a.region, ossRequest,
			a.expected(c, secret)))
	case OBS:
		r.Header.Set("Date", now.Format(http.TimeFormat))
		d := dated{resource: c.resource(c.rawKey), signed: obsSubresources, shadowed: true}
		r.Header.Set("Authorization", "OBS "+accessKey+":"+e.expected(c, d, secret))
	case COS:
		span := fmt.Sprintf("%d;%d", now.Unix()-60, now.Unix()+600)
		names := []string{"host"}
		for name := range r.Header {
			if name = strings.ToLower(name); strings.HasPrefix(name, "x-cos-") || name == "content-type" || name == "content-md5" {
				names = append(names, name)
			}
		}
		var params []string
		for _, p := range c.query {
			params = append(params, strings.ToLower(escape(p.name, "")))
		}
		fields := map[string]string{
			"q-sign-algorithm": "sha1", "q-ak": accessKey, "q-sign-time": span, "q-key-time": span,
			"q-header-list": strings.Join(names, ";"), "q-url-param-list": strings.Join(params, ";"),
		}
		fields["q-signature"], _ = expectedCOS(c, fields, secret) // everything that is named is there
		var parts []string
		for name, value := range fields {
			parts = append(parts, name+"="+value)
		}
		r.Header.Set("Authorization", strings.Join(parts, "&"))
	}
}

const (
	testKey    = "AKEMULATED"
	testSecret = "emulated-secret"
)

// client speaks to one emulator in path style, or by the host of the bucket.
type client struct {
	t *testing.T
	*Server
	host string
	http http.Client
}

func newClient(t *testing.T, d Dialect, change func(*Quirks)) *client {
	t.Helper()
	q := DefaultQuirks(d)
	if change != nil {
		change(&q)
	}
	s, err := Start("127.0.0.1:0", Config{
		Dialect: d, Credentials: map[string]string{testKey: testSecret}, Region: "cn-hangzhou", Quirks: &q,
	})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: s.Dial, DisableCompression: true}
	c := &client{t: t, Server: s, host: bucketName0 + "." + s.cfg.Domains[0], http: http.Client{Transport: transport}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c.want(200, "", c.do("PUT", "/", nil, ""))
	return c
}

const bucketName0 = "bucket-1250000000"

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (c *client) request(method, path string, header http.Header, body io.Reader) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+c.host+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

func (c *client) send(r *http.Request) reply {
	resp, err := c.http.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

// do sends a signed request.
func (c *client) do(method, path string, header http.Header, body string) reply {
	c.t.Helper()
	r := c.request(method, path, header, strings.NewReader(body))
	sign(c.Emulator, r, testKey, testSecret)
	return c.send(r)
}

// want checks an answer's status and, if it is an error, its code.
func (c *client) want(status int, code string, got reply) reply {
	c.t.Helper()
	if got.err != nil || got.status != status || (code != "" && !strings.Contains(got.body, "<Code>"+code+"</Code>")) {
		c.t.Fatalf("%d %s, %v; want %d %s", got.status, got.body, got.err, status, code)
	}
	return got
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// upload sends parts of these sizes and completes with their numbers.
func (c *client) upload(path string, sizes ...int) (id string, complete string) {
	c.t.Helper()
	made := c.want(200, "", c.do("POST", path+"?uploads", nil, ""))
	_, rest, _ := strings.Cut(made.body, "<UploadId>")
	id, _, _ = strings.Cut(rest, "<")
	var list strings.Builder
	for i, size := range sizes {
		if size < 0 { // a gap
			continue
		}
		body := string(bytes.Repeat([]byte{byte('a' + i)}, size))
		part := c.want(200, "", c.do("PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", path, i+1, id), nil, body))
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, part.header.Get("ETag"))
	}
	return id, "<CompleteMultipartUpload>" + list.String() + "</CompleteMultipartUpload>"
}

// serve answers one request without a network.
func serve(e *Emulator, r *http.Request) reply {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return reply{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }
