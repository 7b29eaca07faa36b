// Package cache is the block cache: it keeps blocks of object versions in files on local disk and serves
// byte ranges from them, fetching what is missing from the upstream.
//
// # Parts
//
// An object's version is cut into blocks (a file each, 1 MiB by default) and those into pages (64 KiB), the unit
// of validity, checksums and fills. The index (block.go) is in memory, loaded from the
// database at start; the policy (policy.go, class.go) orders blocks for eviction, except those that queries have pinned
// (pin.go). A Reader (reader.go) walks
// a range; for missing pages it starts or joins a fill (fill.go, claim.go), which belongs to the
// cache and lives while one reader waits for it. What goes wrong with the disk or the database is counted
// and served around (around.go); when it stays wrong, the breaker (breaker.go) takes that side out of use, and resync.go
// brings index, files and records together afterwards. The scrubber (scrub.go) looks for pages that
// have rotted. Metadata of objects is apart (objects.go).
//
// # Life of a block
//
//	claim    pages of a run get an owner, space is reserved     (memory)
//	intent   record: filling                                    (database)
//	write    page by page into the file; each is visible at once
//	commit   record: ready, pages and their checksums           (database)
//	drop     evicted, forgotten or bad: out of the index, dead
//	remove   with the last user: record filling, unlink, record deleted, space given back
//
// The blocks of a write that passes through (intake.go) live outside the index until the upstream has committed, and
// are recorded as ready only then (publish.go).
//
// So at any crash each file has a record, and a record that says ready has its file with the pages it
// names.
//
// # Lock order
//
// objects' write lock of a stripe, blockUse.io, Cache.pinIO, Cache.mu, handles.mu. No I/O under Cache.mu, handles.mu or a
// stripe's mu. The first three order the unsynced database writes of records, and are held during them.
package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"unistore/cache/device"
	"unistore/faults"
	"unistore/meta"
	"unistore/metrics"
)

// The errors of the package, matched with errors.Is. What a FetchFunc returns is kept in the chain of what
// a read returns.
var (
	ErrChanged   = errors.New("the object was changed at the upstream") // by FetchFunc
	ErrNotCached = errors.New("not all of the range is cached")
	ErrClosed    = errors.New("the cache is closed")
	ErrInUse     = errors.New("the cache directory is in use by another process")
)

// Config says where the cache is and how large. Dir and DB are required. For every other zero there is
// a default.
type Config struct {
	Dir string
	DB  *meta.DB // not closed by the cache
	// Device holds the block files; nil: Dir/blocks.
	Device device.Device

	Size                        int64   // bytes on disk, a hard limit; 10 GiB
	BlockSize                   int64   // power of two, 64 KiB..16 MiB; 1 MiB
	HighWatermark, LowWatermark float64 // of Size: eviction starts above and ends below; 0.95, 0.90
	PinLimit                    float64 // of Size: what hard pins may hold; 0.80, negative for nothing
	ReserveFree                 int64   // bytes left free on the disk; 0
	Policy                      string  // one of Policies; "lru"
	Unread                      float64 // of Size: prefetched blocks that nobody has read, kept at any rate; 0.15
	Unpublished                 float64 // of Size: what writes may keep before they are committed, see Intake; 0.125
	MaxRun                      int64   // bytes of one upstream request; 16 MiB, less when Size is small
	Ahead                       int     // runs that a reader has under way at most; 4
	Handles                     int     // open block files; 4096
	Scrub                       int64   // bytes a second that the background check of all pages reads; 0: none
	MaxObjects                  int     // objects whose metadata is in memory; 131072

	Metrics *metrics.Metrics
	Log     zerolog.Logger
	Faults  *faults.Set

	BootID string        // of the machine; read from the kernel
	Tick   time.Duration // between two rounds of maintenance; 1 s
	Stall  time.Duration // what a write may wait for the disk in all, see Intake; 250 ms
	Probe  time.Duration // from a failure of the disk to the first probe, see breaker.go; 1 s

	Now func() time.Time // the clock of leases and of Entry.Checked; time.Now
}

