package prefetch

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"unistore/byterange"
	"unistore/cache"
	"unistore/columns"
)

// grid is a layout of groups row groups with columns chunks of 1 MiB each.
func grid(groups, cols int) *columns.Layout {
	l := &columns.Layout{Schema: 7}
	at := int64(4)
	for range groups {
		var chunks []columns.Chunk
		for range cols {
			chunks = append(chunks, columns.Chunk{Off: at, Len: mib})
			at += mib
		}
		l.Groups = append(l.Groups, chunks)
	}
	return l
}

func TestColumnsAreLearned(t *testing.T) {
	l := grid(5, 50)
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	read := func(group, column int) {
		t.Helper()
		c := l.Groups[group][column]
		if g, ok := f.touch(c.Off, c.Len, u); !ok || g != group {
			t.Fatalf("group %d, %v", g, ok)
		}
	}
	ahead := func(from int, budget int64) string {
		out, _ := f.ahead(u, from, budget)
		return show(out)
	}
	at := func(group, column int) string { return inUnits(l.Groups[group][column].Off) }
	read(0, 3)
	if got, want := ahead(0, 2*mib), "col:"+at(1, 3)+"+1M col:"+at(2, 3)+"+1M"; got != want {
		t.Errorf("after one column: %q, want %q", got, want)
	}
	read(0, 4)
	if got, want := ahead(0, 2*mib), "col:"+at(1, 4)+"+1M col:"+at(2, 4)+"+1M"; got != want {
		t.Errorf("after two: %q, want %q", got, want)
	}
	if u.pending != 4*mib {
		t.Errorf("%d bytes pending", u.pending)
	}
	read(1, 3)
	if u.pending != 3*mib {
		t.Errorf("%d bytes pending after one was read", u.pending)
	}
	if got, want := ahead(1, 100*mib), "col:"+at(3, 3)+"+2M col:"+at(4, 3)+"+2M"; got != want {
		t.Errorf("the rest: %q, want %q", got, want)
	}
	if got := ahead(1, 100*mib); got != "" {
		t.Errorf("twice: %q", got)
	}

	// Another file with the same columns: all that is known of them at once.
	other := newColumnFile("b.parquet", l)
	out, left := other.ahead(u, 0, 3*mib)
	if got, want := show(out), "col:"+at(0, 3)+"+2M col:"+at(1, 3)+"+1M"; got != want || left != 0 {
		t.Errorf("beside it: %q, %d left", got, left)
	}
}

// The same access key's next query: other columns, or the same again.
func TestNextQueryIsLearnedAnew(t *testing.T) {
	l := grid(4, 4)
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	for g := range 4 {
		f.touch(l.Groups[g][1].Off, mib, u)
	}
	f.touch(l.Groups[0][3].Off, mib, u)
	if u.pass != 1 || u.wants(1) || !u.wants(3) {
		t.Errorf("other columns: %+v", u)
	}
	if out, _ := f.ahead(u, 0, 10*mib); len(out) != 3 {
		t.Errorf("%s", show(out))
	}
	for g := 1; g < 4; g++ {
		f.touch(l.Groups[g][3].Off, mib/2, u)
		f.touch(l.Groups[g][3].Off+mib/2, mib/2, u) // the rest of it
	}
	if u.pass != 1 || u.pending != 0 {
		t.Errorf("in two pieces: %+v", u)
	}
	f.touch(l.Groups[0][3].Off, mib, u)
	if out, _ := f.ahead(u, 0, 10*mib); u.pass != 2 || len(out) != 3 {
		t.Errorf("once more: %+v, %s", u, show(out))
	}
}

// A pass that began in the last row group, since that was read twice, ends where the next query begins: in an earlier file.
func TestNextQueryBeginsInAnEarlierFile(t *testing.T) {
	l := grid(4, 4)
	first, last := newColumnFile("a.parquet", l), newColumnFile("b.parquet", l)
	u := &columnUse{reads: map[int]int{}}
	last.touch(l.Groups[3][1].Off, mib, u)
	last.touch(l.Groups[3][2].Off, mib, u)
	if u.pass != 0 {
		t.Fatalf("in one row group: %+v", u)
	}
	first.touch(l.Groups[0][3].Off, mib, u)
	if u.pass != 1 || u.wants(1) || u.wants(2) || !u.wants(3) {
		t.Errorf("in an earlier file: %+v", u)
	}
	last.touch(l.Groups[0][2].Off, mib, u)
	if u.pass != 1 || !u.wants(2) || !u.wants(3) {
		t.Errorf("in a later file: %+v", u)
	}
}

