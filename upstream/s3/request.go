package s3

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// request is one call to the service.
type request struct {
	b   *Backend
	op  string       // the upstream.Backend method
	loc upstream.Loc // Key is empty for a bucket's operations
	// ctx carries the trace that sets sent once a byte may have left.
	ctx    context.Context
	caller context.Context
	sent   atomic.Bool
}

// begin checks loc and starts a request about an object.
func (b *Backend) begin(ctx context.Context, op string, loc upstream.Loc) (*request, error) {
	r, err := b.beginBucket(ctx, op, loc.Bucket)
	if err != nil {
		return nil, err
	}
	r.loc.Key = loc.Key
	return r, b.checkKey(ctx, op, loc)
}

// beginBucket checks the name and starts a request about a bucket.
func (b *Backend) beginBucket(ctx context.Context, op, bucket string) (*request, error) {
	if !validBucket(bucket) {
		return nil, upstream.Errorf(upstream.Invalid, op, "bucket name %q cannot be asked for over S3", bucket)
	}
	return b.start(ctx, op, upstream.Loc{Bucket: bucket}), nil
}

func (b *Backend) start(ctx context.Context, op string, loc upstream.Loc) *request {
	r := &request{b: b, op: op, loc: loc, caller: ctx}
	r.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { r.sent.Store(true) },
	})
	return r
}

// validBucket keeps out names that change the meaning of the request: paths, ARNs, and the suffixes
// for which the SDK speaks another protocol. Whether the name is a legal one is the service's to say.
func validBucket(name string) bool {
	if name == "" || len(name) > 255 || name[0] == '.' || strings.HasSuffix(name, "--x-s3") || strings.HasSuffix(name, "--ol-s3") || strings.HasSuffix(name, ".mrap") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// headers are the request's own header lines, sent verbatim and signed.
type headers map[string]string

// set adds a line unless value is empty.
func (h headers) set(name, value string) {
	if value != "" {
		h[name] = value
	}
}

// option adds the lines after the SDK has serialised its own, replacing those of the same name.
func (h headers) option() func(*awss3.Options) {
	return withMiddleware(func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("unistore:headers",
			func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				req, ok := in.Request.(*smithyhttp.Request)
				if !ok {
					return middleware.BuildOutput{}, middleware.Metadata{}, errors.New("not an HTTP request")
				}
				for name, value := range h {
					req.Header.Set(name, value)
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
	})
}

// valid reports the first line that HTTP cannot carry.
func (h headers) valid(op string) error {
	for name, value := range h {
		if !wire.Token(name) || strings.ContainsFunc(value, func(r rune) bool { return (r < ' ' && r != '\t') || r == 0x7f }) {
			return upstream.Errorf(upstream.Invalid, op, "header %q cannot be sent", name)
		}
	}
	return nil
}

func withMiddleware(fn func(*middleware.Stack) error) func(*awss3.Options) {
	return func(o *awss3.Options) { o.APIOptions = append(o.APIOptions, fn) }
}

// rawHeader is the answer's header as it came.
func rawHeader(meta middleware.Metadata) (status int, h http.Header, length int64) {
	resp, ok := awsmiddleware.GetRawResponse(meta).(*smithyhttp.Response)
	if !ok {
		return 0, http.Header{}, -1
	}
	return resp.StatusCode, maps.Clone(resp.Header), resp.ContentLength
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return aws.String(s)
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// unsignedHeaders leaves what proxies rewrite or drop out of the signature: Accept-Encoding goes unsigned, and what the SDK tells
// of its own attempts does not go at all.
func unsignedHeaders(stack *middleware.Stack) error {
	const before, after = "unistore:unsigned", "unistore:identity"
	return errors.Join(
		stack.Finalize.Insert(changeRequest(before, func(h http.Header) {
			for _, name := range []string{"Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"} {
				h.Del(name)
			}
		}), "Signing", middleware.Before),
		stack.Finalize.Insert(changeRequest(after, func(h http.Header) { h.Set("Accept-Encoding", "identity") }), "Signing", middleware.After),
	)
}

func changeRequest(id string, change func(http.Header)) middleware.FinalizeMiddleware {
	return middleware.FinalizeMiddlewareFunc(id,
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			req, ok := in.Request.(*smithyhttp.Request)
			if !ok {
				return middleware.FinalizeOutput{}, middleware.Metadata{}, errors.New("not an HTTP request")
			}
			change(req.Header)
			return next.HandleFinalize(ctx, in)
		})
}
