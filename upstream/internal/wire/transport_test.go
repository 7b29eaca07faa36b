package wire

import (
	"context"
	"net"
	"net/http"
	"testing"
)

// The defaults of net/http and of SDKs keep two idle connections, or ten, bound those in use, end streams by the clock, and one
// does not look at certificates.
func TestTrapTransport(t *testing.T) {
	tr, err := NewTransport(TransportConfig{MaxConnections: 77})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.CloseIdleConnections()
	if tr.MaxIdleConnsPerHost != 77 || tr.MaxConnsPerHost != 0 || tr.MaxIdleConns != 0 {
		t.Errorf("idle connections: %d of a host, %d in all; at most %d in use", tr.MaxIdleConnsPerHost, tr.MaxIdleConns, tr.MaxConnsPerHost)
	}
	if tr.ResponseHeaderTimeout != 0 || NewClient(tr).Timeout != 0 {
		t.Error("an answer that takes long, a completion say, is cut off")
	}
	if !tr.DisableCompression || tr.TLSClientConfig.InsecureSkipVerify {
		t.Error("objects are unpacked, or certificates are not verified")
	}
	if err := NewClient(tr).CheckRedirect(nil, nil); err != http.ErrUseLastResponse {
		t.Errorf("redirects: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	conn, err := tr.DialContext(context.WithoutCancel(t.Context()), "tcp", net.JoinHostPort("bucket.oss.localhost", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
