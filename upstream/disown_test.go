package upstream_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"unistore/faults"
	"unistore/metrics"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/mem"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// ownable is a store in memory that takes other bytes than were sent, and says so.
type ownable struct {
	*mem.Backend
	version string // of what it makes
	limits  upstream.Limits
	taken   func(attrs *object.Attrs) error // after each write
	deleted []upstream.DeleteOptions
}

func (b *ownable) Limits() upstream.Limits { return b.limits }

func (b *ownable) wrote(attrs object.Attrs, err error) (object.Attrs, error) {
	if err != nil {
		return attrs, err
	}
	attrs.VersionID = b.version
	err = b.taken(&attrs)
	return attrs, err
}

func (b *ownable) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	if b.taken == nil {
		return b.Backend.Put(ctx, loc, req)
	}
	return b.wrote(b.Backend.Put(ctx, loc, req))
}

func (b *ownable) UploadPart(ctx context.Context, up upstream.Upload, n int, req upstream.PartRequest) (upstream.Part, error) {
	p, err := b.Backend.UploadPart(ctx, up, n, req)
	if err == nil && b.taken != nil {
		attrs := object.Attrs{ETag: p.ETag}
		err = b.taken(&attrs)
		p.ETag = attrs.ETag
	}
	return p, err
}

func (b *ownable) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	return b.wrote(b.Backend.CompleteUpload(ctx, up, req))
}

func (b *ownable) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	b.deleted = append(b.deleted, opts)
	if opts.VersionID == b.version {
		opts.VersionID = ""
	}
	return b.Backend.Delete(ctx, loc, opts)
}

func own(t *testing.T, version string, conditional bool) (*ownable, *upstream.Store, *metrics.Metrics) {
	t.Helper()
	b := &ownable{Backend: mem.New(mem.Config{}), version: version, limits: mem.DefaultLimits}
	b.limits.DeleteCondition = conditional
	m := metrics.New(prometheus.NewRegistry())
	s := upstream.NewStore("mem", fault.Wrap(b, "mem", faults.New(nil)), upstream.StoreConfig{Retries: -1, Metrics: m})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.CreateBucket(t.Context(), place.Bucket); err != nil {
		t.Fatal(err)
	}
	return b, s, m
}

// An object that the store took with other bytes is deleted if the store deletes that one only, by the name of its
// version or by its ETag. "null" names no version.
func TestDisownDeletesNoOtherObject(t *testing.T) {
	const etag = "d41d8cd98f00b204e9800998ecf8427e"
	corrupted := upstream.Errorf(upstream.Corrupted, "Put", "other bytes")
	for _, tt := range []struct {
		version     string
		conditional bool
		want        []upstream.DeleteOptions
		outcome     string
	}{
		{"", true, []upstream.DeleteOptions{{IfMatch: etag}}, "failed"},
		{"null", true, []upstream.DeleteOptions{{IfMatch: etag}}, "failed"},
		{"v1", true, []upstream.DeleteOptions{{VersionID: "v1"}}, "deleted"},
		{"v1", false, []upstream.DeleteOptions{{VersionID: "v1"}}, "deleted"},
		{"", false, nil, "left"},
		{"null", false, nil, "left"},
	} {
		for _, byDriver := range []bool{false, true} {
			b, s, m := own(t, tt.version, tt.conditional)
			// Another writer's object is there when the answer comes: its ETag is not that of the answer.
			b.taken = func(attrs *object.Attrs) error {
				attrs.ETag = etag
				if byDriver {
					return corrupted
				}
				return nil
			}
			_, err := s.Put(t.Context(), place, promised("nothing", "0123456789"))
			wantCode(t, err, upstream.Corrupted)
			if len(b.deleted) != len(tt.want) || (len(tt.want) > 0 && b.deleted[0] != tt.want[0]) {
				t.Errorf("%+v: deleted %+v", tt, b.deleted)
			}
			if tt.version != "v1" {
				if attrs, err := b.Stat(t.Context(), place, upstream.StatOptions{}); err != nil || attrs.Size != 10 {
					t.Errorf("%+v: the other writer's object: %+v, %v", tt, attrs, err)
				}
			}
			if n := testutil.ToFloat64(m.UpstreamDisowned.WithLabelValues("mem", tt.outcome)); n != 1 {
				t.Errorf("%+v: %v counted", tt, n)
			}
		}
	}
}

