package multipart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/iotest"

	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
)

// clientGone is an error of a request body that callers want to find again.
type clientGone struct{}

func (clientGone) Error() string { return "client gone" }

func TestFailuresLeaveNothing(t *testing.T) {
	const size = 5*part + 3
	tests := []struct {
		name   string
		faults []faults.Fault
		src    io.Reader // nil: the whole body
		size   int64     // 0: -1
		want   error
	}{
		{name: "create", faults: []faults.Fault{{Name: faults.UpstreamError, Operation: "CreateUpload", Status: 403}}, want: upstream.Access},
		{name: "first part", faults: []faults.Fault{{Name: faults.UploadPartError, Count: 1}}, want: upstream.Unavailable},
		{name: "every part", faults: []faults.Fault{{Name: faults.UploadPartError}}, want: upstream.Unavailable},
		{name: "last part", faults: []faults.Fault{{Name: faults.UploadPartError, Skip: 5}}, want: upstream.Unavailable},
		{name: "last part, uploaded first", faults: []faults.Fault{{Name: faults.UploadLastPartFirst}, {Name: faults.UploadPartError, Count: 1}}, want: upstream.Unavailable},
		{name: "held part", faults: []faults.Fault{{Name: faults.UploadLastPartFirst}, {Name: faults.UploadPartError, Skip: 1}}, want: upstream.Unavailable},
		{name: "disk full", faults: []faults.Fault{{Name: faults.UpstreamError, Operation: "UploadPart", Status: 507, Skip: 2}}, want: upstream.NoSpace},
		{name: "somebody else has aborted it", faults: []faults.Fault{{Name: faults.UpstreamError, Operation: "UploadPart", Status: 404, Skip: 2}}, want: upstream.Unavailable},
		{name: "and its completion", faults: []faults.Fault{{Name: faults.UpstreamError, Operation: "CompleteUpload", Status: 404}}, want: upstream.Unavailable},
		{name: "connection of a part cut", faults: []faults.Fault{{Name: faults.UpstreamReset, Operation: "UploadPart", After: 10, Skip: 1}}, want: upstream.Unavailable},
		{name: "answer of a part lost", faults: []faults.Fault{{Name: faults.UpstreamReset, Operation: "UploadPart", After: 1 << 20, Skip: 1}}, want: upstream.Unavailable},
		{name: "part damaged on its way", faults: []faults.Fault{{Name: faults.UpstreamCorrupt, Operation: "UploadPart", After: 10, Skip: 1}}, want: upstream.BadDigest},
		{name: "part ends early", faults: []faults.Fault{{Name: faults.UpstreamTruncate, Operation: "UploadPart", After: 10, Skip: 1}}, want: upstream.TooShort},
		{name: "complete", faults: []faults.Fault{{Name: faults.UploadCompleteError}}, want: upstream.Unavailable},
		{name: "complete refused", faults: []faults.Fault{{Name: faults.UpstreamError, Operation: "CompleteUpload", Status: 412}}, want: upstream.Changed},
		{name: "body fails at once", src: iotest.ErrReader(clientGone{}), want: clientGone{}},
		{name: "body fails in part 1", src: broken(part / 2), want: clientGone{}},
		{name: "body fails in part 3", src: broken(2*part + 10), want: clientGone{}},
		{name: "body fails between parts", src: broken(2 * part), want: clientGone{}},
		{name: "body fails while parts are held", src: broken(2*part + 10), faults: []faults.Fault{{Name: faults.UploadLastPartFirst}}, want: clientGone{}},
		{name: "body too short", src: bytes.NewReader(body(size - 1)), size: size, want: upstream.TooShort},
		{name: "body too long", src: bytes.NewReader(body(size + 1)), size: size, want: upstream.Invalid},
		{name: "too many parts", src: bytes.NewReader(body(101 * part)), want: upstream.TooLarge},
		{name: "too many parts announced", size: 101 * part, want: upstream.TooLarge},
	}
	for _, tt := range tests {
		for _, old := range [][]byte{nil, []byte("o")} {
			tg := newTarget(testLimits)
			if old != nil {
				if _, err := tg.store.Put(t.Context(), loc, upstream.PutRequest{Body: bytes.NewReader(old), Size: int64(len(old))}); err != nil {
					t.Fatal(err)
				}
			}
			for _, f := range tt.faults {
				inject(t, tg, f)
			}
			req := upstream.PutRequest{Body: io.Reader(bytes.NewReader(body(size))), Size: -1}
			if s, ok := tt.src.(io.Seeker); ok {
				_, _ = s.Seek(0, io.SeekStart)
			}
			if b, ok := tt.src.(*brokenBody); ok {
				b.at = 0
			}
			if tt.src != nil {
				req.Body = tt.src
			}
			if tt.size != 0 {
				req.Size = tt.size
			}
			u := newUploader(tg, Config{Parallel: 2})
			_, err := u.Put(t.Context(), tg, loc, req)
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			if code, ok := tt.want.(upstream.Code); ok && upstream.CodeOf(err) != code {
				t.Errorf("%s: code %v, want %v", tt.name, upstream.CodeOf(err), code)
			}
			if _, ok := errors.AsType[*upstream.Error](err); !ok {
				t.Errorf("%s: %T is not an *upstream.Error", tt.name, err)
			}
			if got, _ := tg.content(t, loc); !bytes.Equal(got, old) {
				t.Errorf("%s: the store holds %d bytes, want the old object", tt.name, len(got))
			}
			settled(t, u, tg)
		}
	}
}

