package upstreamtest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

// env is the world of one case.
type env struct {
	testing.TB
	h      Harness
	b      upstream.Backend
	bucket string // empty at the start
	ctx    context.Context
	rng    *rand.Rand
}

func (e *env) loc(key string) upstream.Loc { return upstream.Loc{Bucket: e.bucket, Key: key} }

func (e *env) bucketer() upstream.Bucketer       { return e.b.(upstream.Bucketer) }
func (e *env) multiparter() upstream.Multiparter { return e.b.(upstream.Multiparter) }
func (e *env) copier() upstream.Copier           { return e.b.(upstream.Copier) }

// bucketName returns a name that no store has.
func (e *env) bucketName() string {
	return fmt.Sprintf("%s-%x-%d", e.h.BucketPrefix, time.Now().UnixNano(), bucketCount.Add(1))
}

// newBucket makes a bucket that is emptied and deleted when the case ends.
func (e *env) newBucket() string {
	e.Helper()
	name := e.bucketName()
	if err := e.bucketer().CreateBucket(e.ctx, name); err != nil {
		e.Fatalf("CreateBucket: %v", err)
	}
	e.Cleanup(func() {
		// The context of a test is done before its cleanup.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), caseTimeout)
		defer cancel()
		if err := e.drop(ctx, name); err != nil {
			e.Errorf("cleaning up %s: %v", name, err)
		}
	})
	return name
}

// drop deletes a bucket with everything in it; one that is gone is no error.
func (e *env) drop(ctx context.Context, name string) error {
	if m, ok := e.b.(upstream.Multiparter); ok {
		page, err := m.ListUploads(ctx, upstream.ListUploadsRequest{Bucket: name, MaxUploads: 1000})
		for _, u := range page.Uploads {
			up := upstream.Upload{Loc: upstream.Loc{Bucket: name, Key: u.Key}, ID: u.ID}
			err = errors.Join(err, m.AbortUpload(ctx, up))
		}
		if err != nil && !errors.Is(err, upstream.NoBucket) && !errors.Is(err, upstream.Unsupported) {
			return err
		}
	}
	keys, err := listAll(ctx, e.b, upstream.ListRequest{Bucket: name, MaxKeys: 1000})
	if errors.Is(err, upstream.NoBucket) {
		return nil
	}
	err = errors.Join(err, forEach(keys, func(key string) error {
		return e.b.Delete(ctx, upstream.Loc{Bucket: name, Key: key}, upstream.DeleteOptions{})
	}))
	return errors.Join(err, e.bucketer().DeleteBucket(ctx, name))
}

