package prefetch

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/semaphore"

	"unistore/cache"
	"unistore/metrics"
)

// ErrDropped is the end of a job that never ran, or that was cancelled.
var ErrDropped = errors.New("prefetch: the job was dropped")

// The bounds of what is remembered.
const (
	maxStreams = 4096
	streamIdle = 2 * time.Minute
	maxLinks   = 1024
)

// Filler fills ranges into the cache; *cache.Cache is one.
type Filler interface {
	Prefetch(ctx context.Context, req cache.PrefetchRequest) (cache.PrefetchResult, error)
	Fetched(ctx context.Context, req cache.PrefetchRequest) ([]byte, error)
}

// Config sets a Prefetcher up. All of it is required but Throttled, Log, Now.
type Config struct {
	Cache     Filler
	Budget    Budget
	MaxWindow int64            // bytes ahead of one reader
	Unit      int64            // bytes of a block
	Throttled func(error) bool // reports whether an error is the store's wish for less
	Metrics   *metrics.Metrics //
	Log       zerolog.Logger   //
	Now       func() time.Time // time.Now
}

// Prefetcher observes reads and fetches ahead of them. All methods are safe for concurrent use; those of a nil
// Prefetcher do nothing.
type Prefetcher struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	jobs   sync.WaitGroup // every goroutine; none is added after closed

	tails *semaphore.Weighted // bytes of long footers that are held

	queued, running prometheus.Gauge

	mu struct {
		sync.Mutex
		closed  bool
		streams map[streamKey]*stream
		recent  *list.List // of *stream, the last used first
		sched   *scheduler
		ticking bool
		small   int // calls of Go
		columnar
	}
}

type streamKey struct {
	key   cache.Key
	etag  string
	query string
}

// stream is what one query reads of one version. Guarded by Prefetcher.mu.
type stream struct {
	id       streamKey
	target   Target
	detector *Detector
	window   Window
	rate     Rate
	readers  int
	most     int // readers side by side, lately
	used     time.Time
	place    *list.Element
	maxWin   int64       // that a hint has named; 0
	file     *columnFile // nil: it is not one in columns, or not known yet
}

// New returns a Prefetcher. Close it.
func New(cfg Config) *Prefetcher {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Throttled == nil {
		cfg.Throttled = func(error) bool { return false }
	}
	p := &Prefetcher{
		cfg: cfg, queued: cfg.Metrics.PrefetchJobs.WithLabelValues("queued"), running: cfg.Metrics.PrefetchJobs.WithLabelValues("running"),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.streams = map[streamKey]*stream{}
	p.mu.recent = list.New()
	p.mu.sched = newScheduler(cfg.Budget)
	p.mu.columnar = newColumnar()
	p.tails = semaphore.NewWeighted(tailBytes)
	p.mu.sched.limited = func(upstream string, limit int64) {
		cfg.Log.Debug().Str("upstream", upstream).Int64("bytes", limit).Msg("more bytes under way bring no more: a limit was found or tried")
	}
	return p
}

// Close cancels all jobs and waits for them. Jobs that waited end with ErrDropped.
func (p *Prefetcher) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.mu.closed = true
	dropped := p.mu.sched.drop(func(*Job) bool { return true })
	p.mu.Unlock()
	p.cancel()
	p.tell(dropped)
	p.jobs.Wait()
	return nil
}

// streamLocked finds or makes the stream of a read.
func (p *Prefetcher) streamLocked(r Read, now time.Time) *stream {
	id := streamKey{r.Target.Key, r.Target.ETag, r.Query}
	s := p.mu.streams[id]
	if s == nil || now.Sub(s.used) > streamIdle && s.readers == 0 {
		if s != nil {
			p.mu.recent.Remove(s.place)
		}
		s = &stream{id: id, detector: NewDetector(r.Target.Size)}
		s.place = p.mu.recent.PushFront(s)
		p.mu.streams[id] = s
		if len(p.mu.streams) > maxStreams {
			old := p.mu.recent.Remove(p.mu.recent.Back()).(*stream)
			delete(p.mu.streams, old.id)
		}
	} else {
		p.mu.recent.MoveToFront(s.place)
	}
	s.target, s.used = r.Target, now
	return s
}

// paceLocked is what the window of s is made of now.
func (p *Prefetcher) paceLocked(s *stream, now time.Time) Pace {
	l := p.mu.sched.linkOf(s.target.link())
	e := l.Estimate(now)
	most := p.cfg.MaxWindow
	if s.maxWin > 0 {
		most = min(s.maxWin, p.cfg.Budget.Memory)
	}
	return Pace{
		Rate: s.rate.Value(), Link: e, Run: RunSize(e, most, p.cfg.Unit), Max: most,
		Saturated: l.saturated(now),
	}
}

func (p *Prefetcher) planLocked(s *stream, now time.Time) Plan {
	pace := p.paceLocked(s, now)
	return Plan{
		Run: pace.Run, Strides: pace.Strides,
		Window: func(seen int64, reads int) int64 {
			size := s.window.Size(pace, seen, reads)
			p.cfg.Metrics.PrefetchWindow.Set(float64(size))
			return size
		},
	}
}
