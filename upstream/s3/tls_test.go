package s3

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"unistore/config"
	"unistore/upstream"
)

// TestTrust reaches a server whose certificate only our own bundle knows, with static keys and through
// the SDK's default chain.
func TestTrust(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Content-Length", "1")
	}))
	defer srv.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(bundle, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKTEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	static := Config{Endpoint: srv.URL, AccessKey: "AKTEST", SecretKey: config.NewSecret("very-secret")}
	chain := Config{Endpoint: srv.URL}
	for _, tt := range []struct {
		name     string
		cfg      Config
		file     string
		variable string
		trusted  bool
	}{
		{"nothing", static, "", "", false},
		{"ca_file", static, bundle, "", true},
		{"AWS_CA_BUNDLE", static, "", bundle, true},
		{"both", static, bundle, bundle, true},
		{"chain, nothing", chain, "", "", false},
		{"chain, ca_file", chain, bundle, "", true},
		{"chain, AWS_CA_BUNDLE", chain, "", bundle, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.variable != "" {
				t.Setenv("AWS_CA_BUNDLE", tt.variable)
			}
			tt.cfg.CAFile = tt.file
			b, err := New(t.Context(), tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			_, err = b.Stat(t.Context(), loc, upstream.StatOptions{})
			if tt.trusted && err != nil {
				t.Error(err)
			} else if !tt.trusted {
				wantCode(t, err, upstream.Unavailable)
			}
		})
	}
}

func TestChainWithoutCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	b, err := New(t.Context(), Config{Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = b.Stat(t.Context(), loc, upstream.StatOptions{})
	wantCode(t, err, upstream.Access)
}
