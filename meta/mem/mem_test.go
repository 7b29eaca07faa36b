package mem_test

import (
	"testing"

	"unistore/meta"
	"unistore/meta/enginetest"
	"unistore/meta/mem"
)

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(*testing.T) meta.Engine { return mem.New() })
}
