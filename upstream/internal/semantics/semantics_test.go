package semantics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

func TestIngest(t *testing.T) {
	crc := &object.Checksum{Algorithm: "CRC32", Value: "NSRBwg=="} // of "abc"
	boom := errors.New("boom")
	tests := map[string]struct {
		body Body
		code upstream.Code // ignored when ok
		ok   bool
	}{
		"good":                   {body: Body{Reader: strings.NewReader("abc"), Size: 3}, ok: true},
		"with MD5":               {body: Body{Reader: strings.NewReader("abc"), Size: 3, MD5: "kAFQmDzST7DWlj99KOF/cg=="}, ok: true},
		"with checksum":          {body: Body{Reader: strings.NewReader("abc"), Size: 3, Checksum: crc}, ok: true},
		"MD5 is no base64":       {body: Body{Reader: strings.NewReader("abc"), Size: 3, MD5: "%%"}, code: upstream.BadDigest},
		"MD5 is another's":       {body: Body{Reader: strings.NewReader("abd"), Size: 3, MD5: "kAFQmDzST7DWlj99KOF/cg=="}, code: upstream.BadDigest},
		"checksum is another's":  {body: Body{Reader: strings.NewReader("abd"), Size: 3, Checksum: crc}, code: upstream.BadDigest},
		"unknown checksum":       {body: Body{Reader: strings.NewReader(""), Checksum: &object.Checksum{Algorithm: "X"}}, code: upstream.Invalid},
		"short":                  {body: Body{Reader: strings.NewReader("ab"), Size: 3}, code: upstream.TooShort},
		"long":                   {body: Body{Reader: strings.NewReader("abcd"), Size: 3}, code: upstream.Invalid},
		"fails":                  {body: Body{Reader: iotest.ErrReader(boom), Size: 3}, code: upstream.Invalid},
		"cut":                    {body: Body{Reader: iotest.ErrReader(io.ErrUnexpectedEOF), Size: 3}, code: upstream.TooShort},
		"fails with a code":      {body: Body{Reader: iotest.ErrReader(upstream.Errorf(upstream.Throttled, "Read", "x")), Size: 3}, code: upstream.Throttled},
		"cancelled by its maker": {body: Body{Reader: iotest.ErrReader(context.Canceled), Size: 3}, code: upstream.Cancelled},
		"never delivers":         {body: Body{Reader: emptyReader{}, Size: 3}, code: upstream.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var dst bytes.Buffer
			got, err := Ingest(t.Context(), "Put", &dst, test.body)
			if !test.ok {
				if !errors.Is(err, test.code) || upstream.CodeOf(err) != test.code {
					t.Errorf("%v, want %v", err, test.code)
				}
				return
			}
			if err != nil || dst.String() != "abc" || got.ETag != "900150983cd24fb0d6963f7d28e17f72" {
				t.Errorf("%+v, %v, stored %q", got, err, dst.String())
			}
		})
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestIngestKeepsTheDestinationsError(t *testing.T) {
	full := errors.New("full")
	_, err := Ingest(t.Context(), "Put", errWriter{full}, Body{Reader: strings.NewReader("abc"), Size: 3})
	if err != full {
		t.Errorf("%v, want the error as it is", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

func TestIngestTrailing(t *testing.T) {
	trailing := func() []object.Checksum {
		return []object.Checksum{{Algorithm: "CRC32", Value: "NSRBwg=="}, {Algorithm: "SHA1", Value: "verified before"}}
	}
	body := Body{Reader: strings.NewReader("abc"), Size: 3, Compute: "CRC32", Trailing: trailing}
	got, err := Ingest(t.Context(), "Put", io.Discard, body)
	want := []object.Checksum{
		{Algorithm: "CRC32", Value: "NSRBwg==", Type: FullObject}, {Algorithm: "SHA1", Value: "verified before", Type: FullObject},
	}
	if err != nil || !slices.Equal(got.Checksums, want) {
		t.Errorf("%+v, %v; want %+v", got.Checksums, err, want)
	}
	body.Reader = strings.NewReader("abd")
	if _, err := Ingest(t.Context(), "Put", io.Discard, body); !errors.Is(err, upstream.BadDigest) {
		t.Errorf("%v, want BadDigest", err)
	}
}

func TestPartRange(t *testing.T) {
	parts := []int64{5, 5, 2}
	for number, want := range map[int]byterange.Range{1: {Off: 0, Len: 5}, 2: {Off: 5, Len: 5}, 3: {Off: 10, Len: 2}} {
		if got, err := PartRange("Open", number, 12, parts); err != nil || got != want {
			t.Errorf("part %d: %+v, %v; want %+v", number, got, err, want)
		}
	}
	for _, number := range []int{-1, 4, 10_000} {
		if _, err := PartRange("Open", number, 12, parts); !errors.Is(err, upstream.RangeError) {
			t.Errorf("part %d: %v", number, err)
		}
	}
	if got, err := PartRange("Open", 1, 12, nil); err != nil || got.Len != 12 {
		t.Errorf("of a single object: %+v, %v", got, err)
	}
}

func TestChecksums(t *testing.T) {
	part := func(n int, sums ...object.Checksum) upstream.Part {
		return upstream.Part{Number: n, Size: 3, Checksums: sums}
	}
	abc := object.Checksum{Algorithm: "CRC32", Value: "NSRBwg=="}
	parts := []upstream.Part{part(1, abc), part(2, abc)}
	full := upstream.CreateUploadRequest{ChecksumAlgorithm: "CRC32", ChecksumType: FullObject}
	got, err := Checksums("op", full, parts, nil)
	if err != nil || len(got) != 1 || got[0] != (object.Checksum{Algorithm: "CRC32", Value: "cm6ZTA==", Type: FullObject}) {
		t.Errorf("full object: %+v, %v", got, err)
	}
	if _, err := Checksums("op", full, parts, &abc); !errors.Is(err, upstream.BadDigest) {
		t.Errorf("a wrong promise: %v", err)
	}
	if _, err := Checksums("op", full, []upstream.Part{part(1)}, nil); !errors.Is(err, upstream.Invalid) {
		t.Errorf("a part without: %v", err)
	}
	composite := upstream.CreateUploadRequest{ChecksumAlgorithm: "CRC32"}
	got, err = Checksums("op", composite, parts, nil)
	if err != nil || len(got) != 1 || !strings.HasSuffix(got[0].Value, "-2") || got[0].Type != Composite {
		t.Errorf("composite: %+v, %v", got, err)
	}
	if got, err = Checksums("op", upstream.CreateUploadRequest{}, parts, nil); err != nil || got != nil {
		t.Errorf("none asked for: %+v, %v", got, err)
	}
}

func TestUploadIDs(t *testing.T) {
	now := time.Now()
	first, second := NewUploadID(now), NewUploadID(now.Add(1))
	if !ValidUploadID(first) || first >= second {
		t.Errorf("%q, %q", first, second)
	}
	for _, id := range []string{"", "x", first[1:], first + "0", strings.ToUpper(first[:40]) + "ABCDEF00", "../" + first[3:]} {
		if ValidUploadID(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

func TestPageSkips(t *testing.T) {
	req := upstream.ListRequest{Prefix: "a/", Delimiter: "/", StartAfter: "a/d/", MaxKeys: 10}
	page := NewPage(req)
	for prefix, want := range map[string]bool{
		"": false, "a/": false, "b/": true, "a/c/": true, "a/d/": true, "a/d/x/": true, "a/e/": false,
	} {
		if got := page.Skip(prefix); got != want {
			t.Errorf("Skip(%q) = %v", prefix, got)
		}
	}
	if cp, ok := page.Rolls("a/e/"); !ok || cp != "a/e/" {
		t.Errorf("Rolls(a/e/) = %q, %v", cp, ok)
	}
	if _, ok := page.Rolls("a/"); ok {
		t.Error("the prefix itself rolls up")
	}
}

func TestLocksLeaveNothing(t *testing.T) {
	l := NewLocks()
	unlock, err := l.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Lock(ctx, "a"); err == nil {
		t.Error("locked twice")
	}
	unlock()
	if n := len(l.mu.held); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}
