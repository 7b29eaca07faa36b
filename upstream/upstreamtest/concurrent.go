package upstreamtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"unistore/upstream"
)

func concurrencyCases() []testCase {
	return []testCase{
		{name: "concurrent/readers see whole versions while it is overwritten", run: wholeVersions},
		{name: "concurrent/readers keep their version", run: keepVersion},
		{name: "concurrent/many keys in one directory that comes and goes", run: comeAndGo},
		{name: "concurrent/a key and keys below it", run: keyAndBelow},
		{name: "concurrent/deletions and writes of one key", run: deleteRace},
		{name: "model/random operations", run: randomOperations},
	}
}

// wholeVersions: each read is one version whole, and its ETag is that version's.
func wholeVersions(e *env) {
	const versions = 25
	bodies := make([][]byte, versions)
	byETag := sync.Map{} // ETag -> index of bodies, stored before or after it is seen
	for i := range bodies {
		bodies[i] = bytes.Repeat([]byte{byte('a' + i)}, 50_000+i*1000)
	}
	e.put("k", bodies[0])
	var done atomic.Bool
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for r := range errs {
		wg.Go(func() {
			for !done.Load() && errs[r] == nil {
				errs[r] = readWhole(e, bodies, &byETag)
			}
		})
	}
	var failed error
	for i := 1; i < versions && failed == nil; i++ {
		_, failed = e.b.Put(e.ctx, e.loc("k"), putRequest(bodies[i]))
	}
	done.Store(true)
	wg.Wait()
	if err := errors.Join(append(errs, failed)...); err != nil {
		e.Fatal(err)
	}
	e.wantContent("k", bodies[versions-1])
}

func readWhole(e *env, bodies [][]byte, byETag *sync.Map) error {
	got, s, err := e.read("k", upstream.OpenOptions{})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(bodies, func(b []byte) bool { return bytes.Equal(b, got) })
	if i < 0 {
		return fmt.Errorf("%d bytes that are no version: from %q to %q", len(got), got[0], got[len(got)-1])
	}
	if int64(len(got)) != s.Attrs.Size {
		return fmt.Errorf("version %d has %d bytes, Size says %d", i, len(got), s.Attrs.Size)
	}
	if j, ok := byETag.LoadOrStore(s.Attrs.ETag, i); ok && j != i {
		return fmt.Errorf("ETag %s came with versions %d and %v", s.Attrs.ETag, i, j)
	}
	return nil
}

// keepVersion: a stream that was opened before an overwrite or a deletion delivers its own version, or
// an error; never another's bytes.
func keepVersion(e *env) {
	old := bytes.Repeat([]byte("old!"), 2<<20)
	for _, change := range []func(){
		func() { e.put("k", bytes.Repeat([]byte("new!"), 2<<20)) },
		func() { e.put("k", []byte("short")) },
		func() { e.delete("k") },
	} {
		e.put("k", old)
		s, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{})
		if err != nil {
			e.Fatal(err)
		}
		got := make([]byte, 1000)
		_, err = s.Body.Read(got)
		if err != nil {
			e.Fatal(err)
		}
		change()
		var rest bytes.Buffer
		_, err = rest.ReadFrom(s.Body)
		_ = s.Body.Close()
		if bytes.Contains(rest.Bytes(), []byte("new")) || bytes.Contains(rest.Bytes(), []byte("short")) {
			e.Fatal("the stream went on with another version")
		}
		if err == nil && rest.Len() < len(old)-len(got) {
			e.Fatalf("the stream ended well after %d bytes", rest.Len())
		}
	}
}

// comeAndGo makes and removes keys that share directories, so that stores which have directories make
// and remove these at the same time.
func comeAndGo(e *env) {
	workers := []int{0, 1, 2, 3, 4, 5, 6, 7}
	if err := forEach(workers, func(w int) error {
		for i := range 15 {
			loc := e.loc(fmt.Sprintf("a/b/c/%d", w))
			data := fmt.Sprintf("worker %d, round %d", w, i)
			if _, err := e.b.Put(e.ctx, loc, putRequest([]byte(data))); err != nil {
				return fmt.Errorf("%s: %w", data, err)
			}
			if got, err := readAll(e.ctx, e.b, loc); err != nil || string(got) != data {
				return fmt.Errorf("%s: read %q, %w", data, got, err)
			}
			if err := e.b.Delete(e.ctx, loc, upstream.DeleteOptions{}); err != nil {
				return fmt.Errorf("%s: %w", data, err)
			}
			if _, err := e.b.Stat(e.ctx, loc, upstream.StatOptions{}); !errors.Is(err, upstream.NotExist) {
				return fmt.Errorf("%s: Stat after Delete: %w", data, err)
			}
		}
		return nil
	}); err != nil {
		e.Fatal(err)
	}
	e.wantKeys()
}

