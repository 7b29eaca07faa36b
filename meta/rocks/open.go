package rocks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/linxGnu/grocksdb"
	"golang.org/x/sys/unix"

	"unistore/meta"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	// DefaultMemoryLimit holds the index and filter blocks of some millions of records.
	DefaultMemoryLimit = 64 * mib
	// minMemoryLimit still leaves a write buffer large enough that flushes are rare.
	minMemoryLimit = 4 * mib
	// maxWriteBuffer also bounds the write-ahead log, hence the replay at the next start: a log
	// lives until the write buffer it belongs to is flushed.
	maxWriteBuffer = 16 * mib
	// maxOpenFiles bounds the descriptors: the gateway needs them for blocks and connections.
	maxOpenFiles = 64
	// filterBits a key: a lookup of an absent key reads the disk in 1 % of cases.
	filterBits = 10

	// lockName is our own lock file, held for the lifetime of an Engine. RocksDB's LOCK reports its
	// state in the text of an error only, and is a POSIX record lock, which any close of that file by the process
	// gives up. RocksDB ignores names it does not know.
	lockName = "unistore.lock"
)

// Config says where the database is and how much memory it may use.
type Config struct {
	Dir string // created if missing
	// MemoryLimit in bytes covers write buffers, cached blocks, indexes and filters; 0 means
	// DefaultMemoryLimit. Less than 4 MiB is raised to 4 MiB.
	MemoryLimit int64
}

func (c Config) memory() uint64 {
	if c.MemoryLimit <= 0 {
		return DefaultMemoryLimit
	}
	return uint64(max(c.MemoryLimit, minMemoryLimit))
}

// Open opens or creates the database in cfg.Dir. It fails with meta.ErrLocked when another Engine or
// process has it open, and with meta.ErrCorrupt when what is there can not be opened as a database: the
// caller may move the directory away, or Destroy it, and open again. Any other error is the disk's; one without
// room for what opening writes is unix.ENOSPC.
func Open(cfg Config) (*Engine, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("rocks: %w", err)
	}
	lock, err := acquire(cfg.Dir)
	if err != nil {
		return nil, err
	}
	err = headless(cfg.Dir)
	if err == nil {
		err = room(cfg.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	set := newSettings(cfg.memory())
	db, err := grocksdb.OpenDb(set.options, cfg.Dir)
	if err != nil {
		set.destroy()
		return nil, errors.Join(openError(cfg.Dir, err), lock.Close())
	}
	return &Engine{db: db, set: set, lock: lock}, nil
}

// Destroy removes the database in dir; files that are not RocksDB's stay, and so does dir then. It fails
// with meta.ErrLocked when the database is open. A directory that is not there is no error.
func Destroy(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := acquire(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	opts := grocksdb.NewDefaultOptions()
	defer opts.Destroy()
	if err := grocksdb.DestroyDb(dir, opts); err != nil {
		return openError(dir, err)
	}
	if err := os.Remove(lock.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rocks: %w", err)
	}
	err = os.Remove(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("rocks: %w", err)
	}
	return nil
}

// acquire takes the exclusive lock of dir. Closing the file gives it up.
func acquire(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("rocks: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = meta.ErrLocked
	}
	return nil, errors.Join(fmt.Errorf("rocks: lock %s: %w", dir, err), f.Close())
}

// headless reports ErrCorrupt for a database that has lost its CURRENT file: RocksDB would make a new
// one among the remains.
func headless(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("rocks: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "MANIFEST-") || strings.HasSuffix(e.Name(), ".sst") {
			return fmt.Errorf("rocks: open %s: %w: %s without CURRENT", dir, meta.ErrCorrupt, e.Name())
		}
	}
	return nil
}

// openError sorts RocksDB's status texts (util/status.cc). The options are constants, so whatever
// it can not accept lies in the files; only an I/O error that does not name a missing file is the disk's.
func openError(dir string, err error) error {
	text := err.Error()
	missing := strings.Contains(text, "No such file or directory")
	switch {
	case strings.HasPrefix(text, "IO error: While lock file"), strings.HasPrefix(text, "IO error: lock "):
		return fmt.Errorf("rocks: open %s: %w: %s", dir, meta.ErrLocked, text)
	case fullDisk(text):
		return fmt.Errorf("rocks: open %s: %w: %s", dir, unix.ENOSPC, text)
	case strings.HasPrefix(text, "IO error") && !missing:
		return fmt.Errorf("rocks: open %s: %s", dir, text)
	}
	return fmt.Errorf("rocks: open %s: %w: %s", dir, meta.ErrCorrupt, text)
}

// settings are the C objects that must outlive the database.
type settings struct {
	options         *grocksdb.Options
	table           *grocksdb.BlockBasedTableOptions
	cache           *grocksdb.Cache
	read            *grocksdb.ReadOptions
	write, writeNow *grocksdb.WriteOptions // writeNow syncs the log
}

// newSettings splits memory: an eighth for each of two write buffers, the rest for the block cache, which also
// holds index and filter blocks, so nothing grows with the number of records.
func newSettings(memory uint64) *settings {
	s := &settings{
		options:  grocksdb.NewDefaultOptions(),
		table:    grocksdb.NewDefaultBlockBasedTableOptions(),
		read:     grocksdb.NewDefaultReadOptions(),
		write:    grocksdb.NewDefaultWriteOptions(),
		writeNow: grocksdb.NewDefaultWriteOptions(),
	}
	buffer := min(memory/8, maxWriteBuffer)
	s.cache = grocksdb.NewLRUCache(memory - 2*buffer)
	s.writeNow.SetSync(true)

	s.table.SetBlockCache(s.cache)
	s.table.SetCacheIndexAndFilterBlocks(true)
	s.table.SetPinL0FilterAndIndexBlocksInCache(true)
	s.table.SetFilterPolicy(grocksdb.NewBloomFilterFull(filterBits))
	s.table.SetBlockSize(4 * kib)

	o := s.options
	o.SetBlockBasedTableFactory(s.table)
	o.SetCreateIfMissing(true)
	o.SetParanoidChecks(true)
	// A log cut or torn anywhere by a power failure is replayed up to there: the order of batches is kept.
	o.SetWALRecoveryMode(grocksdb.PointInTimeRecovery)
	o.SetWriteBufferSize(buffer)
	o.SetMaxWriteBufferNumber(2)
	// Ids and checksums do not compress, and no optional library has to be there.
	o.SetCompression(grocksdb.NoCompression)
	o.SetMaxOpenFiles(maxOpenFiles)
	o.SetMaxBackgroundJobs(2)
	o.SetMaxManifestFileSize(8 * mib)
	o.SetInfoLogLevel(grocksdb.WarnInfoLogLevel)
	o.SetMaxLogFileSize(mib)
	o.SetKeepLogFileNum(2)
	o.SetStatsDumpPeriodSec(0)
	o.SetStatsPersistPeriodSec(0)
	return s
}

func (s *settings) destroy() {
	s.read.Destroy()
	s.write.Destroy()
	s.writeNow.Destroy()
	s.options.Destroy()
	s.table.Destroy()
	s.cache.Destroy()
}
