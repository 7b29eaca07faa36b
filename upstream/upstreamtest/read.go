package upstreamtest

import (
	"bytes"
	"fmt"
	"io"

	"unistore/byterange"
	"unistore/upstream"
)

func readCases() []testCase {
	const size = 1<<20 + 1
	ranges := []struct {
		name string
		spec byterange.Spec
	}{
		{"all", byterange.All()},
		{"from 0", byterange.From(0)},
		{"first byte", byterange.Closed(0, 0)},
		{"second byte", byterange.Closed(1, 1)},
		{"head", byterange.Closed(0, 9999)},
		{"middle", byterange.Closed(500_000, 500_099)},
		{"across a page", byterange.Closed(65535, 65536)},
		{"a page", byterange.Closed(65536, 131071)},
		{"block and the byte after", byterange.From(1<<20 - 1)},
		{"last byte, closed", byterange.Closed(size-1, size-1)},
		{"last byte, open end", byterange.From(size - 1)},
		{"last byte, suffix", byterange.Suffix(1)},
		{"tail, suffix", byterange.Suffix(8)},
		{"closed, to the exact end", byterange.Closed(size-100, size-1)},
		{"closed, past the end", byterange.Closed(size-100, size+100)},
		{"closed, far past the end", byterange.Closed(10, 1<<50)},
		{"suffix of the exact size", byterange.Suffix(size)},
		{"suffix longer than the object", byterange.Suffix(size + 1)},
		{"suffix far longer", byterange.Suffix(1 << 50)},
	}
	var all []testCase
	for _, r := range ranges {
		all = append(all, testCase{name: "range/" + r.name, run: func(e *env) {
			data := e.data(size)
			e.put("k", data)
			e.wantRange("k", data, r.spec)
		}})
	}
	for name, spec := range map[string]byterange.Spec{
		"from the size": byterange.From(size), "from past the size": byterange.From(size + 1),
		"closed at the size": byterange.Closed(size, size), "closed far past the size": byterange.Closed(1<<40, 1<<41),
		"suffix of nothing": byterange.Suffix(0),
	} {
		all = append(all, testCase{name: "range error/" + name, run: func(e *env) { rangeError(e, size, spec) }})
	}
	return append(all, readMoreCases()...)
}

func readMoreCases() []testCase {
	return []testCase{
		{name: "range/all of an empty object", run: func(e *env) {
			e.put("k", nil)
			e.wantRange("k", nil, byterange.All())
		}},
		{name: "range error/suffix of an empty object", run: func(e *env) { rangeError(e, 0, byterange.Suffix(5)) }},
		{name: "range error/from 0 of an empty object", run: func(e *env) { rangeError(e, 0, byterange.From(0)) }},
		{name: "range error/closed of an empty object", run: func(e *env) { rangeError(e, 0, byterange.Closed(0, 9)) }},
		{name: "range/200 random ones", run: randomRanges},
		{name: "range/all of small objects", run: smallRanges},
		{name: "open/missing key", run: func(e *env) {
			_, err := e.b.Open(e.ctx, e.loc("missing"), upstream.OpenOptions{Range: byterange.Closed(0, 9)})
			e.wantCode(err, upstream.NotExist)
		}},
		{name: "open/missing key with if-match", run: func(e *env) {
			_, err := e.b.Open(e.ctx, e.loc("missing"), upstream.OpenOptions{IfMatch: md5Of(nil)})
			e.wantCode(err, upstream.NotExist, upstream.Changed)
		}},
		{name: "open/if-match of the current version", run: func(e *env) {
			data := e.data(1000)
			etag := e.put("k", data).ETag
			got, _ := e.open("k", upstream.OpenOptions{IfMatch: etag, Range: byterange.Closed(10, 19)})
			if !bytes.Equal(got, data[10:20]) {
				e.Errorf("got %x, want %x", got, data[10:20])
			}
		}},
		{name: "open/if-match of another version", run: func(e *env) {
			etag := e.put("k", e.data(1000)).ETag
			e.put("k", e.data(1000))
			_, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{IfMatch: etag, Range: byterange.Closed(10, 19)})
			e.wantCode(err, upstream.Changed)
		}},
		{name: "open/if-none-match of the current version", run: func(e *env) {
			etag := e.put("k", e.data(1000)).ETag
			_, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{IfNoneMatch: etag})
			e.wantCode(err, upstream.NotModified)
		}},
		{name: "open/if-none-match of another version", run: func(e *env) {
			etag := e.put("k", e.data(1000)).ETag
			data := e.data(1001)
			e.put("k", data)
			got, _ := e.open("k", upstream.OpenOptions{IfNoneMatch: etag})
			if !bytes.Equal(got, data) {
				e.Errorf("got %d other bytes", len(got))
			}
		}},
		{name: "open/EOF stays", run: func(e *env) { eofStays(e) }},
		{name: "open/version null", run: func(e *env) {
			id := e.put("k", []byte("x")).VersionID
			if id == "" {
				id = "null"
			}
			e.open("k", upstream.OpenOptions{StatOptions: upstream.StatOptions{VersionID: id}})
		}},
		{name: "open/part 1 of a single object", run: func(e *env) {
			data := e.data(1000)
			e.put("k", data)
			got, _ := e.open("k", upstream.OpenOptions{StatOptions: upstream.StatOptions{PartNumber: 1}})
			if !bytes.Equal(got, data) {
				e.Errorf("part 1 has %d bytes, want all %d", len(got), len(data))
			}
		}},
	}
}

