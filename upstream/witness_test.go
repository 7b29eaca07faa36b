package upstream_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"unistore/checksum"
	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/mem"
)

var place = upstream.Loc{Bucket: "bucket", Key: "key"}

// teller is a store in memory that says what the test wants of the bytes it took.
type teller struct {
	*mem.Backend
	set    *faults.Set
	opaque bool // ETags are no MD5 sums, but look like it
	forget bool // a promise of the whole object's checksum
	say    func(etag *string, sums *[]object.Checksum)
	mu     struct {
		sync.Mutex
		deleted []upstream.DeleteOptions
		opened  int
	}
}

// turned is an ETag of an opaque store; turned twice it is what it was.
func (b *teller) turned(etag string) string {
	if !b.opaque {
		return etag
	}
	r := []byte(etag)
	slices.Reverse(r)
	return string(r)
}

func (b *teller) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	attrs, err := b.Backend.Put(ctx, loc, req)
	attrs.ETag = b.turned(attrs.ETag)
	if err == nil && b.say != nil {
		b.say(&attrs.ETag, &attrs.Checksums)
	}
	return attrs, err
}

func (b *teller) UploadPart(ctx context.Context, up upstream.Upload, n int, req upstream.PartRequest) (upstream.Part, error) {
	part, err := b.Backend.UploadPart(ctx, up, n, req)
	part.ETag = b.turned(part.ETag)
	if err == nil && b.say != nil {
		b.say(&part.ETag, &part.Checksums)
	}
	return part, err
}

func (b *teller) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	if b.forget {
		req.Checksum = nil
	}
	attrs, err := b.Backend.CompleteUpload(ctx, up, req)
	if err == nil && b.say != nil {
		b.say(&attrs.ETag, &attrs.Checksums)
	}
	return attrs, err
}

func (b *teller) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	b.mu.Lock()
	b.mu.opened++
	b.mu.Unlock()
	opts.IfMatch = b.turned(opts.IfMatch)
	st, err := b.Backend.Open(ctx, loc, opts)
	if err == nil {
		st.Attrs.ETag = b.turned(st.Attrs.ETag)
	}
	return st, err
}

func (b *teller) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	b.mu.Lock()
	b.mu.deleted = append(b.mu.deleted, opts)
	b.mu.Unlock()
	opts.IfMatch = b.turned(opts.IfMatch)
	return b.Backend.Delete(ctx, loc, opts)
}

func (b *teller) counts() (opened, deleted int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.opened, len(b.mu.deleted)
}

// tell makes a store, with faults between the policy and it.
func tell(t *testing.T) (*teller, *upstream.Store) {
	t.Helper()
	b := &teller{Backend: mem.New(mem.Config{}), set: faults.New(nil)}
	s := upstream.NewStore("mem", fault.Wrap(b, "mem", b.set), upstream.StoreConfig{Retries: -1})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.CreateBucket(t.Context(), place.Bucket); err != nil {
		t.Fatal(err)
	}
	return b, s
}

func (b *teller) inject(t *testing.T, f faults.Fault) {
	t.Helper()
	if err := b.set.Put(f); err != nil {
		t.Fatal(err)
	}
}

func md5Of(data string) []byte {
	sum := md5.Sum([]byte(data))
	return sum[:]
}

func crcOf(data string) object.Checksum {
	h, _ := checksum.New(checksum.CRC32C)
	_, _ = h.Write([]byte(data))
	return object.Checksum{Algorithm: checksum.CRC32C, Value: checksum.Encode(h), Type: "FULL_OBJECT"}
}

// promises are the ways in which a client says what its body is.
var promises = map[string]func(req *upstream.PutRequest, data string){
	"nothing": func(*upstream.PutRequest, string) {},
	"MD5": func(req *upstream.PutRequest, data string) {
		req.MD5 = base64.StdEncoding.EncodeToString(md5Of(data))
	},
	"checksum": func(req *upstream.PutRequest, data string) { c := crcOf(data); req.Checksum = &c },
	"trailer": func(req *upstream.PutRequest, data string) {
		req.TrailingAlgorithm = checksum.CRC32C
		req.Trailing = func() []object.Checksum { return []object.Checksum{crcOf(data)} }
	},
}

// promised is a request whose body is not in memory.
func promised(what, data string) upstream.PutRequest {
	req := upstream.PutRequest{Body: struct{ io.Reader }{strings.NewReader(data)}, Size: int64(len(data))}
	promises[what](&req, data)
	return req
}

