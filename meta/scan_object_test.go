package meta_test

import (
	"errors"
	"slices"
	"testing"

	"unistore/meta"
	"unistore/meta/mem"
	"unistore/object"
)

func TestObjectsIn(t *testing.T) {
	db, err := meta.NewDB(mem.New())
	if err != nil {
		t.Fatal(err)
	}
	var ch meta.Changes
	for _, k := range []meta.ObjectKey{
		{Upstream: "u", Bucket: "b", Key: "a/1"}, {Upstream: "u", Bucket: "b", Key: "a/2"}, {Upstream: "u", Bucket: "b", Key: "ab"},
		{Upstream: "u", Bucket: "b", Key: "a\x00"}, {Upstream: "u", Bucket: "ba", Key: "/1"}, {Upstream: "ub", Bucket: "", Key: "a/1"},
	} {
		ch.PutObject(k, meta.Object{Attrs: object.Attrs{Size: 1, ETag: "e"}})
	}
	if err := db.Write(&ch, false); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		in   meta.ObjectKey
		want []string
	}{
		{meta.ObjectKey{Upstream: "u", Bucket: "b"}, []string{"a\x00", "a/1", "a/2", "ab"}},
		{meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "a/"}, []string{"a/1", "a/2"}},
		{meta.ObjectKey{Upstream: "u", Bucket: "b", Key: "a/1"}, []string{"a/1"}},
		{meta.ObjectKey{Upstream: "u", Bucket: "ba"}, []string{"/1"}},
		{meta.ObjectKey{Upstream: "u", Bucket: "c"}, nil},
		{meta.ObjectKey{}, []string{"a\x00", "a/1", "a/2", "ab", "/1", "a/1"}},
	}
	stop := errors.New("stop")
	for _, tt := range tests {
		for step := 1; step <= 7; step++ { // so many a scan
			var got []string
			var after *meta.ObjectKey
			for {
				n := 0
				err := db.ObjectsIn(tt.in, after, func(k meta.ObjectKey, o meta.Object, err error) error {
					if err != nil || o.Attrs.ETag != "e" {
						t.Errorf("%v: %v, %v", k, o, err)
					}
					got, after = append(got, k.Key), &k
					if n++; n == step {
						return stop
					}
					return nil
				})
				if err == nil {
					break
				}
				if !errors.Is(err, stop) {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%+v by %d: %q, want %q", tt.in, step, got, tt.want)
			}
		}
	}
}
