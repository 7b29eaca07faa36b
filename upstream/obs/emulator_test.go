package obs_test

import (
	"net"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/upstream"
	"unistore/upstream/emulator"
	"unistore/upstream/obs"
	"unistore/upstream/upstreamtest"
)

const (
	accessKey = "AKEMULATOR"
	secretKey = "emulator-secret-key"
)

// emulate starts an emulator of OBS under the name obs.localhost.
func emulate(t *testing.T, change func(*emulator.Quirks)) *emulator.Server {
	t.Helper()
	q := emulator.DefaultQuirks(emulator.OBS)
	if change != nil {
		change(&q)
	}
	srv, err := emulator.Start("127.0.0.1:0", emulator.Config{
		Dialect: emulator.OBS, Credentials: map[string]string{accessKey: secretKey}, Quirks: &q,
		Domains: []string{"obs.localhost"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

// open is a Backend whose service is at addr.
func open(t *testing.T, addr string) *obs.Backend {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := obs.New(obs.Config{
		Name: "test", Endpoint: "http://" + net.JoinHostPort("obs.localhost", port),
		AccessKey: accessKey, SecretKey: config.NewSecret(secretKey), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mayRefuse are the keys that the driver refuses.
func mayRefuse(key string) bool {
	for part := range strings.SplitSeq(key, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return strings.TrimSpace(key) == ""
}

// TestConformanceOnEmulator runs the suite against the emulator, as OBS is documented and with every quirk turned.
func TestConformanceOnEmulator(t *testing.T) {
	for name, c := range map[string]struct {
		quirks func(*emulator.Quirks)
		opaque bool
	}{
		"documented": {},
		"quirks turned": {opaque: true, quirks: func(q *emulator.Quirks) {
			q.HeadErrors, q.ListV1Only, q.ListPlus, q.NoPathStyle = false, true, true, true
			q.OpaqueETags, q.UpperETags, q.CRC64, q.LooseRanges = true, true, true, true
			q.NoChunkedParts, q.NoChunkedPuts = true, true
			q.CompleteSpaces = 3
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := emulate(t, c.quirks)
			upstreamtest.Run(t, upstreamtest.Harness{
				New:         func(t *testing.T) upstream.Backend { return open(t, srv.Addr) },
				MayRefuse:   mayRefuse,
				OpaqueETags: c.opaque,
				Deviations:  deviations,
			})
		})
	}
}

var deviations = map[string]string{
	"multipart/open by part number": "OBS does not read objects by part number",
}
