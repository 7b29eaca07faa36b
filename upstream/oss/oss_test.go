package oss_test

import (
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"unistore/config"
	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/emulator"
	"unistore/upstream/fault"
	"unistore/upstream/oss"
	"unistore/upstream/upstreamtest"
)

// A server that refuses a body keeps its end open for half a second, which is nobody's leak.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

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

// otherWays turns every quirk round that OSS could have either way, as far as its documents tell.
func otherWays(q *emulator.Quirks) {
	q.CRC64, q.UpperETags, q.LooseRanges, q.HeadErrors = false, false, false, false
	q.NoChunkedParts, q.NoChunkedPuts, q.ListPlus = true, true, true
	q.CompleteSpaces = 5
}

func TestConformanceOnEmulator(t *testing.T) {
	for name, tt := range map[string]struct {
		pathStyle bool
		quirks    func(q *emulator.Quirks)
		wrap      func(upstream.Backend) upstream.Backend
		manyKeys  int
	}{
		"OSS emulator, virtual host":           {},
		"OSS emulator, path style, other ways": {pathStyle: true, quirks: otherWays, manyKeys: 1100},
		"OSS emulator, through the fault wrapper": {
			manyKeys: 1100,
			wrap:     func(b upstream.Backend) upstream.Backend { return fault.Wrap(b, "emulator", faults.New(nil)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := emulator.DefaultQuirks(emulator.OSS)
			if tt.quirks != nil {
				tt.quirks(&q)
			}
			emu := startEmulator(t, emulator.Config{Quirks: &q})
			endpoint := emu.Endpoint()
			if tt.pathStyle {
				endpoint = emu.URL
			}
			upstreamtest.Run(t, upstreamtest.Harness{
				New: func(t *testing.T) upstream.Backend {
					if tt.wrap != nil {
						return tt.wrap(open(t, endpoint))
					}
					return open(t, endpoint)
				},
				MayRefuse: mayRefuse, OpaqueETags: true, Deviations: deviations, ManyKeys: tt.manyKeys,
				Row: upstreamtest.Row{Driver: "oss", Store: name, RunBy: "make test"},
			})
		})
	}
}
