package gateway

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/config"
	"unistore/prefetch"
	"unistore/s3api"
)

func TestParseHint(t *testing.T) {
	for _, test := range []struct {
		in   string
		want prefetch.Hint
		ok   bool
	}{
		{"access=sequential", prefetch.Hint{Access: prefetch.HintSequential}, true},
		{"access=whole, window=1048576", prefetch.Hint{Access: prefetch.HintWhole, Window: 1 << 20}, true},
		{"window=5", prefetch.Hint{Window: 5}, true},
		{"access=once,colour=red", prefetch.Hint{Access: prefetch.HintOnce}, true},
		{"", prefetch.Hint{}, false},
		{"access", prefetch.Hint{}, false},
		{"access=everything", prefetch.Hint{}, false},
		{"window=0", prefetch.Hint{}, false},
		{"window=-1", prefetch.Hint{}, false},
		{"window=9223372036854775808", prefetch.Hint{}, false},
		{"access=random,", prefetch.Hint{}, false},
	} {
		if got, ok := parseHint(test.in); got != test.want || ok != test.ok {
			t.Errorf("%q: %+v, %v", test.in, got, ok)
		}
	}
}

func TestParseWants(t *testing.T) {
	for _, test := range []struct {
		in           string
		ranges, next int
		ok           bool
	}{
		{`ranges="0-1048575,9000000-9999999"`, 2, 0, true},
		{`ranges="0-0, -5, 7-", next="b/k1 b/k/2"`, 3, 2, true},
		{`next="b/k"`, 0, 1, true},
		{``, 0, 0, false},
		{`ranges="5-4"`, 0, 0, false},
		{`ranges=""`, 0, 0, false},
		{`ranges=0-1`, 0, 0, false},
		{`ranges="0-1`, 0, 0, false},
		{`ranges="0-1" next="b/k"`, 0, 0, false},
		{`next="b"`, 0, 0, false},
		{`next="/k"`, 0, 0, false},
		{`next="b/"`, 0, 0, false},
		{`other="x"`, 0, 0, false},
		{`next="` + strings.Repeat("b/k ", 2000) + `"`, 0, 0, false},
	} {
		got, ok := parseWants(test.in)
		if ok != test.ok || ok && (len(got.ranges) != test.ranges || len(got.next) != test.next) {
			t.Errorf("%.40q: %+v, %v", test.in, got, ok)
		}
	}
}

func FuzzHints(f *testing.F) {
	f.Add(`ranges="0-1048575,9000000-9999999", next="bucket/key2"`)
	f.Add("access=whole, window=1")
	f.Fuzz(func(_ *testing.T, v string) {
		parseHint(v)
		parseWants(v)
	})
}

// startAhead is a gateway that fetches ahead.
func startAhead(t *testing.T, change func(*config.Config)) *testGateway {
	t.Helper()
	return startGateway(t, t.TempDir(), func(c *config.Config) {
		c.Prefetch = config.Prefetch{Enabled: true, Memory: 64 << 20, MaxInflight: 16, MaxWindow: 32 << 20}
		if change != nil {
			change(c)
		}
	})
}

// getWith reads a range with headers and returns Cache-Status.
func (g *testGateway) getWith(bucket, key, rng string, headers ...string) string {
	g.t.Helper()
	out, err := g.client.GetObject(g.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: &rng},
		func(o *s3.Options) {
			for i := 0; i < len(headers); i += 2 {
				o.APIOptions = append(o.APIOptions, smithyhttp.AddHeaderValue(headers[i], headers[i+1]))
			}
		})
	if err != nil {
		g.t.Fatal(err)
	}
	defer out.Body.Close()
	res, ok := awsResponse(out.ResultMetadata)
	if !ok {
		g.t.Fatal("no response")
	}
	if n, err := io.Copy(io.Discard, out.Body); err != nil || n != aws.ToInt64(out.ContentLength) {
		g.t.Fatalf("%d bytes of %d, %v", n, aws.ToInt64(out.ContentLength), err)
	}
	return res.Header.Get("Cache-Status")
}

