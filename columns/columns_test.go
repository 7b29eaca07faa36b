package columns_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/parquet-go/parquet-go"

	"unistore/columns"
)

type row struct {
	ID   int64   `parquet:"id"`
	Name string  `parquet:"name,dict"`
	A    float64 `parquet:"a"`
	B    float64 `parquet:"b"`
}

// file is a Parquet file of groups row groups of 1000 rows.
func file(t testing.TB, groups int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := parquet.NewGenericWriter[row](&out)
	r := rand.New(rand.NewPCG(1, 2))
	for range groups {
		rows := make([]row, 1000)
		for i := range rows {
			rows[i] = row{r.Int64(), string(rune('a' + r.IntN(26))), r.Float64(), r.Float64()}
		}
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestParse(t *testing.T) {
	data := file(t, 3)
	l, err := columns.Parse(data, int64(len(data)))
	if err != nil || len(l.Groups) != 3 || len(l.Groups[0]) != 4 {
		t.Fatalf("%+v, %v", l, err)
	}
	// The columns of all groups follow each other and end before the footer.
	n, err := columns.FooterLength(data[len(data)-8:])
	if err != nil {
		t.Fatal(err)
	}
	end := int64(4)
	for g, chunks := range l.Groups {
		for c, chunk := range chunks {
			if chunk.Off != end || chunk.Len <= 0 {
				t.Errorf("group %d column %d: %+v, want it at %d", g, c, chunk, end)
			}
			end = chunk.End()
		}
	}
	if limit := int64(len(data)) - n; end > limit {
		t.Errorf("columns end at %d, the footer begins at %d", end, limit)
	}
	again, err := columns.Parse(data[int64(len(data))-n:], int64(len(data)))
	if err != nil || again.Schema != l.Schema || again.Groups[2][3] != l.Groups[2][3] {
		t.Errorf("from the footer alone: %+v, %v", again, err)
	}

	c := l.Groups[1][2]
	for _, test := range []struct {
		off, n  int64
		group   int
		columns int
	}{
		{c.Off, c.Len, 1, 1},
		{c.Off, 100, 1, 1},                  // its beginning
		{c.Off + 200, 100, 0, 0},            // a bit of it
		{c.Off + c.Len/4, c.Len, 1, 2},      // most of it, and the beginning of the next
		{0, int64(len(data)), 0, 4},         // all: the first group
		{int64(len(data)) - 100, 100, 0, 0}, // the footer
	} {
		if g, list := l.Touched(test.off, test.n); g != test.group || len(list) != test.columns {
			t.Errorf("%d+%d: group %d, columns %v", test.off, test.n, g, list)
		}
	}
	if l.ChunkEnd(c.Off+1) != c.End() || l.ChunkEnd(0) != 0 {
		t.Error("wrong ends of chunks")
	}
}

func TestWhatDoesNotParse(t *testing.T) {
	data := file(t, 2)
	for name, change := range map[string]func([]byte) []byte{
		"empty":      func([]byte) []byte { return nil },
		"no magic":   func(b []byte) []byte { b[len(b)-1] = 'X'; return b },
		"encrypted":  func(b []byte) []byte { copy(b[len(b)-4:], "PARE"); return b },
		"too long":   func(b []byte) []byte { binary.LittleEndian.PutUint32(b[len(b)-8:], 1<<31); return b },
		"longer":     func(b []byte) []byte { binary.LittleEndian.PutUint32(b[len(b)-8:], uint32(len(b))); return b },
		"cut":        func(b []byte) []byte { return b[len(b)-100:] },
		"no footer":  func(b []byte) []byte { binary.LittleEndian.PutUint32(b[len(b)-8:], 0); return b },
		"other data": func(b []byte) []byte { clear(b[len(b)-108 : len(b)-8]); return b },
	} {
		b := change(bytes.Clone(data))
		if l, err := columns.Parse(b, int64(len(b))); !errors.Is(err, columns.ErrFormat) {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	if _, err := columns.Parse(data, 100); !errors.Is(err, columns.ErrFormat) {
		t.Errorf("chunks outside of the file: %v", err)
	}
}

// What another reader finds is what ours does.
func TestParseAgrees(t *testing.T) {
	data := file(t, 5)
	l, err := columns.Parse(data, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	groups := f.Metadata().RowGroups
	if len(groups) != len(l.Groups) {
		t.Fatalf("%d row groups, want %d", len(l.Groups), len(groups))
	}
	for g := range groups {
		for c := range groups[g].Columns {
			m := &groups[g].Columns[c].MetaData
			want := columns.Chunk{Off: m.DataPageOffset, Len: m.TotalCompressedSize}
			if m.DictionaryPageOffset > 0 {
				want.Off = min(want.Off, m.DictionaryPageOffset)
			}
			if l.Groups[g][c] != want {
				t.Errorf("group %d column %d: %+v, want %+v", g, c, l.Groups[g][c], want)
			}
		}
	}
}

// Footers made to exhaust the stack or the memory of who reads them are refused, at the cost of about their own length.
func TestHostileFooters(t *testing.T) {
	const n = 12 << 20
	largest := []byte{0xff, 0xff, 0xff, 0xff, 0x07} // 2^31-1
	rows := func(head byte) []byte { return append([]byte{0x49, head}, largest...) }
	for name, footer := range map[string][]byte{
		"lists in lists":         append([]byte{0xf9}, bytes.Repeat([]byte{0x19}, n)...),
		"structs in structs":     bytes.Repeat([]byte{0xfc}, n),
		"maps in maps":           append([]byte{0xfb}, bytes.Repeat([]byte{0x01, 0xbb}, n/2)...),
		"schema of 2^31-1":       append([]byte{0x29, 0xfc}, largest...),
		"row groups of 2^31-1":   rows(0xfc),
		"elements of no type":    append([]byte{0xf9, 0xf0}, largest...),
		"a map of 2^31-1":        append(append([]byte{0xfb}, largest...), 0x33),
		"a string of 2^31-1":     append([]byte{0xf8}, largest...),
		"empty groups":           append([]byte{0x49, 0xfc, 0x80, 0x80, 0x80, 0x02}, bytes.Repeat([]byte{0x19, 0x0c, 0}, n/3)...),
		"empty columns":          append([]byte{0x49, 0x1c, 0x19, 0xfc, 0x80, 0x80, 0x80, 0x04}, bytes.Repeat([]byte{0}, n)...),
		"columns again":          append([]byte{0x49, 0x1c, 0x19, 0x0c}, bytes.Repeat([]byte{0x09, 0x02, 0x0c}, n/3)...),
		"a number without end":   append([]byte{0x46}, bytes.Repeat([]byte{0xff}, n)...),
		"elements without bytes": append([]byte{0xf9, 0xf1}, largest...),
	} {
		tail := binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
		tail = append(tail, "PAR1"...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, err := columns.Parse(tail, 1<<40)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, columns.ErrFormat) {
			t.Errorf("%s: %d groups, %v", name, len(l.Groups), err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
}

func FuzzParse(f *testing.F) {
	data := file(f, 2)
	f.Add(data, int64(len(data)))
	n, _ := columns.FooterLength(data)
	f.Add(data[int64(len(data))-n:], int64(len(data)))
	f.Fuzz(func(t *testing.T, tail []byte, size int64) {
		l, err := columns.Parse(tail, size)
		if err != nil {
			if !errors.Is(err, columns.ErrFormat) {
				t.Error(err)
			}
			return
		}
		for _, chunks := range l.Groups {
			for _, c := range chunks {
				if c.Off < 0 || c.Len < 0 || c.End() > size {
					t.Errorf("%+v of %d bytes", c, size)
				}
			}
		}
	})
}
