package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Dialect is the vendor whose protocol is spoken.
type Dialect uint8

// The dialects.
const (
	OSS Dialect = iota // Alibaba Cloud OSS, signatures V4 and V1
	OBS                // Huawei Cloud OBS, its native protocol
	COS                // Tencent Cloud COS
)

// ParseDialect reads "oss", "obs" or "cos".
func ParseDialect(name string) (Dialect, error) {
	for d, v := range vendors {
		if v.name == name {
			return Dialect(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dialect %q (known: oss, obs, cos)", name)
}

// String is the dialect's name as ParseDialect reads it.
func (d Dialect) String() string { return vendors[d].name }

// vendor is what is fixed about a dialect.
type vendor struct {
	name    string
	prefix  string // of its headers, lower case
	domains []string
	// service are hosts that name no bucket.
	service     []string
	contentType string // of an object stored without
	verify      func(e *Emulator, c *call) *failure
}

// The domains: one on this machine for clients that know what "localhost" means, one for tests that resolves nowhere, and one
// of the vendor for clients that insist.
var vendors = [...]vendor{
	OSS: {
		name: "oss", prefix: "x-oss-", verify: verifyOSS, contentType: "application/octet-stream",
		domains: []string{"oss.localhost", "oss.test", "oss-cn-hangzhou.aliyuncs.com"},
	},
	OBS: {
		name: "obs", prefix: "x-obs-", verify: verifyOBS, contentType: "binary/octet-stream",
		domains: []string{"obs.localhost", "obs.test", "obs.cn-north-4.myhuaweicloud.com"},
	},
	COS: {
		name: "cos", prefix: "x-cos-", verify: verifyCOS, contentType: "application/octet-stream",
		domains: []string{"cos.localhost", "cos.test", "cos.ap-guangzhou.myqcloud.com"},
		service: []string{"service.cos.localhost", "service.cos.test", "service.cos.myqcloud.com"},
	},
}

// Config of an Emulator.
type Config struct {
	Dialect Dialect
	// Credentials are the accounts' secret keys by access key. All see the same buckets.
	Credentials map[string]string
	// Domains: a request for BUCKET.DOMAIN is about that bucket; for DOMAIN, or an IP address, the bucket is
	// in the path. Empty: NAME.localhost, NAME.test, and one of the vendor.
	Domains []string
	// Region that a signature must name, for dialects that have one; empty: any.
	Region string
	// Quirks; nil: DefaultQuirks.
	Quirks *Quirks
	// Inject, when not nil, is asked before every request that has a valid signature. It may be called
	// by several goroutines at once.
	Inject func(Call) Fault
	// Now; nil: time.Now.
	Now func() time.Time
}

// Emulator is one emulated store. It is safe for concurrent use.
type Emulator struct {
	vendor vendor
	cfg    Config
	store  *store

	mu struct {
		sync.Mutex
		quirks Quirks
		inject func(Call) Fault
		nextID uint64 // of a request
		calls  map[string]int
	}
}

// New makes an empty store.
func New(cfg Config) *Emulator {
	e := &Emulator{vendor: vendors[cfg.Dialect], cfg: cfg}
	if e.cfg.Now == nil {
		e.cfg.Now = time.Now
	}
	if len(cfg.Domains) == 0 {
		e.cfg.Domains = e.vendor.domains
	}
	e.mu.quirks = DefaultQuirks(cfg.Dialect)
	if cfg.Quirks != nil {
		e.mu.quirks = *cfg.Quirks
	}
	e.mu.inject = cfg.Inject
	e.mu.calls = map[string]int{}
	e.store = newStore(e.cfg.Now)
	return e
}

// SetQuirks replaces the quirks for requests from now on.
func (e *Emulator) SetQuirks(q Quirks) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.quirks = q
}

// SetInject replaces Config.Inject for requests from now on; nil ends the injection.
func (e *Emulator) SetInject(inject func(Call) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.inject = inject
}

// Requests returns how many requests of an operation have come in; "refused" counts those
// without a valid signature.
func (e *Emulator) Requests(op Operation) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.calls[string(op)]
}

// Server is an Emulator that listens on loopback.
type Server struct {
	*Emulator
	// Addr is HOST:PORT; URL is http://HOST:PORT, for path-style clients.
	Addr, URL string

	http *http.Server
	done chan error
}

// Start serves a new Emulator on addr; "127.0.0.1:0" finds a free port.
func Start(addr string, cfg Config) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("emulator: %w", err)
	}
	s := &Server{Emulator: New(cfg), Addr: l.Addr().String(), URL: "http://" + l.Addr().String(), done: make(chan error, 1)}
	s.http = &http.Server{Handler: s.Emulator, ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.http.Serve(l) }()
	return s, nil
}

// Endpoint is the URL for virtual-host style clients: http://DOMAIN:PORT with the first of Config.Domains. For clients that cannot
// resolve names below it there is Dial; the server can also be their HTTP proxy.
func (s *Server) Endpoint() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return "http://" + net.JoinHostPort(s.cfg.Domains[0], port)
}

// Dial connects to the server, whatever address is asked for: for http.Transport.DialContext.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", s.Addr)
}

// Close ends the server and every request under way.
func (s *Server) Close() error {
	err := s.http.Close()
	if serve := <-s.done; !errors.Is(serve, http.ErrServerClosed) {
		err = errors.Join(err, serve)
	}
	return err
}
