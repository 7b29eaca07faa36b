package s3

import (
	"cmp"
	"context"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"

	"unistore/checksum"
	"unistore/upstream"
)

// Payload hashes that say how a body is framed (Amazon S3 API Reference, "Authenticating Requests: Using the
// Authorization Header").
const (
	plainPayload   = "UNSIGNED-PAYLOAD"
	trailerPayload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// frameChunk is the length of every chunk but the last. S3 wants at least 8 KiB. With its framing it fits into
// one write of the transport.
const frameChunk = 128 << 10

// frameRoom is the least room for payload that is worth a Read: what is left of the caller's buffer beside a chunk
// would make a small write.
const frameRoom = 4 << 10

// trailerAlgorithm is what every server with trailing checksums knows.
const trailerAlgorithm = "CRC32"

// framed is a body in aws-chunked framing with a trailing checksum ("Using an unsigned payload with
// trailing headers" of the same reference). A body that is cut has no end, so that a server
// which commits whatever arrives before the connection breaks does not commit it.
type framed struct {
	src   io.Reader
	left  int64  // payload bytes to come after the current chunk
	chunk int64  // payload bytes to come of the current chunk
	meta  []byte // framing to be delivered before anything else
	sum   hash.Hash
	name  string // of the checksum's header
	ended bool
}

// newFramed frames size bytes of src, size > 0.
func newFramed(src io.Reader, size int64, algorithm string) (*framed, bool) {
	sum, ok := checksum.New(algorithm)
	if !ok {
		return nil, false
	}
	return &framed{src: src, left: size, sum: sum, name: checksum.Header(algorithm)}, true
}

// length is the length of the whole framing of size bytes.
func (f *framed) length(size int64) int64 {
	head := func(n int64) int64 { return int64(len(strconv.FormatInt(n, 16))) + 2 }
	full, rest := size/frameChunk, size%frameChunk
	total := full * (head(frameChunk) + frameChunk + 2)
	if rest > 0 {
		total += head(rest) + rest + 2
	}
	encoded := int64(4 * ((f.sum.Size() + 2) / 3))
	return total + head(0) + int64(len(f.name)) + 1 + encoded + 4
}

// Read waits for what src has, and takes the framing around it along: small pieces would be small packets.
func (f *framed) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case len(f.meta) > 0:
			m := copy(p[n:], f.meta)
			f.meta = f.meta[m:]
			n += m
		case f.chunk > 0 && n > 0 && len(p)-n < frameRoom && f.chunk > int64(len(p)-n):
			return n, nil
		case f.chunk > 0:
			want := min(int64(len(p)-n), f.chunk)
			m, err := f.readChunk(p[n : n+int(want)])
			n += m
			if err != nil || int64(m) < want { // src may block next time
				return n, err
			}
		case !f.ended:
			f.next()
		case n > 0:
			return n, nil
		default:
			return 0, io.EOF
		}
	}
	return n, nil
}

