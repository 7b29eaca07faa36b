package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"unistore/byterange"
	"unistore/faults"
)

// The model test: clients read, write through, overwrite behind the cache, forget and leave at random, under faults and
// restarts. The model is
// the origin: every byte must be that of the version whose ETag the read was opened with, a short
// read has an error, and in the end the index, the records and the disk agree.
//
// CACHE_MODEL_SEEDS and CACHE_MODEL_OPS raise the effort, CACHE_MODEL_SEED repeats one run.

func envInt(name string, def uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return def
}

func TestModel(t *testing.T) {
	first, seeds := envInt("CACHE_MODEL_SEED", 0), envInt("CACHE_MODEL_SEEDS", 6)
	if first != 0 {
		seeds = 1
	} else {
		first = rand.Uint64() >> 1
	}
	for i := range seeds {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) { runModel(t, first+i) })
	}
}

const modelClients = 8

type model struct {
	*env
	objects []string
	// keeps the versions: overwritten content stays what old readers must see.
	mu       sync.RWMutex
	versions map[string]map[string][]byte // name, ETag
	failed   atomic.Int64
	reads    atomic.Int64
	clock    *testClock // of leases
	kept     atomic.Int64
	written  atomic.Int64
	granted  atomic.Int64
	refused  atomic.Int64
}

func runModel(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{versions: map[string]map[string][]byte{}, clock: newTestClock()}
	m.env = newEnvOn(t, onMem, func(c *Config) {
		c.BlockSize = page << r.IntN(3)
		c.Size = c.BlockSize * int64(8+r.IntN(24))
		c.MaxRun = page << r.IntN(6)
		c.Ahead = 1 + r.IntN(4)
		c.Handles = 4 + r.IntN(20)
		c.MaxObjects = stripes * (1 + r.IntN(3))
		c.PinLimit = .1 + .8*r.Float64()
		c.Unpublished = .1 + .5*r.Float64()
		c.Now = m.clock.now
		c.Policy = Policies[r.IntN(len(Policies))]
	})
	m.breakBodies(r.Uint64())
	for i := range 6 {
		name := fmt.Sprint("object", i)
		m.objects = append(m.objects, name)
		m.overwrite(r, name)
	}
	ops := int(envInt("CACHE_MODEL_OPS", 400)) / modelClients
	for phase := range 3 {
		m.setFaults(r, phase)
		var wg sync.WaitGroup
		for range modelClients {
			cr := rand.New(rand.NewPCG(r.Uint64(), 2))
			wg.Go(func() {
				for range ops / 3 {
					m.step(cr)
				}
			})
		}
		wg.Wait()
		m.f.Clear()
		m.c.retryRecords()
		m.idle()
		m.checkDisk()
		m.c.expirePins()
		m.c.writePins()
		pins := m.states()
		if phase == 1 {
			m.crash()
			m.open()
		} else {
			m.restart()
		}
		// A query that holds nothing any more has no lease after a restart.
		pins = slices.DeleteFunc(pins, func(s string) bool { return strings.HasSuffix(s, " soft 0/0 hard 0/0") })
		if again := m.states(); !slices.Equal(pins, again) {
			t.Errorf("pins before the restart %v, after %v", pins, again)
		}
		m.idle()
		m.checkDisk()
	}
	t.Logf("%d reads, %d failed; %d writes, %d kept; %d pins granted, %d refused", m.reads.Load(), m.failed.Load(),
		m.written.Load(), m.kept.Load(), m.granted.Load(), m.refused.Load())
	if n, all := m.failed.Load(), m.reads.Load(); n*2 > all {
		t.Errorf("%d of %d reads failed", n, all)
	}
}

// breakBodies makes one in some bodies fail somewhere.
func (m *model) breakBodies(seed uint64) {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 3))
	m.o.hook = func(_ context.Context, _ string, rng byterange.Range, body io.Reader) (io.Reader, error) {
		mu.Lock()
		defer mu.Unlock()
		switch r.IntN(20) {
		case 0:
			return nil, errBroken
		case 1:
			return io.LimitReader(body, r.Int64N(rng.Len)), nil // ends early
		case 2:
			return io.MultiReader(io.LimitReader(body, r.Int64N(rng.Len+1)), errReader{errBroken}), nil
		}
		return body, nil
	}
}

