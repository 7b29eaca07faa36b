package prefetch

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"unistore/byterange"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

// fixed is a plan whose window is 8 MiB, fetched by 4 MiB at a time.
var fixed = Plan{
	Window:  func(int64, int) int64 { return 8 * mib },
	Run:     4 * mib,
	Strides: func(int64) int { return 3 },
}

// amount reads "4M", "64K" or "0".
func amount(t *testing.T, s string) int64 {
	t.Helper()
	unit := int64(1)
	switch {
	case strings.HasSuffix(s, "M"):
		unit = mib
	case strings.HasSuffix(s, "K"):
		unit = kib
	}
	n, err := strconv.ParseFloat(strings.TrimRight(s, "MK"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n * float64(unit))
}

func show(wants []Want) string {
	var out []string
	for _, w := range wants {
		out = append(out, fmt.Sprintf("%s:%s+%s", w.Cause[:3], inUnits(w.Range.Off), inUnits(w.Range.Len)))
	}
	return strings.Join(out, " ")
}

func inUnits(n int64) string {
	if n%mib == 0 {
		return fmt.Sprintf("%dM", n/mib)
	}
	return fmt.Sprintf("%dK", n/kib)
}

// A script is lines of "OFF+LEN -> wants"; a LEN of * is an open read, and "OFF took LEN" its end. The last line
// may be "= STATE".
func TestDetectorScripts(t *testing.T) {
	tests := map[string]struct {
		size   string
		hint   AccessHint
		script string
	}{
		"a scan from the beginning, wanted from its first read on": {"64M", HintNone, `
			0+1M -> seq:1M+3M seq:4M+4M
			1M+1M ->
			2M+1M ->
			3M+1M -> seq:8M+4M
			4M+1M ->
			= sequential`},
		"a scan that begins again, from its first read on": {"24M", HintNone, `
			0+8M -> seq:8M+4M seq:12M+4M
			8M+8M -> seq:16M+4M seq:20M+4M
			16M+8M ->
			0+8M -> seq:8M+4M seq:12M+4M
			= sequential`},
		"the beginning, after random reads": {"64M", HintNone, `
			40M+64K ->
			20M+64K ->
			50M+64K ->
			0+8M ->
			= random`},
		"a scan in the middle, from its second read on": {"64M", HintNone, `
			20M+1M ->
			21M+1M -> seq:22M+2M seq:24M+4M
			= sequential`},
		"small reads at the beginning are no scan": {"64M", HintNone, `
			0+64K ->
			32M+64K ->
			= init`},
		"a small object's only read has nothing after it": {"512K", HintNone, `
			0+512K ->
			= sequential`},
		"connections that overtake each other are one scan": {"64M", HintNone, `
			16M+8M ->
			0+8M ->
			24M+8M -> seq:32M+4M seq:36M+4M
			8M+8M ->
			= sequential`},
		"a hole that is read later": {"64M", HintNone, `
			0+1M -> seq:1M+3M seq:4M+4M
			2M+1M ->
			3M+1M ->
			1M+1M -> seq:8M+4M
			4M+1M ->
			= sequential`},
		"repeated reads want nothing": {"64M", HintNone, `
			20M+1M ->
			20M+1M ->
			20M+1M ->
			= init`},
		"small gaps are no gaps": {"64M", HintNone, `
			20M+512K ->
			20.53125M+512K -> seq:21536K+3040K seq:24M+4M
			= sequential`},
		"strides": {"64M", HintNone, `
			10M+256K ->
			14M+256K ->
			18M+256K -> str:22M+256K str:26M+256K str:30M+256K
			22M+256K -> str:34M+256K
			= strided`},
		"random reads": {"640M", HintNone, `
			300M+64K ->
			10M+64K ->
			500M+64K ->
			100M+64K ->
			= random`},
		"after random reads, it takes three in a row": {"640M", HintNone, `
			300M+64K ->
			10M+64K ->
			500M+64K ->
			100M+1M ->
			101M+1M ->
			102M+1M -> seq:103M+1M seq:104M+4M
			= sequential`},
		"two scans side by side": {"640M", HintNone, `
			100M+1M ->
			200M+1M ->
			101M+1M -> seq:102M+2M seq:104M+4M
			201M+1M -> seq:202M+2M seq:204M+4M
			= sequential`},
		"an open read wants nothing; who comes back goes on": {"64M", HintNone, `
			10M+* ->
			10M took 4M
			14M+1M -> seq:15M+1M seq:16M+4M
			= sequential`},
		"hints: sequential at once": {"64M", HintSequential, `
			20M+64K -> seq:20544K+4032K seq:24M+4M
			= sequential`},
		"hints: random never": {"64M", HintRandom, `
			0+1M ->
			1M+1M ->
			2M+1M ->
			= sequential`},
		"hints: columns do not begin with a scan": {"64M", HintColumnar, `
			0+1M ->
			32M+1M ->
			= init`},
		"hints: the whole object": {"20M", HintWhole, `
			0+1M -> seq:1M+3M seq:4M+4M seq:8M+4M seq:12M+4M seq:16M+4M
			= sequential`},
		"the end of the object": {"10M", HintNone, `
			0+4M -> seq:4M+4M seq:8M+2M
			4M+4M ->
			8M+2M ->
			= sequential`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := NewDetector(amount(t, test.size))
			d.Hint(Hint{Access: test.hint})
			for line := range strings.Lines(strings.TrimSpace(test.script)) {
				line = strings.TrimSpace(line)
				if state, ok := strings.CutPrefix(line, "= "); ok {
					if got := d.State().String(); got != state {
						t.Errorf("state %s, want %s", got, state)
					}
					continue
				}
				if off, n, ok := strings.Cut(line, " took "); ok {
					d.Took(amount(t, off), amount(t, n))
					continue
				}
				read, want, _ := strings.Cut(line, "->")
				off, n, _ := strings.Cut(strings.TrimSpace(read), "+")
				a := Access{Off: amount(t, off), At: time.Unix(1000, 0)}
				if n == "*" {
					a.Open = true
				} else {
					a.Len = amount(t, n)
				}
				if got := show(d.Read(a, fixed)); got != strings.TrimSpace(want) {
					t.Errorf("%s: wanted %q, want %q", read, got, strings.TrimSpace(want))
				}
			}
		})
	}
}

