package gateway

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/rs/zerolog"

	"unistore/config"
)

// testGateway is a gateway in the test's process, over a local directory.
type testGateway struct {
	*Gateway
	t      *testing.T
	cfg    *config.Config
	client *s3.Client
	url    string
	stop   func()
	ahead  atomic.Int64 // of the gateway's clock against time.Now
}

// now is the gateway's clock.
func (g *testGateway) now() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }

// wait lets time pass for the gateway.
func (g *testGateway) wait(d time.Duration) { g.ahead.Add(int64(d)) }

// startGateway runs a gateway; change adapts the configuration first. It ends with the test, or by stop.
func startGateway(t *testing.T, dir string, change func(*config.Config)) *testGateway {
	t.Helper()
	cfg := &config.Config{
		Listen: []string{"127.0.0.1:0"}, Region: "us-east-1", BaseDomains: []string{"s3.localhost"},
		Admin:       config.Admin{Listen: "127.0.0.1:0"},
		Credentials: []config.Credential{{AccessKey: "AKTEST", SecretKey: config.NewSecret("secret"), Buckets: []string{"*"}}},
		Limits:      config.Limits{RequestBodyIdle: 5 * time.Second},
		Cache: config.Cache{Dir: filepath.Join(dir, "cache"), Size: 256 << 20, BlockSize: 1 << 20, Policy: "lru",
			HighWatermark: .95, LowWatermark: .9, PinLimit: .8},
		Upstreams: map[string]config.Upstream{"disk": {Type: "local", Root: filepath.Join(dir, "objects")}},
		Buckets:   []config.Route{{Name: "*", Upstream: "disk", Freshness: config.Freshness{TTL: time.Minute}, Write: "bypass"}},
	}
	if change != nil {
		change(cfg)
	}
	log := zerolog.Nop()
	if os.Getenv("UNISTORE_TEST_LOG") != "" {
		log = zerolog.New(zerolog.NewTestWriter(t))
	}
	tg := &testGateway{}
	g, err := New(t.Context(), cfg, Options{Log: log, Version: "test", now: tg.now, stall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	tg.Gateway, tg.t, tg.cfg, tg.url = g, t, cfg, "http://"+g.Addresses()[0]
	stopped := false
	tg.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	}
	t.Cleanup(tg.stop)
	tg.client = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(tg.url), UsePathStyle: true,
		Credentials:      credentials.NewStaticCredentialsProvider("AKTEST", "secret", ""),
		RetryMaxAttempts: 1,
	})
	return tg
}

func staticKeys(key, secret string) func(context.Context) (aws.Credentials, error) {
	return func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, nil
	}
}

func now() time.Time { return time.Now() }

func awsResponse(m middleware.Metadata) (*http.Response, bool) {
	raw, ok := awsmiddleware.GetRawResponse(m).(*smithyhttp.Response)
	if !ok {
		return nil, false
	}
	return raw.Response, true
}
