package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"unistore/upstream"
)

const (
	// idleConn is shorter than any server's keep-alive timeout that matters (Amazon closes after
	// about 20 s): a PUT on a connection that the server is closing cannot be repeated.
	idleConn    = 15 * time.Second
	connBuffer  = 64 << 10 // one copy from the kernel per 64 KiB of a body instead of per 4 KiB
	maxHeaders  = 256 << 10
	dialTimeout = 10 * time.Second
)

// TransportConfig is what an operator may set about the connections to one store.
type TransportConfig struct {
	// CAFile holds PEM certificates to trust instead of the system's; empty is AWS_CA_BUNDLE, then
	// the system's.
	CAFile         string
	Timeout        time.Duration // to connect; 0 is upstream.DefaultTimeout
	MaxConnections int           // idle connections kept; 0 is upstream.DefaultMaxConnections
}

// NewTransport makes the transport of one store. It has no timeout for answers and bodies: those are
// upstream.Store's. The caller closes its idle connections.
//
// Names below "localhost" are this machine (RFC 6761 section 6.3), whatever the resolver thinks, so that a server
// on it can be addressed in virtual-host style.
func NewTransport(cfg TransportConfig) (*http.Transport, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = upstream.DefaultTimeout
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = upstream.DefaultMaxConnections
	}
	roots, err := rootCAs(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: min(cfg.Timeout, dialTimeout), KeepAlive: 30 * time.Second}
	// Streams of one HTTP/2 connection would share one flow-control window and one congestion window.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  proxyFor,
		DialContext:            wide(dialLocal(dialer)),
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    min(cfg.Timeout, dialTimeout),
		MaxIdleConnsPerHost:    cfg.MaxConnections,
		IdleConnTimeout:        idleConn,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaders,
		ReadBufferSize:         connBuffer,
		WriteBufferSize:        connBuffer,
		// Otherwise objects stored with Content-Encoding: gzip arrive unpacked and without a length.
		DisableCompression: true,
		Protocols:          &protocols,
	}, nil
}

// NewClient is an http.Client over rt that gives every answer to its caller. Following a redirect would send the
// signed request, and the body again, to another host.
func NewClient(rt http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func belowLocalhost(host string) bool {
	return strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".localhost")
}

func proxyFor(req *http.Request) (*url.URL, error) {
	if belowLocalhost(req.URL.Hostname()) {
		return nil, nil //nolint:nilnil // net/http takes nil for none
	}
	return http.ProxyFromEnvironment(req)
}

func dialLocal(dialer *net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, port, err := net.SplitHostPort(addr); err == nil && belowLocalhost(host) {
			addr = net.JoinHostPort("localhost", port)
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

// rootCAs reads the certificates of file, or of AWS_CA_BUNDLE; nil means the system's.
func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		file = os.Getenv("AWS_CA_BUNDLE")
	}
	if file == "" {
		return nil, nil //nolint:nilnil // crypto/tls takes nil for the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s: no certificate in it", file)
	}
	return pool, nil
}

// ParseEndpoint reads http://HOST[:PORT] or https://HOST[:PORT], without the path that it may not have.
func ParseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" ||
		strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("endpoint must be http://HOST[:PORT] or https://HOST[:PORT]")
	}
	u.Path = ""
	return u, nil
}
