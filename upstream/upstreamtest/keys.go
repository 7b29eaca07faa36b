package upstreamtest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"unistore/upstream"
)

// hostileKeys are legal S3 keys that stores, file systems, URLs and XML have trouble with.
func hostileKeys() map[string]string {
	long := strings.Repeat("0123456789abcdef", 64)
	keys := map[string]string{
		"plain": "plain", "spaces": " leading and trailing ", "one space": " ", "plus": "a+b", "percent": "100%",
		"percent 2F": "a%2Fb", "percent 2f": "a%2fb", "double percent": "a%252Fb", "percent 00": "a%00b",
		"latin": "Ärger/ß", "cyrillic": "ключ", "cjk": "世界/こんにちは", "emoji": "🚀/🎉🎉",
		"composed": "caf\u00e9", "decomposed": "cafe\u0301", "beyond the BMP": "\U0010fffd", "noncharacter": "\uffff",
		"dot": ".", "dot dot": "..", "dot dot dot": "...", "dot slash": "./", "dot dot slash": "../",
		"escape": "../../../../etc/passwd", "escape from inside": "a/../../b", "escape to a sibling": "../other/key",
		"dots inside": "a/./b", "dot dot inside": "a/../b", "ends in dot dot": "a/..", "ends in dot": "a/.",
		"leading slash": "/a", "two leading slashes": "//a", "only a slash": "/", "only slashes": "///",
		"empty component": "a//b", "two empty components": "a///b", "trailing slash": "a/", "two trailing slashes": "a//",
		"trailing slash below": "a/b/", "hidden": ".hidden", "hidden directory": ".git/config",
		"backslash": `a\b`, "backslash dots": `..\..\x`, "question mark": "a?b=c&d", "hash": "a#b", "ampersand": "a&b<c>d",
		"quotes": `a"b'c` + "`d", "colon": "C:/x", "star": "a*b|c", "semicolon": "a;b,c=d@e", "dollar": "$HOME/${x}",
		"newline": "a\nb", "carriage return": "a\r\nb", "tab": "a\tb", "bell": "a\x07b", "escape character": "a\x1b[31mb",
		"delete character": "a\x7fb", "first control": "\x01", "null byte": "a\x00b",
		"1024 bytes": long, "1024 bytes in directories": strings.Repeat("0123456/", 128)[:1023] + "x",
		"1024 bytes of slashes": strings.Repeat("/", 1024), "1024 bytes of utf-8": strings.Repeat("é", 512),
		"component of 251": strings.Repeat("c", 251), "component of 252": strings.Repeat("c", 252),
		"component of 253": strings.Repeat("c", 253), "component of 255": strings.Repeat("c", 255),
		"component of 256": strings.Repeat("c", 256), "component of 600 below": "a/" + strings.Repeat("c", 600) + "/x",
		"long directory": strings.Repeat("d", 300) + "/x", "multi-byte at the edge": strings.Repeat("e", 251) + "éé",
		"our temporary": ".unistore/tmp/x", "our metadata": ".unistore/meta/x", "our uploads": ".unistore/uploads/x",
		"our escape": ".=n", "our escape of an object": ".=oa", "our escape of a long one": ".=lx/y",
		"temporary of others": ".tmp.12345", "sidecar of others": "x.metadata.json", "minio": ".minio.sys/format.json",
		"versitygw": ".sgwtmp/x", "swap": "x~", "xml": "]]><x/>", "bucket list query": "?list-type=2", "uploads": "?uploads",
	}
	return keys
}

func keyCases() []testCase {
	keys := hostileKeys()
	var all []testCase
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, testCase{name: "key/" + name, run: func(e *env) { hostileKey(e, keys[name]) }})
	}
	all = append(all,
		testCase{name: "keys/all together, none an alias", run: allKeys},
		testCase{name: "keys/nothing leaves the bucket", needs: buckets, run: nothingEscapes},
		testCase{name: "keys/1025 bytes", run: func(e *env) {
			_, err := e.b.Put(e.ctx, e.loc(strings.Repeat("k", 1025)), putRequest(nil))
			if err != nil { // the caller's mistake; a store that holds it is fine
				e.wantCode(err, upstream.InvalidKey)
			}
		}},
	)
	for name, keys := range map[string][]string{
		"object then below it": {"a", "a/b"}, "below then the object": {"a/b", "a"},
		"marker and object": {"a/", "a"}, "object, marker, below": {"a", "a/", "a/b"},
		"below, marker, object": {"a/b/c", "a/b/", "a/b", "a/", "a"}, "deep chain": {"x", "x/x", "x/x/x", "x/x/x/x", "x/x/x/x/"},
		"slashes": {"/", "//", "///", "a", "/a", "//a", "a/", "a//"}, "dots": {".", "..", "./", "../", "./a", "../a", "a"},
		"escapes": {".=n", ".=n/", ".=o.=n", ".=n.=n", "a", "a/b", ".=oa", ".=oa/b"},
		"long":    {strings.Repeat("c", 252), strings.Repeat("c", 252) + "/", strings.Repeat("c", 253), strings.Repeat("c", 252) + "/d"},
	} {
		all = append(all, testCase{name: "keys/" + name, run: func(e *env) { nested(e, keys) }})
	}
	return all
}

