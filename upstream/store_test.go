package upstream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/object"
)

func TestRetriesSafeCalls(t *testing.T) {
	b := &scripted{stat: func(_ context.Context, n int) (object.Attrs, error) {
		if n < 3 {
			return object.Attrs{}, &Error{Code: Unavailable, Op: "Stat"}
		}
		return object.Attrs{Size: 7, ETag: "e"}, nil
	}}
	r := newRig(t, b, StoreConfig{})
	attrs, err := r.Stat(t.Context(), loc, StatOptions{})
	if err != nil || attrs.Size != 7 {
		t.Fatalf("Stat = %+v, %v", attrs, err)
	}
	if want := []time.Duration{retryBase / 2, retryBase}; !slices.Equal(r.waits, want) {
		t.Errorf("waits %v, want %v", r.waits, want)
	}
	if ok, bad := r.requests("Stat", "ok"), r.requests("Stat", "unavailable"); ok != 1 || bad != 2 {
		t.Errorf("requests: %v ok, %v unavailable; want 1, 2", ok, bad)
	}
	if n := testutil.ToFloat64(r.metrics.UpstreamRetries.WithLabelValues("up", "Stat")); n != 2 {
		t.Errorf("%v retries counted, want 2", n)
	}
}

func TestGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   StoreConfig
		err   error
		calls int
		want  Code
	}{
		{name: "after the default retries", err: &Error{Code: Unavailable, Op: "Stat"}, calls: 3, want: Unavailable},
		{name: "without retries", cfg: StoreConfig{Retries: -1}, err: &Error{Code: Unavailable, Op: "Stat"}, calls: 1, want: Unavailable},
		{name: "at once on a final answer", err: &Error{Code: NotExist, Op: "Stat"}, calls: 1, want: NotExist},
		{name: "a bare code", err: NoBucket, calls: 1, want: NoBucket},
		{name: "an unknown error is transient", err: errors.New("surprise"), calls: 3, want: Unavailable},
		{name: "a cancellation that nobody asked for is transient", err: context.Canceled, calls: 3, want: Unavailable},
		{name: "when told to wait too long", err: &Error{Code: Throttled, Op: "Stat", RetryAfter: time.Minute}, calls: 1, want: Throttled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &scripted{stat: func(context.Context, int) (object.Attrs, error) { return object.Attrs{}, tt.err }}
			r := newRig(t, b, tt.cfg)
			_, err := r.Stat(t.Context(), loc, StatOptions{})
			wantCode(t, err, tt.want)
			if n := b.calls("Stat"); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
		})
	}
}

func TestDeadStoreGetsABoundedNumberOfRetries(t *testing.T) {
	b := &scripted{stat: func(context.Context, int) (object.Attrs, error) { return object.Attrs{}, Unavailable }}
	r := newRig(t, b, StoreConfig{})
	const calls = 500
	for range calls {
		_, err := r.Stat(t.Context(), loc, StatOptions{})
		wantCode(t, err, Unavailable)
	}
	if n := b.calls("Stat"); n != calls+budgetMax {
		t.Errorf("%d requests for %d calls, want %d", n, calls, calls+budgetMax)
	}
}

func TestCancelledWhateverTheDriverSays(t *testing.T) {
	for name, answer := range map[string]error{
		"its own error": errors.New("connection closed"), "not exist": &Error{Code: NotExist, Op: "Stat"}, "ctx": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := &scripted{stat: func(context.Context, int) (object.Attrs, error) {
				cancel()
				return object.Attrs{}, answer
			}}
			_, err := newRig(t, b, StoreConfig{}).Stat(ctx, loc, StatOptions{})
			wantCode(t, err, Cancelled)
			if !errors.Is(err, context.Canceled) || b.calls("Stat") != 1 {
				t.Errorf("error %v after %d calls", err, b.calls("Stat"))
			}
		})
	}
	b := &scripted{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newRig(t, b, StoreConfig{}).Stat(ctx, loc, StatOptions{})
	wantCode(t, err, Cancelled)
}

func TestCancelledWhileWaitingToRetry(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &scripted{stat: func(context.Context, int) (object.Attrs, error) { return object.Attrs{}, Unavailable }}
	r := newRig(t, b, StoreConfig{})
	r.sleep = func(ctx context.Context, _ time.Duration) error {
		cancel()
		return sleep(ctx, time.Hour)
	}
	_, err := r.Stat(ctx, loc, StatOptions{})
	wantCode(t, err, Cancelled)
}

func TestSilentStoreIsUnavailable(t *testing.T) {
	b := &scripted{stat: func(ctx context.Context, _ int) (object.Attrs, error) {
		<-ctx.Done()
		return object.Attrs{}, ctx.Err()
	}}
	r := newRig(t, b, StoreConfig{Timeout: time.Millisecond, Retries: -1})
	_, err := r.Stat(t.Context(), loc, StatOptions{})
	wantCode(t, err, Unavailable)
	if !errors.Is(err, errStalled) {
		t.Errorf("error %v, want %v", err, errStalled)
	}
}