// forEach calls fn for every item, a few at a time.
func forEach[T any](items []T, fn func(T) error) error {
	const workers = 16
	var (
		wg   sync.WaitGroup
		errs = make([]error, workers)
	)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(items) && errs[w] == nil; i += workers {
				errs[w] = fn(items[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// listAll follows the pages of req and returns all keys.
func listAll(ctx context.Context, b upstream.Backend, req upstream.ListRequest) ([]string, error) {
	var keys []string
	for {
		page, err := b.List(ctx, req)
		if err != nil {
			return keys, err
		}
		for _, o := range page.Objects {
			keys = append(keys, o.Key)
		}
		if page.Next == "" {
			return keys, nil
		}
		req.Token = page.Next
	}
}

// data returns n random bytes.
func (e *env) data(n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], e.rng.Uint64())
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
	return p
}

func putRequest(data []byte) upstream.PutRequest {
	return upstream.PutRequest{Body: bytes.NewReader(data), Size: int64(len(data))}
}

// put stores data and checks what Put says of it.
func (e *env) put(key string, data []byte) object.Attrs {
	e.Helper()
	return e.putReq(key, data, putRequest(data))
}

func (e *env) putReq(key string, data []byte, req upstream.PutRequest) object.Attrs {
	e.Helper()
	attrs, err := e.b.Put(e.ctx, e.loc(key), req)
	if err != nil {
		e.Fatalf("Put %q: %v", key, err)
	}
	if attrs.Size != int64(len(data)) || attrs.ETag == "" || strings.ContainsAny(attrs.ETag, `"`) {
		e.Fatalf("Put %q = size %d, ETag %q; want size %d and an ETag without quotes", key, attrs.Size, attrs.ETag, len(data))
	}
	return attrs
}

func (e *env) stat(key string) object.Attrs {
	e.Helper()
	attrs, err := e.b.Stat(e.ctx, e.loc(key), upstream.StatOptions{Checksums: true})
	if err != nil {
		e.Fatalf("Stat %q: %v", key, err)
	}
	if !attrs.HeadersKnown {
		e.Errorf("Stat %q: HeadersKnown is false", key)
	}
	return attrs
}

// open reads what opts select to the end and checks the Stream against its own words.
func (e *env) open(key string, opts upstream.OpenOptions) ([]byte, *upstream.Stream) {
	e.Helper()
	got, s, err := e.read(key, opts)
	if err != nil {
		e.Fatalf("Open %q: %v", key, err)
	}
	return got, s
}

// read is open for callers that expect an error or are not the case's goroutine.
func (e *env) read(key string, opts upstream.OpenOptions) ([]byte, *upstream.Stream, error) {
	s, err := e.b.Open(e.ctx, e.loc(key), opts)
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(s.Body)
	if cerr := s.Body.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return got, s, fmt.Errorf("reading the body: %w", err)
	case int64(len(got)) != s.Range.Len:
		return got, s, fmt.Errorf("the body has %d bytes, Range says %+v", len(got), s.Range)
	case !s.Attrs.HeadersKnown || s.Attrs.ETag == "":
		return got, s, fmt.Errorf("the stream's attributes are %+v", s.Attrs)
	}
	return got, s, nil
}

// wantContent checks that all of key is data.
func (e *env) wantContent(key string, data []byte) {
	e.Helper()
	got, s := e.open(key, upstream.OpenOptions{})
	if !bytes.Equal(got, data) {
		e.Fatalf("%q holds %d bytes (MD5 %s), want %d (MD5 %s)", key, len(got), md5Of(got), len(data), md5Of(data))
	}
	if want := (byterange.Range{Len: int64(len(data))}); s.Range != want || s.Attrs.Size != want.Len {
		e.Fatalf("%q: Range %+v, Size %d; want %+v", key, s.Range, s.Attrs.Size, want)
	}
}

// wantAbsent checks that key is neither read nor listed.
func (e *env) wantAbsent(key string) {
	e.Helper()
	_, err := e.b.Stat(e.ctx, e.loc(key), upstream.StatOptions{})
	e.wantCode(err, upstream.NotExist)
	_, err = e.b.Open(e.ctx, e.loc(key), upstream.OpenOptions{})
	e.wantCode(err, upstream.NotExist)
	if keys := e.keys(); slices.Contains(keys, key) {
		e.Errorf("%q is listed", key)
	}
}

// keys returns every key of the bucket, and checks their order.
func (e *env) keys() []string {
	e.Helper()
	keys, err := listAll(e.ctx, e.b, upstream.ListRequest{Bucket: e.bucket, MaxKeys: 1000})
	if err != nil {
		e.Fatalf("List: %v", err)
	}
	if !slices.IsSorted(keys) {
		e.Errorf("List is not in order: %q", keys)
	}
	return keys
}

// wantKeys checks that the bucket holds exactly keys.
func (e *env) wantKeys(keys ...string) {
	e.Helper()
	if got, want := e.keys(), slices.Sorted(slices.Values(keys)); !slices.Equal(got, want) {
		e.Errorf("the bucket holds %q, want %q", got, want)
	}
}

// wantCode checks that err has one of the codes, and with errors.Is that one.
func (e *env) wantCode(err error, codes ...upstream.Code) {
	e.Helper()
	if err == nil {
		e.Fatalf("no error, want one of %q", codes)
	}
	code := upstream.CodeOf(err)
	if !slices.Contains(codes, code) {
		e.Fatalf("code %q (%v), want one of %q", code, err, codes)
	}
	if !errors.Is(err, code) {
		e.Fatalf("errors.Is(err, %q) is false: %v", code, err)
	}
}

func (e *env) delete(key string) {
	e.Helper()
	if err := e.b.Delete(e.ctx, e.loc(key), upstream.DeleteOptions{}); err != nil {
		e.Fatalf("Delete %q: %v", key, err)
	}
}

func md5Of(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

// within fails the case when fn takes longer than promptly.
func (e *env) within(what string, fn func()) {
	e.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	timer := time.NewTimer(promptly)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		e.Fatalf("%s did not return within %v", what, promptly)
	}
}

// wantHeaders compares headers. A store may give an object without a content type one of the two that
// mean "bytes".
func (e *env) wantHeaders(what string, got, want object.Headers) {
	e.Helper()
	if want.ContentType == "" && (got.ContentType == "binary/octet-stream" || got.ContentType == "application/octet-stream") {
		got.ContentType = ""
	}
	if !maps.Equal(got.User, want.User) {
		e.Errorf("%s: user metadata %q, want %q", what, got.User, want.User)
	}
	got.User, want.User = nil, nil
	if !reflect.DeepEqual(got, want) {
		e.Errorf("%s: headers %+v, want %+v", what, got, want)
	}
}
