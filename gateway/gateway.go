package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"unistore/cache"
	"unistore/config"
	"unistore/faults"
	"unistore/meta"
	"unistore/metrics"
	"unistore/multipart"
	"unistore/netx"
	"unistore/prefetch"
	"unistore/s3api"
	"unistore/upstream"
	"unistore/upstream/all"
	upstreamfault "unistore/upstream/fault"
)

// drainTimeout bounds how long requests may go on after the gateway has been told to stop.
const drainTimeout = 30 * time.Second

// Options are what a Gateway gets besides its configuration.
type Options struct {
	Log     zerolog.Logger
	Version string
	Memory  int64 // that the process may take, in bytes; 0: any number

	now   func() time.Time // of freshness and leases; nil: time.Now
	stall time.Duration    // what a write may wait for the cache's disk; 0: the cache's default
}

// Gateway is the whole of UniStore in one process. New builds it, Run serves until its context ends and frees
// everything.
type Gateway struct {
	cfg      *config.Config
	opts     Options
	log      zerolog.Logger
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	faults   *faults.Set
	engine   meta.Engine // of the cache's records
	cache    *cache.Cache
	journal  *multipart.Journal
	sweeper  *multipart.Sweeper
	ahead    *prefetch.Prefetcher // nil: not enabled
	queries  *prefetch.Registry   // nil: the same
	records  *meta.DB
	stores   map[string]*upstream.Store
	keys     *keyring
	service  *service
	state    *gatewayState
	server   *server
	admin    *admin
	budget   *netx.Budget
	files    fileShares
	ready    atomic.Bool

	listeners []net.Listener
	cutAll    context.CancelFunc // ends every request that is still running
	closers   []func() error     // in the order of construction; run backwards
}

// New builds the gateway: stores, cache, listeners. It listens already when it returns, so that a port that is
// taken is an error here; nothing is accepted before Run. On an error everything is freed.
func New(ctx context.Context, cfg *config.Config, opts Options) (g *Gateway, err error) {
	if opts.now == nil {
		opts.now = time.Now
	}
	g = &Gateway{cfg: cfg, opts: opts, log: opts.Log, registry: prometheus.NewRegistry()}
	g.metrics = metrics.New(g.registry)
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
			g = nil
		}
	}()
	g.files = shareFiles(netx.FDBudget(0), upstreamRequests(cfg.Upstreams))
	if err := g.setFaults(); err != nil {
		return g, err
	}
	if err := g.openStores(ctx); err != nil {
		return g, err
	}
	if err := g.openCache(); err != nil {
		return g, err
	}
	g.compose()
	if g.admin, err = g.openAdmin(); err != nil {
		return g, err
	}
	return g, g.listen()
}

func (g *Gateway) setFaults() error {
	g.faults = faults.New(func(name string) { g.metrics.FaultsInjected.WithLabelValues(name).Inc() })
	for _, f := range g.cfg.Faults {
		parsed, err := faults.Parse(f.Name, f.Params)
		if err != nil {
			return fmt.Errorf("faults: %w", err)
		}
		if err := g.faults.Put(parsed); err != nil {
			return fmt.Errorf("faults: %w", err)
		}
	}
	return nil
}

func (g *Gateway) openStores(ctx context.Context) error {
	g.stores = map[string]*upstream.Store{}
	for name, u := range g.cfg.Upstreams {
		backend, err := all.New(ctx, name, u, g.log)
		if err != nil {
			return fmt.Errorf("upstream %s: %w", name, err)
		}
		if g.cfg.EnableFaults {
			if b, ok := backend.(interface{ Inject(string, *faults.Set) }); ok {
				b.Inject(name, g.faults)
			}
			backend = upstreamfault.Wrap(backend, name, g.faults)
		}
		store := upstream.NewStore(name, backend, upstream.StoreConfig{
			Metrics: g.metrics, Log: g.log, Timeout: u.Timeout, Retries: u.Retries, MaxConnections: u.MaxConnections,
			OpaqueETags: u.OpaqueETags,
		})
		g.stores[name] = store
		g.closers = append(g.closers, store.Close)
	}
	return nil
}

// openCache opens the records and the cache over them.
func (g *Gateway) openCache() error {
	c := g.cfg.Cache
	db, err := g.openRecords()
	if err != nil {
		return fmt.Errorf("cache %s: %w", c.Dir, err)
	}
	g.cache, err = cache.Open(cache.Config{
		Dir: c.Dir, Size: c.Size, BlockSize: c.BlockSize,
		HighWatermark: c.HighWatermark, LowWatermark: c.LowWatermark, ReserveFree: c.ReserveFree, Scrub: c.Scrub,
		PinLimit: pinLimit(c.PinLimit), Policy: c.Policy,
		Handles: g.files.handles, DB: db, Metrics: g.metrics, Log: g.log, Faults: g.faults,
		Now: g.opts.now, Stall: g.opts.stall,
	})
	if err != nil {
		return fmt.Errorf("cache %s: %w", c.Dir, err)
	}
	g.closers = append(g.closers, g.cache.Close)
	g.journal = multipart.NewJournal(multipart.JournalConfig{DB: db, Metrics: g.metrics, Log: g.log, Now: g.opts.now})
	g.records = db
	g.openPrefetch()
	return nil
}

