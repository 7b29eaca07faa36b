package upstreamtest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"unistore/byterange"
	"unistore/checksum"
	"unistore/object"
	"unistore/upstream"
)

func (e *env) createUpload(key string, req upstream.CreateUploadRequest) upstream.Upload {
	e.Helper()
	id, err := e.multiparter().CreateUpload(e.ctx, e.loc(key), req)
	if err != nil || id == "" {
		e.Fatalf("CreateUpload %q = %q, %v", key, id, err)
	}
	return upstream.Upload{Loc: e.loc(key), ID: id}
}

func partRequest(data []byte) upstream.PartRequest {
	return upstream.PartRequest{Body: bytes.NewReader(data), Size: int64(len(data))}
}

func (e *env) part(up upstream.Upload, number int, data []byte) upstream.Part {
	e.Helper()
	p, err := e.multiparter().UploadPart(e.ctx, up, number, partRequest(data))
	if err != nil {
		e.Fatalf("UploadPart %d: %v", number, err)
	}
	if p.Number != number || p.Size != int64(len(data)) || p.ETag == "" {
		e.Fatalf("UploadPart %d = %+v", number, p)
	}
	return p
}

func (e *env) complete(up upstream.Upload, req upstream.CompleteRequest) object.Attrs {
	e.Helper()
	attrs, err := e.multiparter().CompleteUpload(e.ctx, up, req)
	if err != nil {
		e.Fatalf("CompleteUpload: %v", err)
	}
	return attrs
}

func (e *env) completeFails(up upstream.Upload, req upstream.CompleteRequest, codes ...upstream.Code) {
	e.Helper()
	_, err := e.multiparter().CompleteUpload(e.ctx, up, req)
	e.wantCode(err, codes...)
}

// partSize is enough for a part that is not the last.
func (e *env) partSize() int { return max(int(e.b.Limits().MinPart), 64<<10) }

// upload sends parts in the order of numbers and returns their data and what the store said, by number.
func (e *env) upload(up upstream.Upload, sizes map[int]int, numbers ...int) (map[int][]byte, map[int]upstream.Part) {
	e.Helper()
	data, parts := map[int][]byte{}, map[int]upstream.Part{}
	for _, n := range numbers {
		data[n] = e.data(sizes[n])
		parts[n] = e.part(up, n, data[n])
	}
	return data, parts
}

// pick returns the parts and bytes of numbers, in that order.
func pick(data map[int][]byte, parts map[int]upstream.Part, numbers ...int) ([]byte, []upstream.Part) {
	var whole []byte
	var list []upstream.Part
	for _, n := range numbers {
		whole = append(whole, data[n]...)
		list = append(list, upstream.Part{Number: n, ETag: parts[n].ETag})
	}
	return whole, list
}

func multipartCases() []testCase {
	all := []testCase{
		{name: "multipart/in order", run: func(e *env) { assembled(e, []int{1, 2, 3}, 1, 2, 3) }},
		{name: "multipart/in reverse order", run: func(e *env) { assembled(e, []int{1, 2, 3}, 3, 2, 1) }},
		{name: "multipart/the short last part first", run: func(e *env) { assembled(e, []int{1, 2, 3}, 3, 1, 2) }},
		{name: "multipart/one part", run: func(e *env) { assembled(e, []int{1}, 1) }},
		{name: "multipart/a subset of the parts", run: func(e *env) { assembled(e, []int{1, 2}, 1, 2, 3) }},
		{name: "multipart/part numbers with gaps", run: gaps},
		{name: "multipart/parts at once", run: partsAtOnce},
		{name: "multipart/one empty part", run: emptyPart},
		{name: "multipart/a part sent again replaces itself", run: partAgain},
		{name: "multipart/invisible before completion", run: invisible},
		{name: "multipart/replaces the old object at completion", run: replacesOld},
		{name: "multipart/headers", run: multipartHeaders},
		{name: "multipart/two uploads of a key", run: twoUploads},
		{name: "multipart/ranges across the seams", run: seams},
		{name: "multipart/open by part number", run: openParts},
		{name: "multipart/a key below another", run: func(e *env) {
			e.put("dir", []byte("an object"))
			assembledAt(e, "dir/file", []int{1, 2}, 1, 2)
			e.wantContent("dir", []byte("an object"))
		}},
		{name: "multipart/part number 0 and 10001", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			for _, n := range []int{-1, 0, 10_001} {
				_, err := e.multiparter().UploadPart(e.ctx, up, n, partRequest([]byte("x")))
				e.wantCode(err, upstream.Invalid)
			}
		}},
		{name: "multipart/part number 10000", run: func(e *env) {
			if e.b.Limits().ContiguousParts {
				return
			}
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 10_000, []byte("x"))}})
			e.wantContent("k", []byte("x"))
		}},
		{name: "multipart/wrong MD5 of a part", run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			req := partRequest([]byte("x"))
			req.MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
			_, err := e.multiparter().UploadPart(e.ctx, up, 1, req)
			e.wantCode(err, upstream.BadDigest)
		}},
	}
	for i := range all {
		all[i].needs |= multipart
	}
	for _, c := range []struct{ alg, typ string }{
		{"CRC32", "COMPOSITE"}, {"CRC32C", "COMPOSITE"}, {"SHA1", "COMPOSITE"}, {"SHA256", "COMPOSITE"},
		{"CRC32", "FULL_OBJECT"}, {"CRC32C", "FULL_OBJECT"}, {"CRC64NVME", "FULL_OBJECT"},
	} {
		all = append(all, testCase{name: "multipart/checksum " + c.alg + " " + c.typ, needs: multipart | storesChecksums,
			run: func(e *env) { multipartChecksum(e, c.alg, c.typ) }})
	}
	return all
}

