package prefetch

import (
	"time"

	"unistore/byterange"
	"unistore/cache"
)

// State says what a Detector takes the reads for.
type State uint8

// The states.
const (
	StateInit State = iota
	StateSequential
	StateStrided
	StateColumnar
	StateRandom
	StateRegistered
)

// String returns the state's name for logs and tests.
func (s State) String() string {
	return [...]string{"init", "sequential", "strided", "columnar", "random", "registered"}[s]
}

// The detector's numbers.
const (
	maxCursors  = 16
	firstRead   = 1 << 20 // a read from the object's start of this many bytes is taken for the begin of a scan
	nextToTrust = 2       // adjacent reads that make a scan
	nextAgain   = 3       // the same, after reads were random
	strideTrust = 2       // equal strides that make a stride
	missesToEnd = 3       // reads in a row that fit nowhere: random
	wholeRuns   = 64      // requests ahead of a reader that wants the whole object

	// judged: the share of wanted bytes that were read is judged from so many on. Below halfAt the window is halved, below
	// offAt nothing more is wanted for restSpan.
	judged   = 4 << 20
	halfAt   = 0.5
	offAt    = 0.25
	restSpan = time.Minute
)

// Access is one read of a version.
type Access struct {
	Off, Len int64
	// Open: the client asked for all that follows Off, and will perhaps not take it. Len is not known; Took moves the cursor.
	Open bool
	At   time.Time
}

// Want is a range to be fetched ahead.
type Want struct {
	Range byterange.Range
	Cause cache.Cause
}

// Plan is how far to run ahead now.
type Plan struct {
	Window  func(seen int64, reads int) int64 // bytes, for what one reader has read in sequence
	Run     int64                             // bytes of one request
	Strides func(length int64) int
}

// Detector sees where the readers of one version go, for one query or access key. It is pure: reads in, wanted
// ranges out. Not safe for concurrent use.
type Detector struct {
	size    int64
	cursors []*cursor
	state   State
	misses  int   // in a row
	scale   int64 // the windows are divided by it: 1, 2, 4
	tick    int64
	rest    time.Time // nothing is wanted before
	hint    Hint
	columns bool // the object has columns: its begin is no scan's

	// Of cursors that are gone.
	wanted, read int64
}

// NewDetector returns a detector for a version of size bytes.
func NewDetector(size int64) *Detector { return &Detector{size: size, scale: 1} }

// State returns what the reads are taken for.
func (d *Detector) State() State { return d.state }

// Hint takes in what the client says of its reads.
func (d *Detector) Hint(h Hint) {
	if h.Access != HintNone {
		d.hint.Access = h.Access
	}
	if h.Access == HintColumnar {
		d.columns = true
	}
}

// Columnar makes the object one of columns.
func (d *Detector) Columnar() {
	d.columns = true
	if d.state == StateInit {
		d.state = StateColumnar
	}
}

// Read takes in a read and returns what to fetch ahead of it.
func (d *Detector) Read(a Access, p Plan) []Want {
	d.tick++
	if a.Open {
		a.Len = 0
	}
	c, how := d.match(a)
	if c == nil {
		c = d.begin(a)
		d.missed(c)
	} else {
		c.take(a.Off, a.Len, how)
		d.hit(c, how)
	}
	c.used = d.tick
	if d.hint.Access == HintRandom || d.hint.Access == HintOnce || a.At.Before(d.rest) || a.Open {
		return nil
	}
	if d.poor(a.At) {
		return nil
	}
	switch {
	case c.sure:
		return d.ahead(c, p)
	case c.strides >= strideTrust && c.stride > c.lastLen:
		d.state = StateStrided
		return d.strideAhead(c, p)
	}
	return nil
}

// Took says that an open read from off has ended after n bytes.
func (d *Detector) Took(off, n int64) {
	if c, _ := d.match(Access{Off: off, Open: true}); c != nil && c.pos <= off+n && off <= c.pos+adjacent {
		c.pos = off + n
		c.join()
	}
}

// match finds the cursor that a fits best.
func (d *Detector) match(a Access) (best *cursor, how fit) {
	near := int64(-1)
	for _, c := range d.cursors {
		f := c.fits(a.Off, a.Len)
		if a.Open && a.Off >= c.start && a.Off-c.pos <= adjacent && a.Off-c.pos >= -adjacent {
			f = fitNext
		}
		if f == fitNone {
			continue
		}
		gap := max(a.Off-c.pos, c.pos-a.Off)
		if near < 0 || gap < near {
			best, how, near = c, f, gap
		}
	}
	return best, how
}