func partOf(r upstream.PutRequest) upstream.PartRequest {
	return upstream.PartRequest{Body: r.Body, Size: r.Size, MD5: r.MD5, Checksum: r.Checksum, Trailing: r.Trailing, TrailingAlgorithm: r.TrailingAlgorithm}
}

func mustUpload(t *testing.T, s *upstream.Store) upstream.Upload {
	t.Helper()
	id, err := s.CreateUpload(t.Context(), place, upstream.CreateUploadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return upstream.Upload{Loc: place, ID: id}
}

// Bytes that change between this process and the store make the write fail, whatever the client has promised of
// them, on a store of which nothing is known and on one that has shown what its words are worth. That reading
// would change them back makes no difference.
func TestCorruptedWritesFail(t *testing.T) {
	const data = "0123456789"
	for what := range promises {
		for _, warm := range []bool{false, true} {
			t.Run(what, func(t *testing.T) {
				b, s := tell(t)
				up := mustUpload(t, s)
				if warm {
					if _, err := s.Put(t.Context(), place, promised(what, data)); err != nil {
						t.Fatal(err)
					}
					if err := s.Delete(t.Context(), place, upstream.DeleteOptions{}); err != nil {
						t.Fatal(err)
					}
				}
				b.inject(t, faults.Fault{Name: faults.UpstreamCorrupt, After: 9})
				wantCorrupted(t, second(s.Put(t.Context(), place, promised(what, data))))
				wantCode(t, second(s.Stat(t.Context(), place, upstream.StatOptions{})), upstream.NotExist)
				wantCorrupted(t, second(s.UploadPart(t.Context(), up, 1, partOf(promised(what, data)))))
				page, err := s.ListParts(t.Context(), up, 0, 10)
				if err != nil || slices.ContainsFunc(page.Parts, func(p upstream.Part) bool { return p.Size != 1 }) {
					t.Errorf("the corrupted part is there: %+v, %v", page.Parts, err)
				}
			})
		}
	}
}

func second[T any](_ T, err error) error { return err }

// wantCorrupted checks that a write failed for what became of its bytes. A store that was told a digest refuses
// by itself.
func wantCorrupted(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, upstream.Corrupted) && !errors.Is(err, upstream.BadDigest) {
		t.Errorf("error %v", err)
	}
}

func TestWhatAStoreSaysOfItsBytes(t *testing.T) {
	other := hex.EncodeToString(md5Of("other"))
	for _, tt := range []struct {
		name    string
		promise string
		say     func(etag *string, sums *[]object.Checksum)
		ok      bool
	}{
		{"another MD5", "nothing", func(e *string, _ *[]object.Checksum) { *e = other }, false},
		{"another MD5 than the promised", "MD5", func(e *string, _ *[]object.Checksum) { *e = other }, false},
		{"the MD5 in upper case", "nothing", func(e *string, _ *[]object.Checksum) { *e = strings.ToUpper(*e) }, true},
		{"another checksum", "checksum", func(_ *string, s *[]object.Checksum) { *s = []object.Checksum{crcOf("other")} }, false},
		{"another trailing checksum", "trailer", func(_ *string, s *[]object.Checksum) { *s = []object.Checksum{crcOf("other")} }, false},
		{"no checksum, and the right MD5", "checksum", func(_ *string, s *[]object.Checksum) { *s = nil }, true},
		{"no checksum, and another MD5", "checksum", func(e *string, s *[]object.Checksum) { *s, *e = nil, other }, false},
		{"a checksum of another algorithm", "checksum", func(_ *string, s *[]object.Checksum) {
			*s = []object.Checksum{{Algorithm: checksum.SHA1, Value: "x"}}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, s := tell(t)
			if _, err := s.Put(t.Context(), place, promised("nothing", "before")); err != nil {
				t.Fatal(err)
			}
			up := mustUpload(t, s)
			b.say = tt.say
			_, err := s.Put(t.Context(), place, promised(tt.promise, "0123456789"))
			_, part := s.UploadPart(t.Context(), up, 1, partOf(promised(tt.promise, "0123456789")))
			opened, deleted := b.counts()
			if tt.ok {
				if err != nil || part != nil || deleted > 0 {
					t.Errorf("%v, %v, %d deleted", err, part, deleted)
				}
				return
			}
			wantCode(t, err, upstream.Corrupted)
			wantCode(t, part, upstream.Corrupted)
			if opened > 0 || deleted != 1 || b.mu.deleted[0].IfMatch == "" {
				t.Errorf("opened %d times, deleted %+v", opened, b.mu.deleted)
			}
		})
	}
}

