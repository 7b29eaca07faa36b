package prefetch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"unistore/byterange"
	"unistore/cache"
	"unistore/meta"
	"unistore/metrics"
	"unistore/object"
)

// The errors of the Registry.
var (
	ErrNoQuery  = errors.New("there is no such query")
	ErrExists   = errors.New("there is a query of this name; append to it, or release it first")
	ErrReleased = errors.New("the query has ended")
	ErrTooMany  = errors.New("too many queries are registered")
	ErrEntries  = fmt.Errorf("more than %d entries in one call", MaxEntries)
)

// The bounds of registrations.
const (
	maxQueries    = 1000
	maxQueryFiles = 100_000
	maxFiles      = 250_000          // of all queries: below 1 KiB each, so 250 MB
	maxKept       = 1000             // queries that have ended and can still be asked about
	keptFor       = 10 * time.Minute // and for how long
	maxFailures   = 20               // that are named in a query's state
	piecesAhead   = 32               // of one query, queued or under way
	pieceSize     = 8 << 20
	addAgain      = 100 * time.Millisecond // after the scheduler was full
	resolveSide   = 32                     // objects that are looked up side by side
	resolveTime   = 20 * time.Second       // for one call
)

// The bounds of one call that registers.
const (
	MaxEntries  = 10_000
	MaxRejected = 1000 // entries that Accepted names
)

// Resolver finds objects as clients name them. Its errors are told to clients by their text, which names no secret.
type Resolver interface {
	// Resolve returns the current version.
	Resolve(ctx context.Context, bucket, key string) (Target, error)
	// List returns a page of the objects below the prefix with their versions: the first, or that which next of the page before
	// names as after. next is empty on the last.
	List(ctx context.Context, bucket, prefix, after string) (found []Found, next string, err error)
}

// Found is one object of a listing.
type Found struct {
	Key  string // the client's
	At   cache.Key
	ETag string
	Size int64
}

// RegistryCache is what a Registry asks of a cache.Cache.
type RegistryCache interface {
	Stats() cache.Stats
	Resident(k cache.Key, a object.Attrs, ranges []byterange.Range) int64
	PinsOf(query string) (cache.PinState, bool)
	Renew(query string, ttl time.Duration) (until time.Time, ok bool)
	Unpin(query string) bool
}

// RegistryConfig sets a Registry up; all of it is required but Log and Now.
type RegistryConfig struct {
	Prefetcher *Prefetcher
	Cache      RegistryCache
	DB         *meta.DB
	Resolver   Resolver
	Metrics    *metrics.Metrics
	Log        zerolog.Logger
	Now        func() time.Time // time.Now
}

// Registry holds the registered queries: it warms their files and pins them, until they are released or expire. It is
// recorded, so that a restart goes on where it was. All methods are safe for concurrent use.
type Registry struct {
	cfg    RegistryConfig
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	limits struct{ query, all int } // of files: of a query, of all
	write  sync.Mutex               // orders the records; before mu

	mu struct {
		sync.Mutex
		queries map[string]*query
		minted  map[string]*query // by access key
		ended   []*query          // oldest first
		slots   int               // of all queries
		closed  bool
	}
}

// QueryState is how far a query is.
type QueryState string

// The states.
const (
	QueryWarming  QueryState = "warming"
	QueryReady    QueryState = "ready"
	QueryEnding   QueryState = "ending" // its record is not removed yet
	QueryReleased QueryState = "released"
	QueryExpired  QueryState = "expired"
)

// Minted are temporary credentials that name a query.
type Minted struct{ AccessKey, SecretKey, Token string }

// query is one registration. Guarded by Registry.mu; name, class, pin and deadline never change.
type query struct {
	name     string
	class    Class
	pin      cache.PinKind
	deadline time.Time       // by when all is to be there; zero: none
	ctx      context.Context // ends with it
	cancel   context.CancelFunc
	minted   Minted
	until    time.Time
	state    QueryState
	endedAt  time.Time
	calls    uint32
	// over is closed when the query has ended and nothing of it runs: its name is free from then on.
	over chan struct{}

	files    []*file
	slots    int // files, and those that calls under way have reserved
	total    int64
	resident int64 // of the pieces that have come
	flying   int64 // of the pieces queued or under way
	errors   int
	failures []Failure
	working  bool // its goroutine runs
	// ending: it has no files and takes none. discarded: its record is gone too.
	ending, discarded bool
	last              QueryState // that it will have: released or expired
	at                int        // the file it is at
	from              int64
}

// file is one object of a query.
type file struct {
	bucket, key string
	etag        string
	size        int64
	ranges      []byterange.Range
	at          cache.Key
	target      *Target // nil: to be resolved
}

// Failure is why a file, or a part of it, is not there.
type Failure struct {
	Bucket string
	Key    string // or the prefix
	Reason string
}

// OpenRegistry loads what was registered before and goes on with it. Records that can not be read are no reason not to
// start: their queries are gone. Close it before the Prefetcher.
func OpenRegistry(cfg RegistryConfig) *Registry {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Registry{cfg: cfg}
	g.limits.query, g.limits.all = maxQueryFiles, maxFiles
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.mu.queries, g.mu.minted = map[string]*query{}, map[string]*query{}
	if err := g.load(); err != nil {
		cfg.Metrics.CacheErrors.WithLabelValues("meta").Inc()
		cfg.Log.Error().Err(err).Msg("registered queries can not be read; some are forgotten")
	}
	g.work.Go(g.expire)
	return g
}

// Close ends the work; what is registered stays recorded.
func (g *Registry) Close() error {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	g.mu.closed = true
	g.mu.Unlock()
	g.cancel()
	g.work.Wait()
	return nil
}

