package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/multipart"
	"unistore/s3api"
	"unistore/upstream"
	"unistore/upstream/local"
	"unistore/upstream/mem"
)

// TestMeasure: a store that copies parts together is told their sizes, since it gets time by them.
func TestMeasure(t *testing.T) {
	backend, err := local.New(local.Config{Root: t.TempDir(), MinPart: 1, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		backend upstream.Backend
		size    int64 // promised
		want    [2]int64
		fails   bool
	}{
		"own":             {backend, -1, [2]int64{3, 5}, false},
		"own, promised":   {backend, 8, [2]int64{3, 5}, false},
		"own, wrong":      {backend, 9, [2]int64{3, 5}, true},
		"native":          {mem.New(mem.Config{}), -1, [2]int64{0, 0}, false},
		"native, wrong":   {mem.New(mem.Config{}), 7, [2]int64{3, 5}, true},
		"native, correct": {mem.New(mem.Config{}), 8, [2]int64{3, 5}, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := upstream.NewStore("s", tt.backend, upstream.StoreConfig{})
			up := upstream.Upload{Loc: upstream.Loc{Bucket: "b", Key: "k"}}
			if err := store.CreateBucket(t.Context(), "b"); err != nil && !errors.Is(err, upstream.BucketOwned) {
				t.Fatal(err)
			}
			if up.ID, err = store.CreateUpload(t.Context(), up.Loc, upstream.CreateUploadRequest{}); err != nil {
				t.Fatal(err)
			}
			what := completion{size: tt.size}
			for i, body := range []string{"abc", "defgh"} {
				part, err := store.UploadPart(t.Context(), up, 2*i+1, upstream.PartRequest{Body: strings.NewReader(body), Size: int64(len(body))})
				if err != nil {
					t.Fatal(err)
				}
				what.req.Parts = append(what.req.Parts, upstream.Part{Number: 2*i + 1, ETag: part.ETag})
			}
			err := measure(t.Context(), target{store: store}, up, what)
			got := [2]int64{what.req.Parts[0].Size, what.req.Parts[1].Size}
			if (err != nil) != tt.fails || got != tt.want {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestAbortWaitsItsTurn: an upload is not aborted while it is being completed.
func TestAbortWaitsItsTurn(t *testing.T) {
	g := startGateway(t, t.TempDir(), nil)
	g.bucket("data")
	id, _ := g.upload("data", "k")
	tg, err := g.service.routes.find("data")
	if err != nil {
		t.Fatal(err)
	}
	up, err := tg.upload("k", id)
	if err != nil {
		t.Fatal(err)
	}
	release, err := g.journal.Find(tg.store.Name(), up).Turn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	op := s3api.AbortMultipartUpload{Object: s3api.Object{Bucket: "data", Key: "k"}, UploadID: id}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.service.abortUpload(ctx, tg, op); !errors.Is(err, upstream.Cancelled) {
		t.Errorf("beside a completion: %v", err)
	}
	if got := g.journal.Views(func(v multipart.View) bool { return v.Kind == "client" }); len(got) != 1 {
		t.Errorf("uploads: %v", got)
	}
	release()
	if _, err := g.service.abortUpload(t.Context(), tg, op); err != nil {
		t.Errorf("after it: %v", err)
	}
}
