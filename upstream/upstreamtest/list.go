package upstreamtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"unistore/upstream"
)

// model is the listing that S3 documents, of keys known, without paging: the truth that pages are
// compared with.
type model struct {
	keys []string
}

// line is one line of a listing: an object or a common prefix.
type line struct {
	name   string
	prefix bool
}

func (m model) lines(req upstream.ListRequest) []line {
	var lines []line
	seen := map[string]bool{}
	for _, key := range slices.Sorted(slices.Values(m.keys)) {
		if !strings.HasPrefix(key, req.Prefix) || key <= req.StartAfter {
			continue
		}
		rest := key[len(req.Prefix):]
		if i := strings.Index(rest, req.Delimiter); req.Delimiter != "" && i >= 0 {
			cp := req.Prefix + rest[:i+len(req.Delimiter)]
			if !seen[cp] && cp != req.StartAfter {
				seen[cp] = true
				lines = append(lines, line{cp, true})
			}
			continue
		}
		lines = append(lines, line{key, false})
	}
	return lines
}

// pageLines returns the lines of a page in the order in which S3 counts them, and fails the case when
// they are not in order.
func (e *env) pageLines(page upstream.ListPage) []line {
	e.Helper()
	var lines []line
	for _, o := range page.Objects {
		lines = append(lines, line{o.Key, false})
	}
	if !slices.IsSortedFunc(lines, byName) || !slices.IsSorted(page.Prefixes) {
		e.Errorf("a page is not in order: %+v", page)
	}
	for _, cp := range page.Prefixes {
		lines = append(lines, line{cp, true})
	}
	slices.SortFunc(lines, byName)
	return lines
}

func byName(a, b line) int { return cmp.Compare(a.name, b.name) }

// allLines follows the pages of req.
func (e *env) allLines(req upstream.ListRequest) []line {
	e.Helper()
	var lines []line
	for range 100_000 {
		page, err := e.b.List(e.ctx, req)
		if err != nil {
			e.Fatalf("List %+v: %v", req, err)
		}
		got := e.pageLines(page)
		if len(got) > req.MaxKeys {
			e.Fatalf("List %+v: a page of %d lines", req, len(got))
		}
		if len(lines) > 0 && len(got) > 0 && got[0].name <= lines[len(lines)-1].name {
			e.Fatalf("List %+v: page starts with %q after %q", req, got[0].name, lines[len(lines)-1].name)
		}
		lines = append(lines, got...)
		if page.Next == "" {
			return lines
		}
		req.Token = page.Next
	}
	e.Fatalf("List %+v does not end", req)
	return nil
}

// wantLines compares a listing with the model.
func (e *env) wantLines(m model, req upstream.ListRequest) {
	e.Helper()
	req.Bucket = e.bucket
	got, want := e.allLines(req), m.lines(req)
	if !slices.Equal(got, want) {
		e.Fatalf("List prefix %q delimiter %q after %q, %d a page:\n got %v\nwant %v",
			req.Prefix, req.Delimiter, req.StartAfter, req.MaxKeys, got, want)
	}
}

// fill stores a small object under every key.
func (e *env) fill(keys ...string) model {
	e.Helper()
	if err := forEach(keys, func(key string) error {
		_, err := e.b.Put(e.ctx, e.loc(key), putRequest([]byte(key)))
		return err
	}); err != nil {
		e.Fatal(err)
	}
	return model{keys: keys}
}

// treeKeys sort differently as S3 keys than as paths, in several ways; no store has to refuse one.
var treeKeys = []string{
	"a-b", "a.b", "a/1", "a/2", "a/b/1", "a/b/2", "a/b-", "a0", "ab", "ab/1", "b!/x", "b/x", "b0/x", "c/d/e/f/g",
	"photos-2/1.jpg", "photos/2006/February/1.jpg", "photos/2006/January/1.jpg", "photos/2006/January/2.jpg", "photos/x.jpg",
	"z", "z-", "z0", "ä/1", "ä0",
}

