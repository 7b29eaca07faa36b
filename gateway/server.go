package gateway

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/rs/zerolog"
	"github.com/valyala/fasthttp"

	"unistore/metrics"
	"unistore/s3api"
)

const (
	// headerTimeout bounds how long a client may take to send its request's header.
	headerTimeout = 60 * time.Second
	// idleTimeout is how long a connection may be quiet between requests. Longer than any client's
	// pool keeps one (S3A: 60 s), so that the client closes first.
	idleTimeout = 150 * time.Second
	// headerLimit is the most a request's header may hold (bytes); S3's own limit is 8 KiB.
	headerLimit = 16 << 10
)

// answerer is what the rim needs of the object service. exchange.Request is set; the responses are never nil.
type answerer interface {
	// serve answers a request.
	serve(ctx context.Context, x *exchange) (*s3api.Response, error)
	// welcome reports whether serve would begin to read r's body. It reads none of it and counts nothing.
	welcome(r *s3api.Request) bool
	// refuse answers a request that was not welcome, and whose body is not there.
	refuse(x *exchange) (*s3api.Response, error)
	// fail answers with an error.
	fail(x *exchange, err error) (*s3api.Response, error)
}

type serverConfig struct {
	Service  answerer
	BodyIdle time.Duration // how long a client may send nothing of a body that it has begun
	Metrics  *metrics.Metrics
	Log      zerolog.Logger
}

// server is the HTTP rim of the S3 side: it turns fasthttp's requests into s3api's and responses
// back, bounds bodies in time, and counts. Nothing behind it knows fiber or fasthttp.
type server struct {
	app      *fiber.App
	service  answerer
	bodyIdle time.Duration
	metrics  *metrics.Metrics
	log      zerolog.Logger
	ids      *idSource
	base     context.Context // ends when the drain is over
}

func newServer(base context.Context, c serverConfig) *server {
	s := &server{service: c.Service, bodyIdle: c.BodyIdle, metrics: c.Metrics, log: c.Log, ids: newIDSource(), base: base}
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StreamRequestBody:     true,
		// Above any Content-Length: fasthttp must never refuse or read a body ahead by its size.
		BodyLimit:                    math.MaxInt,
		DisablePreParseMultipartForm: true,
		ReadTimeout:                  headerTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               headerLimit,
		DisableDefaultContentType:    true,
	})
	// Past fiber's router, which has its own answers to methods and errors, and they are not S3's.
	http := s.app.Server()
	http.Handler = s.handle
	http.ErrorHandler = s.malformed
	http.HeaderReceived = s.received
	return s
}

// Serve answers connections of l until it is closed.
func (s *server) Serve(l net.Listener) error { return s.app.Listener(l) }

// Shutdown stops accepting, lets requests finish until ctx is done, then returns.
func (s *server) Shutdown(ctx context.Context) error { return s.app.ShutdownWithContext(ctx) }

// handle carries one request through.
func (s *server) handle(fc *fasthttp.RequestCtx) {
	x := &exchange{id: s.ids.next(), start: time.Now(), name: "Unknown"}
	body := newRequestBody(fc)
	x.Request = newRequest(fc, body)
	x.interrupt = body.interrupt()
	ctx, cancel := context.WithCancel(s.base)
	stop := context.AfterFunc(ctx, body.unblock)
	refused := unwelcome(&fc.Request.Header, x.Header)
	var res *s3api.Response
	var err error
	if e := checkFraming(fc.Request.Header.RawHeaders(), x.Header, fc.Request.Header.IsHTTP11()); e != nil {
		body.unblock() // nobody knows where it ends
		res, err = s.service.fail(x, e)
	} else {
		res, err = s.safely(ctx, x, refused)
	}
	stop()
	s.metrics.FirstByte.WithLabelValues(x.name, x.source).Observe(time.Since(x.start).Seconds())
	done := func(sent int64, sendErr error) {
		cancel()
		s.account(x, res.Status, sent, err, sendErr)
	}
	keep := body.finish() && !refused
	if e, ok := errors.AsType[*s3api.Error](err); ok && e.Close {
		keep = false
	}
	s.send(fc, x, res, keep, done)
}

// safely turns a panic into a 500: one bad request must not end the process.
func (s *server) safely(ctx context.Context, x *exchange, refused bool) (res *s3api.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error().Str("request", x.id).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("request panicked")
			e := &s3api.Error{Code: s3api.ErrInternalError, Close: true}
			res, err = s.service.fail(x, e)
		}
	}()
	if refused {
		return s.service.refuse(x)
	}
	return s.service.serve(ctx, x)
}

