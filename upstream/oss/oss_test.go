package oss_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/emulator"
	"unistore/upstream/oss"
	"unistore/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accessKey = "LTAIemulated"
	secretKey = "emulated-secret"
	region    = "cn-hangzhou"
)

// startEmulator runs the OSS emulator.
func startEmulator(t *testing.T, cfg emulator.Config) *emulator.Server {
	t.Helper()
	cfg.Dialect, cfg.Region = emulator.OSS, region
	cfg.Credentials = map[string]string{accessKey: secretKey}
	emu, err := emulator.Start("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	})
	return emu
}

func open(t *testing.T, endpoint string) *oss.Backend {
	t.Helper()
	b, err := oss.New(oss.Config{
		Name: "emulator", Region: region, Endpoint: endpoint, AccessKey: accessKey, SecretKey: config.NewSecret(secretKey),
		Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mayRefuse are the keys that the driver refuses.
func mayRefuse(key string) bool {
	if key[0] == '/' || key[0] == '\\' || len(key) > 1023 {
		return true
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

// deviations are the cases that OSS, as the emulator has it, cannot pass.
var deviations = map[string]string{
	"multipart/open by part number": "OSS does not read objects by part number",
}

func TestConformanceOnEmulator(t *testing.T) {
	for _, style := range []string{"path style", "virtual host"} {
		t.Run(style, func(t *testing.T) {
			emu := startEmulator(t, emulator.Config{})
			upstreamtest.Run(t, upstreamtest.Harness{
				New: func(t *testing.T) upstream.Backend {
					if style == "path style" {
						return open(t, emu.URL)
					}
					return open(t, emu.Endpoint())
				},
				MayRefuse: mayRefuse, OpaqueETags: true, Deviations: deviations,
			})
		})
	}
}
