package meta_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"unistore/meta"
	"unistore/meta/mem"
)

// applies counts batches.
type applies struct {
	meta.Engine
	durable, others int
}

func (e *applies) Apply(b *meta.Batch, sync bool) error {
	if sync {
		e.durable++
	} else {
		e.others++
	}
	return e.Engine.Apply(b, sync)
}

func TestQueryRecords(t *testing.T) {
	engine := &applies{Engine: mem.New()}
	db, err := meta.NewDB(engine)
	if err != nil {
		t.Fatal(err)
	}
	a := meta.Query{Name: "AK q", Until: time.UnixMilli(1234567), Priority: 2, Pin: 1, AccessKey: "k", SecretKey: "s", Token: "t", Deadline: time.UnixMilli(999)}
	b := meta.Query{Name: "AK q2", Until: time.UnixMilli(7)}
	one := []meta.QueryFile{{Bucket: "b", Key: "k1", ETag: "e", Size: 9, Ranges: [][2]int64{{0, 4}, {5, 4}}}}
	two := []meta.QueryFile{{Bucket: "b", Key: "k2"}}
	var c meta.Changes
	c.PutQuery(&a)
	c.PutQuery(&b)
	c.PutQueryFiles(a.Name, 0, one)
	c.PutQueryFiles(a.Name, 1, two)
	c.PutQueryFiles(b.Name, 0, two)
	if err := db.Write(&c, true); err != nil {
		t.Fatal(err)
	}
	list := func() (out []meta.Query) {
		t.Helper()
		if err := db.Queries(func(q meta.Query, err error) error { out = append(out, q); return err }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if diff := cmp.Diff([]meta.Query{a, b}, list()); diff != "" {
		t.Error(diff)
	}
	files, next, err := db.QueryFiles(a.Name)
	if diff := cmp.Diff(append(one, two...), files); diff != "" || next != 2 || err != nil {
		t.Error(diff, next, err)
	}
	engine.durable, engine.others = 0, 0
	if err := db.DiscardQuery(a.Name); err != nil {
		t.Fatal(err)
	}
	if engine.durable != 1 || engine.others != 0 {
		t.Errorf("%d durable changes, %d others", engine.durable, engine.others)
	}
	if diff := cmp.Diff([]meta.Query{b}, list()); diff != "" {
		t.Error(diff)
	}
	if files, _, _ := db.QueryFiles(a.Name); len(files) != 0 {
		t.Errorf("%+v", files)
	}
	if files, _, _ := db.QueryFiles(b.Name); len(files) != 1 {
		t.Errorf("%+v", files)
	}
	stop := errors.New("stop")
	if err := db.Queries(func(meta.Query, error) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
