package obs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/huaweicloud/huaweicloud-sdk-go-obs/obs"
	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Limits of OBS as documented (Object Storage Service User Guide, "Restrictions and Limitations"; API Reference,
// "Uploading Parts"). The object limit is the one that every other store shares.
const (
	minPart   = 100 << 10
	maxPart   = 5 << 30
	maxParts  = 10000
	maxPut    = 5 << 30
	maxObject = 5 << 40
	maxKey    = 1024
	maxCopy   = 5 << 30
)

// Config is one OBS endpoint.
type Config struct {
	Name     string // in logs
	Endpoint string // http://HOST[:PORT] or https://HOST[:PORT]; HOST is a name
	Region   string // where CreateBucket makes buckets; empty is the endpoint's own
	// AccessKey and SecretKey are both needed.
	AccessKey string
	SecretKey config.Secret
	// CAFile, Timeout and MaxConnections as in wire.TransportConfig.
	CAFile         string
	Timeout        time.Duration
	MaxConnections int
	Log            zerolog.Logger
}

// Backend is one OBS endpoint. It implements upstream.Backend and every optional ability.
type Backend struct {
	cfg       Config
	endpoint  *url.URL
	transport *http.Transport
	client    *http.Client
	vendor    wire.Vendor
	buckets   *wire.Buckets
}

var (
	_ upstream.Backend      = (*Backend)(nil)
	_ upstream.Bucketer     = (*Backend)(nil)
	_ upstream.Multiparter  = (*Backend)(nil)
	_ upstream.Copier       = (*Backend)(nil)
	_ upstream.BatchDeleter = (*Backend)(nil)
)

// New makes the driver. It reaches no server.
func New(cfg Config) (*Backend, error) {
	if cfg.AccessKey == "" || cfg.SecretKey.IsZero() {
		return nil, errors.New("access_key and secret_key are needed")
	}
	if cfg.Endpoint == "" {
		return nil, errors.New("endpoint is needed, such as https://obs.cn-north-4.myhuaweicloud.com")
	}
	endpoint, err := wire.ParseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(endpoint.Hostname()) != nil {
		return nil, errors.New("the endpoint must be a host name: OBS is addressed as BUCKET.HOST")
	}
	tr, err := wire.NewTransport(wire.TransportConfig{CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections})
	if err != nil {
		return nil, err
	}
	b := &Backend{
		cfg: cfg, endpoint: endpoint, transport: tr,
		client: wire.NewClient(wire.Shape{Next: wire.Watch{Next: tr}}),
		vendor: wire.Vendor{
			Upstream: cfg.Name, Log: cfg.Log, Codes: wire.Codes(nil),
			RequestID: "X-Obs-Request-Id", ErrorCode: "X-Obs-Error-Code", ErrorMessage: "X-Obs-Error-Message",
		},
		buckets: wire.NewBuckets(),
	}
	if _, err := b.newClient(context.Background()); err != nil {
		tr.CloseIdleConnections()
		return nil, err
	}
	return b, nil
}

// newClient makes the client of one call. It costs a microsecond.
func (b *Backend) newClient(ctx context.Context) (*sdk.ObsClient, error) {
	c, err := sdk.New(b.cfg.AccessKey, b.cfg.SecretKey.Reveal(), b.endpoint.String(),
		sdk.WithSignature(sdk.SignatureObs), sdk.WithHttpClient(b.client), sdk.WithHttpTransport(b.transport),
		sdk.WithRequestContext(ctx), sdk.WithMaxRetryCount(0), sdk.WithMaxRedirectCount(0))
	if err != nil {
		return nil, fmt.Errorf("OBS client: %w", err)
	}
	return c, nil
}

// Limits implements upstream.Backend.
func (b *Backend) Limits() upstream.Limits {
	return upstream.Limits{
		MinPart: minPart, MaxPart: maxPart, MaxParts: maxParts,
		MaxPut: maxPut, MaxObject: maxObject, MaxKey: maxKey, MaxCopy: maxCopy,
	}
}

// Close implements upstream.Backend.
func (b *Backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
