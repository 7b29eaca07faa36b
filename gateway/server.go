package gateway

import (
	"context"
	"errors"
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

// handler answers one request; exchange.Request is set.
type handler func(ctx context.Context, x *exchange) (*s3api.Response, error)

// server is the HTTP rim of the S3 side: it turns fasthttp's requests into s3api's and responses
// back, bounds bodies in time, and counts. Nothing behind it knows fiber or fasthttp.
type server struct {
	app     *fiber.App
	serve   handler
	metrics *metrics.Metrics
	log     zerolog.Logger
	ids     *idSource
	base    context.Context // ends when the drain is over
}

func newServer(base context.Context, serve handler, m *metrics.Metrics, log zerolog.Logger) *server {
	s := &server{serve: serve, metrics: m, log: log, ids: newIDSource(), base: base}
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StreamRequestBody:     true,
		// Above any Content-Length: fasthttp must never refuse or read a body ahead by its size.
		BodyLimit:                    math.MaxInt,
		DisablePreParseMultipartForm: true,
		ReadTimeout:                  headerTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               headerLimit,
		ErrorHandler:                 s.malformed,
		DisableDefaultContentType:    true,
	})
	s.app.Use(func(c *fiber.Ctx) error {
		s.handle(c.Context())
		return nil
	})
	return s
}

// Serve answers connections of l until it is closed.
func (s *server) Serve(l net.Listener) error { return s.app.Listener(l) }

// Shutdown stops accepting, lets requests finish until ctx is done, then returns.
func (s *server) Shutdown(ctx context.Context) error { return s.app.ShutdownWithContext(ctx) }

// handle carries one request through.
func (s *server) handle(fc *fasthttp.RequestCtx) {
	x := &exchange{id: s.ids.next(), start: time.Now()}
	body := newRequestBody(fc)
	x.Request = newRequest(fc, body)
	ctx, cancel := context.WithCancel(s.base)
	stop := context.AfterFunc(ctx, body.unblock)
	res, err := s.safely(ctx, x)
	stop()
	s.metrics.FirstByte.WithLabelValues(x.name, x.source).Observe(time.Since(x.start).Seconds())
	done := func(sent int64, sendErr error) {
		cancel()
		s.account(x, res.Status, sent, err, sendErr)
	}
	keep := body.finish()
	if e, ok := errors.AsType[*s3api.Error](err); ok && e.Close {
		keep = false
	}
	s.send(fc, x, res, keep, done)
}

// safely turns a panic into a 500: one bad request must not end the process.
func (s *server) safely(ctx context.Context, x *exchange) (res *s3api.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error().Str("request", x.id).Interface("panic", p).Bytes("stack", debug.Stack()).Msg("request panicked")
			e := &s3api.Error{Code: s3api.ErrInternalError, Close: true}
			x.code = string(e.Code)
			res, err = s3api.RenderError(e, x.Request, x.id, hostID), e
		}
	}()
	return s.serve(ctx, x)
}

// newRequest copies what fasthttp parsed: its buffers are reused after the handler returns.
func newRequest(fc *fasthttp.RequestCtx, body *requestBody) *s3api.Request {
	h := &fc.Request.Header
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
		RemoteAddr:    fc.RemoteAddr().String(), TLS: fc.IsTLS(),
	}
	if h.ContentLength() == -2 { // neither Content-Length nor chunked: no body
		r.ContentLength = 0
	}
	if body != nil && body.stream != nil {
		r.Body = body
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
func (s *server) malformed(c *fiber.Ctx, err error) error {
	status := fiber.StatusBadRequest
	if fe, ok := errors.AsType[*fiber.Error](err); ok {
		status = fe.Code
	}
	e := &s3api.Error{Code: s3api.ErrBadRequest, Message: "An error occurred when parsing the HTTP request."}
	switch status {
	case fiber.StatusRequestTimeout:
		e = &s3api.Error{Code: s3api.ErrRequestTimeout}
	case fiber.StatusRequestHeaderFieldsTooLarge:
		e = &s3api.Error{Code: s3api.ErrRequestHeaderSectionTooLarge}
	}
	x := &exchange{id: s.ids.next(), start: time.Now(), name: "Unknown", code: string(e.Code)}
	x.Request = &s3api.Request{Method: string(c.Context().Method()), RawPath: string(c.Context().RequestURI())}
	res := s3api.RenderError(e, x.Request, x.id, hostID)
	s.send(c.Context(), x, res, false, func(n int64, sendErr error) { s.account(x, res.Status, n, nil, sendErr) })
	return nil
}
