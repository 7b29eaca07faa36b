package gateway

import "testing"

func TestShareFiles(t *testing.T) {
	for _, test := range []struct {
		limit, upstreams int
		want             fileShares
	}{
		{1, 256, fileShares{1, minHandles}},
		{256, 256, fileShares{128, 16}},
		{1024, 256, fileShares{512, 64}},
		{20_000, 256, fileShares{17_982, 1250}}, // the budget of 17,500 connections
		{65_536, 512, fileShares{60_416, 4096}},
		{1 << 20, 256, fileShares{1<<20 - 4864, 4096}},
	} {
		got := shareFiles(test.limit, test.upstreams)
		if got != test.want {
			t.Errorf("shareFiles(%d, %d) = %+v, want %+v", test.limit, test.upstreams, got, test.want)
		}
	}
}