func listCases() []testCase {
	all := []testCase{
		{name: "list/empty bucket", run: func(e *env) {
			for _, delimiter := range []string{"", "/"} {
				page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, Delimiter: delimiter, MaxKeys: 1000})
				if err != nil || len(page.Objects)+len(page.Prefixes) != 0 || page.Next != "" {
					e.Errorf("List = %+v, %v", page, err)
				}
			}
		}},
		{name: "list/missing bucket", needs: buckets, run: func(e *env) {
			_, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucketName(), MaxKeys: 1000})
			e.wantCode(err, upstream.NoBucket)
		}},
		{name: "list/order of a key, its directory and its neighbours", run: func(e *env) {
			// '-' and '.' sort before '/', '0' after it
			e.wantLines(e.fill("a-b", "a.b", "a/b", "a0", "ab", "a-/x"), upstream.ListRequest{MaxKeys: 1000})
		}},
		{name: "list/nothing matches", run: func(e *env) {
			m := e.fill("a/b", "c")
			for _, prefix := range []string{"a/b/", "b", "a/bc", "cc", "a//"} {
				e.wantLines(m, upstream.ListRequest{Prefix: prefix, MaxKeys: 1000})
				e.wantLines(m, upstream.ListRequest{Prefix: prefix, Delimiter: "/", MaxKeys: 1000})
			}
		}},
		{name: "list/a deleted key is gone at once", run: func(e *env) {
			e.fill("a/1", "a/2", "b/1")
			e.delete("b/1")
			e.wantLines(model{keys: []string{"a/1", "a/2"}}, upstream.ListRequest{Delimiter: "/", MaxKeys: 1000})
			e.delete("a/2")
			e.wantKeys("a/1")
		}},
		{name: "list/many keys", run: manyKeys},
		{name: "list/while writing", run: listWhileWriting},
		{name: "list/attributes are those of Stat", run: listAttributes},
	}
	for _, prefix := range []string{
		"", "a", "a/", "a/b", "a/b/", "ab", "p", "photos", "photos/", "photos/2006/", "photos/2006/J", "z", "ä", "b!/", "c/d",
	} {
		all = append(all, testCase{name: fmt.Sprintf("list/prefix %q", prefix), run: func(e *env) {
			m := e.fill(treeKeys...)
			for _, delimiter := range []string{"", "/", "-", "0", "/2", "uary/", "photos", "1.jpg", "nowhere"} {
				e.wantLines(m, upstream.ListRequest{Prefix: prefix, Delimiter: delimiter, MaxKeys: 1000})
			}
		}})
	}
	return all
}

func pagingCases() []testCase {
	var all []testCase
	for _, delimiter := range []string{"", "/", "0", "/1"} {
		all = append(all, testCase{name: fmt.Sprintf("paging/every page size, delimiter %q", delimiter), run: func(e *env) {
			m := e.fill(treeKeys...)
			for maxKeys := 1; maxKeys <= len(treeKeys)+1; maxKeys++ {
				e.wantLines(m, upstream.ListRequest{Delimiter: delimiter, MaxKeys: maxKeys})
			}
		}})
	}
	return append(all,
		testCase{name: "paging/with prefix", run: func(e *env) {
			m := e.fill(treeKeys...)
			for maxKeys := 1; maxKeys <= 6; maxKeys++ {
				for _, prefix := range []string{"a", "a/", "photos/", "photos/2006"} {
					e.wantLines(m, upstream.ListRequest{Prefix: prefix, MaxKeys: maxKeys})
					e.wantLines(m, upstream.ListRequest{Prefix: prefix, Delimiter: "/", MaxKeys: maxKeys})
				}
			}
		}},
		testCase{name: "paging/the last page is exactly full", run: exactPages},
		testCase{name: "paging/start after every key", run: startAfterKeys},
		testCase{name: "paging/start after common prefixes", run: func(e *env) {
			m := e.fill(treeKeys...)
			for _, after := range []string{"a/", "ab/", "photos/", "b!/", "c/"} {
				e.wantLines(m, upstream.ListRequest{StartAfter: after, Delimiter: "/", MaxKeys: 1000})
				e.wantLines(m, upstream.ListRequest{StartAfter: after, Delimiter: "/", MaxKeys: 2})
			}
		}},
		testCase{name: "paging/the token's key is deleted between pages", run: deletedToken},
		testCase{name: "paging/random keys", run: randomListing},
	)
}

func exactPages(e *env) {
	keys := []string{"a/1", "a/2", "b", "c", "d/1", "e"}
	m := e.fill(keys...)
	for _, maxKeys := range []int{2, 3, 6} {
		req := upstream.ListRequest{Bucket: e.bucket, MaxKeys: maxKeys}
		pages := 0
		for {
			page, err := e.b.List(e.ctx, req)
			if err != nil {
				e.Fatal(err)
			}
			if pages++; len(page.Objects) == 0 {
				e.Errorf("%d a page: page %d is empty", maxKeys, pages)
			}
			if req.Token = page.Next; page.Next == "" {
				break
			}
		}
		if want := len(keys) / maxKeys; pages != want {
			e.Errorf("%d a page: %d pages, want %d", maxKeys, pages, want)
		}
	}
	e.wantLines(m, upstream.ListRequest{Delimiter: "/", MaxKeys: 5})
}

func startAfterKeys(e *env) {
	m := e.fill(treeKeys...)
	afters := append([]string{"\x01", "a", "a/", "b", "photos/2006/K", "y", "zz", "\U0010ffff"}, treeKeys...)
	for _, after := range afters {
		e.wantLines(m, upstream.ListRequest{StartAfter: after, MaxKeys: 1000})
		e.wantLines(m, upstream.ListRequest{StartAfter: after, MaxKeys: 3})
	}
	e.wantLines(m, upstream.ListRequest{StartAfter: "photos/2006/January/1.jpg", Prefix: "photos/", MaxKeys: 1})
	e.wantLines(m, upstream.ListRequest{StartAfter: "a", Prefix: "photos/", MaxKeys: 1})
	e.wantLines(m, upstream.ListRequest{StartAfter: "zz", Prefix: "photos/", MaxKeys: 1})
}