func (g *Registry) newQuery(name string, class Class, pin cache.PinKind, until time.Time) *query {
	q := &query{name: name, class: class, pin: pin, until: until, state: QueryReady, over: make(chan struct{})}
	q.ctx, q.cancel = context.WithCancel(g.ctx)
	return q
}

func (g *Registry) putLocked(q *query) {
	g.mu.queries[q.name] = q
	if q.minted.AccessKey != "" {
		g.mu.minted[q.minted.AccessKey] = q
	}
}

// add appends one file.
func (q *query) add(f *file) {
	q.files = append(q.files, f)
	q.total += f.bytes()
}

// bytes is what f has registered.
func (f *file) bytes() (n int64) {
	for _, r := range f.ranges {
		n += r.Len
	}
	return n
}

// fail notes a failure.
func (q *query) fail(f *file, err error) {
	q.errors++
	if len(q.failures) < maxFailures {
		q.failures = append(q.failures, Failure{f.bucket, f.key, reason(err)})
	}
}

// Registration is what a client registers.
type Registration struct {
	Name        string
	TTL         time.Duration // 0: cache.DefaultPinTTL; at most cache.MaxPinTTL
	Class       Class         // ClassDue, ClassRegistered or ClassSpeculative
	Deadline    time.Duration // from now: when the query begins to read; 0: not known
	Pin         cache.PinKind
	Credentials bool
	Entries     []Entry
}

func ttl(d time.Duration) time.Duration {
	if d <= 0 {
		return cache.DefaultPinTTL
	}
	return min(d, cache.MaxPinTTL)
}

// Accepted says what became of the entries of a call.
type Accepted struct {
	Name            string
	Files           int
	Bytes, Resident int64
	Rejections      int       // in all
	Rejected        []Failure // the first of them, at most MaxRejected
	Minted          *Minted
	Until           time.Time
}

// Register makes a query. It returns when the entries were looked up; they are warmed after that. The name of a query that
// ends is waited for, for a bounded time. ErrExists, ErrTooMany, ErrEntries.
func (g *Registry) Register(ctx context.Context, r Registration) (Accepted, error) {
	if len(r.Entries) > MaxEntries {
		return Accepted{}, ErrEntries
	}
	g.awaitEnd(ctx, r.Name)
	q := g.newQuery(r.Name, r.Class, r.Pin, g.cfg.Now().Add(ttl(r.TTL)))
	if r.Deadline > 0 {
		q.deadline = g.cfg.Now().Add(r.Deadline)
	}
	if r.Credentials {
		q.minted = Minted{AccessKey: "UQ" + rand.Text()[:18], SecretKey: rand.Text() + rand.Text(), Token: rand.Text()}
	}
	g.mu.Lock()
	var err error
	switch {
	case g.mu.queries[r.Name] != nil:
		err = ErrExists
	case len(g.mu.queries) >= maxQueries, g.mu.closed:
		err = ErrTooMany
	}
	if err != nil {
		g.mu.Unlock()
		q.cancel()
		return Accepted{}, err
	}
	g.putLocked(q)
	until := q.until
	g.mu.Unlock()
	g.record(q)
	out, err := g.Append(ctx, r.Name, r.Entries)
	if r.Credentials {
		out.Minted = &q.minted
	}
	out.Until = until
	return out, err
}

// Append adds entries to a query. ErrNoQuery, ErrReleased, ErrEntries.
func (g *Registry) Append(ctx context.Context, name string, entries []Entry) (Accepted, error) {
	if len(entries) > MaxEntries {
		return Accepted{}, ErrEntries
	}
	q, err := g.find(name)
	if err != nil {
		return Accepted{}, err
	}
	files, rejected := g.resolve(ctx, q, entries)
	out := Accepted{Name: name, Files: len(files), Rejections: len(rejected), Rejected: rejected[:min(len(rejected), MaxRejected)]}
	for _, f := range files {
		out.Bytes += f.bytes()
		out.Resident += g.cfg.Cache.Resident(f.at, object.Attrs{ETag: f.etag, Size: f.size}, f.ranges)
	}
	g.mu.Lock()
	if !g.aliveLocked(q) {
		g.freeLocked(q, len(files))
		g.mu.Unlock()
		return Accepted{}, ErrReleased
	}
	for _, f := range files {
		q.add(f)
	}
	number := q.calls
	q.calls++
	g.workLocked(q)
	g.mu.Unlock()
	g.recordFiles(q, number, files)
	return out, nil
}

// aliveLocked reports whether q has not begun to end.
func (g *Registry) aliveLocked(q *query) bool { return g.mu.queries[q.name] == q && !q.ending }

// find returns a query that is alive.
func (g *Registry) find(name string) (*query, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch q := g.mu.queries[name]; {
	case q != nil && q.ending:
		return nil, ErrReleased
	case q != nil:
		return q, nil
	case slices.ContainsFunc(g.mu.ended, func(q *query) bool { return q.name == name }):
		return nil, ErrReleased
	}
	return nil, ErrNoQuery
}

// Renew makes a query end d from now, unless it ends later already, and returns when.
func (g *Registry) Renew(name string, d time.Duration) (time.Time, error) {
	q, err := g.find(name)
	if err != nil {
		return time.Time{}, err
	}
	g.mu.Lock()
	if until := g.cfg.Now().Add(ttl(d)); until.After(q.until) {
		q.until = until
	}
	until := q.until
	g.mu.Unlock()
	g.cfg.Cache.Renew(name, until.Sub(g.cfg.Now()))
	g.record(q)
	return until, nil
}
