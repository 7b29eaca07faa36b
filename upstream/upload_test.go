package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"unistore/object"
)

// store reads the whole body as a driver does, and keeps it only if it ends well.
func (k *kept) store(_ context.Context, _ int, req PutRequest) (object.Attrs, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return object.Attrs{}, &Error{Code: Unavailable, Op: "Put", Err: errors.New("request failed: " + err.Error())}
	}
	k.data, k.stored = data, true
	return object.Attrs{Size: int64(len(data)), ETag: "e"}, nil
}

type kept struct {
	data   []byte
	stored bool
}

// notMemory hides what a reader is, so that it goes through a pump.
func notMemory(r io.Reader) io.Reader { return struct{ io.Reader }{r} }

func TestPutStoresTheBody(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, size := range []int{0, 1, 100, pumpBuffer - 1, pumpBuffer, pumpBuffer + 1, 2 * pumpBuffer, 5*pumpBuffer + 7} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		for name, body := range map[string]io.Reader{
			"memory": bytes.NewReader(data), "stream": notMemory(bytes.NewReader(data)),
			"halves": iotest.HalfReader(bytes.NewReader(data)), "EOF with data": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			k := &kept{}
			r := newRig(t, &scripted{put: k.store}, StoreConfig{})
			if _, err := r.Put(t.Context(), loc, PutRequest{Body: body, Size: int64(size)}); err != nil || !bytes.Equal(k.data, data) {
				t.Errorf("%s of %d bytes: stored %d bytes, %v", name, size, len(k.data), err)
			}
			if n := testutil.ToFloat64(r.metrics.UpstreamBytes.WithLabelValues("up", "out")); n != float64(size) {
				t.Errorf("%s: %v bytes counted, want %d", name, n, size)
			}
		}
	}
}

var errClient = errors.New("the client's own error")

type clientError struct{ code string }

func (e *clientError) Error() string { return e.code }

func TestPutOfABadBodyStoresNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		body string
		ends error // nil: io.EOF
		size int64
		want Code
	}{
		{"ends early", "01234", nil, 10, TooShort},
		{"is empty", "", nil, 10, TooShort},
		{"is too long", "0123456789x", nil, 10, Invalid},
		{"of an empty object is too long", "x", nil, 0, Invalid},
		{"fails in the middle", "01234", errClient, 10, TooShort},
		{"fails after the last byte", "0123456789", errClient, 10, TooShort},
		{"fails with a code", "0123456789", &Error{Code: BadDigest, Op: "Read", Err: errClient}, 10, BadDigest},
		{"of an empty object fails", "", errClient, 0, TooShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := io.Reader(strings.NewReader(tt.body))
			if tt.ends != nil {
				body = io.MultiReader(body, iotest.ErrReader(tt.ends))
			}
			k := &kept{}
			b := &scripted{put: k.store}
			r := newRig(t, b, StoreConfig{})
			_, err := r.Put(t.Context(), loc, PutRequest{Body: body, Size: tt.size})
			wantCode(t, err, tt.want)
			if tt.ends != nil && !errors.Is(err, errClient) {
				t.Errorf("error %v does not tell the body's", err)
			}
			if k.stored || len(r.waits) > 0 {
				t.Errorf("stored: %v, waits: %v", k.stored, r.waits)
			}
		})
	}
}

func TestBodyErrorKeepsItsType(t *testing.T) {
	body := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(&clientError{"BadDigest"}))
	k := &kept{}
	_, err := newRig(t, &scripted{put: k.store}, StoreConfig{}).Put(t.Context(), loc, PutRequest{Body: body, Size: 2})
	if ce, ok := errors.AsType[*clientError](err); !ok || ce.code != "BadDigest" {
		t.Errorf("error %v has no *clientError", err)
	}
}

// A driver may ignore a failing body; its success is not one.
func TestDriverThatDoesNotReadTheBody(t *testing.T) {
	b := &scripted{put: func(_ context.Context, _ int, req PutRequest) (object.Attrs, error) {
		_, _ = req.Body.Read(make([]byte, 3))
		return object.Attrs{ETag: "e"}, nil
	}}
	_, err := newRig(t, b, StoreConfig{}).Put(t.Context(), loc, PutRequest{Body: strings.NewReader("0123456789"), Size: 10})
	wantCode(t, err, Unavailable)
}

