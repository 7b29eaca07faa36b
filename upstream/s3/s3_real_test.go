//go:build e2e

package s3_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/e2e/servers"
	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/s3"
	"unistore/upstream/upstreamtest"
)

func openReal(t *testing.T, s *servers.Server) *s3.Backend {
	t.Helper()
	b, err := s3.New(t.Context(), s3.Config{
		Name: "real", Region: servers.Region, Endpoint: s.Endpoint, PathStyle: true,
		AccessKey: s.AccessKey, SecretKey: config.NewSecret(s.SecretKey), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var buckets atomic.Int64

// makeBucket leaves its buckets to the end of the server: some cannot be emptied by what the server lists.
func makeBucket(t testing.TB, b upstream.Backend) string {
	name := "case-" + strconv.FormatInt(buckets.Add(1), 10)
	if err := b.(upstream.Bucketer).CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// notAPath: the key cannot be the path of a file, or is read as that of another one.
func notAPath(key string) bool {
	for i, part := range strings.Split(key, "/") {
		last := i == strings.Count(key, "/")
		if part == "." || part == ".." || (part == "" && !(last && i > 0)) || len(part) > 255 {
			return true
		}
	}
	return false
}

// versityRefuses: versitygw's objects are files, so that an object cannot lie below another one, and its listings
// cannot carry control characters.
func versityRefuses(key string) bool {
	file, beside := strings.Trim(key, "/"), []string{"a", "a/b", "a/b/c", "b", "c/d", "x", ".=oa", ".=n"}
	return notAPath(key) || strings.HasSuffix(key, "/") || len(key) > 1000 || strings.HasPrefix(key, ".sgwtmp") ||
		strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xffff || r == 0xfffe }) ||
		slices.Contains(beside, file) || strings.HasPrefix(key, "x/x") || strings.HasPrefix(key, ".=oa") || strings.HasPrefix(key, ".=n") || strings.HasPrefix(key, "ccc")
}

// calm keeps writes of one process from meeting at the server, which fails now and then when they do:
// versitygw reads an ETag and opens the file by name, one after the other, so that a replacement in between sends
// new bytes under the old ETag; and both servers refuse a Put, with 409 and 403, when the last other object of
// its directory is deleted at that moment.
type calm struct {
	*s3.Backend
	mu sync.RWMutex
}

func (c *calm) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.Backend.Open(ctx, loc, opts)
}

func (c *calm) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	if req.IfMatch == "" && !req.IfNoneMatch { // those race one another
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	return c.Backend.Put(ctx, loc, req)
}

func (c *calm) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Backend.Delete(ctx, loc, opts)
}

// fixSeed makes the suite's random cases the same every time, unless a seed is set: whether a random set of keys
// meets one of the deviations would be chance.
func fixSeed(t *testing.T) {
	if os.Getenv("UNISTORE_TEST_SEED") == "" {
		t.Setenv("UNISTORE_TEST_SEED", "1")
	}
}

// conform runs the suite on srv, by the driver alone and through the fault wrapper.
func conform(t *testing.T, srv *servers.Server, h upstreamtest.Harness) {
	t.Helper()
	fixSeed(t)
	h.MakeBucket = makeBucket
	h.New = func(t *testing.T) upstream.Backend { return &calm{Backend: openReal(t, srv)} }
	t.Run("driver", func(t *testing.T) { upstreamtest.Run(t, h) })
	h.New = func(t *testing.T) upstream.Backend {
		return fault.Wrap(&calm{Backend: openReal(t, srv)}, "real", faults.New(nil))
	}
	h.Row.Store += ", through the fault wrapper"
	t.Run("fault wrapper", func(t *testing.T) { upstreamtest.Run(t, h) })
}

func TestConformanceVersity(t *testing.T) {
	conform(t, servers.StartVersity(t), upstreamtest.Harness{
		MayRefuse:  versityRefuses,
		Deviations: versityDeviations,
		Row:        upstreamtest.Row{Driver: "s3", Store: "versitygw", RunBy: "make e2e"},
	})
}