func (m *model) setFaults(r *rand.Rand, phase int) {
	if phase == 2 {
		return
	}
	for _, f := range []faults.Fault{
		{Name: faults.CacheWriteError, Operation: "write", Error: "ENOSPC", Probability: .01},
		{Name: faults.CacheWriteError, Operation: "create", Probability: .02},
		{Name: faults.CacheReadError, Operation: "open", Probability: .01},
		{Name: faults.CacheReadError, Operation: "read", Probability: .01},
		{Name: faults.CacheCorruptPage, Probability: .02},
		{Name: faults.MetaError, Probability: .01},
	} {
		f.Seed = r.Uint64()
		put(m.t, m.f, f)
	}
}

func (m *model) overwrite(r *rand.Rand, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sizes := []int{1, page - 1, page, page + 1, 5 * page, 1 << 20, 1<<20 + 1 + r.IntN(1<<20)}
	tok := m.c.Begin(keyOf(name))
	a := m.o.put(name, sizes[r.IntN(len(sizes))])
	if m.versions[name] == nil {
		m.versions[name] = map[string][]byte{}
	}
	m.versions[name][a.ETag] = m.o.content(name)
	switch r.IntN(3) {
	case 0:
		m.c.Forget(keyOf(name))
		if m.c.Learn(keyOf(name), tok, a) {
			m.t.Error("Learn with a void token")
		}
	case 1:
		m.c.Learn(keyOf(name), tok, a)
	}
}

// writeThrough writes an object as the gateway does, and fails at random.
func (m *model) writeThrough(r *rand.Rand, name string) {
	m.written.Add(1)
	w := m.begin(name, 1+r.IntN(3<<19), r.IntN(2) == 0)
	whole := w.data
	if r.IntN(4) == 0 { // the client leaves, the upstream refuses, or the body is longer than promised
		w.data = append(slices.Clip(whole[:r.IntN(len(whole))]), make([]byte, r.IntN(2)*(len(whole)+1))...)
	}
	w.pass()
	if r.IntN(4) == 0 {
		w.end(false)
		return
	}
	m.mu.Lock()
	a := m.o.commit(name, whole)
	if m.versions[name] == nil {
		m.versions[name] = map[string][]byte{}
	}
	m.versions[name][a.ETag] = whole
	m.mu.Unlock()
	if r.IntN(2) == 0 { // somebody is told of it before the gateway is
		m.readSome(r, name)
	}
	published := w.in.Publish(a)
	if published {
		m.kept.Add(1)
	}
	if e, ok := m.c.Stat(keyOf(name)); ok && !published && e.Attrs.ETag == a.ETag && e.Attrs.Size != a.Size {
		m.t.Errorf("%s is known as %+v, was %+v", name, e.Attrs, a)
	}
	w.end(published)
}

func (m *model) step(r *rand.Rand) {
	name := m.objects[r.IntN(len(m.objects))]
	if r.IntN(300) == 0 {
		m.c.guard.trip(side(1+r.IntN(int(sideAll))), errBroken)
	}
	switch n := r.IntN(100); {
	case n < 3:
		m.overwrite(r, name)
	case n < 5:
		m.c.Forget(keyOf(name))
	case n < 10:
		m.mu.RLock()
		a := m.o.attrs(name)
		a.HeadersKnown = n%2 == 0
		m.c.Learn(keyOf(name), m.c.Begin(keyOf(name)), a)
		m.mu.RUnlock()
	case n < 15:
		if e, ok := m.c.Stat(keyOf(name)); ok {
			m.mu.RLock()
			if data := m.versions[name][e.Attrs.ETag]; int64(len(data)) != e.Attrs.Size {
				m.t.Errorf("Stat(%s) = %+v: no such version", name, e)
			}
			m.mu.RUnlock()
		}
	case n < 20:
		m.changePins(r)
	case n < 30:
		m.writeThrough(r, name)
	default:
		m.readSome(r, name)
	}
	m.checkLimits()
}

