package cache

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// trace is a sequence of reads of blocks, which are numbered from 0.
type trace struct {
	name  string
	what  string // what it is, and where from
	reads []uint32
}

// footprint returns the number of blocks in the trace.
func (t *trace) footprint() int {
	if len(t.reads) == 0 {
		return 0
	}
	return int(slices.Max(t.reads)) + 1
}

// dense numbers the ids of a trace in the order of their first read.
func dense(ids []uint64) []uint32 {
	numbers := make(map[uint64]uint32)
	out := make([]uint32, len(ids))
	for i, id := range ids {
		n, ok := numbers[id]
		if !ok {
			n = uint32(len(numbers))
			numbers[id] = n
		}
		out[i] = n
	}
	return out
}

// publicTraces are in testdata/traces, in the form of readVarints.
var publicTraces = []trace{
	{name: "loop", what: "one table, 500 times in a row"},
	{name: "cs", what: "cscope: several passes over a source tree"},
	{name: "gli", what: "glimpse: text retrieval, loops of several lengths"},
	{name: "ps", what: "Postgres: joins of four relations"},
	{name: "cpp", what: "the C preprocessor over a source tree"},
	{name: "multi2", what: "cs, cpp and ps at once"},
	{name: "sprite", what: "a network file system's clients; recency only"},
}

// readVarints reads a trace of differences between the numbers of successive blocks, as gzipped varints
// (encoding/binary).
func readVarints(path string) ([]uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(z)
	var ids []uint64
	for id := int64(0); ; {
		d, err := binary.ReadVarint(r)
		if errors.Is(err, io.EOF) {
			return dense(ids), nil
		}
		if err != nil {
			return nil, err
		}
		id += d
		ids = append(ids, uint64(id))
	}
}

// readForeign reads a trace of a block number (decimal) a line, lines that hold anything else are left out; or in
// a file .u32, of numbers of 4 bytes. A name in .gz is gzipped.
func readForeign(path string) ([]uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	var ids []uint64
	if strings.HasSuffix(path, ".u32") {
		raw, err := io.ReadAll(in)
		for ; len(raw) >= 4; raw = raw[4:] {
			ids = append(ids, uint64(binary.LittleEndian.Uint32(raw)))
		}
		return dense(ids), err
	}
	for sc := bufio.NewScanner(in); ; {
		if !sc.Scan() {
			return dense(ids), sc.Err()
		}
		if id, err := strconv.ParseUint(strings.TrimSpace(sc.Text()), 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
}

// loadTraces returns the public traces in the repository.
func loadTraces() ([]trace, error) {
	out := slices.Clone(publicTraces)
	for i := range out {
		var err error
		out[i].reads, err = readVarints(filepath.Join("testdata", "traces", out[i].name+".gz"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", out[i].name, err)
		}
	}
	return out, nil
}

// generator makes up a trace of about n reads.
type generator struct {
	name, what string
	make       func(r *rand.Rand, n int) []uint64
}

// The object a made up block is of, in the upper half of its number.
func at(object, block int) uint64 { return uint64(object)<<32 | uint64(block) }

var generators = []generator{
	{"dashboards", "zipf(1.1) over 4,000 blocks (45 % of the reads), a report that loops over 6,000 (35 %), scans of new tables of 500 (20 %)", genDashboards},
	{"zipf", "zipf(1.05) over 20,000 blocks, independent reads", genZipf},
	{"recency", "a block read lately is read again, the more likely the more lately (Pareto stack distances), 8 % are new", genRecency},
	{"columnar", "TPC-H-like: 22 queries, each scans some columns of a fact table of 16 columns and its dimensions whole, footers every time", genColumnar},
	{"etl", "a nightly job's passes over a table of 12,000 blocks, between them a day of zipf(1.1) over 2,000", genETL},
	{"shift", "zipf(1.1) over 3,000 blocks, all of them others after every tenth of the trace", genShift},
}

func generate(g generator, seed uint64, n int) trace {
	r := rand.New(rand.NewPCG(seed, uint64(len(g.name))<<8|uint64(g.name[0])))
	return trace{name: g.name, what: g.what, reads: dense(g.make(r, n))}
}

func genDashboards(r *rand.Rand, n int) []uint64 {
	hot := rand.NewZipf(r, 1.1, 1, 3999)
	var out []uint64
	report, tables := 0, 100
	for len(out) < n {
		switch p := r.IntN(100); {
		case p < 45:
			for range 20 {
				out = append(out, at(1, int(hot.Uint64())))
			}
		case p < 80:
			for range 20 {
				out = append(out, at(2, report))
				report = (report + 1) % 6000
			}
		default:
			if r.IntN(25) == 0 { // 500 reads at once, as often as 20 of the others
				tables++
				for i := range 500 {
					out = append(out, at(tables, i))
				}
			}
		}
	}
	return out
}

func genZipf(r *rand.Rand, n int) []uint64 {
	z := rand.NewZipf(r, 1.05, 1, 19999)
	out := make([]uint64, n)
	for i := range out {
		out[i] = z.Uint64()
	}
	return out
}

func genRecency(r *rand.Rand, n int) []uint64 {
	var stack, out []uint64 // the most recent last
	for len(out) < n {
		id := uint64(len(stack))
		if d := int(math.Pow(1-r.Float64(), -1/0.5)); r.IntN(100) >= 8 && 0 < d && d <= len(stack) {
			i := len(stack) - d
			id = stack[i]
			stack = slices.Delete(stack, i, i+1)
		}
		stack = append(stack, id)
		out = append(out, id)
	}
	return out
}

func genColumnar(r *rand.Rand, n int) []uint64 {
	const columns, groups, dims = 16, 400, 6
	query := rand.NewZipf(r, 1.2, 2, 21)
	var out []uint64
	for len(out) < n {
		q := int(query.Uint64())
		out = append(out, at(1000+q%dims, 0))
		for g := range 20 { // footers of the files
			out = append(out, at(1, g))
		}
		for d := range dims {
			if (q>>d|d)&1 == 1 {
				for i := range 30 << d / 4 {
					out = append(out, at(10+d, i))
				}
			}
		}
		from, to := 0, groups
		if q%3 == 0 { // a range of dates, later and later
			from = min(groups-40, len(out)*groups/n)
			to = from + 40
		}
		for g := from; g < to; g++ {
			for c := range columns {
				if (q*0x9e37>>c)&3 == 3 {
					out = append(out, at(100+c, g))
				}
			}
		}
	}
	return out
}

func genETL(r *rand.Rand, n int) []uint64 {
	z := rand.NewZipf(r, 1.1, 1, 1999)
	var out []uint64
	for len(out) < n {
		for range 6000 {
			out = append(out, at(1, int(z.Uint64())))
		}
		for i := range 12000 {
			out = append(out, at(2, i))
		}
	}
	return out
}

func genShift(r *rand.Rand, n int) []uint64 {
	z := rand.NewZipf(r, 1.1, 1, 2999)
	out := make([]uint64, n)
	for i := range out {
		out[i] = at(i*10/n, int(z.Uint64()))
	}
	return out
}
