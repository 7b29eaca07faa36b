package upstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/byterange"
	"unistore/object"
)

func TestStreamDelivers(t *testing.T) {
	b := &scripted{open: func(_ context.Context, _ int, opts OpenOptions) (*Stream, error) {
		st, err := streamOf(opts, "0123456789", "e")
		if err == nil { // io.EOF together with data, as net/http does, and alone
			st.Body = io.NopCloser(iotest.DataErrReader(st.Body))
		}
		return st, err
	}}
	r := newRig(t, b, StoreConfig{})
	st, err := r.Open(t.Context(), loc, OpenOptions{Range: byterange.Suffix(4), IfMatch: "e"})
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(st.Body, []byte("6789")); err != nil {
		t.Error(err)
	}
	if err := st.Body.Close(); err != nil {
		t.Error(err)
	}
	if n := testutil.ToFloat64(r.metrics.UpstreamBytes.WithLabelValues("up", "in")); n != 4 {
		t.Errorf("%v bytes counted, want 4", n)
	}
}

func TestOpenRetriesBeforeTheFirstByteOnly(t *testing.T) {
	b := &scripted{open: func(_ context.Context, n int, opts OpenOptions) (*Stream, error) {
		if n == 1 {
			return nil, Unavailable
		}
		st, err := streamOf(opts, "0123456789", "e")
		st.Body = io.NopCloser(io.MultiReader(strings.NewReader("01"), iotest.ErrReader(errors.New("reset"))))
		return st, err
	}}
	r := newRig(t, b, StoreConfig{})
	st, err := r.Open(t.Context(), loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	got, err := io.ReadAll(st.Body)
	wantCode(t, err, Unavailable)
	if string(got) != "01" || b.calls("Open") != 2 {
		t.Errorf("read %q after %d requests", got, b.calls("Open"))
	}
}

func TestStreamOfWrongLength(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		ends       error // nil: io.EOF
		want       string
		isCut      bool
	}{
		{name: "a silent cut", body: "01234", want: "01234", isCut: true},
		{name: "a noticed cut", body: "01234", ends: io.ErrUnexpectedEOF, want: "01234", isCut: true},
		{name: "nothing at all", body: "", isCut: true},
		{name: "more than announced", body: "0123456789x", want: "0123456789"},
		{name: "a failure at the end", body: "0123456789", ends: errors.New("bad trailer"), want: "0123456789"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &scripted{open: func(_ context.Context, _ int, opts OpenOptions) (*Stream, error) {
				st, err := streamOf(opts, "0123456789", "e")
				st.Body = io.NopCloser(strings.NewReader(tt.body))
				if tt.ends != nil {
					st.Body = io.NopCloser(io.MultiReader(strings.NewReader(tt.body), iotest.ErrReader(tt.ends)))
				}
				return st, err
			}}
			st, err := newRig(t, b, StoreConfig{}).Open(t.Context(), loc, OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Body.Close()
			got, err := io.ReadAll(st.Body)
			wantCode(t, err, Unavailable)
			if string(got) != tt.want {
				t.Errorf("delivered %q, want %q", got, tt.want)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) != tt.isCut {
				t.Errorf("error %v: io.ErrUnexpectedEOF wanted: %v", err, tt.isCut)
			}
			if _, again := st.Body.Read(make([]byte, 1)); again == nil || errors.Is(again, io.EOF) && !tt.isCut {
				t.Errorf("the next Read: %v", again)
			}
		})
	}
}

