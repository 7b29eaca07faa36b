package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/netx"
	"unistore/prefetch"
)

const (
	// adminConns bounds the operators' connections; they have a budget of their own, so that clients
	// can not lock the operator out.
	adminConns = 256
	// adminBody is the most that a request's body may have: bytes.
	adminBody = controlBody
	// adminStop bounds how long requests of operators may outlast the gateway.
	adminStop = 5 * time.Second
)

// adminState is what the admin side asks the gateway. Its methods are safe for concurrent use.
type adminState interface {
	// notReady says why the gateway should get no traffic; empty is ready.
	notReady(ctx context.Context) []string
	Addresses() []string
	controlState
	// scope finds the objects of a verification; verify checks them, see cache.VerifyMatching.
	scope(what verification) (cache.Scope, error)
	verify(ctx context.Context, scope cache.Scope, progress func(done, total, bad int64)) (verifyResult, error)
}

// adminConfig sets up the admin side.
type adminConfig struct {
	Listen   string // host:port or unix:PATH
	Token    config.Secret
	Version  string
	Registry *prometheus.Registry
	Faults   *faults.Set        // nil: the calls for them answer 404
	Queries  *prefetch.Registry // nil: prefetching is not enabled
	Log      zerolog.Logger
}

// admin is the operator's listener. serve runs it until close.
type admin struct {
	cfg      adminConfig
	state    adminState
	app      *fiber.App
	listener net.Listener
	started  time.Time
	token    [sha256.Size]byte // hash of the token, so that its length does not show in the time of a compare
	guarded  bool              // a token is needed
	base     context.Context   // ends with close
	cancel   context.CancelFunc
	turn     chan struct{} // capacity 1: held by a verification
}

// newAdmin opens the admin side's listener; nothing is answered before serve.
func newAdmin(cfg adminConfig, state adminState) (*admin, error) {
	a := &admin{cfg: cfg, state: state, started: time.Now(), guarded: !cfg.Token.IsZero(), turn: make(chan struct{}, 1)}
	a.base, a.cancel = context.WithCancel(context.Background())
	a.token = sha256.Sum256([]byte(cfg.Token.Reveal()))
	if !a.guarded && !config.Local(cfg.Listen) {
		return nil, errors.New("admin: off loopback a token is needed")
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := cfg.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	raw, err := netx.Listen(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %s: %w", cfg.Listen, err)
	}
	a.listener = netx.Wrap(raw, netx.Config{
		Budget: netx.NewBudget(adminConns), BodyIdle: 10 * time.Second, WriteStall: time.Minute, Log: cfg.Log,
	})
	a.app = a.routes()
	return a, nil
}

// serve answers until close.
func (a *admin) serve() error {
	if err := a.app.Listener(a.listener); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// close stops the admin side; a request under way gets adminStop. It may be called more than once, and without serve.
func (a *admin) close() error {
	a.cancel()
	err := a.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminStop)
	defer cancel()
	if e := a.app.ShutdownWithContext(ctx); e != nil && !errors.Is(e, net.ErrClosed) && !errors.Is(e, context.DeadlineExceeded) {
		err = errors.Join(err, e)
	}
	a.turn <- struct{}{} // a verification has ended
	<-a.turn
	return err
}

// address is where it listens, with the port that the system chose.
func (a *admin) address() string {
	if addr := a.listener.Addr(); addr.Network() != "unix" {
		return addr.String()
	}
	return a.cfg.Listen
}

func (a *admin) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		AppName: "UniStore", ServerHeader: "UniStore", DisableStartupMessage: true,
		Immutable: true, BodyLimit: adminBody, ErrorHandler: a.fail,
		ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	})
	app.Use(recover.New(), a.secure)
	app.Get("/healthz", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	app.Get("/readyz", a.readyz)
	app.Use(a.authorize)
	app.Get("/", a.page)
	app.Get("/metrics", adaptor.HTTPHandler(promhttp.HandlerFor(a.cfg.Registry, promhttp.HandlerOpts{Registry: a.cfg.Registry})))
	profiles(app.Group("/debug/pprof"))
	api := app.Group("/_unistore/v1")
	a.faultRoutes(api)
	api.Post("/cache/verify", a.verify)
	api.All("/*", a.control)
	return app
}

// profiles leaves out cmdline: a secret may stand in the arguments.
func profiles(group fiber.Router) {
	group.Get("/cmdline", func(*fiber.Ctx) error { return fiber.ErrNotFound })
	group.Get("/profile", adaptor.HTTPHandlerFunc(pprof.Profile))
	group.Get("/trace", adaptor.HTTPHandlerFunc(pprof.Trace))
	group.All("/symbol", adaptor.HTTPHandlerFunc(pprof.Symbol))
	group.Get("", func(c *fiber.Ctx) error {
		if strings.HasSuffix(c.Path(), "/") {
			return c.Next()
		}
		return c.Redirect("/debug/pprof/")
	})
	group.Get("/*", adaptor.HTTPHandlerFunc(pprof.Index))
}

// secure sets what every answer carries, and refuses names that a foreign page could have pointed here
// (DNS rebinding) when there is no token to keep it out.
func (a *admin) secure(c *fiber.Ctx) error {
	c.Set("Cache-Control", "no-store")
	c.Set("X-Content-Type-Options", "nosniff")
	c.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	if !a.guarded && !strings.HasPrefix(a.cfg.Listen, "unix:") && !localHost(string(c.Request().Host())) {
		return fiber.NewError(http.StatusForbidden, "without a token the admin listener answers only under a name of loopback; set admin.token")
	}
	return c.Next()
}

func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// authorize lets requests with the token pass: as a bearer, or as the password of a browser.
func (a *admin) authorize(c *fiber.Ctx) error {
	if a.allowed(c) {
		return c.Next()
	}
	c.Set("WWW-Authenticate", `Basic realm="unistore", charset="UTF-8"`)
	return fiber.NewError(http.StatusUnauthorized, "the token is missing or wrong: send Authorization: Bearer TOKEN")
}

func (a *admin) allowed(c *fiber.Ctx) bool {
	if !a.guarded {
		return true
	}
	scheme, given, _ := strings.Cut(c.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
	case strings.EqualFold(scheme, "Basic"):
		text, err := base64.StdEncoding.DecodeString(given)
		if err != nil {
			return false
		}
		_, given, _ = strings.Cut(string(text), ":")
	default:
		return false
	}
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], a.token[:]) == 1
}

// fail renders every error as JSON.
func (a *admin) fail(c *fiber.Ctx, err error) error {
	status, message := http.StatusInternalServerError, "internal error"
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		status, message = e.Code, e.Message
	} else {
		a.cfg.Log.Error().Err(err).Msg("admin request failed")
	}
	code := strings.ReplaceAll(http.StatusText(status), " ", "")
	return c.Status(status).JSON(fiber.Map{"error": fiber.Map{"code": code, "message": message}})
}
