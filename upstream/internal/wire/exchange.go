package wire

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"unistore/upstream"
)

// Exchange is one call to a store as it goes over the wire. It belongs to the goroutine of the call: SDKs whose
// retries are off send one request in it.
type Exchange struct {
	caller context.Context
	sent   atomic.Bool

	// What Shape makes of the request.
	header http.Header
	body   *upstream.SizedReader // nil when the SDK's own body stays

	// Keep, set before the call, has the document of a good answer in Answer.Body. It is for documents: at
	// most MaxDocument bytes.
	Keep   bool
	answer Answer
}

// Answer is what a store sent.
type Answer struct {
	Status int // 0 when there was none
	Header http.Header
	Length int64    // of the body; -1 when it is not known
	Error  Document // of an error
	Body   []byte   // with Exchange.Keep
}

// Root is the name of the first element of Body. SDKs may take any document, an HTML page or nothing, for an answer in which
// everything is missing.
func (a Answer) Root() string { return Root(a.Body) }

// Answered checks that a good answer, which Keep has kept, is the document that it should be: SDKs take any other, and none at
// all, for one in which everything is missing, as for the listing of an empty bucket. op is for the error.
func (x *Exchange) Answered(op, root string) error {
	if got := x.answer.Root(); got != root {
		return upstream.Errorf(upstream.Unavailable, op, "the answer is no %s but %.40q", root, got)
	}
	return nil
}

// Gone checks that a deletion, of an object, an upload or a bucket, was answered by 204, as OSS, OBS and COS document it: a
// page of something in between, with 200, is no deletion. op is for the error.
func (x *Exchange) Gone(op string) error {
	if status := x.answer.Status; status != http.StatusNoContent {
		return upstream.Errorf(upstream.Unavailable, op, "a deletion was answered with status %d", status)
	}
	return nil
}

type exchangeKey struct{}

// Begin starts a call: ctx is the caller's, the result is for the SDK.
func Begin(ctx context.Context) (context.Context, *Exchange) {
	x := &Exchange{caller: ctx, header: http.Header{}}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { x.sent.Store(true) },
	})
	return context.WithValue(ctx, exchangeKey{}, x), x
}

func exchangeOf(ctx context.Context) *Exchange {
	x, _ := ctx.Value(exchangeKey{}).(*Exchange)
	return x
}

// Caller is the context that the call was begun with.
func (x *Exchange) Caller() context.Context { return x.caller }

// Sent reports whether a byte of the request may have left.
func (x *Exchange) Sent() bool { return x.sent.Load() }

// Answer is the store's.
func (x *Exchange) Answer() Answer { return x.answer }

// Set adds a header line to the request, in place of the SDK's of that name, unless value is empty.
func (x *Exchange) Set(name, value string) {
	if value != "" {
		x.header.Set(name, value)
	}
}

// Send gives the request its body, exactly size bytes of src, in place of the SDK's. An empty body is none; its
// end is confirmed before anything is sent, and err is the refusal, if it is one.
func (x *Exchange) Send(src io.Reader, size int64) (body *upstream.SizedReader, err error) {
	if src == nil {
		src = http.NoBody
	}
	x.body = upstream.NewSizedReader(src, size)
	if size == 0 {
		if _, err := x.body.Read(make([]byte, 1)); err != io.EOF {
			return x.body, err
		}
	}
	return x.body, nil
}

// ApplyHeader sets the header lines of ctx's Exchange in h: for SDKs that sign before their RoundTripper sees the request.
// Shape, which does the same, then changes nothing that was signed.
func ApplyHeader(ctx context.Context, h http.Header) {
	if x := exchangeOf(ctx); x != nil {
		x.apply(h)
	}
}

func (x *Exchange) apply(h http.Header) {
	for name, values := range x.header {
		dropFold(h, name)
		h[name] = values
	}
}

// Shape is the RoundTripper that puts a request into the form its Exchange asks for. It comes before whatever
// signs header lines.
type Shape struct{ Next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t Shape) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	if x == nil {
		return t.Next.RoundTrip(req)
	}
	out := req.WithContext(req.Context())
	out.Header = req.Header.Clone()
	x.apply(out.Header)
	if x.body != nil {
		if req.Body != nil {
			_ = req.Body.Close() // nothing of it is used
		}
		out.ContentLength, out.TransferEncoding, out.GetBody = x.body.Size(), nil, nil
		out.Body = http.NoBody
		if x.body.Size() > 0 {
			out.Body = io.NopCloser(x.body)
		}
		if _, ok := out.Header["Content-Length"]; ok { // which some sign
			out.Header.Set("Content-Length", formatInt(x.body.Size()))
		}
	}
	return t.Next.RoundTrip(out)
}