// brokenBody fails after n bytes.
type brokenBody struct{ at, n int }

func broken(n int) *brokenBody { return &brokenBody{n: n} }

func (b *brokenBody) Read(p []byte) (int, error) {
	if b.at >= b.n {
		return 0, clientGone{}
	}
	n := min(len(p), b.n-b.at)
	clear(p[:n])
	b.at += n
	return n, nil
}

// A client that goes away in the middle of its body, or while a part or the completion is under way:
// the upload is aborted with a context that outlives the client's.
func TestCancel(t *testing.T) {
	tests := map[string]func(cancel context.CancelFunc, tg *target, req *upstream.PutRequest){
		"before": func(cancel context.CancelFunc, _ *target, _ *upstream.PutRequest) { cancel() },
		"in the body": func(cancel context.CancelFunc, _ *target, req *upstream.PutRequest) {
			req.Body = io.MultiReader(bytes.NewReader(body(3*part)), readerFunc(func([]byte) (int, error) {
				cancel()
				return 0, context.Canceled
			}))
		},
		"in a part": func(cancel context.CancelFunc, tg *target, _ *upstream.PutRequest) {
			tg.before = func(number int) {
				if number == 3 {
					cancel()
				}
			}
		},
		"in a part that hangs": func(cancel context.CancelFunc, tg *target, _ *upstream.PutRequest) {
			_ = tg.set.Put(faults.Fault{Name: faults.UpstreamLatency, Operation: "UploadPart", Delay: 1 << 40, Skip: 2})
			tg.before = func(number int) {
				if number == 4 {
					cancel()
				}
			}
		},
	}
	for name, arrange := range tests {
		tg := newTarget(testLimits)
		u := newUploader(tg, Config{Parallel: 2})
		ctx, cancel := context.WithCancel(t.Context())
		req := upstream.PutRequest{Body: bytes.NewReader(body(6 * part)), Size: -1}
		arrange(cancel, tg, &req)
		_, err := u.Put(ctx, tg, loc, req)
		cancel()
		if !errors.Is(err, upstream.Cancelled) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if _, there := tg.content(t, loc); there {
			t.Errorf("%s: an object is there", name)
		}
		settled(t, u, tg)
	}
}

// An upload that waits for memory gives up when its client does.
func TestCancelWhileWaitingForMemory(t *testing.T) {
	tg := newTarget(testLimits)
	u := newUploader(tg, Config{Memory: part})
	if _, err := u.pool.reserve(t.Context(), part); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := u.Put(ctx, tg, loc, upstream.PutRequest{Body: bytes.NewReader(body(2 * part)), Size: -1})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait for memory: %v", err)
	default:
	}
	cancel()
	if err := <-done; !errors.Is(err, upstream.Cancelled) {
		t.Error(err)
	}
	u.pool.release(part)
	settled(t, u, tg)
}

// liar answers with attributes that do not fit what it was sent.
type liar struct {
	*target
	part  func(*upstream.Part)
	attrs func(*object.Attrs)
}

