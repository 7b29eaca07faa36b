package cos_test

import (
	"io"
	"net"
	"path"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"unistore/config"
	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/cos"
	"unistore/upstream/emulator"
	"unistore/upstream/fault"
	"unistore/upstream/internal/wiretest"
	"unistore/upstream/upstreamtest"
)

const (
	accessKey = "AKEMULATOR"
	secretKey = "emulator-secret-key"
)

// emulate starts an emulator of COS under the name cos.localhost.
func emulate(t *testing.T, change func(*emulator.Quirks)) *emulator.Server {
	t.Helper()
	q := emulator.DefaultQuirks(emulator.COS)
	if change != nil {
		change(&q)
	}
	srv, err := emulator.Start("127.0.0.1:0", emulator.Config{
		Dialect: emulator.COS, Credentials: map[string]string{accessKey: secretKey}, Quirks: &q,
		Domains: []string{"cos.localhost"},
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
func open(t *testing.T, addr string) *cos.Backend {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cos.New(cos.Config{
		Name: "test", Endpoint: "http://" + net.JoinHostPort("cos.localhost", port),
		AccessKey: accessKey, SecretKey: config.NewSecret(secretKey), Log: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mayRefuse are the keys that COS, or the driver, refuses.
func mayRefuse(key string) bool {
	return path.Clean("/"+key) == "/" || len(key) > 850 || strings.HasPrefix(key, "/") || strings.HasPrefix(key, `\`) ||
		strings.ContainsAny(key, "\x18\x19\x1a\x1b")
}

// TestConformanceOnEmulator runs the suite against the emulator, as COS is documented and with every quirk turned.
func TestConformanceOnEmulator(t *testing.T) {
	for name, c := range map[string]struct {
		quirks func(*emulator.Quirks)
		opaque bool
		// wrapped: by upstream/fault, without a fault.
		wrapped bool
	}{
		"documented":       {opaque: true},
		"in fault wrapper": {opaque: true, wrapped: true},
		"quirks turned": {quirks: func(q *emulator.Quirks) {
			q.HeadErrors, q.ListV1Only, q.ListPlus, q.NoPathStyle = true, true, true, true
			q.OpaqueETags, q.UpperETags, q.CRC64, q.LooseRanges = false, false, false, true
			q.NoChunkedPuts = true
			q.CompleteSpaces = 3
		}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := emulate(t, c.quirks)
			upstreamtest.Run(t, upstreamtest.Harness{
				New: func(t *testing.T) upstream.Backend {
					if c.wrapped {
						return fault.Wrap(open(t, srv.Addr), "test", faults.New(nil))
					}
					return open(t, srv.Addr)
				},
				MayRefuse:   mayRefuse,
				OpaqueETags: c.opaque,
				Deviations:  deviations,
				ManyKeys:    1100, // two pages
				Row:         upstreamtest.Row{Driver: "cos", Store: "COS emulator, " + name, RunBy: "make test"},
			})
		})
	}
}

var deviations = map[string]string{
	"multipart/open by part number": "COS does not read objects by part number",
}

// TestTraps runs what no SDK of an object store gets right by itself.
func TestTraps(t *testing.T) {
	wiretest.Run(t, wiretest.Harness{
		Dialect: emulator.COS, Domain: "cos.localhost", Bucket: "traps-1250000000",
		Open: func(t *testing.T, endpoint, accessKey, secretKey string, log io.Writer) upstream.Backend {
			b, err := cos.New(cos.Config{
				Name: "test", Endpoint: endpoint, AccessKey: accessKey, SecretKey: config.NewSecret(secretKey), Log: zerolog.New(log),
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	})
}