func deletedToken(e *env) {
	e.fill("a", "b/1", "b/2", "c", "d")
	page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 2})
	if err != nil || len(page.Objects) != 2 || page.Next == "" {
		e.Fatalf("List = %+v, %v", page, err)
	}
	e.delete("b/1")
	e.delete("a")
	page, err = e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 10, Token: page.Next})
	if err != nil {
		e.Fatal(err)
	}
	want := []line{{"b/2", false}, {"c", false}, {"d", false}}
	if got := e.pageLines(page); !slices.Equal(got, want) {
		e.Errorf("second page %v, want %v", got, want)
	}
}

// randomListing compares random trees, asked for in random ways, with the model.
func randomListing(e *env) {
	parts := []string{"a", "b", "-", "0", "/", "/", "x/", ".x"}
	set := map[string]bool{}
	for len(set) < 60 {
		var key strings.Builder
		for range 1 + e.rng.IntN(6) {
			key.WriteString(parts[e.rng.IntN(len(parts))])
		}
		set[key.String()] = true
	}
	var held []string
	for key := range set {
		if !strings.Contains("/"+key+"/", "//") || !e.h.MayRefuse(key) {
			if e.putOrRefuse(key, []byte(key)) {
				held = append(held, key)
			}
		}
	}
	slices.Sort(held)
	m := model{keys: held}
	for range 150 {
		req := upstream.ListRequest{MaxKeys: 1 + e.rng.IntN(20)}
		if pick := held[e.rng.IntN(len(held))]; e.rng.IntN(2) == 0 {
			req.Prefix = pick[:e.rng.IntN(len(pick)+1)]
		}
		req.Delimiter = []string{"", "/", "/", "a", "x/", "//"}[e.rng.IntN(6)]
		if pick := held[e.rng.IntN(len(held))]; req.Delimiter == "" && e.rng.IntN(2) == 0 {
			req.StartAfter = pick
		}
		e.wantLines(m, req)
	}
}

func manyKeys(e *env) {
	keys := make([]string, e.h.ManyKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("year=%d/part-%05d.parquet", 2000+i%5, e.rng.IntN(90000)+i*100000)
	}
	m := e.fill(keys...)
	e.wantLines(m, upstream.ListRequest{MaxKeys: 1000})
	e.wantLines(m, upstream.ListRequest{MaxKeys: 1000, Delimiter: "/"})
	e.wantLines(m, upstream.ListRequest{MaxKeys: 1, Delimiter: "/"})
	e.wantLines(m, upstream.ListRequest{MaxKeys: 333, Prefix: "year=2003/", Delimiter: "/"})
}

func listAttributes(e *env) {
	for i, key := range []string{"a", "b/c", "b/d", "e"} {
		e.put(key, e.data(i*100))
	}
	page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 1000})
	if err != nil || len(page.Objects) != 4 {
		e.Fatalf("List = %+v, %v", page, err)
	}
	for _, o := range page.Objects {
		stat := e.stat(o.Key)
		if o.Size != stat.Size || o.ETag != stat.ETag || o.HeadersKnown {
			e.Errorf("List %+v, Stat %+v", o, stat)
		}
	}
}

// listWhileWriting: keys that are there all the time are in every listing, once; the others at most once.
func listWhileWriting(e *env) {
	stable := make([]string, 40)
	for i := range stable {
		stable[i] = fmt.Sprintf("dir-%d/stable-%02d", i%4, i)
	}
	e.fill(stable...)
	ctx, stop := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	var failed error
	defer wg.Wait()
	defer stop()
	wg.Go(func() { failed = churn(ctx, e) })
	for round := range 15 {
		lines := e.allLines(upstream.ListRequest{Bucket: e.bucket, MaxKeys: 7})
		seen := map[string]int{}
		for _, l := range lines {
			seen[l.name]++
		}
		for _, key := range stable {
			if seen[key] != 1 {
				e.Errorf("round %d: %q is listed %d times", round, key, seen[key])
			}
		}
	}
	stop()
	wg.Wait()
	if failed != nil {
		e.Errorf("writing: %v", failed)
	}
}

// churn writes and deletes keys around the stable ones until ctx is done. No call is cancelled: a store may still carry
// out a Put that was, after the case has tidied up.
func churn(ctx context.Context, e *env) error {
	for i := 0; ctx.Err() == nil; i++ {
		loc := e.loc(fmt.Sprintf("dir-%d/moving-%02d", i%5, i%30))
		_, err := e.b.Put(e.ctx, loc, putRequest([]byte("x")))
		if err == nil && i%2 == 0 {
			err = e.b.Delete(e.ctx, loc, upstream.DeleteOptions{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
