package upstreamtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store with one fault of those that the suite is there to find.
type faulty struct {
	*mem.Backend
	fault string
	puts  atomic.Int64
}

func (b *faulty) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	attrs, err := b.Backend.Stat(ctx, b.alias(loc), opts)
	switch b.fault {
	case "stat forgets the headers":
		attrs.Headers = object.Headers{}
	case "a missing bucket is a missing key":
		if upstream.CodeOf(err) == upstream.NoBucket {
			err = upstream.NotExist
		}
	}
	return attrs, err
}

func (b *faulty) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	switch b.fault {
	case "if-match is ignored":
		opts.IfMatch = ""
	case "the body ignores its context":
		ctx = context.WithoutCancel(ctx)
	}
	s, err := b.Backend.Open(ctx, b.alias(loc), opts)
	if err != nil {
		return nil, err
	}
	switch b.fault {
	case "the last byte is lost":
		s.Body = io.NopCloser(io.LimitReader(s.Body, s.Range.Len-1))
	case "ranges are one byte late":
		if s.Range.Off > 0 && s.Range.Len > 1 {
			shifted := byterange.Closed(s.Range.Off+1, s.Range.End())
			return b.Backend.Open(ctx, loc, upstream.OpenOptions{Range: shifted})
		}
	}
	return s, nil
}

func (b *faulty) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	switch b.fault {
	case "conditions are ignored":
		req.IfMatch, req.IfNoneMatch = "", false
	case "the body's digest is not checked":
		req.MD5, req.Checksum = "", nil
	case "a short body is stored":
		data, err := io.ReadAll(req.Body)
		if err == nil {
			req.Body, req.Size = bytes.NewReader(data), int64(len(data))
		}
	case "a failed write leaves a trace":
		attrs, err := b.Backend.Put(ctx, loc, req)
		if err != nil {
			_, _ = b.Backend.Put(context.WithoutCancel(ctx), loc, putRequest([]byte("trace")))
		}
		return attrs, err
	}
	return b.Backend.Put(ctx, b.alias(loc), req)
}

// alias gives two keys one place.
func (b *faulty) alias(loc upstream.Loc) upstream.Loc {
	switch b.fault {
	case "keys are cleaned":
		loc.Key = strings.ReplaceAll(loc.Key, "//", "/")
	case "keys are unescaped":
		loc.Key = strings.ReplaceAll(loc.Key, "%2F", "/")
	}
	return loc
}

func (b *faulty) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	page, err := b.Backend.List(ctx, req)
	switch b.fault {
	case "a page forgets its last key":
		if page.Next != "" && len(page.Objects) > 0 {
			page.Objects = page.Objects[:len(page.Objects)-1]
		}
	case "the last page has a token":
		if page.Next == "" && len(page.Objects) > 0 {
			page.Next = page.Objects[len(page.Objects)-1].Key
		}
	}
	return page, err
}

func (b *faulty) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	if b.fault == "parts count as they come" {
		number = int(b.puts.Add(1))
	}
	return b.Backend.UploadPart(ctx, up, number, req)
}

func (b *faulty) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	attrs, err := b.Backend.CompleteUpload(ctx, up, req)
	if b.fault == "completion can be repeated" && upstream.CodeOf(err) == upstream.NoUpload {
		return b.Stat(ctx, up.Loc, upstream.StatOptions{})
	}
	return attrs, err
}

// TestSuiteFindsFaults: each fault is found by the case that is there for it. (It runs as a known
// deviation, which passes only if the case fails.)
func TestSuiteFindsFaults(t *testing.T) {
	for fault, name := range map[string]string{
		"stat forgets the headers":          "headers/user",
		"a missing bucket is a missing key": "bucket/every call on a missing one",
		"if-match is ignored":               "open/if-match of another version",
		"the body ignores its context":      "cancel/in mid-read",
		"the last byte is lost":             "put/size 4096",
		"ranges are one byte late":          "range/middle",
		"conditions are ignored":            "if-none-match/16 racers, one wins",
		"the body's digest is not checked":  "put fails/wrong MD5, old object",
		"a short body is stored":            "put fails/body ends early, new key",
		"a failed write leaves a trace":     "put fails/context ends in the middle, old object",
		"keys are cleaned":                  "keys/all together, none an alias",
		"keys are unescaped":                "key/percent 2F",
		"a page forgets its last key":       `paging/every page size, delimiter ""`,
		"the last page has a token":         "paging/the last page is exactly full",
		"parts count as they come":          "multipart/the short last part first",
		"completion can be repeated":        "complete/twice",
	} {
		t.Run(fault, func(t *testing.T) {
			s := newSuite(t, Harness{
				New:        func(*testing.T) upstream.Backend { return &faulty{Backend: mem.New(mem.Config{}), fault: fault} },
				Deviations: map[string]string{name: fault},
			})
			found := false
			for _, c := range allCases() {
				if c.name == name {
					found = true
					s.runCase(t, c)
				}
			}
			if !found {
				t.Errorf("there is no case %q", name)
			}
		})
	}
}

// TestRecord holds docs/conformance.md to the number of cases, and its rows to one form.
func TestRecord(t *testing.T) {
	r, err := readRecord()
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("The suite has %d cases.", len(allCases()))
	if !strings.Contains(strings.Join(r.head, " "), want) {
		t.Errorf("%s does not say %q", recordFile, want)
	}
	if !slices.IsSorted(r.rows) || !slices.IsSorted(r.lines) || len(r.rows) == 0 {
		t.Errorf("%s: rows are missing, or not in order", recordFile)
	}
	for _, row := range r.rows {
		cells := strings.Split(row, "|")
		if len(cells) != 7 {
			t.Errorf("a row of %d cells: %s", len(cells)-2, row)
			continue
		}
		prefix := "- " + strings.TrimSpace(cells[1]) + " on " + strings.TrimSpace(cells[2]) + ": "
		names := 0
		for _, line := range starting(r.lines, prefix) {
			names += strings.Count(line, "`` ") // one before each name
		}
		if got := fmt.Sprint(names); got != strings.TrimSpace(cells[4]) {
			t.Errorf("%s deviations are listed for %s", got, row)
		}
	}
}