func (l liar) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	p, err := l.target.UploadPart(ctx, up, number, req)
	if l.part != nil {
		l.part(&p)
	}
	return p, err
}

func (l liar) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	a, err := l.target.CompleteUpload(ctx, up, req)
	if l.attrs != nil {
		l.attrs(&a)
	}
	return a, err
}

func (l liar) Put(ctx context.Context, at upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	a, err := l.target.Put(ctx, at, req)
	if l.attrs != nil {
		l.attrs(&a)
	}
	return a, err
}

func TestAnswersAreChecked(t *testing.T) {
	tests := []struct {
		name string
		size int
		part func(*upstream.Part)
		obj  func(*object.Attrs)
		ok   bool
	}{
		{"part without ETag", 3 * part, func(p *upstream.Part) { p.ETag = "" }, nil, false},
		{"part of another size", 3 * part, func(p *upstream.Part) { p.Size-- }, nil, false},
		{"part of a size not said", 3 * part, func(p *upstream.Part) { p.Size = 0 }, nil, true},
		{"object without ETag", 3 * part, nil, func(a *object.Attrs) { a.ETag = "" }, false},
		{"object of another size", 3 * part, nil, func(a *object.Attrs) { a.Size-- }, false},
		{"object of a size not said", 3 * part, nil, func(a *object.Attrs) { a.Size = 0 }, true},
		{"object of other parts", 3 * part, nil, func(a *object.Attrs) { a.ETag = a.ETag[:33] + "2" }, false},
		{"ETag of another form", 3 * part, nil, func(a *object.Attrs) { a.ETag = "opaque" }, true},
		{"single without ETag", 1, nil, func(a *object.Attrs) { a.ETag = "" }, false},
		{"single of another size", 1, nil, func(a *object.Attrs) { a.Size = 7 }, false},
	}
	for _, tt := range tests {
		tg := newTarget(testLimits)
		u := newUploader(tg, Config{})
		req := upstream.PutRequest{Body: bytes.NewReader(body(tt.size)), Size: -1}
		attrs, err := u.Put(t.Context(), liar{tg, tt.part, tt.obj}, loc, req)
		if (err == nil) != tt.ok || (tt.ok && attrs.Size != int64(tt.size)) {
			t.Errorf("%s: %+v, %v", tt.name, attrs, err)
		}
		if err != nil && !errors.Is(err, upstream.Unavailable) {
			t.Errorf("%s: %v", tt.name, err)
		}
		settled(t, u, tg)
	}
}

// killChild makes the test binary upload with process.kill at the point that it holds.
const killChild = "UNISTORE_MULTIPART_KILL_CHILD"

func uploadUntilKilled(point string) {
	tg := newTarget(testLimits)
	if err := tg.set.Put(faults.Fault{Name: faults.ProcessKill, Operation: point, Bucket: loc.Bucket}); err != nil {
		panic(err)
	}
	u := newUploader(tg, Config{Parallel: 1})
	_, err := u.Put(context.Background(), printer{tg}, loc, upstream.PutRequest{Body: bytes.NewReader(body(3 * part)), Size: -1})
	fmt.Println("end", err)
}

// printer prints the calls as they succeed.
type printer struct{ *target }

func (p printer) CreateUpload(ctx context.Context, l upstream.Loc, req upstream.CreateUploadRequest) (string, error) {
	id, err := p.target.CreateUpload(ctx, l, req)
	fmt.Println("create", err)
	return id, err
}

func (p printer) UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error) {
	part, err := p.target.UploadPart(ctx, up, number, req)
	fmt.Println("part", number, err)
	return part, err
}

func (p printer) CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	a, err := p.target.CompleteUpload(ctx, up, req)
	fmt.Println("complete", err)
	return a, err
}

func TestKillPoints(t *testing.T) {
	const create, parts = "create <nil>\n", "part 1 <nil>\npart 2 <nil>\npart 3 <nil>\n"
	tests := map[string]string{
		PointCreated:   create,
		PointPart:      create + "part 1 <nil>\n",
		PointComplete:  create + parts,
		PointCompleted: create + parts + "complete <nil>\n",
	}
	for point, want := range tests {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killChild+"="+point)
		out, err := cmd.Output()
		if string(out) != want {
			t.Errorf("%s: the child printed %q, want %q", point, out, want)
		}
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s: the child ended with %v", point, err)
		}
	}
}
