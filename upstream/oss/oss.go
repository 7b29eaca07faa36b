package oss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	sdk "github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/signer"
	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Limits of OSS as documented (help.aliyun.com, "Limits" and "Multipart upload"): at most 48.8 TB an object.
const (
	minPart   = 100 << 10
	maxPart   = 5 << 30
	maxParts  = 10000
	maxPut    = 5 << 30
	maxObject = maxParts * maxPart
	maxKey    = 1023
	maxCopy   = 5 << 30
)

// Config is one OSS service: one region of one account.
type Config struct {
	Name string // in logs
	// Region as "cn-hangzhou". It is part of the signature; empty: that of the endpoint's name.
	Region string
	// Endpoint is a URL; empty is the region's own, https://oss-REGION.aliyuncs.com.
	Endpoint string
	// PathStyle puts the bucket in the path, which OSS itself refuses. Endpoints that are an IP address get it anyway.
	PathStyle bool
	// AccessKey and SecretKey, both or neither; neither is OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and
	// OSS_SESSION_TOKEN of the environment.
	AccessKey string
	SecretKey config.Secret
	// CAFile holds PEM certificates to trust instead of the system's.
	CAFile         string
	Timeout        time.Duration // to connect; the time to an answer is bounded by upstream.Store
	MaxConnections int           // idle connections kept
	Log            zerolog.Logger
}

// Backend is one OSS service. It implements upstream.Backend and every optional ability.
type Backend struct {
	client    *sdk.Client
	transport *http.Transport
	vendor    wire.Vendor
	buckets   *wire.Buckets
	versions  *versionCache
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
	endpoint, err := endpointOf(&cfg)
	if err != nil {
		return nil, err
	}
	keys, err := keysOf(cfg)
	if err != nil {
		return nil, err
	}
	transport, err := wire.NewTransport(wire.TransportConfig{CAFile: cfg.CAFile, Timeout: cfg.Timeout, MaxConnections: cfg.MaxConnections})
	if err != nil {
		return nil, err
	}
	client := sdk.NewClient(sdk.NewConfig().
		WithRegion(cfg.Region).WithEndpoint(endpoint.String()).WithCredentialsProvider(keys).
		WithUsePathStyle(cfg.PathStyle || net.ParseIP(endpoint.Hostname()) != nil).
		// Its own client ends a connection that has been still for 10 s, also when it is we who do not read.
		WithHttpClient(wire.NewClient(wire.Shape{Next: wire.Watch{Next: headErrors{transport}}})).
		WithRetryMaxAttempts(1).WithDisableUploadCRC64Check(true).WithDisableDownloadCRC64Check(true),
		func(o *sdk.Options) {
			o.Signer = shapedSigner{&signer.SignerV4{}}
			// The correction of the clock is a data race, and a clock that is wrong is the operator's to know.
			o.FeatureFlags &^= sdk.FeatureCorrectClockSkew | sdk.FeatureAutoDetectMimeType
		})
	return &Backend{
		client: client, transport: transport, buckets: wire.NewBuckets(), versions: newVersionCache(),
		vendor: wire.Vendor{
			Upstream: cfg.Name, Log: cfg.Log, Codes: wire.Codes(ownCodes), RequestID: "X-Oss-Request-Id",
			ErrorCode: headCode, ErrorMessage: headMessage,
		},
	}, nil
}

// ownCodes are those of OSS that S3 does not have.
var ownCodes = map[string]upstream.Code{
	"BucketAlreadyExists":       upstream.BucketExists, // CreateBucket tells whose
	"FileImmutable":             upstream.Conflict,     // a retention policy
	"FilePartNotExist":          upstream.InvalidPart,
	"FilePartInterity":          upstream.InvalidPart, // sic
	"FilePartStale":             upstream.InvalidPart,
	"InvalidTargetBucketForLog": upstream.Invalid,
	"SymlinkTargetNotExist":     upstream.NotExist,
	"InvalidObjectState":        upstream.Unsupported, // archived, not restored
	"UserDisable":               upstream.Access,
}

// endpointOf completes cfg.Region and returns the endpoint's URL.
func endpointOf(cfg *Config) (*url.URL, error) {
	if cfg.Endpoint == "" {
		if cfg.Region == "" {
			return nil, errors.New("region is needed, or an endpoint")
		}
		cfg.Endpoint = "https://oss-" + cfg.Region + ".aliyuncs.com"
	}
	u, err := wire.ParseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		cfg.Region = regionOf(u.Hostname())
	}
	if !validRegion(cfg.Region) {
		return nil, fmt.Errorf("region is needed: the signature names it, and endpoint %s does not", u.Hostname())
	}
	return u, nil
}

// regionOf reads the region in a name like oss-cn-hangzhou-internal.aliyuncs.com.
func regionOf(host string) string {
	name, ok := strings.CutSuffix(host, ".aliyuncs.com")
	region, ok2 := strings.CutPrefix(name, "oss-")
	if !ok || !ok2 || strings.Contains(region, ".") || strings.HasPrefix(region, "accelerate") {
		return ""
	}
	return strings.TrimSuffix(region, "-internal")
}

func validRegion(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

func keysOf(cfg Config) (credentials.CredentialsProvider, error) {
	if (cfg.AccessKey == "") != cfg.SecretKey.IsZero() {
		return nil, errors.New("access_key and secret_key go together")
	}
	id, secret, token := cfg.AccessKey, cfg.SecretKey.Reveal(), ""
	if id == "" {
		id, secret, token = os.Getenv("OSS_ACCESS_KEY_ID"), os.Getenv("OSS_ACCESS_KEY_SECRET"), os.Getenv("OSS_SESSION_TOKEN")
	}
	if cmp.Or(id, secret) == "" || id == "" || secret == "" {
		return nil, errors.New("access_key and secret_key are needed, or OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET in the environment")
	}
	return credentials.NewStaticCredentialsProvider(id, secret, token), nil
}

// shapedSigner gives a request its final header before it is signed.
type shapedSigner struct{ next signer.Signer }

func (s shapedSigner) Sign(ctx context.Context, signing *signer.SigningContext) error {
	wire.ApplyHeader(ctx, signing.Request.Header)
	return s.next.Sign(ctx, signing)
}

// Limits implements upstream.Backend.
func (b *Backend) Limits() upstream.Limits {
	return upstream.Limits{
		MinPart: minPart, MaxPart: maxPart, MaxParts: maxParts,
		MaxPut: maxPut, MaxObject: maxObject, MaxKey: maxKey, MaxCopy: maxCopy,
		CreateOnly: true,
	}
}

// Close implements upstream.Backend.
func (b *Backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
