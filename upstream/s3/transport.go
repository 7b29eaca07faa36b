package s3

import (
	"net/http"

	"unistore/upstream/internal/wire"
)

func newTransport(cfg Config) (*http.Transport, error) {
	return wire.NewTransport(wire.TransportConfig{CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections})
}