// wantRange checks one range against data, and what the Stream says of it.
func (e *env) wantRange(key string, data []byte, spec byterange.Spec) {
	e.Helper()
	want, err := spec.Resolve(int64(len(data)))
	if err != nil {
		e.Fatal(err)
	}
	got, s := e.open(key, upstream.OpenOptions{Range: spec})
	if s.Range != want || s.Attrs.Size != int64(len(data)) {
		e.Fatalf("%s: Range %+v of %d, want %+v of %d", spec.Header(), s.Range, s.Attrs.Size, want, len(data))
	}
	if !bytes.Equal(got, data[want.Off:want.End()]) {
		e.Fatalf("%s: wrong bytes", spec.Header())
	}
}

func rangeError(e *env, size int, spec byterange.Spec) {
	data := e.data(size)
	e.put("k", data)
	s, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{Range: spec})
	if err == nil {
		_ = s.Body.Close()
	}
	e.wantCode(err, upstream.RangeError)
	e.wantContent("k", data)
}

func randomRanges(e *env) {
	data := e.data(1<<20 + 12345)
	e.put("k", data)
	n := int64(len(data))
	for range 200 {
		first := e.rng.Int64N(n)
		spec := byterange.From(first)
		switch e.rng.IntN(4) {
		case 0:
			spec = byterange.Closed(first, first+e.rng.Int64N(100))
		case 1:
			spec = byterange.Closed(first, first+e.rng.Int64N(2*n))
		case 2:
			spec = byterange.Suffix(1 + e.rng.Int64N(n+100))
		}
		e.wantRange("k", data, spec)
	}
}

// smallRanges reads every range of objects of 1 to 4 bytes.
func smallRanges(e *env) {
	for size := int64(1); size <= 4; size++ {
		key := fmt.Sprintf("k%d", size)
		data := e.data(int(size))
		e.put(key, data)
		for first := range size {
			for last := first; last <= size; last++ {
				e.wantRange(key, data, byterange.Closed(first, last))
			}
			e.wantRange(key, data, byterange.From(first))
			e.wantRange(key, data, byterange.Suffix(first+1))
		}
	}
}

func eofStays(e *env) {
	e.put("k", []byte("abc"))
	s, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{})
	if err != nil {
		e.Fatal(err)
	}
	defer func() { _ = s.Body.Close() }()
	if got, err := io.ReadAll(s.Body); err != nil || string(got) != "abc" {
		e.Fatalf("read %q, %v", got, err)
	}
	for range 3 {
		if n, err := s.Body.Read(make([]byte, 10)); n != 0 || err != io.EOF {
			e.Fatalf("Read after the end = %d, %v", n, err)
		}
	}
}
