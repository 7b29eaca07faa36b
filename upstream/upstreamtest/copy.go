package upstreamtest

import (
	"bytes"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

func copyCases() []testCase {
	all := []testCase{
		{name: "copy/same bucket, headers kept", run: func(e *env) { copyTo(e, e.bucket) }},
		{name: "copy/another bucket, headers kept", needs: buckets, run: func(e *env) { copyTo(e, e.newBucket()) }},
		{name: "copy/headers replaced", run: copyReplace},
		{name: "copy/over an existing object", run: func(e *env) {
			data := e.data(1000)
			e.put("src", data)
			e.put("dst", e.data(500))
			e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src")})
			e.wantContent("dst", data)
			e.wantContent("src", data)
		}},
		{name: "copy/empty object", run: func(e *env) {
			e.put("src", nil)
			e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src")})
			e.wantContent("dst", nil)
		}},
		{name: "copy/missing source", run: func(e *env) {
			_, err := e.copier().Copy(e.ctx, e.loc("dst"), upstream.CopyRequest{Source: e.loc("missing")})
			e.wantCode(err, upstream.NotExist)
			e.wantKeys()
		}},
		{name: "copy/missing source bucket", needs: buckets, run: func(e *env) {
			req := upstream.CopyRequest{Source: upstream.Loc{Bucket: e.bucketName(), Key: "k"}}
			_, err := e.copier().Copy(e.ctx, e.loc("dst"), req)
			e.wantCode(err, upstream.NoBucket)
		}},
		{name: "copy/if-match on the source", run: copySourceMatch},
		{name: "copy/onto itself with new headers", run: copyOntoItself},
		{name: "copy/onto itself, nothing changed", run: func(e *env) {
			data := e.data(1000)
			e.put("k", data)
			if _, err := e.copier().Copy(e.ctx, e.loc("k"), upstream.CopyRequest{Source: e.loc("k")}); err != nil {
				e.wantCode(err, upstream.Invalid)
			}
			e.wantContent("k", data)
		}},
		{name: "copy/hostile keys", run: copyHostile},
		{name: "copy/of a multipart object", needs: multipart, run: func(e *env) {
			size := e.partSize()
			up := e.createUpload("src", upstream.CreateUploadRequest{})
			data, parts := e.upload(up, map[int]int{1: size, 2: 100}, 1, 2)
			whole, list := pick(data, parts, 1, 2)
			e.complete(up, upstream.CompleteRequest{Parts: list})
			e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src")})
			e.wantContent("dst", whole)
		}},
		{name: "copy/is no link", run: func(e *env) {
			data := e.data(1000)
			e.put("src", data)
			e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src")})
			e.put("src", e.data(1000))
			e.wantContent("dst", data)
			e.delete("src")
			e.wantContent("dst", data)
		}},
		{name: "copy/if-none-match of an existing key", needs: createOnly, run: func(e *env) {
			e.put("src", []byte("1"))
			e.put("dst", []byte("2"))
			req := upstream.CopyRequest{Source: e.loc("src"), IfNoneMatch: true}
			_, err := e.copier().Copy(e.ctx, e.loc("dst"), req)
			e.wantCode(err, upstream.Changed, upstream.Unsupported)
			e.wantContent("dst", []byte("2"))
		}},
		{name: "copy part/all and ranges", needs: multipart, run: copyParts},
		{name: "copy part/errors", needs: multipart, run: copyPartErrors},
	}
	for i := range all {
		all[i].needs |= serverCopy
	}
	return all
}

func (e *env) mustCopy(key string, req upstream.CopyRequest) object.Attrs {
	e.Helper()
	attrs, err := e.copier().Copy(e.ctx, e.loc(key), req)
	if err != nil {
		e.Fatalf("Copy to %q: %v", key, err)
	}
	if stat := e.stat(key); attrs.ETag == "" || attrs.ETag != stat.ETag {
		e.Errorf("Copy says ETag %q, Stat %q", attrs.ETag, stat.ETag)
	}
	return attrs
}

var copyHeaders = object.Headers{
	ContentType: "text/plain", CacheControl: "no-cache", User: map[string]string{"owner": "x", "purpose": "copy"},
}

func copyTo(e *env, bucket string) {
	data := e.data(100_000)
	req := putRequest(data)
	req.Headers = copyHeaders.Clone()
	e.putReq("dir/src", data, req)
	src := e.loc("dir/src")
	e.bucket = bucket
	e.mustCopy("other/dst", upstream.CopyRequest{Source: src})
	e.wantContent("other/dst", data)
	e.wantHeaders("Stat", e.stat("other/dst").Headers, copyHeaders)
}

func copyReplace(e *env) {
	data := e.data(1000)
	req := putRequest(data)
	req.Headers = copyHeaders.Clone()
	e.putReq("src", data, req)
	want := object.Headers{ContentType: "image/png", User: map[string]string{"new": "1"}}
	e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src"), Replace: true, Headers: want.Clone()})
	e.wantContent("dst", data)
	e.wantHeaders("Stat of the copy", e.stat("dst").Headers, want)
	e.wantHeaders("Stat of the source", e.stat("src").Headers, copyHeaders)
}

func copySourceMatch(e *env) {
	stale := e.put("src", e.data(10)).ETag
	data := e.data(11)
	current := e.put("src", data).ETag
	_, err := e.copier().Copy(e.ctx, e.loc("dst"), upstream.CopyRequest{Source: e.loc("src"), SourceIfMatch: stale})
	e.wantCode(err, upstream.Changed)
	e.wantAbsent("dst")
	e.mustCopy("dst", upstream.CopyRequest{Source: e.loc("src"), SourceIfMatch: current})
	e.wantContent("dst", data)
}

func copyOntoItself(e *env) {
	data := e.data(1000)
	e.put("k", data)
	want := object.Headers{ContentType: "image/png", User: map[string]string{"new": "1"}}
	e.mustCopy("k", upstream.CopyRequest{Source: e.loc("k"), Replace: true, Headers: want.Clone()})
	e.wantContent("k", data)
	e.wantHeaders("Stat", e.stat("k").Headers, want)
}

func copyHostile(e *env) {
	for i, key := range []string{"a b+c", "a%2Fb", "ä/世界", "q?x=1&y#z", "a//b", "dir/"} {
		data := e.data(100 + i)
		if !e.putOrRefuse("src/"+key, data) {
			continue
		}
		e.mustCopy("dst/"+key, upstream.CopyRequest{Source: e.loc("src/" + key)})
		e.wantContent("dst/"+key, data)
	}
}

func copyParts(e *env) {
	size := e.partSize()
	src := e.data(2*size + 100)
	e.put("src", src)
	up := e.createUpload("dst", upstream.CreateUploadRequest{})
	var whole []byte
	var list []upstream.Part
	for i, spec := range []byterange.Spec{
		byterange.Closed(0, int64(size)-1), byterange.All(), byterange.Closed(int64(size), int64(size)+99),
	} {
		p, err := e.copier().CopyPart(e.ctx, up, i+1, upstream.CopyPartRequest{Source: e.loc("src"), Range: spec})
		if err != nil {
			e.Fatalf("CopyPart %d: %v", i+1, err)
		}
		r, err := spec.Resolve(int64(len(src)))
		if err != nil {
			e.Fatal(err)
		}
		if p.Number != i+1 || p.ETag == "" {
			e.Errorf("CopyPart %d = %+v", i+1, p)
		}
		whole = append(whole, src[r.Off:r.End()]...)
		list = append(list, upstream.Part{Number: i + 1, ETag: p.ETag})
	}
	e.wantMultipart("dst", e.complete(up, upstream.CompleteRequest{Parts: list}), whole, list)
	if got, _ := e.open("src", upstream.OpenOptions{}); !bytes.Equal(got, src) {
		e.Error("the source has changed")
	}
}

func copyPartErrors(e *env) {
	c := e.copier()
	etag := e.put("src", e.data(1000)).ETag
	e.put("src", e.data(2000))
	up := e.createUpload("dst", upstream.CreateUploadRequest{})
	_, err := c.CopyPart(e.ctx, up, 1, upstream.CopyPartRequest{Source: e.loc("missing")})
	e.wantCode(err, upstream.NotExist)
	_, err = c.CopyPart(e.ctx, up, 1, upstream.CopyPartRequest{Source: e.loc("src"), SourceIfMatch: etag})
	e.wantCode(err, upstream.Changed)
	_, err = c.CopyPart(e.ctx, up, 1, upstream.CopyPartRequest{Source: e.loc("src"), Range: byterange.Closed(1990, 2000)})
	e.wantCode(err, upstream.RangeError, upstream.Invalid)
	up.ID = "unknown"
	_, err = c.CopyPart(e.ctx, up, 1, upstream.CopyPartRequest{Source: e.loc("src")})
	e.wantCode(err, upstream.NoUpload)
}