func (m *model) changePins(r *rand.Rand) {
	query := fmt.Sprint("q", r.IntN(4))
	switch r.IntN(4) {
	case 0:
		m.c.Unpin(query)
	case 1:
		m.c.Renew(query, time.Duration(r.IntN(100))*time.Second)
	case 2:
		m.clock.advance(time.Duration(r.IntN(20)) * time.Second)
	case 3:
		for _, s := range m.c.Pins() {
			if !s.Until.After(m.clock.now().Add(-time.Minute)) || s.SoftBlocks < 0 || s.HardBytes < 0 {
				m.t.Errorf("%+v at %v", s, m.clock.now())
			}
		}
	}
}

// checkLimits checks what must hold at any moment: pinned <= pin limit <= size, and use <= size.
func (m *model) checkLimits() {
	s := m.c.Stats()
	if s.Pinned > s.PinLimit || s.PinLimit > s.Capacity || s.Resident+s.Reserved > s.Capacity {
		m.t.Errorf("%+v", s)
	}
}

// readSome reads a random range of the version of the moment.
func (m *model) readSome(r *rand.Rand, name string) {
	m.mu.RLock()
	a := m.o.attrs(name)
	want := m.versions[name][a.ETag]
	m.mu.RUnlock()
	off := r.Int64N(a.Size)
	rng := byterange.Range{Off: off, Len: 1 + r.Int64N(a.Size-off)}
	if r.IntN(4) == 0 {
		rng = byterange.Range{Len: a.Size}
	}
	req := ReadRequest{
		Key: keyOf(name), Attrs: a, Range: rng, Fetch: m.o.fetch(name, a.ETag),
		NoStore: r.IntN(20) == 0, OnlyCached: r.IntN(20) == 0,
	}
	if r.IntN(3) == 0 {
		req.Pin = &PinRequest{
			Query: fmt.Sprint("q", r.IntN(4)), Kind: PinSoft + PinKind(r.IntN(2)), TTL: time.Duration(1+r.IntN(60)) * time.Second,
		}
	}
	if r.IntN(3) == 0 && !req.OnlyCached {
		first := rng
		if r.IntN(2) == 0 {
			first = rng.Align(page, a.Size)
		}
		if body, err := m.o.get(context.Background(), name, a.ETag, first); err == nil {
			req.First = &First{Range: first, Body: body}
		}
	}
	m.reads.Add(1)
	rd, err := m.c.Read(context.Background(), req)
	if err != nil {
		m.expected(err)
		return
	}
	defer rd.Close()
	m.checkPinned(&req, rd.Result().Pin)
	var out bytes.Buffer
	limit := rng.Len
	switch r.IntN(5) {
	case 0: // leaves early
		limit = r.Int64N(rng.Len + 1)
		_, err = io.CopyN(&out, struct{ io.Reader }{rd}, limit)
	case 1:
		_, err = io.Copy(&out, struct{ io.Reader }{rd})
	default:
		_, err = rd.WriteTo(&out)
	}
	if !bytes.Equal(out.Bytes(), want[rng.Off:rng.Off+int64(out.Len())]) {
		m.t.Errorf("%s %v: wrong bytes at %d of %d", name, rng, diff(out.Bytes(), want[rng.Off:]), out.Len())
	}
	if err == nil && int64(out.Len()) != limit {
		m.t.Errorf("%s %v: %d bytes and no error", name, rng, out.Len())
	}
	if err != nil {
		m.expected(err)
	}
}

// checkPinned checks what became of a pin.
func (m *model) checkPinned(req *ReadRequest, got PinResult) {
	switch {
	case req.Pin == nil && got == PinResult{}:
		return
	case req.Pin == nil || got.Bytes < 0 || got.Refused < 0 || got.Bytes+got.Refused != req.Range.Len,
		(got.Kind == PinNone) != (got.Bytes == 0), got.Bytes > 0 && got.Kind != req.Pin.Kind:
		m.t.Errorf("%+v of %v: %+v", req.Pin, req.Range, got)
	case got.Refused > 0:
		m.refused.Add(1)
	default:
		m.granted.Add(1)
	}
}

// expected checks that a read failed for a reason that the model knows.
func (m *model) expected(err error) {
	m.failed.Add(1)
	for _, known := range []error{ErrChanged, ErrNotCached, errBroken, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return
		}
	}
	m.t.Errorf("unexpected error: %v", err)
}
