package mem_test

import (
	"testing"

	"go.uber.org/goleak"

	"unistore/upstream"
	"unistore/upstream/mem"
	"unistore/upstream/upstreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{
		New: func(*testing.T) upstream.Backend { return mem.New(mem.Config{}) },
		Row: upstreamtest.Row{Driver: "mem", Store: "memory", RunBy: "make test"},
	})
}