// openPrefetch begins to fetch ahead, where that is wanted.
func (g *Gateway) openPrefetch() {
	p := g.cfg.Prefetch
	if !p.Enabled {
		return
	}
	g.ahead = prefetch.New(prefetch.Config{
		Cache: g.cache, Budget: prefetch.Budget{Memory: p.Memory, Jobs: p.MaxInflight}, MaxWindow: p.MaxWindow,
		Unit: g.cfg.Cache.BlockSize, Metrics: g.metrics, Log: g.log,
		Throttled: func(err error) bool { return errors.Is(err, upstream.Throttled) },
	})
	g.closers = append(g.closers, g.ahead.Close)
}

// openQueries goes on with the queries that are registered.
func (g *Gateway) openQueries() {
	if g.ahead == nil {
		return
	}
	queries := prefetch.OpenRegistry(prefetch.RegistryConfig{
		Prefetcher: g.ahead, Cache: g.cache, DB: g.records, Resolver: resolver{g.service}, Metrics: g.metrics, Log: g.log, Now: g.opts.now,
	})
	g.closers = append(g.closers, queries.Close)
	g.queries, g.service.queries, g.keys.queries = queries, queries, queries
}

// pinLimit is what the cache takes for the configuration's share; there 0 allows no hard pins.
func pinLimit(share float64) float64 {
	if share == 0 {
		return -1
	}
	return share
}

// compose makes the service and the rim in front of it.
func (g *Gateway) compose() {
	g.keys = newKeyring(g.cfg.Credentials)
	g.service = &service{
		cfg:    g.cfg,
		routes: newRoutes(g.cfg, g.stores, g.ahead, g.metrics),
		keys:   g.keys,
		verifier: s3api.NewVerifier(g.keys, s3api.VerifierConfig{
			BaseDomains: g.cfg.BaseDomains,
			Region:      g.cfg.Region, Anonymous: g.cfg.Anonymous, Now: time.Now,
		}),
		cache: g.cache, ahead: g.ahead,
		learner: newLearner(g.cache, g.opts.now, newDoubts(g.opts.now, g.metrics.WriteDoubts)),
		uploader: multipart.NewUploader(multipart.Config{
			Memory: uploadMemory(g.opts.Memory), Journal: g.journal, Metrics: g.metrics, Log: g.log, Faults: g.faults,
		}),
		journal: g.journal, faults: g.faults,
		metrics: g.metrics, log: g.log, now: g.opts.now,
	}
	g.sweeper = newSweeper(g)
	g.state = newGatewayState(g)
	g.openQueries()
	g.service.control = &control{state: g.state, queries: g.queries}
	base, cut := context.WithCancel(context.Background())
	g.cutAll = cut
	g.server = newServer(base, serverConfig{
		Service: g.service, BodyIdle: g.cfg.Limits.RequestBodyIdle, Metrics: g.metrics, Log: g.log,
	})
}

// Run serves until ctx ends, then lets running requests finish (at most drainTimeout), and frees
// everything. It returns nil after an orderly end.
func (g *Gateway) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	for _, l := range g.listeners {
		group.Go(func() error { return g.server.Serve(l) })
	}
	group.Go(g.admin.serve)
	group.Go(func() error {
		g.sweeper.Run(running)
		return nil
	})
	g.ready.Store(true)
	g.log.Info().Strs("listen", g.Addresses()).Str("version", g.opts.Version).Msg("serving")
	group.Go(func() error {
		<-running.Done()
		g.ready.Store(false)
		return g.drain()
	})
	err := group.Wait()
	return errors.Join(err, g.close())
}

// drain stops accepting and waits for running requests.
func (g *Gateway) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	g.log.Info().Dur("at_most", drainTimeout).Msg("draining")
	err := g.server.Shutdown(ctx)
	for _, l := range g.listeners { // it does not know of those that Serve has not reached yet
		if closeErr := l.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			g.log.Warn().Err(closeErr).Msg("a listener did not close well")
		}
	}
	g.cutAll()
	if adminErr := g.admin.close(); adminErr != nil {
		g.log.Warn().Err(adminErr).Msg("the admin side did not stop well")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		g.log.Warn().Msg("requests were cut: they did not finish in time")
		return nil
	}
	return err
}

// close frees what New made, last first.
func (g *Gateway) close() error {
	if g.cutAll != nil {
		g.cutAll()
	}
	var errs []error
	if g.admin != nil {
		errs = append(errs, g.admin.close())
	}
	for _, l := range g.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	g.closers, g.listeners = nil, nil
	return errors.Join(errs...)
}

// Addresses returns where the S3 side listens, with the ports that the system chose.
func (g *Gateway) Addresses() []string {
	var out []string
	for _, l := range g.listeners {
		addr := l.Addr()
		if addr.Network() == "unix" {
			out = append(out, "unix:"+addr.String())
			continue
		}
		out = append(out, addr.String())
	}
	return out
}

// AdminAddress returns where the admin side listens, with the port that the system chose.
func (g *Gateway) AdminAddress() string { return g.admin.address() }

// Reload takes over what can change while serving, and says what can not.
func (g *Gateway) Reload(cfg *config.Config) (changed, ignored []string, err error) {
	g.keys.replace(cfg.Credentials)
	changed = append(changed, "credentials")
	return changed, differences(g.cfg, cfg), nil
}
