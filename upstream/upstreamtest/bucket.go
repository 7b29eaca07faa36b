package upstreamtest

import (
	"slices"
	"time"

	"unistore/upstream"
)

func bucketCases() []testCase {
	all := []testCase{
		{name: "bucket/create twice", run: func(e *env) {
			e.put("k", []byte("x"))
			e.wantCode(e.bucketer().CreateBucket(e.ctx, e.bucket), upstream.BucketOwned, upstream.BucketExists)
			e.wantContent("k", []byte("x"))
		}},
		{name: "bucket/create twice, an upload goes on", needs: multipart, run: func(e *env) {
			up := e.createUpload("k", upstream.CreateUploadRequest{})
			data := e.data(1000)
			part := e.part(up, 1, data)
			e.wantCode(e.bucketer().CreateBucket(e.ctx, e.bucket), upstream.BucketOwned, upstream.BucketExists)
			e.wantUploads([]upstream.Upload{up}, upstream.ListUploadsRequest{MaxUploads: 10})
			e.complete(up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
			e.wantContent("k", data)
		}},
		{name: "bucket/stat", run: func(e *env) {
			got, err := e.bucketer().StatBucket(e.ctx, e.bucket)
			if err != nil || got.Name != e.bucket {
				e.Errorf("StatBucket = %+v, %v", got, err)
			}
			_, err = e.bucketer().StatBucket(e.ctx, e.bucketName())
			e.wantCode(err, upstream.NoBucket)
		}},
		{name: "bucket/list", run: func(e *env) {
			other := e.newBucket()
			all, err := e.bucketer().ListBuckets(e.ctx)
			if err != nil {
				e.Fatal(err)
			}
			for _, name := range []string{e.bucket, other} {
				i := slices.IndexFunc(all, func(b upstream.Bucket) bool { return b.Name == name })
				if i < 0 || time.Since(all[i].Created).Abs() > time.Hour {
					e.Errorf("ListBuckets has %q at %d: %+v", name, i, all)
				}
			}
		}},
		{name: "bucket/delete", run: bucketDelete},
		{name: "bucket/delete one that is not empty", run: func(e *env) {
			for _, key := range []string{"k", "a/b/c", ".hidden", "dir/"} {
				if e.putOrRefuse(key, []byte("x")) {
					e.wantCode(e.bucketer().DeleteBucket(e.ctx, e.bucket), upstream.BucketNotEmpty)
					e.wantContent(key, []byte("x"))
					e.delete(key)
				}
			}
		}},
		{name: "bucket/delete one that is not there", run: func(e *env) {
			e.wantCode(e.bucketer().DeleteBucket(e.ctx, e.bucketName()), upstream.NoBucket)
		}},
		{name: "bucket/emptied, deleted, made again", run: func(e *env) {
			e.fill("a", "a/b", "c/d/e/f")
			for _, key := range []string{"a", "a/b", "c/d/e/f"} {
				e.delete(key)
			}
			if err := e.bucketer().DeleteBucket(e.ctx, e.bucket); err != nil {
				e.Fatal(err)
			}
			if err := e.bucketer().CreateBucket(e.ctx, e.bucket); err != nil {
				e.Fatal(err)
			}
			e.wantKeys()
			e.wantAbsent("a")
		}},
		{name: "bucket/hostile names", run: hostileBuckets},
		{name: "bucket/every call on a missing one", run: missingBucket},
	}
	for i := range all {
		all[i].needs |= buckets
	}
	return all
}

func bucketDelete(e *env) {
	if err := e.bucketer().DeleteBucket(e.ctx, e.bucket); err != nil {
		e.Fatal(err)
	}
	_, err := e.bucketer().StatBucket(e.ctx, e.bucket)
	e.wantCode(err, upstream.NoBucket)
	_, err = e.b.Put(e.ctx, e.loc("k"), putRequest([]byte("x")))
	e.wantCode(err, upstream.NoBucket)
	all, err := e.bucketer().ListBuckets(e.ctx)
	if err != nil || slices.ContainsFunc(all, func(b upstream.Bucket) bool { return b.Name == e.bucket }) {
		e.Errorf("ListBuckets still has %q: %+v, %v", e.bucket, all, err)
	}
}

// hostileBuckets asks for buckets that a careless store would resolve to something else. (Names that are
// legal in S3 are the caller's care; these only must do no harm.)
func hostileBuckets(e *env) {
	e.put("a/b", []byte("x"))
	for _, name := range []string{"..", ".", e.bucket + "/a", "../" + e.bucket, "/etc", ".unistore", "a\x00b", e.bucket + "/"} {
		loc := upstream.Loc{Bucket: name, Key: "b"}
		if _, err := e.b.Stat(e.ctx, loc, upstream.StatOptions{}); err == nil {
			e.Errorf("bucket %q has an object", name)
		}
		if _, err := e.b.Put(e.ctx, loc, putRequest([]byte("y"))); err == nil {
			e.Errorf("bucket %q took an object", name)
		}
		if err := e.bucketer().DeleteBucket(e.ctx, name); err == nil {
			e.Errorf("bucket %q was deleted", name)
		}
	}
	e.wantContent("a/b", []byte("x"))
	e.wantKeys("a/b")
}

func missingBucket(e *env) {
	loc := upstream.Loc{Bucket: e.bucketName(), Key: "k"}
	_, err := e.b.Stat(e.ctx, loc, upstream.StatOptions{})
	e.wantCode(err, upstream.NoBucket)
	_, err = e.b.Open(e.ctx, loc, upstream.OpenOptions{})
	e.wantCode(err, upstream.NoBucket)
	_, err = e.b.Put(e.ctx, loc, putRequest([]byte("x")))
	e.wantCode(err, upstream.NoBucket)
	e.wantCode(e.b.Delete(e.ctx, loc, upstream.DeleteOptions{}), upstream.NoBucket)
	_, err = e.b.List(e.ctx, upstream.ListRequest{Bucket: loc.Bucket, MaxKeys: 1})
	e.wantCode(err, upstream.NoBucket)
	if d, ok := e.b.(upstream.BatchDeleter); ok {
		_, err = d.DeleteBatch(e.ctx, loc.Bucket, []string{"a", "b"})
		e.wantCode(err, upstream.NoBucket)
	}
	if c, ok := e.b.(upstream.Copier); ok {
		e.put("src", []byte("x"))
		_, err = c.Copy(e.ctx, loc, upstream.CopyRequest{Source: e.loc("src")})
		e.wantCode(err, upstream.NoBucket)
	}
}
