//go:build e2e

package s3_test

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/e2e/servers"
	"unistore/upstream"
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

func TestConformanceVersity(t *testing.T) {
	srv := servers.StartVersity(t)
	upstreamtest.Run(t, upstreamtest.Harness{
		New:        func(t *testing.T) upstream.Backend { return openReal(t, srv) },
		MakeBucket: makeBucket,
		MayRefuse:  versityRefuses,
		Deviations: versityDeviations,
	})
}

// minioRefuses: MinIO's objects are directories.
func minioRefuses(key string) bool {
	return notAPath(key) || len(key) > 1000 || strings.Contains(key, `..\`) || strings.HasPrefix(key, ".sgwtmp")
}

func TestConformanceMinIO(t *testing.T) {
	srv := servers.StartMinIO(t)
	upstreamtest.Run(t, upstreamtest.Harness{
		New:        func(t *testing.T) upstream.Backend { return openReal(t, srv) },
		MakeBucket: makeBucket,
		MayRefuse:  minioRefuses,
		Deviations: minioDeviations,
	})
}
