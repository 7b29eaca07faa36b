package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/internal/wire"
)

// Limits of S3 as documented (Amazon S3 User Guide, "Amazon S3 multipart upload limits" and "Creating object
// key names"). The object limit is the one that every implementation shares.
const (
	minPart   = 5 << 20
	maxPart   = 5 << 30
	maxParts  = 10000
	maxPut    = 5 << 30
	maxObject = 5 << 40
	maxKey    = 1024
	maxCopy   = 5 << 30
)

// defaultRegion is signed when nothing names a region; most servers but Amazon's accept it.
const defaultRegion = "us-east-1"

// Config is one S3 service.
type Config struct {
	Name   string // in logs
	Region string // empty: the SDK's default chain, then us-east-1
	// Endpoint is a URL; empty is Amazon's for the region.
	Endpoint string
	// PathStyle puts the bucket in the path. Endpoints that are an IP address get it anyway.
	PathStyle bool
	// AccessKey and SecretKey, both or neither; neither is the SDK's default chain.
	AccessKey string
	SecretKey config.Secret
	// CAFile holds PEM certificates to trust instead of the system's; empty is AWS_CA_BUNDLE, then
	// the system's.
	CAFile         string
	Timeout        time.Duration // to connect; the time to an answer is bounded by upstream.Store
	MaxConnections int           // idle connections kept; 0 is upstream.DefaultMaxConnections
	Log            zerolog.Logger
}

// Backend is one S3 service. It implements upstream.Backend and every optional ability.
type Backend struct {
	client    *awss3.Client
	transport *http.Transport
	cfg       Config
	buckets   *wire.Buckets
	uploads   *uploadAlgorithms
	exact     bool         // keys are not read as paths
	listings  encoding     // learned from the first one
	frames    atomic.Int32 // framingUnknown, framingWorks or framingNone
	echoes    atomic.Int32 // echoUnknown, echoComes or echoMissing
}

var (
	_ upstream.Backend      = (*Backend)(nil)
	_ upstream.Bucketer     = (*Backend)(nil)
	_ upstream.Multiparter  = (*Backend)(nil)
	_ upstream.Copier       = (*Backend)(nil)
	_ upstream.BatchDeleter = (*Backend)(nil)
	_ upstream.BodyVerifier = (*Backend)(nil)
)

// New makes the driver. It reaches no server, except what the SDK's default credential chain asks
// of the host when cfg has no keys.
func New(ctx context.Context, cfg Config) (*Backend, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = upstream.DefaultTimeout
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = upstream.DefaultMaxConnections
	}
	opts := awss3.Options{
		Region:                     cfg.Region,
		UsePathStyle:               cfg.PathStyle,
		Retryer:                    aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		DisableLogOutputChecksumValidationSkipped: true,
		DisableS3ExpressSessionAuth:               aws.Bool(true),
	}
	var endpoint *url.URL
	if cfg.Endpoint != "" {
		u, err := parseEndpoint(cfg.Endpoint)
		if err != nil {
			return nil, err
		}
		endpoint = u
		opts.BaseEndpoint = aws.String(u.String())
		if net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost" {
			opts.UsePathStyle = true
		}
	}
	if err := authorize(ctx, &opts, cfg); err != nil {
		return nil, err
	}
	cfg.Region = opts.Region
	tr, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	opts.APIOptions = append(opts.APIOptions, unsignedHeaders)
	opts.HTTPClient = wire.NewClient(documents{wire.Watch{Next: tr}})
	return &Backend{
		client: awss3.New(opts), transport: tr, cfg: cfg,
		buckets: wire.NewBuckets(), uploads: newUploadAlgorithms(), exact: exactKeys(endpoint),
	}, nil
}

func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("endpoint must be http://HOST[:PORT] or https://HOST[:PORT]")
	}
	return u, nil
}

// authorize fills in the credentials, and the region if it is not configured.
func authorize(ctx context.Context, opts *awss3.Options, cfg Config) error {
	if (cfg.AccessKey == "") != cfg.SecretKey.IsZero() {
		return errors.New("access_key and secret_key go together")
	}
	if cfg.AccessKey != "" {
		opts.Credentials = credentials.NewStaticCredentialsProvider(cfg.AccessKey, cfg.SecretKey.Reveal(), "")
	} else {
		// The chain gets no HTTP client of ours: with AWS_CA_BUNDLE set it can only be built with its own.
		chain, err := awsconfig.LoadDefaultConfig(ctx)
		if err != nil {
			return fmt.Errorf("default credential chain: %w", err)
		}
		opts.Credentials = credentialChain{chain.Credentials}
		if opts.Region == "" {
			opts.Region = chain.Region
		}
	}
	if opts.Region == "" {
		opts.Region = os.Getenv("AWS_REGION")
	}
	if opts.Region == "" {
		opts.Region = defaultRegion
	}
	return nil
}

// errCredentials marks a failure of the credential chain: no request was sent.
var errCredentials = errors.New("no credentials")

// credentialChain makes failures of a provider recognisable.
type credentialChain struct{ aws.CredentialsProvider }

func (c credentialChain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return v, fmt.Errorf("%w: %w", errCredentials, err)
	}
	return v, nil
}

// Limits implements upstream.Backend.
func (b *Backend) Limits() upstream.Limits {
	return upstream.Limits{
		MinPart: minPart, MaxPart: maxPart, MaxParts: maxParts,
		MaxPut: maxPut, MaxObject: maxObject, MaxKey: maxKey, MaxCopy: maxCopy,
		CreateOnly: true, ReplaceOnly: true, CopyConditions: b.exact, DeleteCondition: b.exact, StoresChecksums: true,
	}
}

// Close implements upstream.Backend.
func (b *Backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}