func TestConnectionLimit(t *testing.T) {
	b := &scripted{
		open: func(_ context.Context, _ int, opts OpenOptions) (*Stream, error) { return streamOf(opts, "x", "e") },
		stat: func(context.Context, int) (object.Attrs, error) { return object.Attrs{}, nil },
	}
	r := newRig(t, b, StoreConfig{MaxConnections: 1, Timeout: 5 * time.Millisecond})
	st, err := r.Open(t.Context(), loc, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Stat(t.Context(), loc, StatOptions{})
	wantCode(t, err, Throttled)
	if b.calls("Stat") != 0 || len(r.waits) != 0 {
		t.Errorf("%d requests, waits %v: an overloaded store is not asked again", b.calls("Stat"), r.waits)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Stat(ctx, loc, StatOptions{})
	wantCode(t, err, Cancelled)
	for range 3 { // frees the slot once
		if err := st.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Stat(t.Context(), loc, StatOptions{}); err != nil {
		t.Errorf("after the stream is closed: %v", err)
	}
}

func TestRepeatsOfCallsThatAct(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		calls int
	}{
		{"the store may have acted", &Error{Code: Unavailable, Op: "CreateUpload"}, 1},
		{"it was never asked", &Error{Code: Unavailable, Op: "CreateUpload", Unsent: true}, 3},
		{"it refused", &Error{Code: Throttled, Op: "CreateUpload"}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &scripted{create: func(context.Context, int) (string, error) { return "", tt.err }}
			_, err := newRig(t, b, StoreConfig{}).CreateUpload(t.Context(), loc, CreateUploadRequest{})
			wantCode(t, err, CodeOf(tt.err))
			if n := b.calls("CreateUpload"); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
		})
	}
}

func TestConditionalDeleteIsNotRepeated(t *testing.T) {
	b := &scripted{del: func(context.Context, int) error { return Unavailable }}
	r := newRig(t, b, StoreConfig{})
	wantCode(t, r.Delete(t.Context(), loc, DeleteOptions{IfMatch: "e"}), Unavailable)
	if n := b.calls("Delete"); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	wantCode(t, r.Delete(t.Context(), loc, DeleteOptions{}), Unavailable)
	if n := b.calls("Delete"); n != 4 {
		t.Errorf("%d calls, want 3 more", n)
	}
}

func TestAbortRepeatedAfterALostSuccess(t *testing.T) {
	b := &scripted{abort: func(_ context.Context, n int) error {
		if n == 1 {
			return Unavailable
		}
		return NoUpload
	}}
	r := newRig(t, b, StoreConfig{})
	if err := r.AbortUpload(t.Context(), Upload{loc, "id"}); err != nil {
		t.Errorf("AbortUpload: %v", err)
	}
	wantCode(t, r.AbortUpload(t.Context(), Upload{loc, "id"}), NoUpload) // the first answer
}

// bare is a Backend without abilities.
type bare struct{ Backend }

func TestMissingAbilities(t *testing.T) {
	r := newRig(t, bare{&scripted{}}, StoreConfig{})
	ctx := t.Context()
	for op, call := range map[string]func() error{
		"ListBuckets":    func() error { _, err := r.ListBuckets(ctx); return err },
		"StatBucket":     func() error { _, err := r.StatBucket(ctx, "b"); return err },
		"CreateBucket":   func() error { return r.CreateBucket(ctx, "b") },
		"DeleteBucket":   func() error { return r.DeleteBucket(ctx, "b") },
		"CreateUpload":   func() error { _, err := r.CreateUpload(ctx, loc, CreateUploadRequest{}); return err },
		"UploadPart":     func() error { _, err := r.UploadPart(ctx, Upload{}, 1, PartRequest{}); return err },
		"CompleteUpload": func() error { _, err := r.CompleteUpload(ctx, Upload{}, CompleteRequest{}); return err },
		"AbortUpload":    func() error { return r.AbortUpload(ctx, Upload{}) },
		"ListParts":      func() error { _, err := r.ListParts(ctx, Upload{}, 0, 1); return err },
		"ListUploads":    func() error { _, err := r.ListUploads(ctx, ListUploadsRequest{}); return err },
		"CopyPart":       func() error { _, err := r.CopyPart(ctx, Upload{}, 1, CopyPartRequest{}); return err },
	} {
		t.Run(op, func(t *testing.T) { wantCode(t, call(), Unsupported) })
	}
	if r.Multipart() {
		t.Error("Multipart of a store without")
	}
}

func TestBatchDeleteWithoutBatches(t *testing.T) {
	b := &scripted{del: func(_ context.Context, n int) error {
		if n == 3 {
			return Access
		}
		return nil
	}}
	r := newRig(t, bare{b}, StoreConfig{MaxConnections: 2})
	keys := make([]string, 50)
	for i := range keys {
		keys[i] = string(rune('a' + i))
	}
	errs, err := r.DeleteBatch(t.Context(), "bucket", keys)
	if err != nil || len(errs) != len(keys) || b.calls("Delete") != len(keys) {
		t.Fatalf("DeleteBatch = %d errors, %v after %d calls", len(errs), err, b.calls("Delete"))
	}
	refused := 0
	for _, err := range errs {
		if err != nil {
			wantCode(t, err, Access)
			refused++
		}
	}
	if refused != 1 {
		t.Errorf("%d keys refused, want 1", refused)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.DeleteBatch(ctx, "bucket", keys)
	wantCode(t, err, Cancelled)
}