// putOrRefuse stores key, or reports that the store refused it as it may.
func (e *env) putOrRefuse(key string, data []byte) (stored bool) {
	e.Helper()
	_, err := e.b.Put(e.ctx, e.loc(key), putRequest(data))
	if err == nil {
		return true
	}
	if !errors.Is(err, upstream.InvalidKey) || !(e.h.MayRefuse(key) || strings.Contains(key, "\x00")) {
		e.Fatalf("Put %q: %v", key, err)
	}
	return false
}

func hostileKey(e *env, key string) {
	data := e.data(2000)
	if !e.putOrRefuse(key, data) {
		e.wantRefused(key)
		return
	}
	e.wantContent(key, data)
	e.stat(key)
	e.wantKeys(key)
	for _, delimiter := range []string{"/", "%"} {
		page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, Prefix: key, Delimiter: delimiter, MaxKeys: 5})
		if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != key {
			e.Errorf("List with the key as prefix = %+v, %v", page, err)
		}
	}
	again := e.data(100)
	e.put(key, again)
	e.wantContent(key, again)
	e.delete(key)
	e.wantAbsent(key)
	e.wantKeys()
}

// wantRefused checks that a key the store does not hold is not there in any other way.
func (e *env) wantRefused(key string) {
	e.Helper()
	_, err := e.b.Stat(e.ctx, e.loc(key), upstream.StatOptions{})
	e.wantCode(err, upstream.NotExist, upstream.InvalidKey)
	_, err = e.b.Open(e.ctx, e.loc(key), upstream.OpenOptions{})
	e.wantCode(err, upstream.NotExist, upstream.InvalidKey)
	if err := e.b.Delete(e.ctx, e.loc(key), upstream.DeleteOptions{}); err != nil {
		e.wantCode(err, upstream.InvalidKey)
	}
	e.wantKeys()
}

// nested stores keys that are prefixes of one another, in this order, then deletes them one by one.
func nested(e *env, keys []string) {
	held := map[string][]byte{}
	for _, key := range keys {
		data := append([]byte(key+": "), e.data(100)...)
		if e.putOrRefuse(key, data) {
			held[key] = data
		}
		e.wantHeld(held)
	}
	for _, key := range keys { // overwrite
		if _, ok := held[key]; ok {
			held[key] = e.data(50)
			e.put(key, held[key])
			e.wantHeld(held)
		}
	}
	for _, key := range keys {
		if _, ok := held[key]; !ok { // refused, and perhaps so is its deletion
			if err := e.b.Delete(e.ctx, e.loc(key), upstream.DeleteOptions{}); err != nil {
				e.wantCode(err, upstream.InvalidKey)
			}
			continue
		}
		e.delete(key)
		delete(held, key)
		e.wantHeld(held)
	}
}

// wantHeld checks that the bucket holds exactly the keys of held with their contents.
func (e *env) wantHeld(held map[string][]byte) {
	e.Helper()
	var keys []string
	for key, data := range held {
		keys = append(keys, key)
		e.wantContent(key, data)
	}
	e.wantKeys(keys...)
}

func allKeys(e *env) {
	held := map[string][]byte{}
	for _, key := range hostileKeys() {
		data := []byte(key)
		if e.putOrRefuse(key, data) {
			held[key] = data
		}
	}
	e.wantHeld(held)
	for key := range held {
		e.delete(key)
		if _, err := e.b.Stat(e.ctx, e.loc(key), upstream.StatOptions{}); !errors.Is(err, upstream.NotExist) {
			e.Errorf("Stat %q after its deletion: %v", key, err)
		}
		delete(held, key)
		if len(held)%20 == 0 {
			e.wantKeys(slices.Collect(maps.Keys(held))...)
		}
	}
	e.wantKeys()
}

// nothingEscapes writes keys that a careless store would resolve into another bucket.
func nothingEscapes(e *env) {
	other := e.newBucket()
	loc := upstream.Loc{Bucket: other, Key: "safe"}
	if _, err := e.b.Put(e.ctx, loc, putRequest([]byte("safe"))); err != nil {
		e.Fatal(err)
	}
	for _, key := range []string{
		"../" + other + "/safe", "../" + other + "/new", "/../" + other + "/safe", "a/../../" + other + "/safe",
		"./../" + other + "/safe", "..%2F" + other + "%2Fsafe", `..\` + other + `\safe`, "//" + other + "/safe",
	} {
		e.putOrRefuse(key, []byte("escaped"))
		if err := e.b.Delete(e.ctx, e.loc(key), upstream.DeleteOptions{}); err != nil {
			e.wantCode(err, upstream.InvalidKey)
		}
		got, err := readAll(e.ctx, e.b, loc)
		if err != nil || string(got) != "safe" {
			e.Fatalf("after writing %q the other bucket's object is %q, %v", key, got, err)
		}
	}
	keys, err := listAll(e.ctx, e.b, upstream.ListRequest{Bucket: other, MaxKeys: 100})
	if err != nil || !slices.Equal(keys, []string{"safe"}) {
		e.Errorf("the other bucket holds %q, %v", keys, err)
	}
}

func readAll(ctx context.Context, b upstream.Backend, loc upstream.Loc) ([]byte, error) {
	e := env{b: b, bucket: loc.Bucket, ctx: ctx}
	got, _, err := e.read(loc.Key, upstream.OpenOptions{})
	return got, err
}
