package upstreamtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"testing/iotest"

	"unistore/object"
	"unistore/upstream"
)

// errBody is the reason of a body that fails.
var errBody = errors.New("the client went away")

// failure is one way for a Put to go wrong in its body.
type failure struct {
	name  string
	needs ability
	codes []upstream.Code // empty: any, but the cause must be found
	// request spoils a good request; stop ends the context of the Put.
	request func(ctx context.Context, data []byte, stop func()) upstream.PutRequest
}

func failures() []failure {
	return []failure{
		{name: "body fails at once", request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
			return upstream.PutRequest{Body: iotest.ErrReader(errBody), Size: int64(len(data))}
		}},
		{name: "body fails in the middle", request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
			return broken(data, len(data)/2, errBody)
		}},
		{name: "body fails before its last byte", request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
			return broken(data, len(data)-1, errBody)
		}},
		{name: "body ends early", codes: []upstream.Code{upstream.TooShort},
			request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
				return upstream.PutRequest{Body: bytes.NewReader(data[:len(data)-1]), Size: int64(len(data))}
			}},
		{name: "body is empty", codes: []upstream.Code{upstream.TooShort},
			request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
				return upstream.PutRequest{Body: bytes.NewReader(nil), Size: int64(len(data))}
			}},
		{name: "body is too long", codes: []upstream.Code{upstream.Invalid, upstream.TooLarge},
			request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
				return upstream.PutRequest{Body: bytes.NewReader(data), Size: int64(len(data) - 1)}
			}},
		{name: "body of an empty object is too long", codes: []upstream.Code{upstream.Invalid, upstream.TooLarge},
			request: func(context.Context, []byte, func()) upstream.PutRequest {
				return upstream.PutRequest{Body: bytes.NewReader([]byte("x")), Size: 0}
			}},
		{name: "context ends in the middle", codes: []upstream.Code{upstream.Cancelled},
			request: func(ctx context.Context, data []byte, stop func()) upstream.PutRequest {
				stalled := &stallReader{ctx: ctx, stall: stop}
				body := io.MultiReader(bytes.NewReader(data[:len(data)/2]), stalled)
				return upstream.PutRequest{Body: body, Size: int64(len(data))}
			}},
		{name: "wrong MD5", codes: []upstream.Code{upstream.BadDigest},
			request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
				req := putRequest(data)
				req.MD5 = base64.StdEncoding.EncodeToString(make([]byte, 16))
				return req
			}},
		{name: "wrong checksum", needs: storesChecksums, codes: []upstream.Code{upstream.BadDigest},
			request: func(_ context.Context, data []byte, _ func()) upstream.PutRequest {
				req := putRequest(data)
				req.Checksum = &object.Checksum{Algorithm: "SHA256", Value: sumOf("SHA256", data[1:]), Type: "FULL_OBJECT"}
				return req
			}},
	}
}

// broken is a request whose body delivers n bytes of data and fails with err.
func broken(data []byte, n int, err error) upstream.PutRequest {
	body := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(err))
	return upstream.PutRequest{Body: body, Size: int64(len(data))}
}

// stallReader blocks until its context is done, which it has arranged when it was first read.
type stallReader struct {
	ctx   context.Context
	stall func()
}

func (r *stallReader) Read([]byte) (int, error) {
	r.stall()
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}

func failedPutCases() []testCase {
	var all []testCase
	for _, f := range failures() {
		all = append(all,
			testCase{name: "put fails/" + f.name + ", new key", needs: f.needs, run: func(e *env) { failNew(e, f) }},
			testCase{name: "put fails/" + f.name + ", old object", needs: f.needs, run: func(e *env) { failOld(e, f) }},
			testCase{name: "part fails/" + f.name, needs: f.needs | multipart, run: func(e *env) { failPart(e, f) }},
		)
	}
	return append(all, testCase{name: "put fails/missing bucket", needs: buckets, run: func(e *env) {
		_, err := e.b.Put(e.ctx, upstream.Loc{Bucket: e.bucketName(), Key: "k"}, putRequest([]byte("x")))
		e.wantCode(err, upstream.NoBucket)
	}})
}

// attempt runs a Put that must fail as f says.
func (e *env) attempt(key string, f failure, data []byte) {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var err error
	e.within("Put", func() { _, err = e.b.Put(ctx, e.loc(key), f.request(ctx, data, cancel)) })
	e.wantFailure(err, f)
}

func (e *env) wantFailure(err error, f failure) {
	e.Helper()
	if len(f.codes) > 0 {
		e.wantCode(err, f.codes...)
		return
	}
	e.wantCode(err, upstream.Codes()...)
	if !errors.Is(err, errBody) {
		e.Errorf("errors.Is does not find the body's own error in %v", err)
	}
}

func failNew(e *env, f failure) {
	e.attempt("dir/new", f, e.data(300_000))
	e.wantAbsent("dir/new")
	e.wantKeys()
	data := e.data(1000) // and the key is not spoiled
	e.put("dir/new", data)
	e.wantContent("dir/new", data)
}

func failOld(e *env, f failure) {
	data := e.data(100_000)
	before := e.put("dir/old", data)
	e.attempt("dir/old", f, e.data(300_000))
	e.wantContent("dir/old", data)
	if after := e.stat("dir/old"); after.ETag != before.ETag || after.Size != before.Size {
		e.Errorf("Stat = %+v, was %+v", after, before)
	}
	e.wantKeys("dir/old")
}

func failPart(e *env, f failure) {
	m := e.multiparter()
	up := e.createUpload("k", upstream.CreateUploadRequest{})
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	put := f.request(ctx, e.data(300_000), cancel)
	req := upstream.PartRequest{Body: put.Body, Size: put.Size, MD5: put.MD5, Checksum: put.Checksum}
	var err error
	e.within("UploadPart", func() { _, err = m.UploadPart(ctx, up, 1, req) })
	e.wantFailure(err, f)
	page, err := m.ListParts(e.ctx, up, 0, 100)
	if err != nil || len(page.Parts) != 0 {
		e.Errorf("ListParts = %+v, %v; want none", page, err)
	}
	data := e.data(2000)
	e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{e.part(up, 1, data)}})
	e.wantContent("k", data)
}
