package upstream_test

import (
	"testing"

	"unistore/upstream"
	"unistore/upstream/mem"
	"unistore/upstream/upstreamtest"
)

// A Store keeps every promise of a Backend, also where it replaces the abilities of the one below it.
func TestConformance(t *testing.T) {
	upstreamtest.Run(t, upstreamtest.Harness{
		ManyKeys: 1100, // more than a page
		New: func(*testing.T) upstream.Backend {
			b := mem.New(mem.Config{})
			return upstream.NewStore("mem", noCopier{b, b, b}, upstream.StoreConfig{})
		},
	})
}