func TestPutWithoutETag(t *testing.T) {
	b := &scripted{put: func(_ context.Context, _ int, req PutRequest) (object.Attrs, error) {
		_, err := io.Copy(io.Discard, req.Body)
		return object.Attrs{}, err
	}}
	_, err := newRig(t, b, StoreConfig{}).Put(t.Context(), loc, PutRequest{Body: strings.NewReader("x"), Size: 1})
	wantCode(t, err, Unavailable)
}

func TestPutIsRepeatedOnlyWithAnUntouchedBody(t *testing.T) {
	for _, tt := range []struct {
		name  string
		read  int
		err   *Error
		calls int
	}{
		{"unsent", 0, &Error{Code: Unavailable, Unsent: true}, 2},
		{"throttled", 0, &Error{Code: Throttled}, 2},
		{"perhaps acted on", 0, &Error{Code: Unavailable}, 1},
		{"a byte is gone", 1, &Error{Code: Unavailable, Unsent: true}, 1},
		{"throttled, a byte is gone", 1, &Error{Code: Throttled}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &kept{}
			b := &scripted{}
			b.put = func(ctx context.Context, n int, req PutRequest) (object.Attrs, error) {
				if n > 1 {
					return k.store(ctx, n, req)
				}
				_, _ = io.ReadFull(req.Body, make([]byte, tt.read))
				return object.Attrs{}, tt.err
			}
			r := newRig(t, b, StoreConfig{})
			_, err := r.Put(t.Context(), loc, PutRequest{Body: notMemory(strings.NewReader("0123456789")), Size: 10})
			if n := b.calls("Put"); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
			if stored := err == nil && string(k.data) == "0123456789"; stored != (tt.calls == 2) {
				t.Errorf("stored %q, %v", k.data, err)
			}
		})
	}
}

// waits is a driver that, like net/http, does not return before its Read of the body does.
func waits(_ context.Context, _ int, req PutRequest) (object.Attrs, error) {
	_, err := io.Copy(io.Discard, req.Body)
	return object.Attrs{}, err
}

func TestBlockedBodyDoesNotOutliveItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body := newBlockedReader(ctx)
	done := make(chan error)
	r := newRig(t, &scripted{put: waits}, StoreConfig{})
	go func() {
		_, err := r.Put(ctx, loc, PutRequest{Body: body, Size: 10})
		done <- err
	}()
	<-body.entered
	cancel()
	err := <-done
	wantCode(t, err, Cancelled)
}

// interruptible is a body whose Read waits for more until it is interrupted.
type interruptible struct {
	src         io.Reader
	entered     chan struct{} // closed when a Read waits
	interrupted chan struct{} // closed by interrupt
	stuck, once sync.Once
}

func newInterruptible(text string) *interruptible {
	return &interruptible{src: strings.NewReader(text), entered: make(chan struct{}), interrupted: make(chan struct{})}
}

func (b *interruptible) Read(p []byte) (int, error) {
	select {
	case <-b.interrupted:
		return 0, errClient
	default:
	}
	if n, _ := b.src.Read(p); n > 0 {
		return n, nil
	}
	b.stuck.Do(func() { close(b.entered) })
	<-b.interrupted
	return 0, errClient
}

func (b *interruptible) interrupt() { b.once.Do(func() { close(b.interrupted) }) }