// newRequest copies what fasthttp parsed: its buffers are reused after the handler returns.
func newRequest(fc *fasthttp.RequestCtx, body *requestBody) *s3api.Request {
	r := headerOf(&fc.Request.Header)
	r.RemoteAddr, r.TLS = fc.RemoteAddr().String(), fc.IsTLS()
	if body != nil && body.stream != nil {
		r.Body = body
	}
	return r
}

// headerOf copies a request's line and header.
func headerOf(h *fasthttp.RequestHeader) *s3api.Request {
	uri := string(h.RequestURI())
	// A proxy-style absolute URI carries the host again; S3 clients sign the path alone.
	if i := strings.Index(uri, "://"); i > 0 && !strings.HasPrefix(uri, "/") {
		rest := uri[i+3:]
		uri = "/"
		if j := strings.IndexByte(rest, '/'); j >= 0 {
			uri = rest[j:]
		}
	}
	path, query, _ := strings.Cut(uri, "?")
	r := &s3api.Request{
		Method: string(h.Method()), RawPath: path, RawQuery: query,
		Host: string(h.Host()), Header: s3api.ParseHeader(string(h.RawHeaders())),
		ContentLength: int64(max(h.ContentLength(), -1)),
	}
	if h.ContentLength() == -2 { // neither Content-Length nor chunked: no body
		r.ContentLength = 0
	}
	return r
}

// send writes res. done is called exactly once, when the body has been sent or given up.
func (s *server) send(fc *fasthttp.RequestCtx, x *exchange, res *s3api.Response, keep bool, done func(int64, error)) {
	out := &fc.Response
	out.Header.DisableNormalizing()
	out.SetStatusCode(res.Status)
	for _, f := range res.Header {
		out.Header.Add(f.Name, f.Value)
	}
	out.Header.Set("x-amz-request-id", x.id)
	out.Header.Set("x-amz-id-2", hostID)
	out.Header.Set("Server", "UniStore")
	if !keep {
		out.SetConnectionClose()
	}
	if fc.IsHead() || res.Body == nil {
		if res.Body != nil {
			res.Body.Close()
		}
		out.SkipBody = fc.IsHead()
		if res.Length >= 0 && res.Status != fasthttp.StatusNoContent && res.Status != fasthttp.StatusNotModified {
			out.Header.SetContentLength(int(res.Length))
		}
		done(0, nil)
		return
	}
	out.SetBodyStream(&sentBody{body: res.Body, done: done}, int(res.Length))
}

// account counts and logs one finished request. No key names at info.
func (s *server) account(x *exchange, status int, sent int64, err, sendErr error) {
	code := x.code
	if code == "" {
		code = strconv.Itoa(status)
	}
	took := time.Since(x.start)
	s.metrics.Requests.WithLabelValues(x.name, code).Inc()
	s.metrics.RequestSeconds.WithLabelValues(x.name).Observe(took.Seconds())
	if x.served != nil {
		x.served.Add(float64(sent))
	}
	level := zerolog.DebugLevel
	if status >= 500 || sendErr != nil {
		level = zerolog.WarnLevel
	}
	e := s.log.WithLevel(level)
	if !e.Enabled() {
		return
	}
	if err != nil && status >= 500 {
		e = e.AnErr("cause", err)
	}
	e.Str("request", x.id).Str("operation", x.name).Str("code", code).Int64("bytes", sent).
		Dur("took", took).AnErr("cut", sendErr).Msg("request")
}

// malformed answers what fasthttp refused before there was a request.
func (s *server) malformed(fc *fasthttp.RequestCtx, err error) {
	e := badHTTP()
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		if c := connOf(fc.Conn()); c != nil && !c.Heard() {
			// A pool's spare connection, never used: an answer could be taken for that to its first request.
			_ = c.Close()
			return
		}
		e = &s3api.Error{Code: s3api.ErrRequestTimeout, Close: true}
	} else if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		e = &s3api.Error{Code: s3api.ErrRequestHeaderSectionTooLarge, Close: true}
	} else if errors.Is(err, io.ErrUnexpectedEOF) { // within the part of a body that fasthttp reads ahead
		e = &s3api.Error{Code: s3api.ErrIncompleteBody, Close: true}
	}
	x := &exchange{id: s.ids.next(), start: time.Now(), name: "Unknown"}
	x.Request = &s3api.Request{Method: string(fc.Method()), RawPath: string(fc.RequestURI())}
	res, _ := s.service.fail(x, e)
	s.send(fc, x, res, false, func(n int64, sendErr error) { s.account(x, res.Status, n, nil, sendErr) })
}