// A store whose ETags look like MD5 sums and are none can be used when that is configured.
func TestOpaqueETags(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		b, _ := tell(t)
		b.opaque = true
		s := upstream.NewStore("mem", b, upstream.StoreConfig{OpaqueETags: opaque})
		_, err := s.Put(t.Context(), place, promised("nothing", "0123456789"))
		_, part := s.UploadPart(t.Context(), mustUpload(t, s), 1, partOf(promised("nothing", "0123456789")))
		if opaque {
			if err != nil || part != nil {
				t.Errorf("%v, %v", err, part)
			}
			continue
		}
		wantCode(t, err, upstream.Corrupted)
		wantCode(t, part, upstream.Corrupted)
	}
}

func TestWhatAStoreSaysOfACompletedObject(t *testing.T) {
	whole := crcOf("0123456789")
	other := hex.EncodeToString(md5Of("other")) + "-1"
	for _, tt := range []struct {
		name string
		say  func(etag *string, sums *[]object.Checksum)
		ok   bool
	}{
		{"all right", nil, true},
		{"another ETag", func(e *string, _ *[]object.Checksum) { *e = other }, false},
		{"another checksum", func(_ *string, s *[]object.Checksum) { *s = []object.Checksum{crcOf("other")} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, s := tell(t)
			up := mustUpload(t, s)
			part, err := s.UploadPart(t.Context(), up, 1, partOf(promised("checksum", "0123456789")))
			if err != nil {
				t.Fatal(err)
			}
			b.say = tt.say
			_, err = s.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}, Checksum: &whole})
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, upstream.Corrupted)
			if _, deleted := b.counts(); deleted != 1 {
				t.Errorf("%d deleted", deleted)
			}
		})
	}
}

// A conditional Put whose answer is lost is not repeated, and not reported as failed when the object is there.
func TestLostAnswerOfAConditionalPut(t *testing.T) {
	lost := faults.Fault{Name: faults.UpstreamReset, Operation: "Put", After: 1 << 20, Count: 1}
	for _, tt := range []struct {
		name, data, before string
		fault              faults.Fault
		match              bool // If-Match of what is there before; else If-None-Match: *
		want               error
	}{
		{name: "create, done", data: "new", fault: lost},
		{name: "replace, done", data: "new", before: "old", match: true, fault: lost},
		{name: "create, not done", data: "new", fault: faults.Fault{Name: faults.UpstreamReset, Operation: "Put", After: 1, Count: 1}, want: upstream.Unavailable},
		{name: "create, another object is there", data: "new", before: "old", fault: lost, want: upstream.Unavailable},
		{name: "create, the same object may be another's: it is empty", data: "", fault: lost, want: upstream.Unavailable},
		{name: "replace by the same", data: "old", before: "old", match: true, fault: lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, s := tell(t)
			req := promised("nothing", tt.data)
			req.IfNoneMatch = !tt.match
			if tt.before != "" {
				old, err := s.Put(t.Context(), place, promised("nothing", tt.before))
				if err != nil {
					t.Fatal(err)
				}
				if tt.match {
					req.IfMatch = old.ETag
				}
			}
			b.inject(t, tt.fault)
			attrs, err := s.Put(t.Context(), place, req)
			if tt.want == nil {
				if err != nil || attrs.ETag != hex.EncodeToString(md5Of(tt.data)) || attrs.Size != int64(len(tt.data)) {
					t.Errorf("%+v, %v", attrs, err)
				}
				return
			}
			wantCode(t, err, upstream.CodeOf(tt.want))
		})
	}
}

// again is a body in memory.
type again struct{ *strings.Reader }

func (a again) Rewind() { _, _ = a.Seek(0, io.SeekStart) }

// A part in memory that was corrupted on its way is sent again.
func TestCorruptedPartInMemoryIsSentAgain(t *testing.T) {
	for what := range promises {
		b, _ := tell(t)
		s := upstream.NewStore("mem", fault.Wrap(b, "mem", b.set), upstream.StoreConfig{})
		up := mustUpload(t, s)
		b.inject(t, faults.Fault{Name: faults.UpstreamCorrupt, Operation: "UploadPart", Count: 1})
		req := partOf(promised(what, "0123456789"))
		req.Body = again{strings.NewReader("0123456789")}
		if part, err := s.UploadPart(t.Context(), up, 1, req); err != nil || part.ETag != hex.EncodeToString(md5Of("0123456789")) {
			t.Errorf("%s: %+v, %v", what, part, err)
		}
	}
}
