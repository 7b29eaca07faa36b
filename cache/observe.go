package cache

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/metrics"
)

// errorKind labels a failure that the cache survived.
type errorKind string

// The kinds.
const (
	kindWrite   errorKind = "write"   // the device refused a write
	kindRead    errorKind = "read"    // the device failed a read
	kindRemove  errorKind = "remove"  // a block file could not be deleted
	kindCorrupt errorKind = "corrupt" // a page's checksum was wrong
	kindMeta    errorKind = "meta"    // the database failed, or a record was unreadable
	kindNoRoom  errorKind = "no_room" // there was no space to be had at once
	kindHandles errorKind = "handles" // too many block files in use, or no file descriptor left
)

// reason labels why a block was dropped.
type reason string

// The reasons.
const (
	reasonSize    reason = "size"    // for room in the cache
	reasonReserve reason = "reserve" // for the disk's free space
	reasonForget  reason = "forget"  // the object was written, deleted or invalidated
	reasonVersion reason = "version" // the upstream has another version
	reasonCorrupt reason = "corrupt"
	reasonError   reason = "error" // its file or record failed
	reasonEmpty   reason = ""      // it never held a page: not counted
)

// meters are the cache's metrics with their labels resolved.
type meters struct {
	m                                  *metrics.Metrics
	capacity, resident, reserved       prometheus.Gauge
	servedCache, servedFill, servedPas prometheus.Counter
	fills                              map[Cause]prometheus.Counter
	prefetch                           prefetchMeters
	pinned, pinsSoft, pinsHard         prometheus.Gauge
	prefetched                         prometheus.Gauge
}

func newMeters(m *metrics.Metrics) *meters {
	fills := map[Cause]prometheus.Counter{}
	for _, cause := range causes {
		fills[cause] = m.CacheFillBytes.WithLabelValues(string(cause))
	}
	return &meters{
		m:           m,
		capacity:    m.CacheBytes.WithLabelValues("capacity"),
		resident:    m.CacheBytes.WithLabelValues("resident"),
		reserved:    m.CacheBytes.WithLabelValues("reserved"),
		servedCache: m.CacheServed.WithLabelValues("cache"),
		servedFill:  m.CacheServed.WithLabelValues("fill"),
		servedPas:   m.CacheServed.WithLabelValues("bypass"),
		fills:       fills,
		prefetch: prefetchMeters{
			issued: m.PrefetchBytes.WithLabelValues("issued"), used: m.PrefetchBytes.WithLabelValues("used"),
			wasted: m.PrefetchBytes.WithLabelValues("wasted"),
		},
		pinned:     m.CacheBytes.WithLabelValues("pinned"),
		prefetched: m.CacheBytes.WithLabelValues("prefetched"),
		pinsSoft:   m.Pins.WithLabelValues(PinSoft.String()),
		pinsHard:   m.Pins.WithLabelValues(PinHard.String()),
	}
}

func (m *meters) served(src Source, n int64) {
	switch src {
	case SourceCache:
		m.servedCache.Add(float64(n))
	case SourceFill:
		m.servedFill.Add(float64(n))
	default:
		m.servedPas.Add(float64(n))
	}
}

// read counts a read by its result.
func (m *meters) read(res Result) {
	label := "miss"
	switch {
	case res.Source == SourceBypass:
		label = "bypass"
	case res.Source == SourceCache:
		label = "hit"
	case res.Partial:
		label = "partial"
	}
	m.m.CacheReads.WithLabelValues(label).Inc()
}

// spaceLocked publishes what the index counts.
func (c *Cache) spaceLocked() {
	c.meters.resident.Set(float64(c.mu.resident))
	c.meters.reserved.Set(float64(c.mu.reserved))
	c.meters.pinned.Set(float64(c.mu.pins.hard))
	c.meters.prefetched.Set(float64(c.mu.policy.pages * PageSize))
	c.meters.pinsSoft.Set(float64(c.mu.pins.blocks[PinSoft]))
	c.meters.pinsHard.Set(float64(c.mu.pins.blocks[PinHard]))
	c.meters.m.CacheBlocks.Set(float64(c.mu.count))
	c.meters.m.CacheFills.Set(float64(len(c.mu.fills)))
}

// survived counts a failure that costs no reader anything, and logs the first of a burst.
func (c *Cache) survived(kind errorKind, err error) {
	c.meters.m.CacheErrors.WithLabelValues(string(kind)).Inc()
	c.log.warn(kind, err)
}

// burst is how long the log is quiet about a kind of failure after it was logged.
const burst = 10 * time.Second

// burstLog logs the first failure of each kind in every burst, with the number kept back since.
type burstLog struct {
	log zerolog.Logger
	mu  struct {
		sync.Mutex
		last map[errorKind]*bursting
	}
}

type bursting struct {
	logged time.Time
	silent int
}

func (l *burstLog) warn(kind errorKind, err error) {
	now := time.Now()
	l.mu.Lock()
	if l.mu.last == nil {
		l.mu.last = make(map[errorKind]*bursting)
	}
	b := l.mu.last[kind]
	if b == nil {
		b = &bursting{}
		l.mu.last[kind] = b
	}
	if !b.logged.IsZero() && now.Sub(b.logged) < burst {
		b.silent++
		l.mu.Unlock()
		return
	}
	silent := b.silent
	b.logged, b.silent = now, 0
	l.mu.Unlock()
	l.log.Warn().Err(err).Str("kind", string(kind)).Int("not_logged", silent).
		Msg("the cache failed; the read goes on without it")
}