func (g *testGateway) outcome(cause string) int64 {
	return int64(testutil.ToFloat64(g.metrics.CacheFillBytes.WithLabelValues(cause)))
}

func TestScanThroughTheGateway(t *testing.T) {
	g := startAhead(t, nil)
	g.bucketWith("scan", "k", 48<<20)
	for off := 0; off < 48<<20; off += 4 << 20 {
		g.getWith("scan", "k", fmt.Sprintf("bytes=%d-%d", off, off+4<<20-1))
	}
	if demand, ahead := g.outcome("demand"), g.outcome("sequential"); demand+ahead != 48<<20 || ahead < 24<<20 {
		t.Errorf("%d bytes by demand, %d ahead", demand, ahead)
	}
}

func TestHintedRangesAndNext(t *testing.T) {
	g := startAhead(t, nil)
	g.bucketWith("hint", "a", 4<<20)
	g.bucketWith("hint", "b", 1<<20)
	g.getWith("hint", "a", "bytes=0-9", "Unistore-Prefetch", `ranges="1048576-2097151", next="hint/b other/c hint/none"`)
	g.eventually("both are there", func() bool { return g.outcome("hint") == 2<<20 })
	for key, rng := range map[string]string{"a": "bytes=1048576-2097151", "b": "bytes=0-1048575"} {
		if got := g.getWith("hint", key, rng); got != "unistore; hit; detail=prefetched" {
			t.Errorf("%s: %s", key, got)
		}
	}
	g.getWith("hint", "a", "bytes=0-9", "Unistore-Hint", "access=psychic", "Unistore-Prefetch", "ranges=x")
	for _, name := range []string{headerHint, headerPrefetch} {
		if got := testutil.ToFloat64(g.metrics.HintsIgnored.WithLabelValues(name)); got != 1 {
			t.Errorf("%s: %v ignored", name, got)
		}
	}
}

func TestHintsThatForbid(t *testing.T) {
	g := startAhead(t, nil)
	g.bucketWith("quiet", "k", 32<<20)
	for off := 0; off < 16<<20; off += 4 << 20 {
		g.getWith("quiet", "k", fmt.Sprintf("bytes=%d-%d", off, off+4<<20-1), "Unistore-Hint", "access=random")
	}
	if got := g.outcome("sequential"); got != 0 {
		t.Errorf("%d bytes ahead of random reads", got)
	}
}

func TestQueryOf(t *testing.T) {
	for _, test := range []struct {
		who     identity
		headers *pinHeaders
		referer string
		want    string
	}{
		{identity{accessKey: "AK"}, nil, "", "AK AK"},
		{identity{accessKey: "AK"}, &pinHeaders{query: "q"}, "", "AK q"},
		{identity{accessKey: "AK", query: "minted"}, nil, "", "AK minted"},
		{identity{accessKey: "AK", query: "minted"}, &pinHeaders{query: "q"}, "", "AK q"},
		{identity{accessKey: "AK"}, nil, "https://audit/?op=x&id=1&ji=job", "AK job"},
	} {
		x := newExchangeFor(test.who, test.referer)
		if got := queryOf(x, test.headers); got != test.want {
			t.Errorf("%+v: %q, want %q", test, got, test.want)
		}
	}
}

func newExchangeFor(who identity, referer string) *exchange {
	x := &exchange{Request: &s3api.Request{}, who: who}
	if referer != "" {
		x.Header = s3api.Header{{Name: "referer", Value: referer}}
	}
	return x
}

// bucketWith makes a bucket, if it is new, and an object of size bytes in it.
func (g *testGateway) bucketWith(bucket, key string, size int) {
	g.t.Helper()
	_, _ = g.client.CreateBucket(g.t.Context(), &s3.CreateBucketInput{Bucket: &bucket}) // it may be there
	g.put(bucket, key, bytes.Repeat([]byte(key), size/len(key)+1)[:size])
}

// eventually waits for what goes on beside requests.
func (g *testGateway) eventually(what string, ok func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("not in time: %s", what)
		}
	}
}
