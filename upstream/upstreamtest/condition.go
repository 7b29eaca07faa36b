package upstreamtest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"unistore/checksum"
	"unistore/object"
	"unistore/upstream"
)

// algorithms are the checksums every S3 client may send.
var algorithms = []string{"CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"}

func conditionCases() []testCase {
	all := []testCase{
		{name: "if-none-match/new key", needs: createOnly, run: func(e *env) {
			req := putRequest([]byte("1"))
			req.IfNoneMatch = true
			e.putReq("k", []byte("1"), req)
			e.wantContent("k", []byte("1"))
		}},
		{name: "if-none-match/existing key", needs: createOnly, run: createExisting},
		{name: "if-none-match/after a deletion", needs: createOnly, run: func(e *env) {
			e.put("k", []byte("1"))
			e.delete("k")
			req := putRequest([]byte("2"))
			req.IfNoneMatch = true
			e.putReq("k", []byte("2"), req)
			e.wantContent("k", []byte("2"))
		}},
		{name: "if-none-match/16 racers, one wins", needs: createOnly, run: func(e *env) {
			racers(e, "dir/k", func(req *upstream.PutRequest) { req.IfNoneMatch = true })
		}},
		{name: "if-match/current version", needs: replaceOnly, run: func(e *env) {
			first := e.put("k", []byte("1"))
			req := putRequest([]byte("2"))
			req.IfMatch = first.ETag
			e.putReq("k", []byte("2"), req)
			e.wantContent("k", []byte("2"))
		}},
		{name: "if-match/another version", needs: replaceOnly, run: replaceStale},
		{name: "if-match/missing key", needs: replaceOnly, run: func(e *env) {
			req := putRequest([]byte("2"))
			req.IfMatch = md5Of([]byte("1"))
			_, err := e.b.Put(e.ctx, e.loc("k"), req)
			e.wantCode(err, upstream.NotExist)
			e.wantAbsent("k")
		}},
		{name: "if-match/16 racers, one wins", needs: replaceOnly, run: func(e *env) {
			first := e.put("dir/k", []byte("first"))
			racers(e, "dir/k", func(req *upstream.PutRequest) { req.IfMatch = first.ETag })
		}},
		{name: "conditions/never ignored", run: neverIgnored},
		{name: "delete/if-match of the current version", run: func(e *env) { deleteMatch(e, true) }},
		{name: "delete/if-match of another version", run: func(e *env) { deleteMatch(e, false) }},
		{name: "delete/if-match of a missing key", run: func(e *env) {
			err := e.b.Delete(e.ctx, e.loc("k"), upstream.DeleteOptions{IfMatch: md5Of(nil)})
			e.wantCode(err, upstream.Changed, upstream.Unsupported)
		}},
		{name: "md5/right", run: func(e *env) {
			data := e.data(1000)
			req := putRequest(data)
			sum, _ := hex.DecodeString(md5Of(data))
			req.MD5 = base64.StdEncoding.EncodeToString(sum)
			e.putReq("k", data, req)
			e.wantContent("k", data)
		}},
	}
	for _, alg := range algorithms {
		all = append(all,
			testCase{name: "checksum/kept, " + alg, needs: storesChecksums, run: func(e *env) { checksumKept(e, alg) }})
	}
	return all
}

func createExisting(e *env) {
	e.put("k", []byte("old"))
	req := putRequest([]byte("new"))
	req.IfNoneMatch = true
	_, err := e.b.Put(e.ctx, e.loc("k"), req)
	e.wantCode(err, upstream.Changed)
	e.wantContent("k", []byte("old"))
}

func replaceStale(e *env) {
	first := e.put("k", []byte("1"))
	e.put("k", []byte("2"))
	req := putRequest([]byte("3"))
	req.IfMatch = first.ETag
	_, err := e.b.Put(e.ctx, e.loc("k"), req)
	e.wantCode(err, upstream.Changed)
	e.wantContent("k", []byte("2"))
}

// racers lets 16 writers with the same condition go at once.
func racers(e *env, key string, condition func(*upstream.PutRequest)) {
	const n = 16
	var (
		wg     sync.WaitGroup
		start  = make(chan struct{})
		errs   [n]error
		bodies [n][]byte
	)
	for i := range n {
		bodies[i] = e.data(10_000 + i)
		wg.Go(func() {
			req := putRequest(bodies[i])
			condition(&req)
			<-start
			_, errs[i] = e.b.Put(e.ctx, e.loc(key), req)
		})
	}
	close(start)
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err != nil:
			e.wantCode(err, upstream.Changed, upstream.Conflict)
		case winner >= 0:
			e.Fatalf("writers %d and %d both won", winner, i)
		default:
			winner = i
		}
	}
	if winner < 0 {
		e.Fatal("nobody won")
	}
	e.wantContent(key, bodies[winner])
	e.wantKeys(key)
}

// neverIgnored holds for every store, whatever its Limits: a condition that fails stores nothing.
func neverIgnored(e *env) {
	e.put("k", []byte("old"))
	req := putRequest([]byte("new"))
	req.IfNoneMatch = true
	_, err := e.b.Put(e.ctx, e.loc("k"), req)
	e.wantCode(err, upstream.Changed, upstream.Unsupported)
	req = putRequest([]byte("new"))
	req.IfMatch = md5Of([]byte("something else"))
	_, err = e.b.Put(e.ctx, e.loc("k"), req)
	e.wantCode(err, upstream.Changed, upstream.Unsupported)
	e.wantContent("k", []byte("old"))
}

// deleteMatch allows a store that has no conditional deletion to refuse it, but not to ignore the
// condition.
func deleteMatch(e *env, current bool) {
	etag := e.put("k", []byte("1")).ETag
	if !current {
		e.put("k", []byte("22"))
	}
	err := e.b.Delete(e.ctx, e.loc("k"), upstream.DeleteOptions{IfMatch: etag})
	switch {
	case current && err == nil:
		e.wantAbsent("k")
	case current:
		e.wantCode(err, upstream.Unsupported)
		e.wantContent("k", []byte("1"))
	default:
		e.wantCode(err, upstream.Changed, upstream.Unsupported)
		e.wantContent("k", []byte("22"))
	}
}

func sumOf(alg string, data []byte) string {
	h, ok := checksum.New(alg)
	if !ok {
		panic(fmt.Sprintf("no checksum %q", alg)) // a mistake in the suite
	}
	_, _ = h.Write(data)
	return checksum.Encode(h)
}

func checksumKept(e *env, alg string) {
	data := e.data(70_000)
	req := putRequest(data)
	req.Checksum = &object.Checksum{Algorithm: alg, Value: sumOf(alg, data), Type: "FULL_OBJECT"}
	e.putReq("k", data, req)
	e.wantChecksum(e.stat("k").Checksums, alg, req.Checksum.Value)
	_, s := e.open("k", upstream.OpenOptions{StatOptions: upstream.StatOptions{Checksums: true}})
	e.wantChecksum(s.Attrs.Checksums, alg, req.Checksum.Value)
}

func (e *env) wantChecksum(have []object.Checksum, alg, value string) {
	e.Helper()
	i := slices.IndexFunc(have, func(c object.Checksum) bool { return c.Algorithm == alg })
	if i < 0 || have[i].Value != value {
		e.Errorf("checksums %+v, want %s %s", have, alg, value)
	}
}
