package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/cache"
	"unistore/config"
	"unistore/metrics"
	"unistore/s3api"
)

func TestPinHeaders(t *testing.T) {
	long := strings.Repeat("q", maxQueryID)
	tests := []struct {
		lines   string // "name: value|..."
		want    pinHeaders
		ignored string // the headers that were counted
	}{
		{"unistore-query: q-1", pinHeaders{query: "q-1"}, ""},
		{`unistore-query: "q-1" ; ttl=600`, pinHeaders{query: "q-1", queryTTL: 600 * time.Second}, ""},
		{"unistore-query: q;weight=4;ttl=1;x", pinHeaders{query: "q", queryTTL: time.Second}, ""},
		{"unistore-pin: hard", pinHeaders{kind: cache.PinHard}, ""},
		{"unistore-pin: soft; ttl=5", pinHeaders{kind: cache.PinSoft, pinTTL: 5 * time.Second}, ""},
		{"unistore-pin: hard;ttl=9223372036854775807", pinHeaders{kind: cache.PinHard, pinTTL: cache.MaxPinTTL}, ""},
		{"unistore-unpin: a/b:c=d", pinHeaders{unpin: "a/b:c=d"}, ""},
		{"unistore-query: " + long + "|unistore-unpin: " + long + "x", pinHeaders{query: long}, headerUnpin},
		{"unistore-pin: HARD", pinHeaders{}, headerPin},
		{"unistore-pin: none", pinHeaders{}, headerPin},
		{"unistore-pin: ", pinHeaders{}, headerPin},
		{"unistore-pin: ;ttl=5", pinHeaders{}, headerPin},
		{"unistore-pin: hard;ttl=0", pinHeaders{}, headerPin},
		{"unistore-pin: hard;ttl=-1", pinHeaders{}, headerPin},
		{"unistore-pin: hard;ttl=1.5", pinHeaders{}, headerPin},
		{"unistore-pin: hard;ttl=9223372036854775808", pinHeaders{}, headerPin},
		{"unistore-pin: hard;ttl", pinHeaders{}, headerPin},
		{"unistore-pin: hard|unistore-pin: soft", pinHeaders{kind: cache.PinHard}, headerPin},
		{`unistore-query: "q`, pinHeaders{}, headerQuery},
		{"unistore-query: a b", pinHeaders{}, headerQuery},
		{"unistore-query: a,b", pinHeaders{}, headerQuery},
		{"unistore-query: ä", pinHeaders{}, headerQuery},
		{"unistore-query: \x00", pinHeaders{}, headerQuery},
		{"unistore-query: |unistore-unpin: |unistore-pin: x", pinHeaders{}, headerPin + headerQuery + headerUnpin},
		{"unistore-hint: whatever", pinHeaders{}, ""}, // not ours
	}
	for _, test := range tests {
		m := metrics.New(prometheus.NewRegistry())
		s := &service{metrics: m}
		var h s3api.Header
		for line := range strings.SplitSeq(test.lines, "|") {
			name, value, _ := strings.Cut(line, ": ")
			h = append(h, s3api.Field{Name: name, Value: value})
		}
		got := s.pinHeaders(h)
		if got == nil || *got != test.want {
			t.Errorf("%q: %+v, want %+v", test.lines, got, test.want)
		}
		ignored := ""
		for _, name := range []string{headerPin, headerQuery, headerUnpin} {
			if testutil.ToFloat64(m.HintsIgnored.WithLabelValues(name)) == 1 {
				ignored += name
			}
		}
		if ignored != test.ignored {
			t.Errorf("%q: ignored %q, want %q", test.lines, ignored, test.ignored)
		}
	}
	if got := (&service{}).pinHeaders(s3api.Header{{Name: "range", Value: "bytes=0-"}}); got != nil {
		t.Errorf("%+v of nothing", got)
	}
}