// Cache is the block cache of one directory. All methods are safe for concurrent use.
type Cache struct {
	cfg     Config
	math    blockMath
	db      *meta.DB
	dev     device.Device  // outcomes are seen by guard
	probed  device.Device  // the same, unseen
	place   device.Reviver // the same, when it is one; or nil
	guard   *guard
	meters  *meters
	log     burstLog
	lock    *os.File // owned by maintenance while that runs
	objects *objects
	handles *handles

	runPages   int64         // of one upstream request at most
	aheadPages int64         // a reader's fills end at most that far from it
	fileID     atomic.Uint64 // the last one given out
	leaseEnd   uint64        // file ids of this run are below
	retry      retries
	unsure     atomic.Bool              // see suspect
	queued     chan struct{}            // holds an element a page that waits in the queue of an intake
	discard    func(*staging, []staged) // staging.discard, but for tests
	pinIO      sync.Mutex               // orders the database writes of pins; before mu

	mu struct {
		sync.Mutex
		index
		closed   bool
		limit    int64 // bytes that resident and reserved together may reach: Size, or less on a full disk
		resident int64 // on disk, dead blocks included
		reserved int64 // claimed by fills and not yet written, or by intakes and not yet published
		staged   int64 // of reserved: by intakes; and what of theirs is being removed
		unseen   int64 // on disk, of reserved: the pages of intakes
		intakes  map[*Intake]struct{}
		trash    []*block
		dirty    []*block // with markUsed
		fills    map[*fill]struct{}
		readers  int
	}

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	fills  sync.WaitGroup // the goroutines of fills and intakes; none is added after closed
	bg     sync.WaitGroup // maintenance and sweep
	kick   chan struct{}  // wakes maintenance; capacity 1
}

func (cfg *Config) setDefaults() {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	defInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&cfg.Size, 10<<30)
	def(&cfg.BlockSize, 1<<20)
	def(&cfg.MaxRun, 16<<20)
	defInt(&cfg.Ahead, 4)
	defInt(&cfg.Handles, 4096)
	defInt(&cfg.MaxObjects, 1<<17)
	if cfg.HighWatermark == 0 {
		cfg.HighWatermark = 0.95
	}
	if cfg.LowWatermark == 0 {
		cfg.LowWatermark = min(0.90, cfg.HighWatermark)
	}
	if cfg.Unread == 0 {
		cfg.Unread = 0.15
	}
	if cfg.Unpublished == 0 {
		cfg.Unpublished = 0.125
	}
	if cfg.Stall == 0 {
		cfg.Stall = 250 * time.Millisecond
	}
	if cfg.PinLimit == 0 {
		cfg.PinLimit = min(0.80, cfg.HighWatermark)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.New(prometheus.NewRegistry())
	}
	if cfg.BootID == "" {
		cfg.BootID = bootID()
	}
	if cfg.Tick == 0 {
		cfg.Tick = time.Second
	}
	if cfg.Probe == 0 {
		cfg.Probe = firstProbe
	}
}

func (cfg *Config) validate() error {
	switch {
	case cfg.Dir == "":
		return errors.New("cache: no directory")
	case cfg.DB == nil:
		return errors.New("cache: no database")
	case cfg.BlockSize < MinBlockSize || cfg.BlockSize > MaxBlockSize || cfg.BlockSize&(cfg.BlockSize-1) != 0:
		return fmt.Errorf("cache: block size %d is not a power of two from %d to %d", cfg.BlockSize, MinBlockSize, MaxBlockSize)
	case cfg.Size < cfg.BlockSize:
		return fmt.Errorf("cache: size %d is smaller than a block (%d)", cfg.Size, cfg.BlockSize)
	case cfg.ReserveFree < 0 || cfg.MaxRun < 0 || cfg.Ahead < 0 || cfg.Handles < 0 || cfg.MaxObjects < 0 || cfg.Scrub < 0:
		return errors.New("cache: a limit is negative")
	case cfg.LowWatermark < 0 || cfg.LowWatermark > cfg.HighWatermark || cfg.HighWatermark > 1:
		return fmt.Errorf("cache: watermarks %v and %v are not 0 <= low <= high <= 1", cfg.LowWatermark, cfg.HighWatermark)
	case cfg.PinLimit > cfg.HighWatermark:
		return fmt.Errorf("cache: pin limit %v is above the high watermark %v", cfg.PinLimit, cfg.HighWatermark)
	case cfg.Unread < 0 || cfg.Unread > 1:
		return fmt.Errorf("cache: share of unread blocks %v is not 0..1", cfg.Unread)
	case cfg.Unpublished < 0 || cfg.Unpublished > 1:
		return fmt.Errorf("cache: share of unpublished blocks %v is not 0..1", cfg.Unpublished)
	case newPolicy(cfg.Policy) == nil:
		return fmt.Errorf("cache: unknown policy %q", cfg.Policy)
	}
	return nil
}

// runShare: one run takes at most this part of the cache, so that readers on a small cache do not
// push each other's pages out before they are read.
const runShare = 16

// emptyIndex begins with nothing known.
func (c *Cache) emptyIndex() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.index = newIndex(c.math, newPolicy(c.cfg.Policy))
	c.mu.policy.budget = int64(c.cfg.Unread*float64(c.cfg.Size)) / PageSize
	c.mu.resident = 0
}

