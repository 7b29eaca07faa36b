package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/upstream"
)

// The grammar of an item of Cache-Status as we send it: RFC 9211 section 2 over RFC 8941 section 3.3, with no optional
// space but the one after each semicolon; of Server-Timing: https://www.w3.org/TR/server-timing/.
var (
	cacheStatusForm  = regexp.MustCompile(`^unistore((; hit)|(; fwd=(bypass|method|uri-miss|vary-miss|miss|request|stale|partial)(; fwd-status=[1-5][0-9][0-9])?))?(; stored)?(; collapsed)?(; detail=[a-z*][a-z0-9*_-]*)?$`)
	serverTimingForm = regexp.MustCompile(`^unistore;dur=[0-9]+\.[0-9]+$`)
)

// read is one request of TestCacheStatus: a GET, or what do says.
type read struct {
	key, rng, cacheControl string
	do                     func(g *testGateway, r read) (http.Header, int)
}

// lastAnswer gives the header and status of an SDK call, failed or not.
func lastAnswer(g *testGateway, call func(opts func(*s3.Options)) error) (http.Header, int) {
	g.t.Helper()
	var header http.Header
	status := 0
	record := func(o *s3.Options) { o.HTTPClient = recorder{&header, &status} }
	if err := call(record); err != nil && status == 0 {
		g.t.Fatal(err)
	}
	return header, status
}

// recorder keeps what the last answer was.
type recorder struct {
	header *http.Header
	status *int
}

func (r recorder) Do(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		*r.header, *r.status = resp.Header, resp.StatusCode
	}
	return resp, err
}

func (r read) header(o *s3.Options) {
	if r.cacheControl != "" {
		o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("Cache-Control", r.cacheControl))
	}
}

func doGet(change func(*s3.GetObjectInput)) func(*testGateway, read) (http.Header, int) {
	return func(g *testGateway, r read) (http.Header, int) {
		in := &s3.GetObjectInput{Bucket: aws.String("data"), Key: &r.key}
		if r.rng != "" {
			in.Range = &r.rng
		}
		if change != nil {
			change(in)
		}
		return lastAnswer(g, func(opt func(*s3.Options)) error {
			out, err := g.client.GetObject(g.t.Context(), in, opt, r.header)
			if err != nil {
				return err
			}
			defer out.Body.Close()
			_, err = io.Copy(io.Discard, out.Body)
			return err
		})
	}
}

func doHead(change func(*s3.HeadObjectInput)) func(*testGateway, read) (http.Header, int) {
	return func(g *testGateway, r read) (http.Header, int) {
		in := &s3.HeadObjectInput{Bucket: aws.String("data"), Key: &r.key}
		if change != nil {
			change(in)
		}
		return lastAnswer(g, func(opt func(*s3.Options)) error {
			_, err := g.client.HeadObject(g.t.Context(), in, opt, r.header)
			return err
		})
	}
}

func doAttributes(g *testGateway, r read) (http.Header, int) {
	return lastAnswer(g, func(opt func(*s3.Options)) error {
		_, err := g.client.GetObjectAttributes(g.t.Context(), &s3.GetObjectAttributesInput{
			Bucket: aws.String("data"), Key: &r.key, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesEtag},
		}, opt)
		return err
	})
}