// A scan whose windows nobody reads rests.
func TestDetectorRestsWhenWrong(t *testing.T) {
	d := NewDetector(100 << 30)
	at := time.Unix(1000, 0)
	wanted, off := int64(0), int64(0)
	for range 60 { // two adjacent reads, then far away
		off += 256 * mib
		for i := range int64(2) {
			for _, w := range d.Read(Access{Off: off + i*mib, Len: mib, At: at}, fixed) {
				wanted += w.Range.Len
			}
		}
	}
	if wanted == 0 || wanted > 20*8*mib {
		t.Errorf("%d MiB were wanted of readers that never came", wanted/mib)
	}
	if got := d.Read(Access{Off: 0, Len: mib, At: at}, fixed); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// Random reads: quiet within 16, and nearly nothing wanted.
func TestDetectorRandomReadsAreQuiet(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		d := NewDetector(2 << 30)
		wanted, read := int64(0), int64(0)
		for i := range 1000 {
			n := (64 + r.Int64N(960)) * kib
			off := r.Int64N((2<<30)-n) / kib * kib
			read += n
			for _, w := range d.Read(Access{Off: off, Len: n, At: time.Unix(int64(i), 0)}, fixed) {
				wanted += w.Range.Len
			}
		}
		if wanted > read/20 {
			t.Errorf("seed %d: %d MiB wanted beside %d MiB of random reads", seed, wanted/mib, read/mib)
		}
	}
}

// Whatever is read: what is wanted is inside the object, not empty, and no cursor wants a byte twice.
func TestDetectorModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		size := 1 + r.Int64N(256*mib)
		d := NewDetector(size)
		pos := int64(0)
		for i := range 300 {
			switch r.IntN(6) {
			case 0:
				pos = r.Int64N(size)
			case 1:
				pos = max(pos-r.Int64N(4*mib), 0)
			case 2:
				pos += r.Int64N(4 * mib)
			}
			pos %= size
			n := min(1+r.Int64N(2*mib), size-pos)
			a := Access{Off: pos, Len: n, Open: r.IntN(10) == 0, At: time.Unix(int64(i), 0)}
			var last byterange.Range
			for _, w := range d.Read(a, fixed) {
				if w.Range.Empty() || w.Range.Off < 0 || w.Range.End() > size || w.Range.Off < last.End() {
					t.Fatalf("seed %d: wanted %+v after %+v of %d bytes", seed, w.Range, last, size)
				}
				last = w.Range
			}
			if a.Open {
				d.Took(a.Off, n)
			}
			pos += n
			if len(d.cursors) > maxCursors {
				t.Fatalf("seed %d: %d cursors", seed, len(d.cursors))
			}
			if past, share := d.Accuracy(); past < 0 || share < 0 || share > 1 {
				t.Fatalf("seed %d: accuracy %v of %d", seed, share, past)
			}
		}
	}
}