// Open opens the cache in cfg.Dir and loads its index. It fails with ErrInUse when another process has it,
// before anything is touched.
func Open(cfg Config) (*Cache, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c, err := open(cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return c, nil
}

func open(cfg Config, lock *os.File) (*Cache, error) {
	if cfg.Device == nil {
		dir, err := device.NewDir(filepath.Join(cfg.Dir, "blocks"))
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		cfg.Device = dir
	}
	place, _ := cfg.Device.(device.Reviver)
	if cfg.Faults != nil {
		cfg.Device = device.NewFault(cfg.Device, cfg.Faults)
	}
	c := &Cache{
		cfg: cfg, db: cfg.DB, probed: cfg.Device, place: place, lock: lock,
		math:   blockMath{cfg.BlockSize / PageSize},
		meters: newMeters(cfg.Metrics),
		log:    burstLog{log: cfg.Log},
		kick:   make(chan struct{}, 1),
	}
	c.guard = newGuard(cfg.Probe, c.tripped)
	c.dev = watched{cfg.Device, c.guard}
	c.meterSides()
	c.runPages = max(1, min(cfg.MaxRun, cfg.Size/runShare)/PageSize)
	c.aheadPages = c.runPages * int64(max(1, cfg.Ahead))
	c.handles = newHandles(c.dev, cfg.Handles)
	c.objects = newObjects(c, cfg.MaxObjects)
	c.emptyIndex()
	c.mu.fills = make(map[*fill]struct{})
	c.mu.intakes = make(map[*Intake]struct{})
	c.queued, c.discard = make(chan struct{}, queuedPages), (*staging).discard
	c.mu.limit = cfg.Size
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.meters.capacity.Set(float64(cfg.Size))
	if err := c.recoverOrReset(); err != nil {
		c.cancel()
		c.bg.Wait()
		return nil, err
	}
	c.measureDisk()
	c.bg.Go(c.maintain)
	if cfg.Scrub > 0 {
		c.bg.Go(c.scrub)
	}
	return c, nil
}

// Close ends all fills, whose readers fail with ErrClosed, writes back what is only in memory and marks the
// directory clean. Readers still have to be closed. A second Close does nothing.
func (c *Cache) Close() error {
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return nil
	}
	c.mu.closed = true
	for f := range c.mu.fills {
		f.cancel(ErrClosed)
	}
	for in := range c.mu.intakes {
		in.cancel(OutcomeBypassed)
	}
	c.mu.Unlock()
	c.fills.Wait()
	c.cancel()
	c.bg.Wait()
	c.emptyTrash()
	c.writeUsed()
	c.discardEnded()
	c.retryRecords()
	c.settle()
	c.handles.close()
	run := c.run()
	run.Clean = true
	err := c.db.PutRun(run)
	if err != nil {
		err = fmt.Errorf("cache: mark the directory clean: %w", err)
	}
	return errors.Join(err, c.lock.Close())
}

// Stats is a moment's view of the cache; sizes in bytes.
type Stats struct {
	Capacity, Resident, Reserved int64
	Pinned, PinLimit             int64 // by hard pins; at most, now
	SoftBlocks, HardBlocks       int   // pinned
	Leases                       int   // queries with pins
	Blocks, Versions             int
	Fills, Readers, Handles      int
	Unpublished                  int64  // of Reserved: by writes that are not committed
	Intakes                      int    // such writes
	Objects                      int    // with metadata in memory
	OutOfUse                     string // "read,write,records" or some of them, see breaker.go; empty when all works
}

// Stats returns the current numbers.
func (c *Cache) Stats() Stats {
	s := Stats{Handles: c.handles.len(), Objects: c.objects.len(), OutOfUse: c.guard.sides().String()}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Capacity = c.cfg.Size
	s.Resident, s.Reserved = c.mu.resident, c.mu.reserved
	s.Pinned, s.PinLimit = c.mu.pins.hard, max(0, c.pinCapLocked())
	s.SoftBlocks, s.HardBlocks = c.mu.pins.blocks[PinSoft], c.mu.pins.blocks[PinHard]
	s.Leases = len(c.mu.pins.leases)
	s.Blocks, s.Versions = c.mu.count, len(c.mu.versions)
	s.Fills, s.Readers = len(c.mu.fills), c.mu.readers
	s.Unpublished, s.Intakes = c.mu.staged, len(c.mu.intakes)
	return s
}

// scope is where faults may be injected for k.
func (k Key) scope() faults.Scope {
	return faults.Scope{Upstream: k.Upstream, Bucket: k.Bucket, Key: k.Key}
}

// point is the scope of a named point at which process.kill may strike.
func (k Key) point(name string) faults.Scope {
	sc := k.scope()
	sc.Operation = name
	return sc
}