// begin makes a cursor for a read that fits none. It takes over the distance to the read before, which may be a stride.
func (d *Detector) begin(a Access) *cursor {
	c := &cursor{start: a.Off, pos: a.Off + a.Len, reads: 1, lastOff: a.Off, lastLen: a.Len}
	if prev := d.latest(); prev != nil && prev.lastLen == a.Len && a.Off > prev.lastOff {
		c.stride = a.Off - prev.lastOff
		c.strides = 1
		if c.stride == prev.stride {
			c.strides = prev.strides + 1
		}
	}
	if len(d.cursors) < maxCursors {
		d.cursors = append(d.cursors, c)
		return c
	}
	oldest := 0
	for i, o := range d.cursors {
		if o.used < d.cursors[oldest].used {
			oldest = i
		}
	}
	d.retire(d.cursors[oldest])
	d.cursors[oldest] = c
	return c
}

// retire keeps the sums of a cursor that goes.
func (d *Detector) retire(c *cursor) {
	d.wanted += c.wanted
	d.read += c.read
}

func (d *Detector) latest() *cursor {
	var last *cursor
	for _, c := range d.cursors {
		if last == nil || c.used > last.used {
			last = c
		}
	}
	return last
}

// missed takes in a read that began a cursor.
func (d *Detector) missed(c *cursor) {
	first := d.tick == 1
	known := first || d.state == StateSequential // a scan begins again as the one before did
	scan := known && c.start == 0 && c.pos >= min(firstRead, d.size) && !d.columns
	d.misses++
	switch {
	case d.hint.Access == HintSequential || d.hint.Access == HintWhole:
		c.sure = true
		d.state = StateSequential
	case scan:
		c.sure = true
		d.state = StateSequential
	case c.strides >= strideTrust:
		d.state = StateStrided
	case d.misses >= missesToEnd && d.state != StateColumnar:
		d.state = StateRandom
	}
	if !first && !scan {
		d.scale = min(d.scale*2, 4)
	}
}

// hit takes in a read that fits c.
func (d *Detector) hit(c *cursor, how fit) {
	if how == fitRepeat {
		return
	}
	d.misses = 0
	d.scale = max(d.scale/2, 1)
	trust := nextToTrust
	if d.state == StateRandom {
		trust = nextAgain
	}
	if how == fitNext && c.reads >= trust {
		c.sure = true
	}
	if how == fitStride {
		d.state = StateStrided
		return
	}
	for i, o := range d.cursors {
		if o != c && o.start > c.start && o.start <= c.pos+adjacent && o.pos >= c.pos {
			c.swallow(o)
			d.cursors = append(d.cursors[:i], d.cursors[i+1:]...)
			break
		}
	}
	if c.sure && d.state != StateColumnar {
		d.state = StateSequential
	}
}

// poor reports whether so little of what was wanted is read that nothing more is to be wanted, and begins the rest then.
func (d *Detector) poor(now time.Time) bool {
	past, good := d.Accuracy()
	if past < judged || good >= offAt {
		return false
	}
	d.rest = now.Add(restSpan)
	d.wanted, d.read = 0, 0
	for _, c := range d.cursors {
		c.wanted, c.read = c.ahead(), 0
	}
	return true
}

// Accuracy returns how many of the wanted bytes readers have come to or left behind, and the share of these that were read.
func (d *Detector) Accuracy() (past int64, share float64) {
	wanted, read := d.wanted, d.read
	for _, c := range d.cursors {
		wanted += c.wanted - c.ahead()
		read += c.read
	}
	if wanted == 0 {
		return 0, 1
	}
	return wanted, min(float64(read)/float64(wanted), 1)
}

// ahead wants what follows c, in whole requests; a smaller one only when less than half of the window is under way.
func (d *Detector) ahead(c *cursor, p Plan) []Want {
	window := p.Window(c.seen(), c.reads) / d.scale
	if past, good := d.Accuracy(); past >= judged && good < halfAt {
		window /= 2
	}
	if d.hint.Access == HintWhole {
		window = max(window, min(d.size, wholeRuns*p.Run))
	}
	edge := c.pos
	for _, r := range c.islands {
		edge = max(edge, r.End())
	}
	from := max(c.issued, edge)
	end := min(c.pos+window, d.size)
	small := from-c.pos <= window/2
	var out []Want
	for from < end {
		to := min((from/p.Run+1)*p.Run, d.size)
		if to > end && (len(out) > 0 || !small) {
			break
		}
		to = min(to, max(end, from+minRun), d.size)
		out = append(out, Want{byterange.Range{Off: from, Len: to - from}, cache.CauseSequential})
		c.wanted += to - from
		from = to
	}
	c.issued = max(c.issued, from)
	return out
}

// strideAhead wants the next strides of c.
func (d *Detector) strideAhead(c *cursor, p Plan) []Want {
	var out []Want
	next := max(c.strideEnd, c.lastOff) + c.stride
	last := c.lastOff + int64(p.Strides(c.lastLen))*c.stride
	for ; next <= last && next < d.size; next += c.stride {
		n := min(c.lastLen, d.size-next)
		out = append(out, Want{byterange.Range{Off: next, Len: n}, cache.CauseStrided})
		c.strideEnd = next
		c.wanted += n
		c.pending++
	}
	return out
}
