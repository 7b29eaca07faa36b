package prefetch

import (
	"context"
	"crypto/rand"
	"errors"
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
)

// The bounds of registrations.
const (
	maxQueries    = 1000
	maxQueryFiles = 100_000
	maxKept       = 1000             // queries that have ended and can still be asked about
	keptFor       = 10 * time.Minute // and for how long
	maxFailures   = 20               // that are named in a query's state
	piecesAhead   = 32               // of one query, queued or under way
	pieceSize     = 8 << 20
	addAgain      = 100 * time.Millisecond // after the scheduler was full
	resolveSide   = 32                     // objects that are looked up side by side
	resolveTime   = 20 * time.Second       // for one call
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

// RegistryConfig sets a Registry up; all of it is required but Log and Now.
type RegistryConfig struct {
	Prefetcher *Prefetcher
	Cache      *cache.Cache
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
	write  sync.Mutex // orders the records; before mu

	mu struct {
		sync.Mutex
		queries map[string]*query
		minted  map[string]*query // by access key
		ended   []*query          // oldest first
		closed  bool
	}
}

// QueryState is how far a query is.
type QueryState string

// The states.
const (
	QueryWarming  QueryState = "warming"
	QueryReady    QueryState = "ready"
	QueryReleased QueryState = "released"
	QueryExpired  QueryState = "expired"
)

// Minted are temporary credentials that name a query.
type Minted struct{ AccessKey, SecretKey, Token string }

// query is one registration. Guarded by Registry.mu; name, class and pin never change.
type query struct {
	name    string
	class   Class
	pin     cache.PinKind
	ctx     context.Context // ends with it
	cancel  context.CancelFunc
	minted  Minted
	until   time.Time
	state   QueryState
	endedAt time.Time
	calls   uint32

	files    []*file
	total    int64
	resident int64 // of the pieces that have come
	flying   int64 // of the pieces queued or under way
	errors   int
	failures []Failure
	working  bool // its goroutine runs
	at       int  // the file it is at
	from     int64
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
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.mu.queries, g.mu.minted = map[string]*query{}, map[string]*query{}
	if err := g.load(); err != nil {
		cfg.Metrics.CacheErrors.WithLabelValues("meta").Inc()
		cfg.Log.Error().Err(err).Msg("registered queries can not be read; some are forgotten")
	}
	g.work.Go(g.expire)
	return g
}

// load reads the records. What can not be read is removed: it is the client's to register again.
func (g *Registry) load() error {
	now := g.cfg.Now()
	var drop []string
	var kept []meta.Query
	err := g.cfg.DB.Queries(func(r meta.Query, err error) error {
		if err != nil || !r.Until.After(now) || Class(r.Priority) >= classes {
			drop = append(drop, r.Name)
			return nil
		}
		kept = append(kept, r)
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range drop {
		g.discard(name)
	}
	for _, r := range kept {
		files, next, err := g.cfg.DB.QueryFiles(r.Name)
		if err != nil {
			return err
		}
		q := g.newQuery(r.Name, Class(r.Priority), cache.PinKind(r.Pin), r.Until)
		q.minted, q.calls = Minted{r.AccessKey, r.SecretKey, r.Token}, next
		for _, f := range files {
			add := file{bucket: f.Bucket, key: f.Key, etag: f.ETag, size: f.Size}
			for _, x := range f.Ranges {
				add.ranges = append(add.ranges, byterange.Range{Off: x[0], Len: x[1]})
			}
			q.add(&add)
		}
		g.mu.Lock()
		g.putLocked(q)
		g.workLocked(q)
		g.mu.Unlock()
	}
	return nil
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
	q := &query{name: name, class: class, pin: pin, until: until, state: QueryReady}
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
	for _, r := range f.ranges {
		q.total += r.Len
	}
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
	Rejected        []Failure
	Minted          *Minted
	Until           time.Time
}

// Register makes a query. It returns when the entries were looked up; they are warmed after that. ErrExists, ErrTooMany.
func (g *Registry) Register(ctx context.Context, r Registration) (Accepted, error) {
	q := g.newQuery(r.Name, r.Class, r.Pin, g.cfg.Now().Add(ttl(r.TTL)))
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

// Append adds entries to a query. ErrNoQuery, ErrReleased.
func (g *Registry) Append(ctx context.Context, name string, entries []Entry) (Accepted, error) {
	q, err := g.find(name)
	if err != nil {
		return Accepted{}, err
	}
	files, rejected := g.resolve(ctx, q, entries)
	out := Accepted{Name: name, Rejected: rejected}
	for i := range files {
		f := files[i]
		for _, r := range f.ranges {
			out.Bytes += r.Len
		}
		out.Resident += g.cfg.Cache.Resident(f.at, object.Attrs{ETag: f.etag, Size: f.size}, f.ranges)
	}
	out.Files = len(files)
	g.mu.Lock()
	if q.state == QueryReleased || q.state == QueryExpired {
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

// find returns a query that is alive.
func (g *Registry) find(name string) (*query, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.mu.queries[name]; q != nil {
		return q, nil
	}
	if slices.ContainsFunc(g.mu.ended, func(q *query) bool { return q.name == name }) {
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

// Release ends a query: its pins, its credentials and what is queued for it. Releasing it again does nothing. ErrNoQuery.
func (g *Registry) Release(name string) error {
	q, err := g.find(name)
	if errors.Is(err, ErrReleased) {
		return nil
	}
	if err != nil {
		return err
	}
	g.end(q, QueryReleased)
	return nil
}

// end ends a query, once.
func (g *Registry) end(q *query, state QueryState) {
	g.mu.Lock()
	if g.mu.queries[q.name] != q {
		g.mu.Unlock()
		return
	}
	delete(g.mu.queries, q.name)
	delete(g.mu.minted, q.minted.AccessKey)
	q.state, q.endedAt = state, g.cfg.Now()
	q.files = nil
	g.mu.ended = append(g.mu.ended, q)
	if len(g.mu.ended) > maxKept {
		g.mu.ended = slices.Delete(g.mu.ended, 0, 1)
	}
	g.mu.Unlock()
	q.cancel()
	g.cfg.Prefetcher.CancelQuery(q.name)
	g.cfg.Cache.Unpin(q.name)
	g.discard(q.name)
}

// expire ends queries whose time is over.
func (g *Registry) expire() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-t.C:
		}
		now := g.cfg.Now()
		var over []*query
		states := map[QueryState]int{}
		g.mu.Lock()
		for _, q := range g.mu.queries {
			if !q.until.After(now) {
				over = append(over, q)
			} else {
				states[q.state]++
			}
		}
		g.mu.ended = slices.DeleteFunc(g.mu.ended, func(q *query) bool { return now.Sub(q.endedAt) > keptFor })
		g.mu.Unlock()
		for _, state := range []QueryState{QueryWarming, QueryReady} {
			g.cfg.Metrics.Queries.WithLabelValues(string(state)).Set(float64(states[state]))
		}
		for _, q := range over {
			g.end(q, QueryExpired)
		}
	}
}
