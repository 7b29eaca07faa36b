package cache

import (
	"testing"

	"unistore/byterange"
	"unistore/object"
)

func TestResident(t *testing.T) {
	e := newEnv(t, nil)
	a := e.o.put("k", 4*blockLen+100)
	size := a.Size
	if n := e.c.Resident(keyOf("k"), a, []byterange.Range{{Len: size}}); n != 0 {
		t.Errorf("%d bytes of an empty cache", n)
	}
	e.read("k", page, 2*page)         // pages 1 and 2
	e.read("k", size-50, 50)          // the last page, 100 bytes
	e.read("k", 2*blockLen, blockLen) // block 2
	whole := int64(2*page + 100 + blockLen)
	tests := []struct {
		ranges []byterange.Range
		want   int64
	}{
		{nil, 0},
		{[]byterange.Range{{Len: size}}, whole},
		{[]byterange.Range{{Len: 1 << 60}}, whole},
		{[]byterange.Range{{Off: size, Len: 10}}, 0},
		{[]byterange.Range{{Len: page}}, 0},
		{[]byterange.Range{{Len: page + 1}}, 1},
		{[]byterange.Range{{Off: 3*page - 7, Len: page}}, 7},
		{[]byterange.Range{{Off: page, Len: 2 * page}}, 2 * page},
		{[]byterange.Range{{Off: size - 3, Len: 3}}, 3},
		{[]byterange.Range{{Off: page, Len: 5}, {Off: page, Len: 5}}, 10},
		{[]byterange.Range{{Off: 2*blockLen - 1, Len: blockLen + 2}, {Off: blockLen, Len: 9}}, blockLen},
	}
	for _, test := range tests {
		if n := e.c.Resident(keyOf("k"), a, test.ranges); n != test.want {
			t.Errorf("%v: %d bytes, want %d", test.ranges, n, test.want)
		}
	}
	other := a
	other.ETag = "another"
	for _, x := range []object.Attrs{other, {Size: size}} {
		if n := e.c.Resident(keyOf("k"), x, []byterange.Range{{Len: size}}); n != 0 {
			t.Errorf("%d bytes of another version", n)
		}
	}
	e.c.Learn(keyOf("k"), e.c.Begin(keyOf("k")), a)
	e.c.Forget(keyOf("k"))
	if n := e.c.Resident(keyOf("k"), a, []byterange.Range{{Len: size}}); n != 0 {
		t.Errorf("%d bytes of a forgotten version", n)
	}
	e.idle()
}
