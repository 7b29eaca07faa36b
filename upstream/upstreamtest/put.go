package upstreamtest

import (
	"bytes"
	"fmt"
	"io"
	"testing/iotest"
	"time"

	"unistore/object"
	"unistore/upstream"
)

// sizes are around the units in which gateways, caches and stores cut objects.
var sizes = []int{
	0, 1, 2, 4095, 4096, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5 << 20, 5<<20 + 1, 8<<20 + 3,
}

func putCases() []testCase {
	var all []testCase
	for _, size := range sizes {
		all = append(all, testCase{name: fmt.Sprintf("put/size %d", size), run: func(e *env) { roundTrip(e, size) }})
	}
	return append(all,
		testCase{name: "put/overwrite", run: putOverwrite},
		testCase{name: "put/the same twice", run: putTwice},
		testCase{name: "put/body in single bytes", run: func(e *env) {
			putReader(e, 300, func(r io.Reader) io.Reader { return iotest.OneByteReader(r) })
		}},
		testCase{name: "put/body whose last bytes come with EOF", run: func(e *env) {
			putReader(e, 70000, func(r io.Reader) io.Reader { return iotest.DataErrReader(r) })
		}},
		testCase{name: "put/body in halves", run: func(e *env) {
			putReader(e, 70000, func(r io.Reader) io.Reader { return iotest.HalfReader(r) })
		}},
		testCase{name: "put/etag differs with the bytes", run: etagDiffers},
		testCase{name: "put/modification time", run: modTime},
		testCase{name: "stat/missing key", run: func(e *env) {
			_, err := e.b.Stat(e.ctx, e.loc("missing"), upstream.StatOptions{})
			e.wantCode(err, upstream.NotExist)
		}},
		testCase{name: "stat/key that is only a prefix", run: func(e *env) {
			e.put("dir/sub/file", []byte("x"))
			for _, key := range []string{"dir", "dir/", "dir/sub", "dir/sub/", "dir/sub/fil", "dir/sub/file/"} {
				e.wantAbsent(key)
			}
		}},
		testCase{name: "stat/version null is the only version", run: statVersion},
		testCase{name: "delete/twice", run: func(e *env) {
			e.put("k", []byte("x"))
			e.delete("k")
			e.wantAbsent("k")
			e.delete("k")
			e.put("k", []byte("again"))
			e.wantContent("k", []byte("again"))
		}},
		testCase{name: "delete/never existed", run: func(e *env) { e.delete("no/such/key") }},
		testCase{name: "delete/leaves the neighbours", run: deleteNeighbours},
		testCase{name: "delete/prefix of a key is no key", run: func(e *env) {
			e.put("dir/file", []byte("x"))
			e.delete("dir")
			e.delete("dir/")
			e.wantKeys("dir/file")
		}},
		testCase{name: "batch/with missing keys", needs: batchDelete, run: batchMissing},
		testCase{name: "batch/a thousand keys", needs: batchDelete, run: batchThousand},
	)
}

func roundTrip(e *env, size int) {
	data := e.data(size)
	put := e.put("some/key.bin", data)
	if !e.h.OpaqueETags && put.ETag != md5Of(data) {
		e.Errorf("ETag %q is not the MD5 %q", put.ETag, md5Of(data))
	}
	stat := e.stat("some/key.bin")
	if stat.Size != int64(size) || stat.ETag != put.ETag || stat.VersionID != put.VersionID {
		e.Errorf("Stat = %+v, Put said %+v", stat, put)
	}
	e.wantContent("some/key.bin", data)
	_, s := e.open("some/key.bin", upstream.OpenOptions{})
	if s.Attrs.ETag != put.ETag {
		e.Errorf("Open: ETag %q, Put said %q", s.Attrs.ETag, put.ETag)
	}
	page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 10})
	if err != nil || len(page.Objects) != 1 {
		e.Fatalf("List = %+v, %v", page, err)
	}
	got := page.Objects[0]
	if got.Key != "some/key.bin" || got.Size != int64(size) || got.ETag != put.ETag || got.HeadersKnown {
		e.Errorf("List = %+v, Put said %+v", got, put)
	}
	if d := got.ModTime.Sub(stat.ModTime).Abs(); d > time.Second { // HEAD has seconds, a list milliseconds
		e.Errorf("List and Stat differ in ModTime: %v, %v", got.ModTime, stat.ModTime)
	}
}

func putOverwrite(e *env) {
	var etags []string
	for i, size := range []int{1000, 10, 0, 100_000} {
		data := e.data(size)
		put := e.put("k", data)
		e.wantContent("k", data)
		if stat := e.stat("k"); stat.ETag != put.ETag {
			e.Errorf("round %d: Stat has ETag %q, Put said %q", i, stat.ETag, put.ETag)
		}
		etags = append(etags, put.ETag)
	}
	for i := range etags[1:] {
		if etags[i] == etags[i+1] {
			e.Errorf("ETag %q stands for two versions", etags[i])
		}
	}
	e.wantKeys("k")
}

func putTwice(e *env) {
	data := e.data(5000)
	e.put("k", data)
	e.put("k", data)
	e.wantContent("k", data)
	e.wantKeys("k")
}

func putReader(e *env, size int, wrap func(io.Reader) io.Reader) {
	data := e.data(size)
	e.putReq("k", data, upstream.PutRequest{Body: wrap(bytes.NewReader(data)), Size: int64(size)})
	e.wantContent("k", data)
}