// A body that can be interrupted is, when its request ends; what its Read says then is not the client's failure.
func TestBodyIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	body := newInterruptible("0123")
	r := newRig(t, &scripted{put: waits, part: func(_ context.Context, _ int, req PartRequest) (Part, error) {
		_, err := io.Copy(io.Discard, req.Body)
		return Part{}, err
	}}, StoreConfig{})
	go func() {
		<-body.entered
		cancel()
	}()
	_, err := r.Put(ctx, loc, PutRequest{Body: body, Interrupt: body.interrupt, Size: 10})
	wantCode(t, err, Cancelled)
	if errors.Is(err, errClient) {
		t.Errorf("the interruption is taken for the client's: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	part := newInterruptible("0123")
	go func() {
		<-part.entered
		cancel()
	}()
	_, err = r.UploadPart(ctx, Upload{Loc: loc, ID: "u"}, 1, PartRequest{Body: part, Interrupt: part.interrupt, Size: 10})
	wantCode(t, err, Cancelled)
}

// A body that has not been read, was read whole, or has failed by itself, is left alone when its request ends.
func TestBodyIsNotInterrupted(t *testing.T) {
	for name, tt := range map[string]struct {
		body io.Reader
		read bool // before the store's time is up
		want error
	}{
		"untouched": {strings.NewReader("0123456789"), false, errStalled},
		"whole":     {strings.NewReader("0123456789"), true, errStalled},
		"failed":    {iotest.ErrReader(errClient), true, errClient},
	} {
		t.Run(name, func(t *testing.T) {
			b := &scripted{put: func(ctx context.Context, _ int, req PutRequest) (object.Attrs, error) {
				if tt.read {
					_, _ = io.Copy(io.Discard, req.Body)
				}
				req.Body.(*upload).a.cancel(errStalled) //nolint:forcetypeassert // sendBody makes it
				<-ctx.Done()
				return object.Attrs{}, ctx.Err()
			}}
			_, err := newRig(t, b, StoreConfig{}).Put(t.Context(), loc, PutRequest{
				Body: tt.body, Size: 10, Interrupt: func() { t.Error("interrupted") },
			})
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestStoreThatStopsReadingIsUnavailable(t *testing.T) {
	b := &scripted{put: func(ctx context.Context, _ int, req PutRequest) (object.Attrs, error) {
		_, _ = req.Body.Read(make([]byte, 1))
		<-ctx.Done()
		return object.Attrs{}, ctx.Err()
	}}
	r := newRig(t, b, StoreConfig{IdleTimeout: time.Millisecond})
	_, err := r.Put(t.Context(), loc, PutRequest{Body: notMemory(strings.NewReader("0123456789")), Size: 10})
	wantCode(t, err, Unavailable)
	if !errors.Is(err, errStalled) {
		t.Errorf("error %v, want %v", err, errStalled)
	}
}

// The time that the client takes to send is not the store's.
func TestSlowSenderIsNotStuck(t *testing.T) {
	const idle = 200 * time.Millisecond // enough between two Reads on a busy machine
	release := make(chan struct{})
	body := io.MultiReader(strings.NewReader("01234"), readerFunc(func([]byte) (int, error) { <-release; return 0, io.EOF }), strings.NewReader("56789"))
	k := &kept{}
	r := newRig(t, &scripted{put: k.store}, StoreConfig{IdleTimeout: idle, Timeout: time.Minute})
	time.AfterFunc(2*idle, func() { close(release) })
	if _, err := r.Put(t.Context(), loc, PutRequest{Body: body, Size: 10}); err != nil || string(k.data) != "0123456789" {
		t.Errorf("stored %q, %v", k.data, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A driver's HTTP client may read on when the call has returned; the caller may have reused the body by then.
func TestLateReadsDoNotReachTheBody(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{"memory": func(r io.Reader) io.Reader { return r }, "stream": notMemory} {
		t.Run(name, func(t *testing.T) {
			var late io.Reader
			b := &scripted{put: func(_ context.Context, _ int, req PutRequest) (object.Attrs, error) {
				late = req.Body
				return object.Attrs{}, Access
			}}
			src := strings.NewReader("0123456789")
			_, err := newRig(t, b, StoreConfig{}).Put(t.Context(), loc, PutRequest{Body: wrap(src), Size: 10})
			wantCode(t, err, Access)
			if n, err := late.Read(make([]byte, 4)); n != 0 || err == nil {
				t.Errorf("a late Read = %d, %v", n, err)
			}
			if src.Len() != 10 {
				t.Errorf("%d bytes of the caller's body are left, want 10", src.Len())
			}
		})
	}
}

func TestSizedReaderHoldsTheEndBack(t *testing.T) {
	ends := iotest.ErrReader(errClient)
	r := NewSizedReader(io.MultiReader(strings.NewReader("01234"), strings.NewReader("56789"), ends), 10)
	got, err := io.ReadAll(r)
	if !errors.Is(err, errClient) || string(got) != "01234" || r.Done() {
		t.Errorf("delivered %q, %v: the last bytes must wait for the end", got, err)
	}
	if err := iotest.TestReader(NewSizedReader(strings.NewReader("0123456789"), 10), []byte("0123456789")); err != nil {
		t.Error(err)
	}
	if _, err := NewSizedReader(iotest.ErrReader(nil), 1).Read(make([]byte, 1)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source without progress: %v", err)
	}
}
