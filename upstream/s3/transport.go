package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// idleConn is shorter than any server's keep-alive timeout that matters (Amazon closes after
	// about 20 s): a PUT on a connection that the server is closing cannot be repeated.
	idleConn    = 15 * time.Second
	connBuffer  = 64 << 10 // one copy from the kernel per 64 KiB of a body instead of per 4 KiB
	maxHeaders  = 256 << 10
	maxError    = 1 << 20 // an error document; the SDK reads it whole
	dialTimeout = 10 * time.Second
)

func newTransport(cfg Config) (*http.Transport, error) {
	roots, err := rootCAs(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: min(cfg.Timeout, dialTimeout), KeepAlive: 30 * time.Second}
	// Streams of one HTTP/2 connection would share one flow-control window and one congestion window.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
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

// boundedErrors cuts error documents at maxError. And it names the protocol, which the SDK leaves out:
// net/http then sends "Expect: 100-continue" but not as it is meant, with the body right behind it, so that an early
// refusal of a large body is lost in the reset of the connection.
type boundedErrors struct{ next http.RoundTripper }

func (t boundedErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.WithContext(req.Context())
	req.ProtoMajor, req.ProtoMinor = 1, 1
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp.StatusCode >= 300 {
		resp.Body = &cappedBody{body: resp.Body, left: maxError}
	}
	return resp, err
}

var errLongError = errors.New("the error document is too long")

type cappedBody struct {
	body io.ReadCloser
	left int
}

func (c *cappedBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errLongError
	}
	n, err := c.body.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *cappedBody) Close() error { return c.body.Close() }