// minioRefuses: MinIO's objects are directories.
func minioRefuses(key string) bool {
	return notAPath(key) || len(key) > 1000 || strings.Contains(key, `..\`) || strings.HasPrefix(key, ".sgwtmp")
}

func TestConformanceMinIO(t *testing.T) {
	conform(t, servers.StartMinIO(t), upstreamtest.Harness{
		MayRefuse:  minioRefuses,
		Deviations: minioDeviations,
		Row:        upstreamtest.Row{Driver: "s3", Store: "MinIO", RunBy: "make e2e"},
	})
}

func eachServer(t *testing.T, run func(t *testing.T, srv *servers.Server)) {
	for name, start := range map[string]func(testing.TB) *servers.Server{"versitygw": servers.StartVersity, "minio": servers.StartMinIO} {
		t.Run(name, func(t *testing.T) { run(t, start(t)) })
	}
}

// TestListings compares listings with a model, for keys that are no prefixes of one another's paths: those
// of the conformance suite are.
//
// On MinIO no directory has a name that begins with another's and goes on with a character below "/": asked to
// start inside "b/", MinIO counts what is in "b-/" against max-keys, leaves out as many keys, and says that
// the listing is at its end. Whoever asks MinIO itself gets the same.
func TestListings(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	eachServer(t, func(t *testing.T, srv *servers.Server) {
		rng := rand.New(rand.NewPCG(seed, 0))
		directories := []string{"a/", "b-/", "b/", "ü/", "0 +%/", "year=2026/"}
		if strings.HasSuffix(t.Name(), "minio") {
			directories[1] = "c-/"
		}
		b := openReal(t, srv)
		bucket := makeBucket(t, b)
		var keys []string
		for len(keys) < 120 {
			var key strings.Builder
			for range rng.IntN(4) {
				key.WriteString(directories[rng.IntN(len(directories))])
			}
			key.WriteString([]string{"x", "part-", "~", "é", "%2F+ "}[rng.IntN(5)] + strconv.Itoa(rng.IntN(30)) + ".parquet")
			if slices.Contains(keys, key.String()) {
				continue
			}
			keys = append(keys, key.String())
			if _, err := b.Put(t.Context(), upstream.Loc{Bucket: bucket, Key: key.String()}, upstream.PutRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(keys)
		for range 150 {
			pick := keys[rng.IntN(len(keys))]
			req := upstream.ListRequest{
				Bucket: bucket, Delimiter: []string{"", "/", "/", "-/", "1"}[rng.IntN(5)], MaxKeys: 1 + rng.IntN(20),
			}
			switch rng.IntN(4) {
			case 0:
				req.Prefix = pick[:strings.LastIndexByte(pick, '/')+1]
			case 1:
				req.Prefix = strings.ToValidUTF8(pick[:rng.IntN(len(pick))], "")
			case 2:
				req.StartAfter = pick
			case 3:
				req.StartAfter = pick[:strings.LastIndexByte(pick, '/')+1]
			}
			if got, want := listAll(t, b, req), model(keys, req); !slices.Equal(got, want) {
				t.Errorf("%+v:\n got %q\nwant %q", req, got, want)
			}
		}
	})
}

// model is what a listing of keys, which ascend, must give over all pages.
func model(keys []string, req upstream.ListRequest) []string {
	var out []string
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, req.Prefix)
		if !ok || key <= req.StartAfter {
			continue
		}
		if i := strings.Index(rest, req.Delimiter); req.Delimiter != "" && i >= 0 {
			key = req.Prefix + rest[:i+len(req.Delimiter)]
			if key == req.StartAfter || slices.Contains(out, key) {
				continue
			}
		}
		out = append(out, key)
	}
	return out
}

func listAll(t *testing.T, b *s3.Backend, req upstream.ListRequest) []string {
	t.Helper()
	var all []string
	for range 1000 {
		page, err := b.List(t.Context(), req)
		if err != nil {
			t.Fatalf("%+v: %v", req, err)
		}
		n := len(all)
		for _, o := range page.Objects {
			all = append(all, o.Key)
		}
		all = append(all, page.Prefixes...)
		slices.Sort(all[n:])
		if len(all)-n > req.MaxKeys {
			t.Fatalf("%+v: a page of %d", req, len(all)-n)
		}
		if req.Token = page.Next; req.Token == "" {
			return all
		}
	}
	t.Fatalf("%+v: no end", req)
	return nil
}

// A server that stops, dies and comes back.
func TestServerTrouble(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *servers.Server) {
		b := openReal(t, srv)
		store := upstream.NewStore("real", b, upstream.StoreConfig{})
		t.Cleanup(func() { _ = store.Close() })
		loc := upstream.Loc{Bucket: makeBucket(t, b), Key: "key"}
		data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
		put := func(ctx context.Context) error {
			_, err := store.Put(ctx, loc, upstream.PutRequest{Body: bytes.NewReader(data), Size: int64(len(data))})
			return err
		}
		if err := put(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantData := func() {
			t.Helper()
			st, err := store.Open(t.Context(), loc, upstream.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Body.Close()
			if got, err := io.ReadAll(st.Body); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
		}
		wantData()

		srv.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := store.Stat(ctx, loc, upstream.StatOptions{})
		if upstream.CodeOf(err) != upstream.Cancelled {
			t.Errorf("Stat of a server that stands still: %v", err)
		}
		if err := put(ctx); upstream.CodeOf(err) != upstream.Cancelled {
			t.Errorf("Put to a server that stands still: %v", err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("both took %v", d)
		}
		srv.Resume()
		wantData()

		srv.Kill()
		_, err = store.Stat(t.Context(), loc, upstream.StatOptions{})
		if upstream.CodeOf(err) != upstream.Unavailable {
			t.Errorf("Stat of a dead server: %v", err)
		}
		srv.Restart(t)
		wantData()
		if err := put(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A writer that dies in the middle leaves the old object, also on servers that commit what they got.
func TestConnectionCutInAPut(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *servers.Server) {
		b := openReal(t, srv)
		loc := upstream.Loc{Bucket: makeBucket(t, b), Key: "key"}
		if _, err := b.Put(t.Context(), loc, upstream.PutRequest{Body: strings.NewReader("old"), Size: 3}); err != nil {
			t.Fatal(err)
		}
		// Through a relay that closes both ends politely after 2 MiB, as a gateway's kernel does when it is killed.
		relay := relayTo(t, strings.TrimPrefix(srv.Endpoint, "http://"), 2<<20)
		cut := *srv
		cut.Endpoint = "http://" + relay
		writer := openReal(t, &cut)
		const size = 8 << 20
		_, err := writer.Put(t.Context(), loc, upstream.PutRequest{Body: bytes.NewReader(make([]byte, size)), Size: size})
		if upstream.CodeOf(err) != upstream.Unavailable {
			t.Errorf("Put over a connection that is cut: %v", err)
		}
		for range 50 { // the server may take a moment to make its mistake
			attrs, err := b.Stat(t.Context(), loc, upstream.StatOptions{})
			if err != nil || attrs.Size != 3 {
				t.Fatalf("the object now: %+v, %v", attrs, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// relayTo forwards connections to addr; the first of them that has sent limit bytes is closed, with all others.
func relayTo(t *testing.T, addr string, limit int64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				return
			}
			stop := sync.OnceFunc(func() { _ = out.Close(); _ = in.Close() })
			wg.Go(func() { _, _ = io.CopyN(out, in, limit); stop() })
			wg.Go(func() { _, _ = io.Copy(in, out); stop() })
		}
	})
	return l.Addr().String()
}