func assembled(e *env, chosen []int, order ...int) { assembledAt(e, "dir/k", chosen, order...) }

// assembledAt uploads two full parts and a short one in some order, completes with the chosen ones.
func assembledAt(e *env, key string, chosen []int, order ...int) {
	size := e.partSize()
	up := e.createUpload(key, upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{1: size, 2: size + 1, 3: 1000}, order...)
	whole, list := pick(data, parts, chosen...)
	attrs := e.complete(up, upstream.CompleteRequest{Parts: list})
	e.wantMultipart(key, attrs, whole, list)
}

// wantMultipart checks a completed object.
func (e *env) wantMultipart(key string, attrs object.Attrs, whole []byte, list []upstream.Part) {
	e.Helper()
	e.wantContent(key, whole)
	stat := e.stat(key)
	if attrs.ETag == "" || stat.ETag != attrs.ETag {
		e.Errorf("Stat has ETag %q, CompleteUpload said %q", stat.ETag, attrs.ETag)
	}
	if e.h.OpaqueETags {
		return
	}
	h := md5.New()
	for _, p := range list {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil {
			e.Fatalf("part %d has ETag %q: %v", p.Number, p.ETag, err)
		}
		_, _ = h.Write(sum)
	}
	if want := fmt.Sprintf("%x-%d", h.Sum(nil), len(list)); attrs.ETag != want {
		e.Errorf("ETag %q, want %q", attrs.ETag, want)
	}
}

func gaps(e *env) {
	size := e.partSize()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{2: size, 7: size, 100: 10}, 100, 2, 7)
	whole, list := pick(data, parts, 2, 7, 100)
	if e.b.Limits().ContiguousParts {
		e.completeFails(up, upstream.CompleteRequest{Parts: list}, upstream.InvalidPart)
		return
	}
	e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: list}), whole, list)
}

func partsAtOnce(e *env) {
	const n = 4
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	var (
		wg    sync.WaitGroup
		data  [n][]byte
		parts [n]upstream.Part
		errs  [n]error
		whole []byte
	)
	for i := range n {
		data[i] = e.data(e.partSize() + i)
		whole = append(whole, data[i]...)
		wg.Go(func() { parts[i], errs[i] = e.multiparter().UploadPart(e.ctx, up, i+1, partRequest(data[i])) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			e.Fatalf("part %d: %v", i+1, err)
		}
	}
	e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: parts[:]}), whole, parts[:])
}

func emptyPart(e *env) {
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	list := []upstream.Part{e.part(up, 1, nil)}
	e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: list}), nil, list)
}

func partAgain(e *env) {
	size := e.partSize()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	first, stale := e.upload(up, map[int]int{1: size + 5, 2: 10}, 1, 2)
	data, parts := e.upload(up, map[int]int{1: size, 2: 20}, 2, 1)
	if bytes.Equal(first[1], data[1]) {
		e.Fatal("the random data are the same")
	}
	_, staleList := pick(first, stale, 1, 2)
	e.completeFails(up, upstream.CompleteRequest{Parts: staleList}, upstream.InvalidPart)
	whole, list := pick(data, parts, 1, 2)
	e.wantMultipart("k", e.complete(up, upstream.CompleteRequest{Parts: list}), whole, list)
}

func invisible(e *env) {
	up := e.createUpload("dir/k", upstream.CreateUploadRequest{})
	data := e.data(1000)
	part := e.part(up, 1, data)
	e.wantAbsent("dir/k")
	e.wantKeys()
	page, err := e.b.List(e.ctx, upstream.ListRequest{Bucket: e.bucket, Delimiter: "/", MaxKeys: 100})
	if err != nil || len(page.Prefixes) != 0 {
		e.Errorf("List = %+v, %v", page, err)
	}
	e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	e.wantContent("dir/k", data)
	e.wantKeys("dir/k")
}

func replacesOld(e *env) {
	old := e.data(5000)
	e.put("k", old)
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data := e.data(1000)
	part := e.part(up, 1, data)
	e.wantContent("k", old)
	e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	e.wantContent("k", data)
	e.wantKeys("k")
}

