package upstream

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"testing"
	"time"

	"unistore/object"
)

func TestMultipartETag(t *testing.T) {
	one, two := md5.Sum([]byte("a")), md5.Sum([]byte("b"))
	both := md5.Sum(append(one[:], two[:]...))
	parts := []Part{{Number: 1, ETag: hex.EncodeToString(one[:])}, {Number: 7, ETag: hex.EncodeToString(two[:])}}
	if got, want := multipartETag(parts), hex.EncodeToString(both[:])+"-2"; got != want {
		t.Errorf("multipartETag = %q, want %q", got, want)
	}
	for _, etag := range []string{"", "xyz", "abcd", parts[0].ETag + "-1"} {
		if got := multipartETag([]Part{{ETag: etag}}); got != "" {
			t.Errorf("of a part with ETag %q: %q", etag, got)
		}
	}
}

func TestLostAnswerOfComplete(t *testing.T) {
	sum := md5.Sum([]byte("a"))
	req := CompleteRequest{Parts: []Part{{Number: 1, ETag: hex.EncodeToString(sum[:])}}}
	etag := multipartETag(req.Parts)
	for _, tt := range []struct {
		name     string
		complete error
		there    string // the ETag that Stat finds
		parts    error  // what ListParts says
		want     error
		asked    int // calls of Stat
	}{
		{name: "it was done", complete: Unavailable, there: etag, parts: NoUpload, asked: 1},
		{name: "another object is there", complete: Unavailable, there: "other", parts: NoUpload, want: Unavailable, asked: 1},
		{name: "the same object is there, the upload too", complete: Unavailable, there: etag, want: Unavailable, asked: 1},
		{name: "no telling", complete: Unavailable, there: etag, parts: Access, want: Unavailable, asked: 1},
		{name: "a clear answer", complete: InvalidPart, there: etag, parts: NoUpload, want: InvalidPart},
		{name: "an unknown upload is a clear answer", complete: NoUpload, there: etag, parts: NoUpload, want: NoUpload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &scripted{
				complete: func(context.Context, int) (object.Attrs, error) { return object.Attrs{}, tt.complete },
				stat:     func(context.Context, int) (object.Attrs, error) { return object.Attrs{ETag: tt.there, Size: 1}, nil },
				parts:    func(context.Context, int) (PartsPage, error) { return PartsPage{}, tt.parts },
			}
			attrs, err := newRig(t, b, StoreConfig{}).CompleteUpload(t.Context(), Upload{loc, "id"}, req)
			if tt.want == nil {
				if err != nil || attrs.ETag != etag {
					t.Errorf("CompleteUpload = %+v, %v", attrs, err)
				}
			} else {
				wantCode(t, err, CodeOf(tt.want))
			}
			if b.calls("CompleteUpload") != 1 || b.calls("Stat") != tt.asked {
				t.Errorf("%d completions, %d Stats; want 1, %d", b.calls("CompleteUpload"), b.calls("Stat"), tt.asked)
			}
		})
	}
}

func TestCompleteIsRepeatedWhenTheStoreDidNothing(t *testing.T) {
	b := &scripted{complete: func(_ context.Context, n int) (object.Attrs, error) {
		if n == 1 {
			return object.Attrs{}, Throttled
		}
		return object.Attrs{ETag: "e"}, nil
	}}
	if _, err := newRig(t, b, StoreConfig{}).CompleteUpload(t.Context(), Upload{loc, "id"}, CompleteRequest{}); err != nil {
		t.Error(err)
	}
}

func TestAssembly(t *testing.T) {
	tests := []struct {
		parts []Part
		want  time.Duration
	}{
		{nil, 0}, {[]Part{{Number: 1}}, 0}, {[]Part{{Size: 8 << 20}, {Size: 8 << 20}, {Size: 1}}, time.Second},
		{[]Part{{Size: 5 << 40}}, 91*time.Hour + 80*time.Second}, // 5 TiB at 16 MiB/s
	}
	for _, tt := range tests {
		if got := assembly(tt.parts); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.parts, got, tt.want)
		}
	}
}