func etagDiffers(e *env) {
	seen := map[string]int{}
	for i := range 20 {
		data := e.data(512) // the same size every time, quickly one after another
		etag := e.put("k", data).ETag
		if j, ok := seen[etag]; ok {
			e.Fatalf("writes %d and %d have ETag %q", j, i, etag)
		}
		seen[etag] = i
	}
}

func modTime(e *env) {
	e.put("k", []byte("x"))
	first := e.stat("k").ModTime
	if d := time.Since(first).Abs(); d > time.Hour {
		e.Errorf("ModTime is %v, %v from now", first, d)
	}
	e.put("k", []byte("y"))
	if second := e.stat("k").ModTime; second.Before(first) {
		e.Errorf("ModTime went back from %v to %v", first, second)
	}
}

func statVersion(e *env) {
	if put := e.put("k", []byte("x")); put.VersionID != "" {
		_, err := e.b.Stat(e.ctx, e.loc("k"), upstream.StatOptions{VersionID: put.VersionID})
		if err != nil {
			e.Errorf("Stat of version %q: %v", put.VersionID, err)
		}
		return
	}
	if _, err := e.b.Stat(e.ctx, e.loc("k"), upstream.StatOptions{VersionID: "null"}); err != nil {
		e.Errorf("Stat of version null: %v", err)
	}
}

func deleteNeighbours(e *env) {
	keys := []string{"d/a", "d/b", "d/sub/c", "d.x", "d-", "e"}
	for _, key := range keys {
		e.put(key, []byte(key))
	}
	for i, key := range keys {
		e.delete(key)
		e.wantKeys(keys[i+1:]...)
		for _, left := range keys[i+1:] {
			e.wantContent(left, []byte(left))
		}
	}
	e.put("d", []byte("now an object"))
	e.wantContent("d", []byte("now an object"))
}

func batchMissing(e *env) {
	for _, key := range []string{"a", "b/c", "d"} {
		e.put(key, []byte("x"))
	}
	keys := []string{"a", "missing", "b/c", "b", "b/c/d"}
	errs, err := e.b.(upstream.BatchDeleter).DeleteBatch(e.ctx, e.bucket, keys)
	if err != nil || len(errs) != len(keys) {
		e.Fatalf("DeleteBatch = %v, %v", errs, err)
	}
	for i, err := range errs {
		if err != nil {
			e.Errorf("%q: %v", keys[i], err)
		}
	}
	e.wantKeys("d")
}

func batchThousand(e *env) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("dir-%d/%04d", i%7, i)
	}
	if err := forEach(keys, func(key string) error {
		_, err := e.b.Put(e.ctx, e.loc(key), putRequest([]byte(key)))
		return err
	}); err != nil {
		e.Fatal(err)
	}
	errs, err := e.b.(upstream.BatchDeleter).DeleteBatch(e.ctx, e.bucket, keys)
	if err != nil {
		e.Fatal(err)
	}
	for i, err := range errs {
		if err != nil {
			e.Errorf("%q: %v", keys[i], err)
		}
	}
	e.wantKeys()
}

func headerCases() []testCase {
	full := object.Headers{
		ContentType: "application/vnd.apache.parquet", ContentEncoding: "gzip", ContentLanguage: "de-CH",
		ContentDisposition: `attachment; filename="a b.txt"`, CacheControl: "max-age=60, no-transform",
		Expires: "Thu, 01 Dec 2044 16:00:00 GMT",
	}
	many := map[string]string{}
	for i := range 40 {
		many[fmt.Sprintf("name-%02d", i)] = fmt.Sprintf("value %d", i)
	}
	tests := map[string]object.Headers{
		"none":                     {},
		"all content headers":      full,
		"content type with params": {ContentType: `text/plain; charset="utf-8"`},
		"user":                     {ContentType: "a/b", User: map[string]string{"owner": "x", "a-b_c.d": "y"}},
		"user with empty value":    {User: map[string]string{"empty": "", "full": "1"}},
		"user with utf-8 value":    {User: map[string]string{"name": "Grüße, 世界"}},
		"user with odd values":     {User: map[string]string{"q": `a "quoted", comma; semi=colon`, "p": "100%25+1"}},
		"many user":                {User: many},
		"2 KiB user":               {User: map[string]string{"long": string(bytes.Repeat([]byte("v"), 1900))}},
	}
	var all []testCase
	for _, name := range []string{
		"none", "all content headers", "content type with params", "user", "user with empty value",
		"user with utf-8 value", "user with odd values", "many user", "2 KiB user",
	} {
		all = append(all, testCase{name: "headers/" + name, run: func(e *env) { headersRoundTrip(e, tests[name]) }})
	}
	return append(all, testCase{name: "headers/replaced by the next write", run: func(e *env) {
		headersRoundTrip(e, full)
		headersRoundTrip(e, object.Headers{ContentType: "x/y", User: map[string]string{"only": "this"}})
	}})
}

func headersRoundTrip(e *env, want object.Headers) {
	data := []byte("some bytes")
	req := putRequest(data)
	req.Headers = want.Clone()
	e.putReq("k", data, req)
	e.wantHeaders("Stat", e.stat("k").Headers, want)
	_, s := e.open("k", upstream.OpenOptions{})
	e.wantHeaders("Open", s.Attrs.Headers, want)
}
