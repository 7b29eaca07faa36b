package cos

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	sdk "github.com/tencentyun/cos-go-sdk-v5"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Limits of COS as documented (Tencent Cloud COS, "Specifications and Limits", "Object Overview" and "Upload Part").
// The object limit is the one that every other store shares.
const (
	minPart   = 1 << 20
	maxPart   = 5 << 30
	maxParts  = 10000
	maxPut    = 5 << 30
	maxObject = 5 << 40
	maxKey    = 850
	maxCopy   = 5 << 30
)

// Config is one region of COS.
type Config struct {
	Name   string // in logs
	Region string // such as ap-guangzhou; not needed with Endpoint
	// Endpoint is http://HOST[:PORT] or https://HOST[:PORT], with BUCKET.HOST for buckets; empty is Tencent's
	// of the region.
	Endpoint string
	// AppID is the number that ends the names of buckets. With it, names are given and told without.
	AppID string
	// AccessKey (Tencent's SecretId) and SecretKey are both needed.
	AccessKey string
	SecretKey config.Secret
	// CAFile, Timeout and MaxConnections as in wire.TransportConfig.
	CAFile         string
	Timeout        time.Duration
	MaxConnections int
	Log            zerolog.Logger
}

// Backend is one region of COS. It implements upstream.Backend and every optional ability.
type Backend struct {
	cfg       Config
	endpoint  *url.URL // of the region; buckets go before its host
	service   *url.URL // lists the buckets
	transport *http.Transport
	http      *http.Client
	vendor    wire.Vendor
	buckets   *wire.Buckets
	versions  *versioned
	mu        struct {
		sync.Mutex
		clients map[string]*sdk.Client // by bucket
	}
}

var (
	_ upstream.Backend      = (*Backend)(nil)
	_ upstream.Bucketer     = (*Backend)(nil)
	_ upstream.Multiparter  = (*Backend)(nil)
	_ upstream.Copier       = (*Backend)(nil)
	_ upstream.BatchDeleter = (*Backend)(nil)
)

var regionForm = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)

// New makes the driver. It reaches no server.
func New(cfg Config) (*Backend, error) {
	if cfg.AccessKey == "" || cfg.SecretKey.IsZero() {
		return nil, errors.New("access_key and secret_key are needed")
	}
	if strings.Trim(cfg.AppID, "0123456789") != "" {
		return nil, errors.New("app_id must be digits")
	}
	endpoint, service, err := addresses(cfg)
	if err != nil {
		return nil, err
	}
	tr, err := wire.NewTransport(wire.TransportConfig{CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections})
	if err != nil {
		return nil, err
	}
	signer := &sdk.AuthorizationTransport{SecretID: cfg.AccessKey, SecretKey: cfg.SecretKey.Reveal(), Transport: wire.Watch{Next: tr}}
	b := &Backend{
		cfg: cfg, endpoint: endpoint, service: service, transport: tr,
		http: wire.NewClient(wire.Shape{Next: signer}),
		vendor: wire.Vendor{
			Upstream: cfg.Name, Log: cfg.Log, Codes: wire.Codes(nil), RequestID: "X-Cos-Request-Id",
		},
		buckets: wire.NewBuckets(), versions: newVersioned(),
	}
	b.mu.clients = map[string]*sdk.Client{}
	return b, nil
}

func addresses(cfg Config) (endpoint, service *url.URL, err error) {
	if cfg.Endpoint == "" {
		if !regionForm.MatchString(cfg.Region) {
			return nil, nil, errors.New("region is needed, such as ap-guangzhou")
		}
		return &url.URL{Scheme: "https", Host: "cos." + cfg.Region + ".myqcloud.com"},
			&url.URL{Scheme: "https", Host: "service.cos.myqcloud.com"}, nil
	}
	endpoint, err = wire.ParseEndpoint(cfg.Endpoint)
	if err == nil && net.ParseIP(endpoint.Hostname()) != nil {
		err = errors.New("the endpoint must be a host name: COS is addressed as BUCKET.HOST")
	}
	return endpoint, endpoint, err
}

// maxClients bounds the memory; beyond it all are forgotten.
const maxClients = 1024

// client is the SDK's for one bucket, by its full name; the empty name is the service.
func (b *Backend) client(bucket string) *sdk.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.mu.clients[bucket]; ok {
		return c
	}
	urls := &sdk.BaseURL{ServiceURL: b.service}
	if bucket != "" {
		u := *b.endpoint
		u.Host = bucket + "." + u.Host
		urls.BucketURL = &u
	}
	c := sdk.NewClient(urls, b.http)
	c.Conf.EnableCRC = false
	c.Conf.RetryOpt.Count = 1
	if len(b.mu.clients) >= maxClients {
		clear(b.mu.clients)
	}
	b.mu.clients[bucket] = c
	return c
}

// Limits implements upstream.Backend.
func (b *Backend) Limits() upstream.Limits {
	return upstream.Limits{
		MinPart: minPart, MaxPart: maxPart, MaxParts: maxParts,
		MaxPut: maxPut, MaxObject: maxObject, MaxKey: maxKey, MaxCopy: maxCopy,
		ContiguousParts: true, CreateOnly: true,
	}
}

// Close implements upstream.Backend.
func (b *Backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