func TestOpenRefusesAnotherAnswer(t *testing.T) {
	whole := object.Attrs{Size: 10, ETag: "e"}
	for _, tt := range []struct {
		name   string
		opts   OpenOptions
		answer Stream
		want   Code
	}{
		{"another version", OpenOptions{IfMatch: "old"}, Stream{Attrs: whole, Range: byterange.Range{Len: 10}}, Changed},
		{"the whole for a part", OpenOptions{Range: byterange.Closed(2, 3)}, Stream{Attrs: whole, Range: byterange.Range{Len: 10}}, Unavailable},
		{"a shifted part", OpenOptions{Range: byterange.Closed(2, 3)}, Stream{Attrs: whole, Range: byterange.Range{Off: 3, Len: 2}}, Unavailable},
		{"a shorter part", OpenOptions{Range: byterange.Suffix(5)}, Stream{Attrs: whole, Range: byterange.Range{Off: 6, Len: 4}}, Unavailable},
		{"a range past the end", OpenOptions{Range: byterange.From(10)}, Stream{Attrs: whole, Range: byterange.Range{Off: 10}}, RangeError},
		{"outside the object", OpenOptions{StatOptions: StatOptions{PartNumber: 1}}, Stream{Attrs: whole, Range: byterange.Range{Off: 8, Len: 4}}, Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := &trackedBody{Reader: strings.NewReader("0123456789")}
			b := &scripted{open: func(context.Context, int, OpenOptions) (*Stream, error) {
				st := tt.answer
				st.Body = body
				return &st, nil
			}}
			_, err := newRig(t, b, StoreConfig{Retries: -1}).Open(t.Context(), loc, tt.opts)
			wantCode(t, err, tt.want)
			if body.closed != 1 {
				t.Errorf("the refused body was closed %d times", body.closed)
			}
		})
	}
	b := &scripted{open: func(context.Context, int, OpenOptions) (*Stream, error) { return nil, nil }}
	_, err := newRig(t, b, StoreConfig{Retries: -1}).Open(t.Context(), loc, OpenOptions{})
	wantCode(t, err, Unavailable)
}

// stuckStream answers an Open with a body that never delivers.
func stuckStream(ctx context.Context, _ int, opts OpenOptions) (*Stream, error) {
	st, err := streamOf(opts, "0123456789", "e")
	st.Body = io.NopCloser(newBlockedReader(ctx))
	return st, err
}

func TestStuckBodyIsUnavailable(t *testing.T) {
	r := newRig(t, &scripted{open: stuckStream}, StoreConfig{IdleTimeout: time.Millisecond})
	st, err := r.Open(t.Context(), loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	_, err = st.Body.Read(make([]byte, 1))
	wantCode(t, err, Unavailable)
	if !errors.Is(err, errStalled) {
		t.Errorf("error %v, want %v", err, errStalled)
	}
}

func TestCancelledStream(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, &scripted{open: stuckStream}, StoreConfig{})
	st, err := r.Open(ctx, loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	cancel()
	_, err = st.Body.Read(make([]byte, 1))
	wantCode(t, err, Cancelled)
}

func TestCloseUnblocksRead(t *testing.T) {
	entered := make(chan struct{})
	b := &scripted{open: func(ctx context.Context, _ int, opts OpenOptions) (*Stream, error) {
		st, err := streamOf(opts, "0123456789", "e")
		stuck := newBlockedReader(ctx)
		entered = stuck.entered
		st.Body = io.NopCloser(stuck)
		return st, err
	}}
	st, err := newRig(t, b, StoreConfig{}).Open(t.Context(), loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := st.Body.Read(make([]byte, 1))
		done <- err
	}()
	<-entered
	if err := st.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read after Close = %v", err)
	}
}

// A reader that stands still is not the store's fault.
func TestSlowReaderIsNotStuck(t *testing.T) {
	b := &scripted{open: func(ctx context.Context, _ int, opts OpenOptions) (*Stream, error) {
		st, err := streamOf(opts, "0123456789", "e")
		st.Body = io.NopCloser(ctxReader{ctx, st.Body})
		return st, err
	}}
	const idle = 200 * time.Millisecond // enough for a Read on a busy machine
	st, err := newRig(t, b, StoreConfig{IdleTimeout: idle}).Open(t.Context(), loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Body.Close()
	if _, err := st.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * idle) // the point: nothing happens meanwhile
	if rest, err := io.ReadAll(st.Body); err != nil || len(rest) != 9 {
		t.Errorf("after a pause: %q, %v", rest, err)
	}
}

// ctxReader fails once ctx is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
