package upstream_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/mem"
)

// poorCopier is a store that has copies in its protocol and refuses them, or those with conditions alone.
type poorCopier struct {
	*mem.Backend
	limits upstream.Limits
	refuse bool
	asked  int
}

func (b *poorCopier) Limits() upstream.Limits { return b.limits }

func (b *poorCopier) Copy(ctx context.Context, dst upstream.Loc, req upstream.CopyRequest) (object.Attrs, error) {
	b.asked++
	if b.refuse {
		return object.Attrs{}, upstream.Errorf(upstream.Unsupported, "Copy", "not here")
	}
	req.IfMatch, req.IfNoneMatch = "", false // ignored, as many servers do
	return b.Backend.Copy(ctx, dst, req)
}

func (b *poorCopier) CopyPart(ctx context.Context, up upstream.Upload, n int, req upstream.CopyPartRequest) (upstream.Part, error) {
	b.asked++
	if b.refuse {
		return upstream.Part{}, upstream.Errorf(upstream.Unsupported, "CopyPart", "not here")
	}
	return b.Backend.CopyPart(ctx, up, n, req)
}

// A copy that the store refuses, or whose conditions it would ignore, goes through this process.
func TestCopiesThatAStoreCanNotMake(t *testing.T) {
	for name, refuse := range map[string]bool{"refused": true, "without conditions": false} {
		t.Run(name, func(t *testing.T) {
			b := &poorCopier{Backend: mem.New(mem.Config{}), limits: mem.DefaultLimits, refuse: refuse}
			b.limits.CopyConditions = false
			s := upstream.NewStore("mem", b, upstream.StoreConfig{Retries: -1})
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			err := s.CreateBucket(t.Context(), "bucket")
			src, dst := upstream.Loc{Bucket: "bucket", Key: "src"}, upstream.Loc{Bucket: "bucket", Key: "dst"}
			_, put := s.Put(t.Context(), src, upstream.PutRequest{Body: strings.NewReader("0123456789"), Size: 10})
			_, first := s.Copy(t.Context(), dst, upstream.CopyRequest{Source: src})
			if err := errors.Join(err, put, first); err != nil {
				t.Fatal(err)
			}
			before := b.asked
			_, err = s.Copy(t.Context(), dst, upstream.CopyRequest{Source: src, IfNoneMatch: true})
			wantCode(t, err, upstream.Changed)
			_, err = s.Copy(t.Context(), dst, upstream.CopyRequest{Source: src, IfMatch: "another"})
			wantCode(t, err, upstream.Changed)
			if b.asked != before {
				t.Errorf("the store was asked to copy with conditions, which it ignores")
			}
			up := mustUpload(t, s)
			part, err := s.CopyPart(t.Context(), up, 1, upstream.CopyPartRequest{Source: src, Range: byterange.Closed(2, 5)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}}); err != nil {
				t.Fatal(err)
			}
			for where, want := range map[upstream.Loc]string{dst: "0123456789", up.Loc: "2345"} {
				if _, got := read(t, s, where); got != want {
					t.Errorf("%v holds %q, want %q", where, got, want)
				}
			}
		})
	}
}