// A column that was read once is not wanted for ever.
func TestRareColumnsAreForgotten(t *testing.T) {
	l := grid(10, 4)
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	f.touch(l.Groups[0][0].Off, mib, u)
	for g := range 4 {
		f.touch(l.Groups[g][2].Off, mib, u)
	}
	if u.wants(0) || !u.wants(2) || u.wants(1) {
		t.Errorf("%+v", u.reads)
	}
}

// Who leaves row groups out gets only what he is at.
func TestSkippedRowGroups(t *testing.T) {
	l := grid(20, 3)
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	for _, g := range []int{0, 5, 10} {
		for c := range 2 {
			f.touch(l.Groups[g][c].Off, mib, u)
		}
	}
	f.touch(l.Groups[15][0].Off, mib, u)
	if out, _ := f.ahead(u, 15, 100*mib); show(out) != "col:"+inUnits(l.Groups[15][1].Off)+"+1M" {
		t.Errorf("%q", show(out))
	}
}

// A chunk that does not fit ends the search behind its row group.
func TestSearchEndsWhereNothingFits(t *testing.T) {
	l := grid(1000, 3)
	for g := range l.Groups {
		l.Groups[g][2].Len = 1
	}
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	for c := range 3 {
		f.touch(l.Groups[0][c].Off, l.Groups[0][c].Len, u)
	}
	out, left := f.ahead(u, 0, mib+10)
	if len(f.wanted) != 2 || len(out) != 2 || left != 9 { // one of group 1 and the byte behind
		t.Errorf("%s, %d left, %d chunks wanted", show(out), left, len(f.wanted))
	}
}

// What is wanted already is looked at only so far.
func TestSearchIsBounded(t *testing.T) {
	l := grid(3*maxLooks, 1)
	f, u := newColumnFile("a.parquet", l), &columnUse{reads: map[int]int{}}
	f.touch(l.Groups[0][0].Off, mib, u)
	f.ahead(u, 0, 1<<40)
	f.ahead(u, 0, 1<<40)
	if n := len(f.wanted); n > maxLooks {
		t.Errorf("%d chunks wanted from the first row group on", n)
	}
	if f.ahead(u, maxLooks, 1<<40); len(f.wanted) <= maxLooks/2 {
		t.Error("nothing is wanted further on")
	}
}

func TestClip(t *testing.T) {
	l := grid(1, 3)
	wants := []Want{{Range: l2r(l.Groups[0][0].Off+mib/2, mib)}, {Range: l2r(l.Groups[0][1].Off, mib)}}
	got := clip(wants, l, l2r(4, mib/2))
	if len(got) != 1 || got[0].Range != l2r(4+mib/2, mib/2) {
		t.Errorf("%+v", got)
	}
}

func l2r(off, n int64) byterange.Range { return byterange.Range{Off: off, Len: n} }

// tails answers Fetched with the end of a file whose footer takes length bytes.
type tails struct {
	filler
	length int64
	asked  []int64
}

func (f *tails) Fetched(_ context.Context, req cache.PrefetchRequest) ([]byte, error) {
	f.asked = append(f.asked, req.Range.Len)
	tail := make([]byte, req.Range.Len)
	binary.LittleEndian.PutUint32(tail[len(tail)-8:], uint32(f.length-8))
	copy(tail[len(tail)-4:], "PAR1")
	return tail, nil
}

// A footer that is longer than the first tail costs a second request, those beside it do not.
func TestLongFooters(t *testing.T) {
	f := &tails{length: 200 << 10}
	p, _ := newTest(t, &f.filler, Budget{Memory: 64 * mib, Jobs: 8})
	p.cfg.Cache = f
	for _, key := range []string{"a/1.parquet", "a/2.parquet", "b/1.parquet", "b/tiny.parquet"} {
		target := reading(key, 0, 1).Target
		target.Size = 64 * mib
		if key == "b/tiny.parquet" {
			target.Size = 100 << 10
		}
		p.loadLayout(t.Context(), target)
	}
	if want := []int64{64 << 10, 200 << 10, 200 << 10, 64 << 10, 200 << 10, 100 << 10}; !slices.Equal(f.asked, want) {
		t.Errorf("fetched %v, want %v", f.asked, want)
	}
}
