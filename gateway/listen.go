package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"time"

	"unistore/config"
	"unistore/netx"
)

// writeStall is how long a client may take no byte of an answer before it is cut. Engines stop
// reading for minutes while they work on a row group.
const writeStall = 5 * time.Minute

// busy is the whole answer to a connection above the limit.
var busy = func() []byte {
	const body = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<Error><Code>SlowDown</Code><Message>Too many connections. Please reduce your request rate.</Message></Error>`
	return fmt.Appendf(nil, "HTTP/1.1 503 Slow Down\r\nServer: UniStore\r\nConnection: close\r\nRetry-After: 1\r\n"+
		"Content-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}()

// listen opens every listener of the S3 side, all under one budget of connections.
func (g *Gateway) listen() error {
	limit := g.cfg.Limits.Connections
	if limit == 0 {
		limit = g.files.connections
	}
	g.budget = netx.NewBudget(limit)
	conf, err := tlsConfig(g.cfg.TLS)
	if err != nil {
		return err
	}
	refusal := busy
	if conf != nil {
		refusal = nil // a plain answer would only confuse a TLS client
	}
	for _, addr := range g.cfg.Listen {
		raw, err := netx.Listen(addr)
		if err != nil {
			return fmt.Errorf("listen %s: %w", addr, err)
		}
		var l net.Listener = netx.Wrap(raw, netx.Config{
			Budget: g.budget, BodyIdle: g.cfg.Limits.RequestBodyIdle, WriteStall: writeStall, Busy: refusal,
			OnConns:  func(open int) { g.metrics.Connections.Set(float64(open)) },
			OnReject: g.metrics.ConnRejected.Inc, Log: g.log,
		})
		if conf != nil {
			l = tls.NewListener(l, conf)
		}
		g.listeners = append(g.listeners, l)
	}
	return nil
}

// tlsConfig returns nil when there is no certificate.
func tlsConfig(t config.TLS) (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	conf := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if t.ClientCA == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls.client_ca: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("tls.client_ca: " + t.ClientCA + " holds no PEM certificate")
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	return conf, nil
}

// differences names the top-level keys that differ and can not change while serving.
func differences(was, is *config.Config) []string {
	var out []string
	a, b := reflect.ValueOf(*was), reflect.ValueOf(*is)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if name == "Credentials" || name == "Log" {
			continue
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, name)
		}
	}
	return out
}
