package local_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/fault"
	"unistore/upstream/local"
	"unistore/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, root string) *local.Backend {
	t.Helper()
	b, err := local.New(local.Config{Root: root, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{
		New: func(t *testing.T) upstream.Backend { return open(t, t.TempDir()) },
		Row: upstreamtest.Row{Driver: "local", Store: "a directory", RunBy: "make test"},
	})
}

func TestConformanceWithFaults(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{
		New: func(t *testing.T) upstream.Backend {
			return fault.Wrap(open(t, t.TempDir()), "local", faults.New(nil))
		},
		Row: upstreamtest.Row{Driver: "local", Store: "a directory, through the fault wrapper", RunBy: "make test"},
	})
}