func TestAuditID(t *testing.T) {
	const span = "https://audit.example.org/hadoop/1/op_open/fc311a70-00000006/?op=op_open&p1=a/b&pr=stevel&ps=c765&id=fc311a70-00000006&t0=1&fs=fc311a70&t1=1"
	for referer, want := range map[string]string{
		"":                                   "",
		span + "&ts=1620911871265":           "fc311a70",
		span + "&ji=job_1620911577786_0006":  "job_1620911577786_0006",
		span + "&ji=":                        "fc311a70",
		span + "&ji=a%20b":                   "fc311a70",
		"https://example.org/?ji=x":          "",
		"https://example.org/?op=x&ji=x":     "",
		"https://example.org/?op=x&id=x":     "",
		"://?op=x&id=x&ji=x":                 "",
		"https://example.org/%zz?op=x&id=1":  "",
		"op=x&id=x&ji=x":                     "",
		"https://example.org?op=&id=&ji=a/b": "a/b",
	} {
		if got := auditID(referer); got != want {
			t.Errorf("%q: %q, want %q", referer, got, want)
		}
	}
}

// pinGet reads a key with extra headers and returns the response and its body.
func (g *testGateway) pinGet(client *s3.Client, key, rng string, headers ...string) *http.Response {
	g.t.Helper()
	in := &s3.GetObjectInput{Bucket: aws.String("data"), Key: &key}
	if rng != "" {
		in.Range = &rng
	}
	var opts []func(*s3.Options)
	for i := 0; i < len(headers); i += 2 {
		opts = append(opts, s3.WithAPIOptions(smithyhttp.SetHeaderValue(headers[i], headers[i+1])))
	}
	out, err := client.GetObject(g.t.Context(), in, opts...)
	if err != nil {
		g.t.Fatal(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	raw, _ := awsResponse(out.ResultMetadata)
	raw.Body = io.NopCloser(bytes.NewReader(body))
	return raw
}

func wantPin(t *testing.T, res *http.Response, want string) {
	t.Helper()
	if got := res.Header.Get("Unistore-Pin-Status"); got != want {
		t.Errorf("Unistore-Pin-Status %q, want %q", got, want)
	}
}

// wantLease checks a pin that was granted, for a lease of ttl from about now.
func wantLease(t *testing.T, res *http.Response, want string, ttl time.Duration) {
	t.Helper()
	got, until, _ := strings.Cut(res.Header.Get("Unistore-Pin-Status"), "; until=")
	seconds, err := strconv.ParseInt(until, 10, 64)
	off := time.Until(time.Unix(seconds, 0)) - ttl
	if got != want || err != nil || off.Abs() > 30*time.Second {
		t.Errorf("Unistore-Pin-Status %q, want %q for %v", res.Header.Get("Unistore-Pin-Status"), want, ttl)
	}
}

func (g *testGateway) wantPins(want ...string) {
	g.t.Helper()
	var got []string
	for _, p := range g.cache.Pins() {
		got = append(got, fmt.Sprintf("%s: soft %d hard %d", p.Query, p.SoftBlocks, p.HardBlocks))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		g.t.Error(diff)
	}
}

func TestPinsByHeader(t *testing.T) {
	dir := t.TempDir()
	change := func(c *config.Config) {
		c.Cache.Size, c.Cache.PinLimit = 16<<20, .5
		c.Credentials = append(c.Credentials, config.Credential{
			AccessKey: "AKOTHER", SecretKey: config.NewSecret("other"), Buckets: []string{"*"}, ReadOnly: true,
		})
	}
	g := startGateway(t, dir, change)
	g.bucket("data")
	body := bytesOf(1, 6<<20)
	for _, key := range []string{"a", "b"} {
		g.put("data", key, body)
	}
	g.put("data", "empty", nil)
	other := s3.New(g.client.Options(), func(o *s3.Options) {
		o.Credentials = credentials.NewStaticCredentialsProvider("AKOTHER", "other", "")
	})

	res := g.pinGet(g.client, "a", "bytes=0-2097151", "Unistore-Query", "q1", "Unistore-Pin", "hard;ttl=600")
	wantLease(t, res, "hard; bytes=2097152", 10*time.Minute)
	if got, _ := io.ReadAll(res.Body); !bytes.Equal(got, body[:2<<20]) {
		t.Error("wrong bytes")
	}
	if got := g.pinGet(g.client, "a", "bytes=5-10").Header; got.Get("Cache-Status") != "unistore; hit; detail=pinned" || got.Get("Unistore-Pin-Status") != "" {
		t.Errorf("%v", got)
	}
	wantLease(t, g.pinGet(other, "a", "bytes=0-1048575", "Unistore-Query", "q1;ttl=60", "Unistore-Pin", "soft"), "soft; bytes=1048576", time.Minute)
	wantLease(t, g.pinGet(g.client, "b", "", "Unistore-Query", "q2", "Unistore-Pin", "hard"), "hard; bytes=6291456", cache.DefaultPinTTL)
	wantPin(t, g.pinGet(g.client, "a", "bytes=2097152-", "Unistore-Query", "q2", "Unistore-Pin", "hard"), "refused; bytes=4194304")
	wantPin(t, g.pinGet(g.client, "empty", "", "Unistore-Pin", "hard"), "hard; bytes=0")
	g.wantPins("AKOTHER q1: soft 1 hard 0", "AKTEST q1: soft 0 hard 2", "AKTEST q2: soft 0 hard 6")

	// A key can not release what another has pinned, and a read-only one may pin and release.
	g.pinGet(other, "a", "bytes=0-0", "Unistore-Unpin", "q2")
	g.pinGet(other, "a", "bytes=0-0", "Unistore-Unpin", "q1")
	g.wantPins("AKTEST q1: soft 0 hard 2", "AKTEST q2: soft 0 hard 6")
	// Released first, pinned after, in one request; without a query the key is it.
	res = g.pinGet(g.client, "a", "bytes=4194304-", "Unistore-Unpin", "q2", "Unistore-Pin", "hard")
	wantLease(t, res, "hard; bytes=2097152", cache.DefaultPinTTL)
	g.wantPins("AKTEST AKTEST: soft 0 hard 2", "AKTEST q1: soft 0 hard 2")
	g.pinGet(g.client, "a", "bytes=0-0", "Unistore-Unpin", "AKTEST")
	// S3A names its work in the Referer.
	g.pinGet(g.client, "b", "bytes=0-0", "Unistore-Pin", "soft", "Referer", "https://audit/hadoop/1/x/?op=x&id=1&fs=2&ji=job7")
	g.wantPins("AKTEST job7: soft 1 hard 0", "AKTEST q1: soft 0 hard 2")

	// A query's own header with a time is its heartbeat; pins are not lost by an overwrite of another object.
	g.wait(9 * time.Minute)
	g.pinGet(g.client, "b", "bytes=0-0", "Unistore-Query", "q1;ttl=3600")
	g.wait(time.Minute)
	g.wantPins("AKTEST q1: soft 0 hard 2")
	g.put("data", "b", body)
	g.wantPins("AKTEST q1: soft 0 hard 2")
	// They survive a restart.
	g.stop()
	g = startGateway(t, dir, change)
	g.wantPins("AKTEST q1: soft 0 hard 2")
	g.put("data", "a", body)
	g.wantPins("AKTEST q1: soft 0 hard 0")
}

func TestBadPinHeadersAreIgnored(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	body := bytesOf(1, 100)
	g.put("data", "a", body)
	for _, bad := range [][]string{
		{"Unistore-Pin", "firm"}, {"Unistore-Pin", "hard;ttl=x"}, {"Unistore-Query", "a b", "Unistore-Unpin", strings.Repeat("x", 4000)},
		{"Unistore-Pin", strings.Repeat(";", 4000)},
	} {
		res := g.pinGet(g.client, "a", "", bad...)
		if got, _ := io.ReadAll(res.Body); !bytes.Equal(got, body) || res.StatusCode != 200 {
			t.Errorf("%.60q: %d", bad, res.StatusCode)
		}
		wantPin(t, res, "")
	}
	for name, want := range map[string]float64{headerPin: 3, headerQuery: 1, headerUnpin: 1} {
		if got := testutil.ToFloat64(g.metrics.HintsIgnored.WithLabelValues(name)); got != want {
			t.Errorf("%s: %v were counted, want %v", name, got, want)
		}
	}
	g.wantPins()
	// Around the cache nothing can be pinned.
	wantPin(t, g.pinGet(g.client, "a", "", "Unistore-Pin", "hard", "Cache-Control", "no-store"), "refused; bytes=100")
	// Other operations take no notice.
	_, err := g.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("data"), Key: aws.String("c"), Body: strings.NewReader("x")},
		s3.WithAPIOptions(smithyhttp.SetHeaderValue("Unistore-Pin", "hard")))
	if err != nil {
		t.Error(err)
	}
	g.wantPins()
}