// What a store took wrongly is removed although the caller went away while it answered.
func TestDisownWithoutACaller(t *testing.T) {
	b, s, _ := own(t, "", true)
	up := mustUpload(t, s)
	good, err := s.UploadPart(t.Context(), up, 1, partOf(promised("nothing", "0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	writes := map[string]func(ctx context.Context) error{
		"Put": func(ctx context.Context) error { return second(s.Put(ctx, place, promised("nothing", "0123456789"))) },
		"UploadPart": func(ctx context.Context) error {
			return second(s.UploadPart(ctx, up, 2, partOf(promised("nothing", "0123456789"))))
		},
		"CompleteUpload": func(ctx context.Context) error {
			return second(s.CompleteUpload(ctx, up, upstream.CompleteRequest{Parts: []upstream.Part{good}}))
		},
	}
	for _, op := range []string{"Put", "UploadPart", "CompleteUpload"} { // in this order
		ctx, cancel := context.WithCancel(t.Context())
		said := false
		b.taken = func(attrs *object.Attrs) error {
			if said { // the replacement of a part
				return nil
			}
			said = true
			cancel()
			return upstream.Errorf(upstream.Corrupted, op, "other bytes")
		}
		wantCode(t, writes[op](ctx), upstream.Cancelled)
		wantCode(t, second(b.Stat(t.Context(), place, upstream.StatOptions{})), upstream.NotExist)
		if op != "UploadPart" {
			continue
		}
		page, err := b.ListParts(t.Context(), up, 1, 1)
		if err != nil || len(page.Parts) != 1 || page.Parts[0].Size != 1 {
			t.Errorf("the corrupted part: %+v, %v", page, err)
		}
	}
	if len(b.deleted) != 2 {
		t.Errorf("deleted %+v", b.deleted)
	}
}

// A size that is not that of the body is found out where what is wrong can be removed.
func TestSizesThatAStoreSays(t *testing.T) {
	b, s, _ := own(t, "", true)
	up := mustUpload(t, s)
	part, err := s.UploadPart(t.Context(), up, 1, partOf(promised("nothing", "0123456789")))
	if err != nil {
		t.Fatal(err)
	}
	b.taken = func(attrs *object.Attrs) error { attrs.Size--; return nil }
	wantCode(t, second(s.Put(t.Context(), place, promised("nothing", "0123456789"))), upstream.Corrupted)
	wantCode(t, second(b.Stat(t.Context(), place, upstream.StatOptions{})), upstream.NotExist)
	_, err = s.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
	wantCode(t, err, upstream.Corrupted)
	wantCode(t, second(b.Stat(t.Context(), place, upstream.StatOptions{})), upstream.NotExist)
}

// A create-only Put whose answer is lost is granted only to somebody who has sent all of the body, and to whom the object
// can belong by its age.
func TestAPutThatHasNotLanded(t *testing.T) {
	const data = "0123456789"
	ago := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(-d) } }
	for _, tt := range []struct {
		name string
		now  func() time.Time // of the object that is there
		sent int              // bytes, before the connection breaks
		want error
	}{
		{"now, all sent", time.Now, len(data), nil},
		{"a slow clock", ago(50 * time.Second), len(data), nil},
		{"long ago", ago(time.Hour), len(data), upstream.Unavailable},
		{"no time", func() time.Time { return time.Time{} }, len(data), upstream.Unavailable},
		{"not all sent", time.Now, 4, upstream.Unavailable},
	} {
		b := &breaks{Backend: mem.New(mem.Config{Now: tt.now}), after: tt.sent}
		if err := b.CreateBucket(t.Context(), place.Bucket); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Backend.Put(t.Context(), place, promised("nothing", data)); err != nil {
			t.Fatal(err)
		}
		s := upstream.NewStore("mem", b, upstream.StoreConfig{Retries: -1})
		req := promised("MD5", data)
		req.IfNoneMatch = true
		if _, err := s.Put(t.Context(), place, req); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// breaks is a store whose connection breaks in every Put, after some bytes.
type breaks struct {
	*mem.Backend
	after int
}

func (b *breaks) Put(_ context.Context, _ upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	_, _ = io.ReadFull(req.Body, make([]byte, b.after))
	return object.Attrs{}, upstream.Errorf(upstream.Unavailable, "Put", "the connection broke")
}

// The form of a checksum is no reason to delete an object.
func TestChecksumsOfACompletedObject(t *testing.T) {
	const sum, other = "AAAAAA==", "BBBBBB=="
	for _, tt := range []struct {
		promised, promisedType, said, saidType string
		ok                                     bool
	}{
		{sum, "FULL_OBJECT", sum, "FULL_OBJECT", true},
		{sum, "FULL_OBJECT", other, "FULL_OBJECT", false},
		{sum, "COMPOSITE", sum + "-1", "COMPOSITE", true},
		{sum + "-1", "COMPOSITE", sum, "COMPOSITE", true},
		{sum, "FULL_OBJECT", sum + "-1", "COMPOSITE", true}, // FULL_OBJECT is a guess of what has no "-1"
		{sum, "FULL_OBJECT", other + "-1", "", true},
		{sum, "COMPOSITE", other, "FULL_OBJECT", true},
		{sum, "COMPOSITE", other + "-1", "COMPOSITE", false},
		{sum + "-1", "COMPOSITE", sum + "-2", "COMPOSITE", false},
	} {
		b, s := tell(t)
		up := mustUpload(t, s)
		part, err := s.UploadPart(t.Context(), up, 1, partOf(promised("nothing", "0123456789")))
		if err != nil {
			t.Fatal(err)
		}
		b.say = func(_ *string, sums *[]object.Checksum) {
			*sums = []object.Checksum{{Algorithm: "CRC32", Value: tt.said, Type: tt.saidType}}
		}
		b.forget = true
		p := object.Checksum{Algorithm: "CRC32", Value: tt.promised, Type: tt.promisedType}
		_, err = s.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}, Checksum: &p})
		if _, deleted := b.counts(); (err == nil) != tt.ok || (deleted == 0) != tt.ok {
			t.Errorf("%+v: %v, %d deleted", tt, err, deleted)
		}
	}
}

// The number of parts in an ETag is that of the parts, whatever the rest of it is.
func TestETagOfOtherParts(t *testing.T) {
	for _, tt := range []struct {
		number string
		opaque bool
		ok     bool
	}{{"-1", false, true}, {"-2", false, false}, {"-2", true, true}} {
		b := &ownable{Backend: mem.New(mem.Config{}), limits: mem.DefaultLimits}
		s := upstream.NewStore("mem", b, upstream.StoreConfig{OpaqueETags: tt.opaque})
		if err := s.CreateBucket(t.Context(), place.Bucket); err != nil {
			t.Fatal(err)
		}
		up := mustUpload(t, s)
		part, err := s.UploadPart(t.Context(), up, 1, partOf(promised("nothing", "0123456789")))
		if err != nil {
			t.Fatal(err)
		}
		b.taken = func(attrs *object.Attrs) error {
			attrs.ETag, attrs.ETagMD5 = strings.Repeat("0", 32)+tt.number, false
			return nil
		}
		_, err = s.CompleteUpload(t.Context(), up, upstream.CompleteRequest{Parts: []upstream.Part{part}})
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, upstream.Corrupted)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