func multipartHeaders(e *env) {
	want := object.Headers{
		ContentType: "text/csv", ContentEncoding: "gzip", ContentLanguage: "en", CacheControl: "no-cache",
		ContentDisposition: "inline", User: map[string]string{"owner": "x", "empty": ""},
	}
	up := e.createUpload("k", upstream.CreateUploadRequest{Headers: want.Clone()})
	e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 1, []byte("x"))}})
	e.wantHeaders("Stat", e.stat("k").Headers, want)
	_, s := e.open("k", upstream.OpenOptions{})
	e.wantHeaders("Open", s.Attrs.Headers, want)
}

func twoUploads(e *env) {
	one := e.createUpload("k", upstream.CreateUploadRequest{})
	two := e.createUpload("k", upstream.CreateUploadRequest{})
	if one.ID == two.ID {
		e.Fatalf("both have id %q", one.ID)
	}
	first, second := e.data(1000), e.data(2000)
	partOne, partTwo := e.part(one, 1, first), e.part(two, 1, second)
	e.complete(two, upstream.CompleteRequest{Parts: []upstream.Part{partTwo}})
	e.wantContent("k", second)
	e.complete(one, upstream.CompleteRequest{Parts: []upstream.Part{partOne}})
	e.wantContent("k", first)
}

func seams(e *env) {
	size := e.partSize()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{1: size, 2: size, 3: 77}, 2, 1, 3)
	whole, list := pick(data, parts, 1, 2, 3)
	e.complete(up, upstream.CompleteRequest{Parts: list})
	n := int64(size)
	for _, spec := range []byterange.Spec{
		byterange.Closed(n-1, n), byterange.Closed(n, n), byterange.Closed(2*n-10, 2*n+10), byterange.Suffix(78),
		byterange.Suffix(77), byterange.From(2 * n), byterange.Closed(n-100, 2*n+100),
	} {
		e.wantRange("k", whole, spec)
	}
}

func openParts(e *env) {
	size := e.partSize()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	data, parts := e.upload(up, map[int]int{1: size, 2: size + 9, 3: 77}, 3, 2, 1)
	whole, list := pick(data, parts, 1, 2, 3)
	e.complete(up, upstream.CompleteRequest{Parts: list})
	var off int64
	for n := 1; n <= 3; n++ {
		got, s := e.open("k", upstream.OpenOptions{StatOptions: upstream.StatOptions{PartNumber: n}})
		want := byterange.Range{Off: off, Len: int64(len(data[n]))}
		if !bytes.Equal(got, data[n]) || s.Range != want || s.Attrs.Size != int64(len(whole)) {
			e.Errorf("part %d: %d bytes, Range %+v of %d; want %+v of %d", n, len(got), s.Range, s.Attrs.Size, want, len(whole))
		}
		if s.Attrs.PartsCount != 3 {
			e.Errorf("part %d: PartsCount %d", n, s.Attrs.PartsCount)
		}
		off += want.Len
	}
	_, err := e.b.Open(e.ctx, e.loc("k"), upstream.OpenOptions{StatOptions: upstream.StatOptions{PartNumber: 4}})
	e.wantCode(err, upstream.RangeError, upstream.Invalid, upstream.InvalidPart)
}

func multipartChecksum(e *env, alg, typ string) {
	size := e.partSize()
	up := e.createUpload("k", upstream.CreateUploadRequest{ChecksumAlgorithm: alg, ChecksumType: typ})
	var whole []byte
	var list []upstream.Part
	var values []string
	for n, size := range []int{size, size, 333} {
		data := e.data(size)
		req := partRequest(data)
		req.Checksum = &object.Checksum{Algorithm: alg, Value: sumOf(alg, data)}
		p, err := e.multiparter().UploadPart(e.ctx, up, n+1, req)
		if err != nil {
			e.Fatalf("part %d: %v", n+1, err)
		}
		whole = append(whole, data...)
		values = append(values, req.Checksum.Value)
		list = append(list, upstream.Part{Number: n + 1, ETag: p.ETag, Checksums: []object.Checksum{*req.Checksum}})
	}
	want := sumOf(alg, whole)
	if typ == "COMPOSITE" {
		var err error
		if want, err = checksum.Composite(alg, values); err != nil {
			e.Fatal(err)
		}
	}
	wrong := slices.Clone(list)
	wrong[1].Checksums = list[0].Checksums
	_, err := e.multiparter().CompleteUpload(e.ctx, up, upstream.CompleteRequest{Parts: wrong})
	e.wantCode(err, upstream.InvalidPart, upstream.BadDigest)
	promise := &object.Checksum{Algorithm: alg, Value: want, Type: typ}
	e.complete(up, upstream.CompleteRequest{Parts: list, Checksum: promise})
	e.wantContent("k", whole)
	e.wantChecksum(e.stat("k").Checksums, alg, want)
}
