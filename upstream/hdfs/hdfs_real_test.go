//go:build e2e

package hdfs

import (
	"testing"

	"github.com/rs/zerolog"

	"unistore/e2e/servers"
	"unistore/upstream"
	"unistore/upstream/upstreamtest"
)


func openReal(t testing.TB, h *servers.Hadoop) *Backend {
	t.Helper()
	b, err := New(Config{NameNodes: []string{h.Addr}, User: servers.HadoopUser, Root: "/unistore", Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	h := servers.StartHadoop(t, 1)
	upstreamtest.Run(t, upstreamtest.Harness{
		New:       func(t *testing.T) upstream.Backend { return openReal(t, h) },
		MayRefuse: func(key string) bool { _, err := pathOf("Put", key); return err != nil },
	})
}
