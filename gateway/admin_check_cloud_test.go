package gateway

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/all"
	"unistore/upstream/emulator"

	"github.com/rs/zerolog"
)

// TestCheckCloudsOnEmulator checks upstreams of the clouds' types, each on its emulator: with the right secret every
// step passes, with a wrong one the store's own words are told, and no secret.
func TestCheckCloudsOnEmulator(t *testing.T) {
	const secret = "pl4nted-s3cret"
	for name, dialect := range map[string]emulator.Dialect{"oss": emulator.OSS, "obs": emulator.OBS, "cos": emulator.COS} {
		t.Run(name, func(t *testing.T) {
			domain := name + ".localhost"
			srv, err := emulator.Start("127.0.0.1:0", emulator.Config{
				Dialect: dialect, Credentials: map[string]string{"AKCHECK": secret}, Domains: []string{domain},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			_, port, _ := net.SplitHostPort(srv.Addr)
			cfg := config.Upstream{
				Type: name, Endpoint: "http://" + net.JoinHostPort(domain, port), Region: map[string]string{"oss": "cn-hangzhou"}[name],
				AccessKey: "AKCHECK", SecretKey: config.NewSecret(secret), Timeout: 10 * time.Second, MaxConnections: 4, Retries: -1,
			}
			makeBucket(t, cfg, "check-bucket-1250000000")
			check := func(secret string) []CheckResult {
				cfg.SecretKey = config.NewSecret(secret)
				return Check(t.Context(), &config.Config{
					Upstreams: map[string]config.Upstream{"up": cfg},
					Buckets:   []config.Route{{Name: "b", Upstream: "up", Bucket: "check-bucket-1250000000", Prefix: "p/"}},
				}, CheckOptions{Write: true})
			}
			for _, r := range check(secret) {
				if r.Result != CheckOK && r.Step != "read" {
					t.Errorf("%s %s: %s", r.Step, r.Result, r.Detail)
				}
			}
			results := check(secret + "-not")
			text, err := json.Marshal(results)
			if err != nil || strings.Contains(string(text), "pl4nted") {
				t.Fatalf("%v: %s", err, text)
			}
			auth := results[2]
			if auth.Step != "auth" || auth.Result != CheckFailed || auth.Error == nil || auth.Error.RequestID == "" ||
				!strings.Contains(auth.Error.Message, "403 SignatureDoesNotMatch The request signature we calculated") {
				t.Errorf("%s", text)
			}
			for _, r := range results[3:] {
				if r.Result != CheckNotTried {
					t.Errorf("%s was tried: %+v", r.Step, r)
				}
			}
		})
	}
}

func makeBucket(t *testing.T, cfg config.Upstream, name string) {
	t.Helper()
	b, err := all.New(t.Context(), "up", cfg, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.(upstream.Bucketer).CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}
