package gateway

import (
	"strings"
	"testing"

	"unistore/s3api"
	"unistore/upstream"
	"unistore/upstream/mem"
)

func TestMaxBody(t *testing.T) {
	put, part := s3api.PutObject{}, s3api.UploadPart{}
	tests := []struct {
		name      string
		lim       upstream.Limits
		multipart bool
		op        s3api.Operation
		want      int64
	}{
		{"S3", mem.DefaultLimits, true, put, 5 << 40},
		{"a part on S3", mem.DefaultLimits, true, part, 5 << 30},
		{"no limits", upstream.Limits{MaxKey: 1}, true, put, 5 << 40},
		{"a part without limits", upstream.Limits{MaxKey: 1}, true, part, 5 << 30},
		{"small objects", upstream.Limits{MaxObject: 7}, true, put, 7},
		{"small parts", upstream.Limits{MaxPart: 7}, true, part, 7},
		{"small PUTs, but parts", upstream.Limits{MaxPut: 7}, true, put, 5 << 40},
		{"small PUTs", upstream.Limits{MaxPut: 7}, false, put, 7},
		{"large objects", upstream.Limits{MaxObject: 50 << 40}, true, put, 5 << 40},
	}
	for _, tt := range tests {
		var b upstream.Backend = mem.New(mem.Config{Limits: tt.lim})
		if !tt.multipart {
			b = struct{ upstream.Backend }{b}
		}
		store := upstream.NewStore("up", b, upstream.StoreConfig{})
		if got := (target{store: store}).maxBody(tt.op); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A PUT above S3's 5 GiB is asked for; one above the largest object is not.
func TestLargePutsAreWelcome(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	for size, want := range map[int]string{5<<30 + 1: "HTTP/1.1 100 ", maxObject: "HTTP/1.1 100 ", maxObject + 1: "HTTP/1.1 400 "} {
		_, r := g.raw(with(g.signed("PUT", "/data/k", size), "Expect: 100-continue"))
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%d bytes: %q %v, want %q", size, line, err, want)
		}
	}
}
