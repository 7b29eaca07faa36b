//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"unistore/e2e/servers"
)

// TestMain ends what tests share.
func TestMain(m *testing.M) {
	code := m.Run()
	if hadoop.cluster != nil {
		hadoop.cluster.Stop()
	}
	if hadoop.dir != "" {
		_ = os.RemoveAll(hadoop.dir)
	}
	os.Exit(code)
}

// hadoop is the cluster that tests share: a start takes ten seconds and half a gigabyte of memory.
var hadoop struct {
	once    sync.Once
	dir     string
	cluster *servers.Hadoop
	err     error
	roots   atomic.Int64
}

// sharedHadoop returns the cluster, which the caller must leave running.
func sharedHadoop(t *testing.T) *servers.Hadoop {
	t.Helper()
	hadoop.once.Do(func() {
		if hadoop.dir, hadoop.err = os.MkdirTemp("", "unistore-hadoop"); hadoop.err == nil {
			hadoop.cluster, hadoop.err = servers.RunHadoop(context.Background(), hadoop.dir, servers.HadoopConfig{DataNodes: 2, BlockSize: 16 << 20})
		}
	})
	if hadoop.err != nil {
		t.Fatal(hadoop.err)
	}
	return hadoop.cluster
}

// hdfsYAML is an upstream in a root of its own on the shared cluster.
func hdfsYAML(t *testing.T) string {
	t.Helper()
	text, _ := hdfsUpstream(t)
	return text
}

// hdfsUpstream is hdfsYAML, and the root.
func hdfsUpstream(t *testing.T) (text, root string) {
	t.Helper()
	h := sharedHadoop(t)
	root = fmt.Sprintf("/test-%d", hadoop.roots.Add(1))
	return fmt.Sprintf("  up: {type: hdfs, namenodes: [%q], user: %s, root: %s, no_sync: true}\n", h.Addr, servers.HadoopUser, root), root
}
