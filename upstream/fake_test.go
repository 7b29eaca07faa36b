package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"unistore/metrics"
	"unistore/object"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// scripted is a Backend whose every call runs the next step of its script; the last step repeats.
type scripted struct {
	mu struct {
		sync.Mutex
		calls map[string]int
	}
	stat     func(ctx context.Context, n int) (object.Attrs, error)
	open     func(ctx context.Context, n int, opts OpenOptions) (*Stream, error)
	put      func(ctx context.Context, n int, req PutRequest) (object.Attrs, error)
	del      func(ctx context.Context, n int) error
	complete func(ctx context.Context, n int) (object.Attrs, error)
	parts    func(ctx context.Context, n int) (PartsPage, error)
	create   func(ctx context.Context, n int) (string, error)
	part     func(ctx context.Context, n int, req PartRequest) (Part, error)
	abort    func(ctx context.Context, n int) error
}

var _ interface {
	Backend
	Multiparter
} = (*scripted)(nil)

// call counts and returns the number of this call of op, from 1.
func (s *scripted) call(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.calls == nil {
		s.mu.calls = map[string]int{}
	}
	s.mu.calls[op]++
	return s.mu.calls[op]
}

func (s *scripted) calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.calls[op]
}

func (s *scripted) Stat(ctx context.Context, _ Loc, _ StatOptions) (object.Attrs, error) {
	return s.stat(ctx, s.call("Stat"))
}

func (s *scripted) Open(ctx context.Context, _ Loc, opts OpenOptions) (*Stream, error) {
	return s.open(ctx, s.call("Open"), opts)
}

func (s *scripted) Put(ctx context.Context, _ Loc, req PutRequest) (object.Attrs, error) {
	return s.put(ctx, s.call("Put"), req)
}

func (s *scripted) Delete(ctx context.Context, _ Loc, _ DeleteOptions) error {
	return s.del(ctx, s.call("Delete"))
}

func (s *scripted) List(context.Context, ListRequest) (ListPage, error) {
	s.call("List")
	return ListPage{}, nil
}

func (s *scripted) Limits() Limits { return Limits{MaxPut: 1 << 20} }
func (s *scripted) Close() error   { return nil }

func (s *scripted) CreateUpload(ctx context.Context, _ Loc, _ CreateUploadRequest) (string, error) {
	return s.create(ctx, s.call("CreateUpload"))
}

func (s *scripted) UploadPart(ctx context.Context, _ Upload, _ int, req PartRequest) (Part, error) {
	return s.part(ctx, s.call("UploadPart"), req)
}

func (s *scripted) CompleteUpload(ctx context.Context, _ Upload, _ CompleteRequest) (object.Attrs, error) {
	return s.complete(ctx, s.call("CompleteUpload"))
}

func (s *scripted) AbortUpload(ctx context.Context, _ Upload) error {
	return s.abort(ctx, s.call("AbortUpload"))
}

func (s *scripted) ListParts(ctx context.Context, _ Upload, _, _ int) (PartsPage, error) {
	return s.parts(ctx, s.call("ListParts"))
}

func (s *scripted) ListUploads(context.Context, ListUploadsRequest) (UploadsPage, error) {
	return UploadsPage{}, nil
}

// rig is a Store over a Backend whose waits are recorded instead of waited.
type rig struct {
	*Store
	metrics *metrics.Metrics
	waits   []time.Duration
}

func newRig(t *testing.T, b Backend, cfg StoreConfig) *rig {
	t.Helper()
	m := metrics.New(prometheus.NewRegistry())
	cfg.Metrics = m
	r := &rig{Store: NewStore("up", b, cfg), metrics: m}
	r.jitter = func() float64 { return .5 }
	r.sleep = func(ctx context.Context, d time.Duration) error {
		r.waits = append(r.waits, d)
		return ctx.Err()
	}
	t.Cleanup(func() {
		if n := len(r.slots); n != 0 {
			t.Errorf("%d slots are still held", n)
		}
	})
	return r
}

func (r *rig) requests(op, outcome string) float64 {
	return testutil.ToFloat64(r.metrics.UpstreamRequests.WithLabelValues("up", op, outcome))
}

func wantCode(t *testing.T, err error, want Code) {
	t.Helper()
	if !errors.Is(err, want) || CodeOf(err) != want {
		t.Errorf("error %v has code %v, want %v", err, CodeOf(err), want)
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("error %v is no *Error", err)
	}
}

var loc = Loc{"bucket", "key"}

// streamOf answers an Open with content, as the ETag's version.
func streamOf(opts OpenOptions, content string, etag string) (*Stream, error) {
	rng, err := opts.Range.Resolve(int64(len(content)))
	if err != nil {
		return nil, &Error{Code: RangeError, Op: "Open", Err: err}
	}
	return &Stream{
		Attrs: object.Attrs{Size: int64(len(content)), ETag: etag, HeadersKnown: true},
		Range: rng,
		Body:  &trackedBody{Reader: bytes.NewReader([]byte(content[rng.Off:rng.End()]))},
	}, nil
}

// trackedBody knows whether it was closed.
type trackedBody struct {
	io.Reader
	closed int
}

func (b *trackedBody) Close() error {
	b.closed++
	return nil
}

// blockedReader blocks in Read until its context ends, as a client that sends nothing does.
type blockedReader struct {
	ctx     context.Context
	entered chan struct{} // closed when Read has been called
	once    sync.Once
}

func newBlockedReader(ctx context.Context) *blockedReader {
	return &blockedReader{ctx: ctx, entered: make(chan struct{})}
}

func (r *blockedReader) Read([]byte) (int, error) {
	r.once.Do(func() { close(r.entered) })
	<-r.ctx.Done()
	return 0, r.ctx.Err()
}
