package wire

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"unistore/upstream"
)

// store lists as one of the ways stores with markers do.
type store struct {
	keys []string
	// inclusive: the marker is the first name of the page; otherwise the last of the one before.
	inclusive bool
	// again: a common prefix that holds the marker comes again; otherwise it is passed.
	again bool
	// silent: there is no NextMarker.
	silent bool
}

func (s store) fetch(_ context.Context, req upstream.ListRequest, marker string) (Marked, error) {
	var out Marked
	seen := ""
	for _, key := range s.keys {
		if !strings.HasPrefix(key, req.Prefix) || (marker != "" && (key < marker || (key == marker && !s.inclusive))) {
			continue
		}
		line, prefix := key, false
		if req.Delimiter != "" {
			if i := strings.Index(key[len(req.Prefix):], req.Delimiter); i >= 0 {
				line, prefix = key[:len(req.Prefix)+i+len(req.Delimiter)], true
			}
		}
		passed := strings.HasPrefix(marker, line) && (marker != line || !s.inclusive)
		if line == seen || (prefix && !s.again && passed) {
			continue
		}
		if len(out.Objects)+len(out.Prefixes) == req.MaxKeys {
			out.Truncated = true
			out.Next = seen
			if s.inclusive {
				out.Next = line
			}
			break
		}
		seen = line
		if prefix {
			out.Prefixes = append(out.Prefixes, line)
		} else {
			out.Objects = append(out.Objects, upstream.ListedObject{Key: line})
		}
	}
	if s.silent {
		out.Next = ""
	}
	return out, nil
}

func model(keys []string, req upstream.ListRequest) []string {
	var out []string
	for _, key := range keys {
		if !strings.HasPrefix(key, req.Prefix) || (req.StartAfter != "" && key <= req.StartAfter) {
			continue
		}
		line := key
		if req.Delimiter != "" {
			if i := strings.Index(key[len(req.Prefix):], req.Delimiter); i >= 0 {
				line = key[:len(req.Prefix)+i+len(req.Delimiter)]
			}
		}
		if line != req.StartAfter && !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

func collect(t *testing.T, l Lister, req upstream.ListRequest) []string {
	t.Helper()
	var got []string
	for range 10_000 {
		page, err := l.List(t.Context(), req)
		if err != nil {
			t.Fatalf("%+v: %v", req, err)
		}
		if n := len(page.Objects) + len(page.Prefixes); n > req.MaxKeys || (n == 0 && page.Next != "") {
			t.Fatalf("%+v: a page of %d", req, n)
		}
		var lines []string
		for _, o := range page.Objects {
			lines = append(lines, o.Key)
		}
		lines = append(lines, page.Prefixes...)
		slices.Sort(lines)
		got = append(got, lines...)
		if page.Next == "" {
			return got
		}
		req.Token = page.Next
	}
	t.Fatalf("%+v does not end", req)
	return nil
}

// TestListerAgainstEveryKindOfStore: no name is lost, repeated or out of order, whatever markers mean to the store.
func TestListerAgainstEveryKindOfStore(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for kind := range 8 {
		s := store{inclusive: kind&1 > 0, again: kind&2 > 0, silent: kind&4 > 0}
		if s.inclusive && s.silent {
			continue // nobody could page through it
		}
		t.Run(fmt.Sprintf("inclusive %v, again %v, silent %v", s.inclusive, s.again, s.silent), func(t *testing.T) {
			for range 300 {
				s.keys = nil
				for range 1 + rng.IntN(25) {
					var key strings.Builder
					for range 1 + rng.IntN(4) {
						key.WriteString([]string{"a", "b", "/", "-", "ü", "a/", "\U0010ffff"}[rng.IntN(7)])
					}
					if !slices.Contains(s.keys, key.String()) {
						s.keys = append(s.keys, key.String())
					}
				}
				slices.Sort(s.keys)
				pick := s.keys[rng.IntN(len(s.keys))]
				req := upstream.ListRequest{Bucket: "b", MaxKeys: 1 + rng.IntN(5), Delimiter: []string{"", "/", "a", "-/"}[rng.IntN(4)]}
				switch rng.IntN(4) {
				case 0:
					req.Prefix = strings.ToValidUTF8(pick[:rng.IntN(len(pick)+1)], "")
				case 1:
					req.StartAfter = pick
				case 2:
					req.StartAfter = pick[:strings.LastIndexByte(pick, '/')+1]
				}
				if got, want := collect(t, Lister{s.fetch}, req), model(s.keys, req); !slices.Equal(got, want) {
					t.Fatalf("keys %q, %+v:\n got %q\nwant %q", s.keys, req, got, want)
				}
			}
		})
	}
}

func TestListerRefusesForeignTokensAndLoops(t *testing.T) {
	l := Lister{store{keys: []string{"a"}}.fetch}
	for _, token := range []string{"x", "!.!", ".", "YQ", "YQ.", "YQ.%"} {
		if _, err := l.List(t.Context(), upstream.ListRequest{Bucket: "b", MaxKeys: 1, Token: token}); upstream.CodeOf(err) != upstream.Invalid {
			t.Errorf("token %q: %v", token, err)
		}
	}
	stuck := Lister{func(context.Context, upstream.ListRequest, string) (Marked, error) {
		return Marked{Truncated: true, Next: ""}, nil
	}}
	if _, err := stuck.List(t.Context(), upstream.ListRequest{Bucket: "b", MaxKeys: 1}); upstream.CodeOf(err) != upstream.Unavailable {
		t.Errorf("a listing that does not go on: %v", err)
	}
}
