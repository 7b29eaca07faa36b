package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The hit ratios of docs/policies.md. `go test -run TestHitRatios -v ./cache` computes those of the short traces and
// compares them with the page; CACHE_HIT_RATIOS=all those of all traces, and with -rewrite (`make policies`) writes the page.
// CACHE_TRACES names a directory with larger traces, see readForeign, whose table is then written too.

// policiesPage is where the tables are, each between two lines of tableMark.
const policiesPage = "../docs/policies.md"

func tableMark(table, which string) string { return "<!-- " + table + ": " + which + " -->\n" }

const (
	shortTrace    = 30_000  // reads; the others take too long for every run of the tests
	generated     = 400_000 // reads of a generated trace in the page
	generatedSeed = 1
)

// fifo is the policy by which the block that came first goes first.
type fifo struct{ lru }

func (*fifo) touch(*block, bool) {}

// contenders are the columns before the last, which is optimal.
var contenders = []struct {
	name string
	make func() policy
}{
	{"FIFO", func() policy { return &fifo{} }},
	{"LRU", func() policy { return newPolicy("lru") }},
	{"S3-FIFO", func() policy { return newPolicy("s3fifo") }},
	{"S3-FIFO 2 bit", func() policy { return &s3fifo{maxHits: 3, proof: 2} }},
	{"W-TinyLFU", func() policy { return newPolicy("tinylfu") }},
}

const lruColumn, s3fifoColumn, tinylfuColumn = 1, 2, 4

// shares of the footprint that the cache has room for, in percent.
var shares = []int{1, 10, 30}

// simulate runs a trace through p with room for so many blocks, and returns the hits.
func simulate(p policy, reads []uint32, capacity int) int {
	v := &version{}
	var blocks []*block
	held, hits := 0, 0
	for _, id := range reads {
		for int(id) >= len(blocks) {
			blocks = append(blocks, nil)
		}
		if b := blocks[id]; b != nil {
			hits++
			p.touch(b, true)
			continue
		}
		if held == capacity {
			for b := range p.victims() {
				p.remove(b)
				blocks[b.index] = nil
				break
			}
			held--
		}
		blocks[id] = &block{v: v, index: id}
		p.insert(blocks[id])
		held++
	}
	return hits
}

// ratios are the hit ratios (%) of a trace with one size of the cache: the contenders and the optimum.
type ratios []float64

// measure returns the ratios by share.
func measure(tr trace) map[int]ratios {
	out := map[int]ratios{}
	for _, share := range shares {
		capacity := max(1, tr.footprint()*share/100)
		percent := func(hits int) float64 { return 100 * float64(hits) / float64(len(tr.reads)) }
		var r ratios
		for _, c := range contenders {
			r = append(r, percent(simulate(c.make(), tr.reads, capacity)))
		}
		out[share] = append(r, percent(optimal(tr.reads, capacity)))
	}
	return out
}

// rows returns the lines of the table for a trace.
func rows(tr trace, m map[int]ratios) string {
	out := ""
	for _, share := range shares {
		out += fmt.Sprintf("| %s | %d %% |", tr.name, share)
		best := 0.0
		for _, x := range m[share][:len(contenders)] {
			best = max(best, x)
		}
		for i, x := range m[share] {
			text := fmt.Sprintf("%.1f", x)
			if i < len(contenders) && text == fmt.Sprintf("%.1f", best) && best > 0.05 {
				text = "**" + text + "**"
			}
			out += " " + text + " |"
		}
		out += "\n"
	}
	return out
}

func tableHead() string {
	head, line := "| trace | cache |", "|---|---|"
	for _, c := range contenders {
		head += " " + c.name + " |"
		line += "---|"
	}
	return head + " optimum |\n" + line + "---|\n"
}

// measureAll measures traces, some at a time, and calls each with what it found, in order.
func measureAll(traces []trace, each func(trace, map[int]ratios)) {
	found := make([]map[int]ratios, len(traces))
	var wg sync.WaitGroup
	room := make(chan struct{}, 2)
	for i, tr := range traces {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			found[i] = measure(tr)
		})
	}
	wg.Wait()
	for i, tr := range traces {
		each(tr, found[i])
	}
}

