package gateway

import (
	"testing"

	"unistore/upstream"
	"unistore/upstream/mem"
)

// TestConditionsThatAStoreCanNotHonour: they are refused with words, not ignored.
func TestConditionsThatAStoreCanNotHonour(t *testing.T) {
	for _, c := range []struct {
		create, replace bool
		ifMatch         string
		ifNoneMatch     bool
		refused         string
	}{
		{ifMatch: "e", refused: "If-Match"},
		{ifNoneMatch: true, refused: "If-None-Match"},
		{create: true, ifMatch: "e", refused: "If-Match"},
		{replace: true, ifNoneMatch: true, refused: "If-None-Match"},
		{create: true, ifNoneMatch: true},
		{replace: true, ifMatch: "e"},
		{},
	} {
		b := mem.New(mem.Config{Limits: upstream.Limits{CreateOnly: c.create, ReplaceOnly: c.replace, MaxKey: 1}})
		store := upstream.NewStore("mem", b, upstream.StoreConfig{})
		err := conditionable(target{store: store}, c.ifMatch, c.ifNoneMatch)
		if c.refused == "" {
			if err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		} else if e := toS3(err); err == nil || e.Code.Status() != 501 || e.Message != "The upstream of this bucket does not support "+c.refused+" on writes." {
			t.Errorf("%+v: %v", c, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
