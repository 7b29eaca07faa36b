package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"unistore/object"
)

// inMemory is a Replayer.
type inMemory struct{ *bytes.Reader }

func (m inMemory) Rewind() { m.Reset(m.all()) }

func (m inMemory) all() []byte {
	all := make([]byte, m.Size())
	_, _ = m.ReadAt(all, 0)
	return all
}

// A body in memory is sent again from its start, whole, as often as the policy allows; one that is not is never sent
// again once it was touched.
func TestReplays(t *testing.T) {
	const want = "0123456789"
	tests := []struct {
		name  string
		part  bool
		fails Code
		body  io.Reader
		calls int
	}{
		{"part, transient", true, Unavailable, inMemory{bytes.NewReader([]byte(want))}, 3},
		{"part, overloaded", true, Throttled, inMemory{bytes.NewReader([]byte(want))}, 3},
		{"part, refused", true, Access, inMemory{bytes.NewReader([]byte(want))}, 1},
		{"part of a client", true, Unavailable, notMemory(bytes.NewReader([]byte(want))), 1},
		{"object, transient: another one may be there by now", false, Unavailable, inMemory{bytes.NewReader([]byte(want))}, 1},
		{"object, overloaded", false, Throttled, inMemory{bytes.NewReader([]byte(want))}, 3},
		{"object of a client, overloaded", false, Throttled, notMemory(bytes.NewReader([]byte(want))), 1},
	}
	for _, tt := range tests {
		var got string
		step := func(n int, body io.Reader) error {
			if n < 3 {
				_, _ = body.Read(make([]byte, 4)) // a part of it had been sent
				return &Error{Code: tt.fails, Op: "test"}
			}
			all, err := io.ReadAll(body)
			got = string(all)
			return err
		}
		b := &scripted{
			part: func(_ context.Context, n int, req PartRequest) (Part, error) {
				return Part{ETag: "e"}, step(n, req.Body)
			},
			put: func(_ context.Context, n int, req PutRequest) (object.Attrs, error) {
				return object.Attrs{ETag: "e", Size: req.Size}, step(n, req.Body)
			},
		}
		r := newRig(t, b, StoreConfig{})
		var err error
		if tt.part {
			_, err = r.UploadPart(t.Context(), Upload{Loc: loc, ID: "u"}, 1, PartRequest{Body: tt.body, Size: int64(len(want))})
		} else {
			_, err = r.Put(t.Context(), loc, PutRequest{Body: tt.body, Size: int64(len(want))})
		}
		calls := b.calls("UploadPart") + b.calls("Put")
		if ok := err == nil && got == want; calls != tt.calls || ok != (tt.calls == 3) {
			t.Errorf("%s: %d calls, %v, stored %q", tt.name, calls, fmt.Sprint(err), got)
		}
	}
}