func TestHitRatios(t *testing.T) {
	all := os.Getenv("CACHE_HIT_RATIOS") == "all"
	public, err := loadTraces()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(policiesPage)
	if err != nil {
		t.Fatal(err)
	}
	var traces []trace
	for _, tr := range public {
		if all || len(tr.reads) <= shortTrace {
			traces = append(traces, tr)
		}
	}
	if all {
		for _, g := range generators {
			traces = append(traces, generate(g, generatedSeed, generated))
		}
	}
	table := tableHead()
	var found []map[int]ratios
	measureAll(traces, func(tr trace, m map[int]ratios) {
		found = append(found, m)
		lines := rows(tr, m)
		t.Logf("%s: %d reads of %d blocks\n%s", tr.name, len(tr.reads), tr.footprint(), lines)
		checkRatios(t, tr, m)
		if !*rewrite && !strings.Contains(string(page), lines) {
			t.Errorf("%s: %s has other numbers", tr.name, policiesPage)
		}
		table += lines
	})
	if all && *rewrite {
		text := rewriteTable(t, string(page), "hit ratios", table+summary(found))
		text = rewriteTable(t, text, "traces", describe(traces))
		if dir := os.Getenv("CACHE_TRACES"); dir != "" {
			text = rewriteTable(t, text, "larger traces", foreignTable(t, dir))
		}
		if err := os.WriteFile(policiesPage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkRatios checks what must hold of any trace.
func checkRatios(t *testing.T, tr trace, m map[int]ratios) {
	for share, r := range m {
		best := r[len(contenders)]
		for i, c := range contenders {
			if r[i] > best+1e-9 {
				t.Errorf("%s, %d %%: %s has more hits than can be", tr.name, share, c.name)
			}
		}
	}
}

// What the choice rests on, by short traces of the kinds that it is about.
func TestHitRatioClaims(t *testing.T) {
	const reads = 30_000
	type claim struct {
		column  int
		share   int
		factor  float64 // of the hits of LRU at least
		optimum float64 // of the optimum's hits at least
	}
	claims := map[string][]claim{
		"dashboards": {{s3fifoColumn, 10, 1.05, 0.6}, {tinylfuColumn, 10, 1.1, 0.7}},
		"columnar":   {{s3fifoColumn, 30, 1.2, 0.5}, {tinylfuColumn, 30, 1.3, 0.6}},
		"etl":        {{s3fifoColumn, 10, 1, 0.7}, {tinylfuColumn, 10, 1, 0.7}},
		"zipf":       {{s3fifoColumn, 1, 1.1, 0.8}, {tinylfuColumn, 1, 1.1, 0.8}},
		"recency":    {{s3fifoColumn, 10, 0.95, 0.9}, {tinylfuColumn, 10, 0.9, 0.85}},
		"shift":      {{s3fifoColumn, 10, 0.85, 0.85}, {tinylfuColumn, 10, 0.8, 0.8}},
	}
	for _, g := range generators {
		tr := generate(g, generatedSeed, reads)
		m := measure(tr)
		checkRatios(t, tr, m)
		t.Logf("%s: %d reads of %d blocks\n%s", tr.name, len(tr.reads), tr.footprint(), rows(tr, m))
		if len(claims[g.name]) == 0 {
			t.Errorf("%s: nothing is claimed", g.name)
		}
		for _, c := range claims[g.name] {
			r := m[c.share]
			if got, least := r[c.column], max(c.factor*r[lruColumn], c.optimum*r[len(contenders)]); got < least {
				t.Errorf("%s, %d %%: %s has %.1f %% hits, at least %.1f are claimed",
					g.name, c.share, contenders[c.column].name, got, least)
			}
		}
	}
}

// summary is the mean of all ratios, and the most that any is below that of LRU.
func summary(found []map[int]ratios) string {
	mean, lost := make(ratios, len(contenders)+1), make(ratios, len(contenders)+1)
	for _, m := range found {
		for _, r := range m {
			for i, x := range r {
				mean[i] += x / float64(len(found)*len(shares))
				lost[i] = max(lost[i], r[lruColumn]-x)
			}
		}
	}
	out := "| mean | |"
	for _, x := range mean {
		out += fmt.Sprintf(" %.1f |", x)
	}
	out += "\n| most below LRU | |"
	for _, x := range lost {
		out += fmt.Sprintf(" %.1f |", x)
	}
	return out + "\n"
}

// describe lists the traces.
func describe(traces []trace) string {
	out := "| trace | reads | blocks | |\n|---|---|---|---|\n"
	for _, tr := range traces {
		out += fmt.Sprintf("| %s | %d | %d | %s |\n", tr.name, len(tr.reads), tr.footprint(), tr.what)
	}
	return out
}

func foreignTable(t *testing.T, dir string) string {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces in %s (%v)", dir, err)
	}
	var traces []trace
	for _, file := range files {
		reads, err := readForeign(file)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		tr := trace{name: name, reads: reads}
		tr.name = fmt.Sprintf("%s (%d reads of %d)", name, len(reads), tr.footprint())
		traces = append(traces, tr)
	}
	table := tableHead()
	measureAll(traces, func(tr trace, m map[int]ratios) { table += rows(tr, m) })
	return table
}

// rewriteTable replaces the lines between two marks.
func rewriteTable(t *testing.T, page, name, table string) string {
	before, rest, ok := strings.Cut(page, tableMark(name, "begin"))
	_, after, ok2 := strings.Cut(rest, tableMark(name, "end"))
	if !ok || !ok2 {
		t.Fatalf("%s has no table %q", policiesPage, name)
	}
	return before + tableMark(name, "begin") + table + tableMark(name, "end") + after
}
