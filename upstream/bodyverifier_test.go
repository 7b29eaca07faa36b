package upstream_test

import (
	"context"
	"errors"
	"testing"

	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/mem"
)

// verifier is a store whose driver looks after bodies itself, when it says so.
type verifier struct {
	*mem.Backend
	verifies bool
	tell     string // the ETag to tell, or empty
	fails    error
}

func (b *verifier) VerifiesBodies() bool { return b.verifies }

func (b *verifier) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	attrs, err := b.Backend.Put(ctx, loc, req)
	if err == nil && b.tell != "" {
		attrs.ETag = b.tell
	}
	if err == nil {
		err = b.fails
	}
	return attrs, err
}

// A driver that looks after bodies is left to it, for those that come without a digest; and what it says of them is
// acted on.
func TestBodyVerifier(t *testing.T) {
	const other = "00000000000000000000000000000000"
	corrupted := upstream.Errorf(upstream.Corrupted, "Put", "other bytes")
	tests := []struct {
		name, promise string
		verifies      bool
		tell          string
		fails         error
		corrupt       bool
	}{
		{"the driver does", "nothing", true, other, nil, false},
		{"it does not", "nothing", false, other, nil, true},
		{"it does, but there is an MD5", "MD5", true, other, nil, true},
		{"it does, but there is a checksum", "checksum", true, other, nil, true},
		{"it finds other bytes", "nothing", true, "", corrupted, true},
	}
	for _, tt := range tests {
		b := &verifier{Backend: mem.New(mem.Config{}), verifies: tt.verifies, tell: tt.tell, fails: tt.fails}
		s := upstream.NewStore("mem", b, upstream.StoreConfig{Retries: -1})
		if err := s.CreateBucket(t.Context(), place.Bucket); err != nil {
			t.Fatal(err)
		}
		_, err := s.Put(t.Context(), place, promised(tt.promise, "0123456789"))
		if errors.Is(err, upstream.Corrupted) != tt.corrupt || (err != nil) != tt.corrupt {
			t.Errorf("%s: %v", tt.name, err)
		}
		if _, err := b.Stat(t.Context(), place, upstream.StatOptions{}); tt.fails != nil && !errors.Is(err, upstream.NotExist) {
			t.Errorf("%s: the object is still there: %v", tt.name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