// keyAndBelow writes, reads and deletes 'a', 'a/b' and 'a/b/c' at the same time. No one must disturb
// another.
func keyAndBelow(e *env) {
	keys := []string{"a", "a/b", "a/b/c", "a/x"}
	if e.h.MayRefuse("a") || e.h.MayRefuse("a/b") || e.h.MayRefuse("a/b/c") {
		keys = []string{"a/1", "a/b/2", "a/b/c/3", "a/x"}
	}
	if err := forEach(keys, func(key string) error {
		loc := e.loc(key)
		for i := range 25 {
			data := fmt.Sprintf("%s, round %d", key, i)
			if _, err := e.b.Put(e.ctx, loc, putRequest([]byte(data))); err != nil {
				return fmt.Errorf("%s: %w", data, err)
			}
			if got, err := readAll(e.ctx, e.b, loc); err != nil || string(got) != data {
				return fmt.Errorf("%s: read %q, %w", data, got, err)
			}
			page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: loc.Bucket, Prefix: key, MaxKeys: 1})
			if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != key {
				return fmt.Errorf("%s: listed as %+v, %w", data, page, err)
			}
			if i%3 != 2 {
				continue
			}
			if err := e.b.Delete(e.ctx, loc, upstream.DeleteOptions{}); err != nil {
				return fmt.Errorf("%s: %w", data, err)
			}
			if got, err := readAll(e.ctx, e.b, loc); !errors.Is(err, upstream.NotExist) {
				return fmt.Errorf("%s: after Delete read %q, %w", data, got, err)
			}
		}
		return nil
	}); err != nil {
		e.Fatal(err)
	}
	e.wantKeys(keys...)
}

// deleteRace: whatever wins, the key is there whole or not at all.
func deleteRace(e *env) {
	data := e.data(10_000)
	workers := []int{0, 1, 2, 3, 4, 5}
	if err := forEach(workers, func(w int) error {
		for range 15 {
			var err error
			switch w % 3 {
			case 0:
				_, err = e.b.Put(e.ctx, e.loc("d/k"), putRequest(data))
			case 1:
				err = e.b.Delete(e.ctx, e.loc("d/k"), upstream.DeleteOptions{})
			default:
				var got []byte
				got, err = readAll(e.ctx, e.b, e.loc("d/k"))
				if errors.Is(err, upstream.NotExist) {
					err = nil
				} else if err == nil && !bytes.Equal(got, data) {
					err = fmt.Errorf("read %d other bytes", len(got))
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		e.Fatal(err)
	}
	e.put("d/k", data)
	e.wantContent("d/k", data)
	e.delete("d/k")
	e.wantKeys()
}

// randomOperations runs one random history against the store and against a map.
func randomOperations(e *env) {
	keys := []string{"a", "a/b", "a/b/c", "a/", "b", "b-", "b/1", "b/2", "c/d/e/f", "c/d", "c//d", "ü/+ %"}
	var legal []string
	for _, key := range keys {
		if !e.h.MayRefuse(key) {
			legal = append(legal, key)
		}
	}
	held := map[string][]byte{}
	for range 150 {
		key := legal[e.rng.IntN(len(legal))]
		switch e.rng.IntN(6) {
		case 0, 1:
			held[key] = e.data(e.rng.IntN(3000))
			e.put(key, held[key])
		case 2:
			e.delete(key)
			delete(held, key)
		case 3:
			e.randomCopy(held, key, legal[e.rng.IntN(len(legal))])
		case 4:
			if data, ok := held[key]; ok {
				e.wantContent(key, data)
			} else {
				e.wantAbsent(key)
			}
		default:
			prefix := key[:e.rng.IntN(len(key)+1)]
			m := model{keys: slices.Collect(maps.Keys(held))}
			e.wantLines(m, upstream.ListRequest{Prefix: prefix, Delimiter: []string{"", "/"}[e.rng.IntN(2)], MaxKeys: 1 + e.rng.IntN(5)})
		}
	}
	e.wantHeld(held)
}

func (e *env) randomCopy(held map[string][]byte, src, dst string) {
	e.Helper()
	c, ok := e.b.(upstream.Copier)
	if !ok || src == dst {
		return
	}
	_, err := c.Copy(e.ctx, e.loc(dst), upstream.CopyRequest{Source: e.loc(src)})
	data, exists := held[src]
	switch {
	case exists && err == nil:
		held[dst] = data
	case exists:
		e.Fatalf("Copy %q to %q: %v", src, dst, err)
	default:
		e.wantCode(err, upstream.NotExist)
	}
}