func (f *framed) readChunk(p []byte) (int, error) {
	n, err := f.src.Read(p)
	_, _ = f.sum.Write(p[:n]) // a hash does not fail
	f.chunk -= int64(n)
	if f.chunk == 0 {
		f.meta = []byte("\r\n")
	}
	if err == io.EOF && (f.chunk > 0 || f.left > 0) {
		return n, io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// next frames another chunk, or the end.
func (f *framed) next() {
	f.chunk = min(f.left, frameChunk)
	f.left -= f.chunk
	f.meta = append(strconv.AppendInt(nil, f.chunk, 16), '\r', '\n')
	if f.chunk == 0 {
		f.meta = append(f.meta, f.name+":"+checksum.Encode(f.sum)+"\r\n\r\n"...)
		f.ended = true
	}
}

// What is known of a service's answers to bodies that were framed with a checksum of ours.
const (
	echoUnknown = iota
	echoComes   // so far they all had the checksum
	echoMissing // one had not
)

// VerifiesBodies implements upstream.BodyVerifier: bodies without a checksum of the caller's are framed with one, and the
// service says which one it has found.
func (b *Backend) VerifiesBodies() bool {
	return b.frames.Load() == framingWorks && b.echoes.Load() == echoComes
}

// heard compares the checksum in an answer with that of the framing that the body went out in, if it was our own.
func (p payload) heard(r *request, answer http.Header) error {
	if p.own == nil {
		return nil
	}
	sent, said := checksum.Encode(p.own.sum), answer.Get(p.own.name)
	switch {
	case said == "":
		r.b.echoes.Store(echoMissing)
	case said != sent:
		return upstream.Errorf(upstream.Corrupted, r.op, "the store says %s %s of bytes whose checksum is %s", p.own.name, said, sent)
	default:
		r.b.echoes.CompareAndSwap(echoUnknown, echoComes)
	}
	return nil
}

// payload is how a request's body goes on the wire.
type payload struct {
	body   *upstream.SizedReader
	own    *framed   // framing with a checksum that the caller knows nothing of; or nil
	stream io.Reader // nil when there is nothing to send
	length int64
	hash   string
}

// option signs the framing's name in place of a hash of the body.
func (p payload) option() func(*awss3.Options) {
	return withMiddleware(func(stack *middleware.Stack) error {
		_, err := stack.Finalize.Swap("ComputePayloadHash", middleware.FinalizeMiddlewareFunc("ComputePayloadHash",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				return next.HandleFinalize(v4.SetPayloadHash(ctx, p.hash), in)
			}))
		return err
	})
}

// content is a request's body as the caller gave it.
type content struct {
	src  io.Reader
	size int64
	// verified: the request's header carries a checksum or an MD5 of the body.
	verified bool
	// promised: the caller knows the trailing checksum.
	promised bool
	// algorithm of the trailing checksum that the service expects; empty when it expects none.
	algorithm string
}

// payload makes what the SDK may stream: of known length, not seekable (it would hash it first) and never
// an *io.PipeReader (it would send it without a length). An empty one is nil, once its end is confirmed.
//
// A body whose checksum is not in the header is framed, with a checksum behind it. Amazon, which
// refuses a body that is cut, gets the framing only where it expects that checksum.
func (r *request) payload(h headers, c content) (payload, error) {
	src, size := c.src, c.size
	if src == nil {
		src = http.NoBody
	}
	p := payload{body: upstream.NewSizedReader(src, size), length: size, hash: plainPayload}
	if size == 0 {
		if _, err := p.body.Read(make([]byte, 1)); err != io.EOF {
			return p, r.bodyFailed(p.body, err)
		}
		return p, nil
	}
	p.stream = struct{ io.Reader }{p.body}
	if c.verified || (r.b.exact && c.algorithm == "") {
		return p, nil
	}
	if !r.b.exact {
		if frames, err := r.b.framing(r); err != nil || !frames {
			return p, err
		}
	}
	f, ok := newFramed(p.body, size, cmp.Or(c.algorithm, trailerAlgorithm))
	if !ok {
		return p, upstream.Errorf(upstream.Invalid, r.op, "unknown checksum algorithm")
	}
	h.set("X-Amz-Trailer", f.name)
	h.set("X-Amz-Decoded-Content-Length", strconv.FormatInt(size, 10))
	p.stream, p.length, p.hash = f, f.length(size), trailerPayload
	if !c.promised {
		p.own = f
	}
	return p, nil
}

// What is known of a service's handling of framed bodies.
const (
	framingUnknown = iota
	framingWorks
	framingNone
)

// framing reports whether the service takes framed bodies, which it is asked once, by sending one to an
// upload that does not exist: whoever says that there is no such upload has read the framing.
func (b *Backend) framing(r *request) (bool, error) {
	if known := b.frames.Load(); known != framingUnknown {
		return known == framingWorks, nil
	}
	probe := b.start(r.caller, r.op, r.loc)
	f, ok := newFramed(strings.NewReader("x"), 1, trailerAlgorithm)
	if !ok {
		return false, nil
	}
	h := headers{}
	h.set("X-Amz-Trailer", f.name)
	h.set("X-Amz-Decoded-Content-Length", "1")
	_, err := b.client.UploadPart(probe.ctx, &awss3.UploadPartInput{
		Bucket: aws.String(r.loc.Bucket), Key: aws.String("unistore-probe"), UploadId: aws.String("unistore-probe"),
		PartNumber: aws.Int32(1), Body: f, ContentLength: aws.Int64(f.length(1)),
	}, h.option(), payload{hash: trailerPayload}.option())
	code := upstream.NoUpload
	if err != nil {
		err = probe.fail(err)
		code = upstream.CodeOf(err)
	}
	switch code {
	case upstream.NoUpload:
		b.frames.Store(framingWorks)
		return true, nil
	case upstream.Unavailable, upstream.Throttled, upstream.Cancelled, upstream.NoBucket:
		return false, unsent(err)
	case upstream.Access: // the request itself will tell whether it is the right or the framing
		return false, nil
	default:
		b.frames.Store(framingNone)
		b.cfg.Log.Warn().Str("upstream", b.cfg.Name).AnErr("answer", err).
			Msg("the store does not take trailing checksums: that it refuses a body which is cut is left to itself")
		return false, nil
	}
}

// unsent marks a failure before the request proper, which may so be repeated.
func unsent(err error) error {
	if e, ok := err.(*upstream.Error); ok {
		e.Unsent = true
	}
	return err
}
