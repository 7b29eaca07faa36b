package multipart

import (
	"errors"
	"math"
	"testing"

	"unistore/upstream"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

var s3Limits = upstream.Limits{
	MinPart: 5 * mib, MaxPart: 5 * gib, MaxParts: 10_000, MaxPut: 5 * gib, MaxObject: 5 * tib,
}

func TestDecide(t *testing.T) {
	lim := upstream.Limits{MaxPut: 100}
	tests := []struct {
		name           string
		position, size int64
		last           bool
		lim            upstream.Limits
		want           Mode
	}{
		{"empty body", 0, 0, true, lim, Single},
		{"short body", 0, 1, true, lim, Single},
		{"largest body for one PUT", 0, 100, true, lim, Single},
		{"body above MaxPut", 0, 101, true, lim, Multi},
		{"no limit", 0, math.MaxInt64, true, upstream.Limits{}, Single},
		{"first of many", 0, 10, false, lim, Multi},
		{"short first of many", 0, 1, false, lim, Multi},
		{"in the middle", 10, 10, false, lim, Multi},
		// The production bug: the tail of a long body is short, and must not become an object of its own.
		{"short last piece", 10, 1, true, lim, Multi},
		{"empty last piece", 10, 0, true, lim, Multi},
		{"last piece at position 1", 1, 1, true, lim, Multi},
		{"full last piece", 10, 10, true, upstream.Limits{}, Multi},
	}
	for _, tt := range tests {
		if got := Decide(tt.position, tt.size, tt.last, tt.lim); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPartSize(t *testing.T) {
	tests := []struct {
		name string
		size int64
		lim  upstream.Limits
		want int64
	}{
		{"nothing", 0, s3Limits, 16 * mib},
		{"small", 1, s3Limits, 16 * mib},
		{"the most that 16 MiB parts reach", 10_000 * 16 * mib, s3Limits, 16 * mib},
		{"one byte more", 10_000*16*mib + 1, s3Limits, 32 * mib},
		{"S3's largest object", 5 * tib, s3Limits, gib},
		{"no limits: S3's part numbers", 5 * tib, upstream.Limits{}, gib},
		{"small parts not allowed", 1, upstream.Limits{MinPart: 20 * mib}, 20 * mib},
		{"minimum doubled", 100 * mib, upstream.Limits{MinPart: 20 * mib, MaxParts: 2}, 80 * mib},
		{"large parts not allowed", gib, upstream.Limits{MaxPart: 8 * mib}, 8 * mib},
		{"at most MaxPart", 48_828 * gib, s3Limits, 5 * gib},
		{"few parts", 100 * mib, upstream.Limits{MaxParts: 4}, 32 * mib},
		{"more parts than S3 has numbers", 10_000*16*mib + 1, upstream.Limits{MaxParts: 50_000}, 32 * mib},
		{"absurd", math.MaxInt64, upstream.Limits{MaxParts: 1}, 1 << 62},
	}
	for _, tt := range tests {
		if got := PartSize(tt.size, tt.lim); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestGrowingPart(t *testing.T) {
	tests := []struct {
		name   string
		number int
		buffer int64
		lim    upstream.Limits
		want   int64
	}{
		{"first", 1, 64 * mib, s3Limits, 16 * mib},
		{"last of the first eighth", 1250, 64 * mib, s3Limits, 16 * mib},
		{"second eighth", 1251, 64 * mib, s3Limits, 32 * mib},
		{"third", 2501, 64 * mib, s3Limits, 64 * mib},
		{"no more than the buffer", 10_000, 64 * mib, s3Limits, 64 * mib},
		{"an odd buffer", 10_000, 40 * mib, s3Limits, 40 * mib},
		{"no more than MaxPart", 10_000, gib, upstream.Limits{MaxPart: 20 * mib}, 20 * mib},
		{"few parts", 3, gib, upstream.Limits{MaxParts: 4}, 64 * mib},
	}
	for _, tt := range tests {
		if got := growingPart(tt.number, tt.buffer, tt.lim); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	var total int64
	for number := 1; number <= 10_000; number++ {
		total += growingPart(number, 64*mib, s3Limits)
	}
	if total < 500*gib {
		t.Errorf("all parts reach %d bytes", total)
	}
}

func TestNewPlan(t *testing.T) {
	tests := []struct {
		name         string
		size, buffer int64
		lim          upstream.Limits
		part         int64 // of number 1; 0: TooLarge
		buffered     bool
	}{
		{"known", gib, 64 * mib, s3Limits, 16 * mib, true},
		{"known, large parts", 5 * tib, 64 * mib, s3Limits, gib, false},
		{"unknown", -1, 64 * mib, s3Limits, 16 * mib, true},
		{"unknown, memory too small", -1, 16 * mib, upstream.Limits{MinPart: 20 * mib}, 0, false},
		{"above MaxObject", 5*tib + 1, 64 * mib, s3Limits, 0, false},
		{"MaxPart x MaxParts too small", gib, 64 * mib, upstream.Limits{MaxPart: mib, MaxParts: 10}, 0, false},
	}
	for _, tt := range tests {
		p, err := newPlan(tt.size, 0, tt.buffer, tt.lim)
		if tt.part == 0 {
			if !errors.Is(err, upstream.TooLarge) {
				t.Errorf("%s: %v, want %v", tt.name, err, upstream.TooLarge)
			}
			continue
		}
		if err != nil || p.part(1) != tt.part || p.buffered() != tt.buffered {
			t.Errorf("%s: parts of %d, buffered %v, %v; want %d, %v", tt.name, p.part(1), p.buffered(), err, tt.part, tt.buffered)
		}
	}
}
