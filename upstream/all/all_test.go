package all

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
)

func TestNew(t *testing.T) {
	configs := map[string]config.Upstream{
		"local": {Type: "local", Root: t.TempDir()},
		"mem":   {Type: "mem"},
		"hdfs":  {Type: "hdfs", NameNodes: []string{"127.0.0.1:1"}, Root: "/unistore"},
		"oss":   {Type: "oss", Region: "cn-hangzhou", AccessKey: "AK", SecretKey: config.NewSecret("secret")},
		"obs":   {Type: "obs", Endpoint: "http://obs.localhost:1", AccessKey: "AK", SecretKey: config.NewSecret("secret")},
		"cos":   {Type: "cos", Region: "ap-guangzhou", AppID: "1250000000", AccessKey: "AK", SecretKey: config.NewSecret("secret")},
		"s3": {Type: "s3", Endpoint: "http://127.0.0.1:1", Region: "us-east-1", PathStyle: true,
			AccessKey: "AK", SecretKey: config.NewSecret("secret")},
	}
	for _, typ := range Types() {
		cfg, ok := configs[typ]
		if !ok {
			t.Errorf("type %s is not tested", typ)
			continue
		}
		b, err := New(t.Context(), "name", cfg, zerolog.Nop())
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if b.Limits().MaxKey <= 0 {
			t.Errorf("%s: limits %+v", typ, b.Limits())
		}
		if _, ok := b.(upstream.Multiparter); !ok {
			t.Errorf("%s: no multipart uploads", typ)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		cfg  config.Upstream
		want []string
	}{
		{config.Upstream{Type: "gcs"}, []string{"lake", `"gcs"`, "cos, hdfs, local, mem, obs, oss, s3"}},
		{config.Upstream{}, []string{`""`, "cos, hdfs, local, mem, obs, oss, s3"}},
		{config.Upstream{Type: "s3", Endpoint: "::bad::", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake"}},
		{config.Upstream{Type: "obs", Endpoint: "http://127.0.0.1:1", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "host name"}},
		{config.Upstream{Type: "obs", Endpoint: "http://obs.test", SecretKey: config.NewSecret("hidden")}, []string{"lake", "access_key"}},
		{config.Upstream{Type: "obs", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "endpoint"}},
		{config.Upstream{Type: "cos", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "region"}},
		{config.Upstream{Type: "cos", Region: "x/y", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "region"}},
		{config.Upstream{Type: "cos", Endpoint: "http://[::1]:1", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "host name"}},
		{config.Upstream{Type: "cos", Region: "ap-x", AppID: "x", AccessKey: "AK", SecretKey: config.NewSecret("hidden")}, []string{"lake", "app_id"}},
		{config.Upstream{Type: "local", Root: "/dev/null/x"}, []string{"lake"}},
		{config.Upstream{Type: "hdfs", Root: "/unistore"}, []string{"lake", "NameNodes"}},
		{config.Upstream{Type: "hdfs", NameNodes: []string{"nn"}, Root: "/unistore"}, []string{"lake", `"nn"`}},
	}
	for _, tt := range tests {
		b, err := New(t.Context(), "lake", tt.cfg, zerolog.Nop())
		if err == nil || b != nil {
			t.Errorf("%+v: %v, %v", tt.cfg, b, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not name %s", err, want)
			}
		}
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q holds the secret", err)
		}
	}
}