func TestCacheStatus(t *testing.T) {
	const size = 1<<20 + 200_000
	const page0, pages, beyond = "bytes=0-65535", "bytes=0-262143", "bytes=99999999-"
	head, get := doHead(nil), doGet(nil)
	g := read{do: get}
	warm := []read{g}
	later := func(g, _ *testGateway, _ string) { g.wait(2 * time.Minute) }
	changed := func(g, behind *testGateway, key string) {
		g.wait(2 * time.Minute)
		behind.put("data", key, bytesOf(9, size))
	}
	revalidate, immutable := config.Freshness{Revalidate: true}, config.Freshness{Immutable: true}
	tests := []struct {
		name   string
		before []read
		then   func(g, behind *testGateway, key string)
		fresh  *config.Freshness
		read   read
		status int
		want   string
	}{
		{"cold", nil, nil, nil, g, 200, "fwd=miss; fwd-status=206; stored"},
		{"cold range", nil, nil, nil, read{rng: page0}, 206, "fwd=miss; fwd-status=206; stored"},
		{"cold suffix", nil, nil, nil, read{rng: "bytes=-70000"}, 206, "fwd=miss; fwd-status=206; stored"},
		{"warm", warm, nil, nil, g, 200, "hit; detail=memory"},
		{"another part", []read{{rng: page0}}, nil, nil, read{rng: "bytes=1048576-"}, 206, "fwd=miss; fwd-status=206; stored"},
		{"partial", []read{{rng: page0}}, nil, nil, read{rng: pages}, 206, "fwd=partial; fwd-status=206; stored"},
		{"stale, confirmed", warm, later, nil, g, 200, "fwd=stale; fwd-status=304; detail=memory"},
		{"stale, confirmed, not all there", []read{{rng: page0}}, later, nil, read{rng: pages}, 206, "fwd=stale; fwd-status=206; stored"},
		{"stale, changed", warm, changed, nil, g, 200, "fwd=stale; fwd-status=206; stored"},
		{"revalidate, cold", nil, nil, &revalidate, g, 200, "fwd=miss; fwd-status=206; stored"},
		{"revalidate, confirmed", warm, nil, &revalidate, g, 200, "fwd=stale; fwd-status=304; detail=memory"},
		{"revalidate, changed", warm, changed, &revalidate, g, 200, "fwd=stale; fwd-status=206; stored"},
		{"immutable", warm, changed, &immutable, g, 200, "hit; detail=memory"},

		{"no-store, cold", nil, nil, nil, read{cacheControl: "no-store"}, 200, "fwd=request; fwd-status=200"},
		{"no-store, warm", warm, nil, nil, read{cacheControl: "no-store"}, 200, "fwd=request; fwd-status=200"},
		{"no-store stores nothing", []read{{cacheControl: "no-store"}}, nil, nil, read{rng: page0}, 206, "fwd=miss; fwd-status=206; stored"},
		{"no-cache, cold", nil, nil, nil, read{cacheControl: "no-cache"}, 200, "fwd=miss; fwd-status=206; stored"},
		{"no-cache, confirmed", warm, nil, nil, read{cacheControl: "no-cache"}, 200, "fwd=request; fwd-status=304; detail=memory"},
		{"no-cache, stale anyway", warm, later, nil, read{cacheControl: "no-cache"}, 200, "fwd=stale; fwd-status=304; detail=memory"},
		{"max-age=0", warm, nil, nil, read{cacheControl: "max-age=0"}, 200, "fwd=request; fwd-status=304; detail=memory"},
		{"only-if-cached, cold", nil, nil, nil, read{cacheControl: "only-if-cached"}, 504, "detail=not-cached"},
		{"only-if-cached, warm", warm, nil, nil, read{cacheControl: "only-if-cached"}, 200, "hit; detail=memory"},
		{"only-if-cached, a part", []read{{rng: page0}}, nil, nil, read{cacheControl: "only-if-cached"}, 504, "detail=not-cached"},
		{"only-if-cached, stale", warm, later, nil, read{cacheControl: "only-if-cached"}, 504, "detail=not-cached"},
		{"only-if-cached, revalidate", warm, nil, &revalidate, read{cacheControl: "only-if-cached"}, 504, "detail=not-cached"},

		{"part by number", warm, nil, nil, read{do: doGet(func(in *s3.GetObjectInput) { in.PartNumber = aws.Int32(1) })}, 206, "fwd=bypass; fwd-status=206"},
		{"version", warm, nil, nil, read{do: doGet(func(in *s3.GetObjectInput) { in.VersionId = aws.String("null") })}, 200, "fwd=bypass; fwd-status=200"},
		{"range of a version", warm, nil, nil, read{rng: page0, do: doGet(func(in *s3.GetObjectInput) { in.VersionId = aws.String("null") })}, 206, "fwd=bypass; fwd-status=206"},
		{"no room on the disk", nil, func(g, _ *testGateway, _ string) {
			if err := g.faults.Put(faults.Fault{Name: faults.CacheWriteError, Error: "ENOSPC"}); err != nil {
				g.t.Fatal(err)
			}
		}, nil, g, 200, "fwd=bypass; fwd-status=206"},

		{"not modified, warm", warm, nil, nil, read{do: doGet(func(in *s3.GetObjectInput) { in.IfNoneMatch = aws.String("*") })}, 304, "hit"},
		{"precondition, warm", warm, nil, nil, read{do: doGet(func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"x"`) })}, 412, "hit"},
		{"precondition, stale", warm, later, nil, read{do: doGet(func(in *s3.GetObjectInput) { in.IfMatch = aws.String(`"x"`) })}, 412, "fwd=stale; fwd-status=304"},
		{"beyond the end, cold", nil, nil, nil, read{rng: beyond}, 416, "fwd=miss; fwd-status=200"},
		{"beyond the end, warm", warm, nil, nil, read{rng: beyond}, 416, "hit"},
		{"no such key", nil, nil, nil, read{key: "none"}, 404, "fwd=miss; fwd-status=404"},
		{"deleted behind", warm, func(g, behind *testGateway, k string) {
			g.wait(2 * time.Minute)
			b := "data"
			if _, err := behind.client.DeleteObject(g.t.Context(), &s3.DeleteObjectInput{Bucket: &b, Key: &k}); err != nil {
				g.t.Fatal(err)
			}
		}, nil, g, 404, "fwd=stale; fwd-status=404"},
		{"empty, cold", nil, nil, nil, read{key: "empty"}, 200, "fwd=miss; fwd-status=200"},
		{"empty, warm", []read{{key: "empty"}}, nil, nil, read{key: "empty"}, 200, "hit"},

		{"HEAD, cold", nil, nil, nil, read{do: head}, 200, "fwd=miss; fwd-status=200; stored"},
		{"HEAD, warm", warm, nil, nil, read{do: head}, 200, "hit"},
		{"HEAD, stale", warm, later, nil, read{do: head}, 200, "fwd=stale; fwd-status=200; stored"},
		{"HEAD, no-cache", warm, nil, nil, read{do: head, cacheControl: "no-cache"}, 200, "fwd=request; fwd-status=200; stored"},
		{"HEAD, no-store", warm, nil, nil, read{do: head, cacheControl: "no-store"}, 200, "fwd=request; fwd-status=200"},
		{"HEAD, only-if-cached", warm, nil, nil, read{do: head, cacheControl: "only-if-cached"}, 200, "hit"},
		{"HEAD, only-if-cached, cold", nil, nil, nil, read{do: head, cacheControl: "only-if-cached"}, 504, "detail=not-cached"},
		{"HEAD, only-if-cached, stale", warm, later, nil, read{do: head, cacheControl: "only-if-cached"}, 504, "detail=not-cached"},
		{"HEAD of a part", warm, nil, nil, read{do: doHead(func(in *s3.HeadObjectInput) { in.PartNumber = aws.Int32(1) })}, 206, "fwd=bypass; fwd-status=206"},
		{"HEAD of a version", warm, nil, nil, read{do: doHead(func(in *s3.HeadObjectInput) { in.VersionId = aws.String("null") })}, 200, "fwd=bypass; fwd-status=200"},
		{"HEAD of nothing", nil, nil, nil, read{key: "none", do: head}, 404, "fwd=miss; fwd-status=404"},
		{"a GET after a HEAD", []read{{do: head}}, nil, nil, g, 200, "fwd=miss; fwd-status=206; stored"},
		{"attributes", warm, nil, nil, read{do: doAttributes}, 200, "fwd=bypass; fwd-status=200"},
	}
	ttl, behind := pair(t)
	on := func(f config.Freshness) *testGateway {
		return startGateway(t, t.TempDir(), func(cfg *config.Config) {
			cfg.Upstreams, cfg.Buckets[0].Freshness = behind.cfg.Upstreams, f
		})
	}
	fronts := map[*config.Freshness]*testGateway{nil: ttl, &revalidate: on(revalidate), &immutable: on(immutable)}
	behind.bucket("data")
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			front, key := fronts[tt.fresh], fmt.Sprintf("k%d", i)
			defer front.faults.Clear()
			switch tt.read.key {
			case "":
				front.put("data", key, bytesOf(1, size))
			case "empty":
				front.put("data", "empty", nil)
			}
			send := func(r read) (http.Header, int) {
				r.key = cmp.Or(r.key, key)
				if r.do == nil {
					r.do = get
				}
				return r.do(front, r)
			}
			for _, r := range tt.before {
				send(r)
			}
			if tt.then != nil {
				tt.then(front, behind, key)
			}
			header, status := send(tt.read)
			got := header.Get("Cache-Status")
			if status != tt.status || got != "unistore; "+tt.want {
				t.Errorf("%d %q, want %d %q", status, got, tt.status, "unistore; "+tt.want)
			}
			if !cacheStatusForm.MatchString(got) {
				t.Errorf("%q is not of RFC 9211", got)
			}
			if timing := header.Get("Server-Timing"); !serverTimingForm.MatchString(timing) {
				t.Errorf("Server-Timing %q", timing)
			}
		})
	}
}

// After a restart what is read comes from the disk; pages that are checked by then do not count as that again.
func TestCacheStatusAfterARestart(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, dir, nil)
	g.bucket("data")
	g.put("data", "k", bytesOf(1, 200_000))
	if _, _, err := g.get("data", "k", ""); err != nil {
		t.Fatal(err)
	}
	g.stop()
	g = startGateway(t, dir, nil)
	for _, want := range []string{"unistore; hit; detail=nvme", "unistore; hit; detail=memory"} {
		if _, got, err := g.get("data", "k", ""); got != want || err != nil {
			t.Errorf("%q, want %q; %v", got, want, err)
		}
	}
}

// What reads no object carries neither header.
func TestNoCacheStatus(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	b := "data"
	for name, call := range map[string]func(func(*s3.Options)) error{
		"put": func(o func(*s3.Options)) error {
			_, err := g.client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: aws.String("k"), Body: strings.NewReader("x")}, o)
			return err
		},
		"list": func(o func(*s3.Options)) error {
			_, err := g.client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &b}, o)
			return err
		},
	} {
		header, _ := lastAnswer(g, call)
		if header.Get("Cache-Status")+header.Get("Server-Timing") != "" {
			t.Errorf("%s: %v", name, header)
		}
	}
}

func TestNotes(t *testing.T) {
	asked := func(why string, status int) learned { return learned{asked: true, why: why, status: status} }
	joined := asked(fwdMiss, 206)
	joined.joined = true
	fill := cache.Result{Source: cache.SourceFill, Stored: true}
	with := func(r cache.Result, change func(*cache.Result)) cache.Result { change(&r); return r }
	hit := cache.Result{Source: cache.SourceCache}
	tests := []struct {
		l    learned
		r    cache.Result
		mode cacheMode
		want string
	}{
		{learned{}, fill, cacheMode{}, "fwd=miss; fwd-status=206; stored"},
		{learned{}, with(fill, func(r *cache.Result) { r.Collapsed = true }), cacheMode{}, "fwd=miss; fwd-status=206; stored; collapsed"},
		{joined, fill, cacheMode{}, "fwd=miss; fwd-status=206; stored; collapsed"},
		{joined, hit, cacheMode{}, "fwd=miss; fwd-status=206; collapsed; detail=nvme"},
		{learned{asked: true, why: fwdStale, status: 304, stale: true}, fill, cacheMode{}, "fwd=stale; fwd-status=206"},
		{learned{}, with(fill, func(r *cache.Result) { r.Partial = true }), cacheMode{}, "fwd=partial; fwd-status=206; stored"},
		{learned{}, cache.Result{Source: cache.SourceBypass}, cacheMode{}, "fwd=bypass; fwd-status=206"},
		{asked(fwdRequest, 304), fill, cacheMode{revalidate: true}, "fwd=request; fwd-status=206; stored"},
		{learned{}, cache.Result{Source: cache.SourceBypass}, cacheMode{noStore: true}, "fwd=request; fwd-status=206"},
		{learned{}, with(hit, func(r *cache.Result) { r.Memory, r.Pinned, r.Prefetched = true, true, true }), cacheMode{}, "hit; detail=pinned"},
		{learned{}, with(hit, func(r *cache.Result) { r.Memory, r.Prefetched = true, true }), cacheMode{}, "hit; detail=prefetched"},
		{learned{}, with(hit, func(r *cache.Result) { r.Memory = true }), cacheMode{}, "hit; detail=memory"},
	}
	for _, tt := range tests {
		got := readNote(tt.l, tt.r, tt.mode).String()
		if got != "unistore; "+tt.want || !cacheStatusForm.MatchString(got) {
			t.Errorf("%+v %+v %+v: %q, want %q", tt.l, tt.r, tt.mode, got, tt.want)
		}
	}
	for err, want := range map[error]string{
		upstream.Unavailable: "unistore; fwd=miss", upstream.Access: "unistore; fwd=miss; fwd-status=403",
		errors.New("x"): "unistore; fwd=miss", cache.ErrNotCached: "unistore; detail=not-cached",
	} {
		if got := failedNote(err).String(); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
