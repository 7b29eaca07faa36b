package hdfs

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"unistore/upstream"
	"unistore/upstream/hdfs/internal/datanode"
	"unistore/upstream/hdfs/internal/namenode"
	"unistore/upstream/hdfs/internal/wire"
	"unistore/upstream/internal/semantics"
)

// Config of a Backend.
type Config struct {
	NameNodes []string // host:port of every NameNode of one cluster
	User      string   // "unistore" if empty
	Root      string   // an absolute path; made when it is missing
	// Hostnames: DataNodes are reached by the names that they have given, not by their addresses.
	Hostnames bool
	Timeout   time.Duration // for one answer; 0: 20 s
	// NoSync: a write is done when all replicas are in the memory of their DataNodes, as with other clients of
	// HDFS; otherwise they are on disk.
	NoSync bool
	Log    zerolog.Logger
}

const (
	defaultUser = "unistore"
	dialTimeout = 5 * time.Second
	callTimeout = 20 * time.Second
	// writeTimeout is Hadoop's dfs.client.socket-timeout.
	writeTimeout = 60 * time.Second
	// readTimeout is for the answer to a read, and for each packet. With it the three replicas that files have
	// by default are all tried before the body counts as standing still (upstream.DefaultIdleTimeout).
	readTimeout = 15 * time.Second
	// A call that met a failure is sent again for so long: a restart takes longer, a failover does not.
	onePatience  = 3 * time.Second
	manyPatience = 15 * time.Second
)

// Backend is a store in a directory of an HDFS cluster.
type Backend struct {
	log   zerolog.Logger
	root  string
	nn    *namenode.Client
	dn    datanode.Config // of writes
	reads datanode.Config
	slow  suspects
	area  *area
	keys  *semantics.Locks // by bucket/key: who changes the object
	ends  *semantics.Locks // by upload id: who ends it
	stop  context.CancelFunc
	owned sync.WaitGroup // goroutines of the Backend

	defaults struct {
		sync.Mutex
		known *wire.ServerDefaults
	}
	// Files are renamed to make way for a directory (asides) while directories are read; see entries.
	asides struct {
		running, ended atomic.Int64
	}
}

var (
	_ upstream.Backend     = (*Backend)(nil)
	_ upstream.Bucketer    = (*Backend)(nil)
	_ upstream.Multiparter = (*Backend)(nil)
)

// New returns a store that connects with its first operation. Other processes may use the same root.
func New(cfg Config) (*Backend, error) {
	const op = "New"
	if err := validate(&cfg); err != nil {
		return nil, upstream.Errorf(upstream.Invalid, op, "%w", err)
	}
	patience := onePatience
	if len(cfg.NameNodes) > 1 {
		patience = manyPatience
	}
	nn := namenode.New(namenode.Config{
		Addresses: cfg.NameNodes, User: cfg.User, Dial: dial,
		DialTimeout: dialTimeout, CallTimeout: cfg.Timeout, Patience: patience,
	})
	b := &Backend{
		log: cfg.Log, root: cfg.Root, nn: nn, keys: semantics.NewLocks(), ends: semantics.NewLocks(),
		dn: datanode.Config{
			Dial: dial, ClientName: nn.Name(), DialTimeout: dialTimeout, Timeout: writeTimeout, Hostnames: cfg.Hostnames, Sync: !cfg.NoSync,
		},
	}
	b.reads = b.dn
	b.reads.Timeout = readTimeout
	b.area = newArea(b)
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.owned.Go(func() { b.area.keep(ctx) })
	return b, nil
}

func validate(cfg *Config) error {
	if len(cfg.NameNodes) == 0 {
		return fmt.Errorf("no NameNodes")
	}
	for _, addr := range cfg.NameNodes {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return fmt.Errorf("NameNode %q is not host:port", addr)
		}
	}
	if !strings.HasPrefix(cfg.Root, "/") || path.Clean(cfg.Root) != cfg.Root || strings.ContainsAny(cfg.Root, ":\x00") {
		return fmt.Errorf("the root %q is not a clean absolute path", cfg.Root)
	}
	if cfg.User == "" {
		cfg.User = defaultUser
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = callTimeout
	}
	cfg.Root = strings.TrimSuffix(cfg.Root, "/") // of "/" itself
	return nil
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// Limits are S3's smallest part, so that clients see the same rules everywhere, and otherwise none.
func (b *Backend) Limits() upstream.Limits {
	return upstream.Limits{
		MinPart:         5 << 20,
		MaxParts:        semantics.MaxPartNumber,
		MaxKey:          1024,
		CreateOnly:      true,
		ReplaceOnly:     true,
		DeleteCondition: true,
		StoresChecksums: true,
		OwnUploads:      true,
	}
}

// Close removes this process's part of the hidden area, as far as the cluster can be reached.
func (b *Backend) Close() error {
	b.stop()
	b.owned.Wait()
	b.area.remove()
	b.nn.Close()
	return nil
}

// inode is the path of a file or directory that follows it wherever it is renamed, and leads nowhere once it
// is deleted or replaced.
func inode(id uint64) string { return fmt.Sprintf("/.reserved/.inodes/%d", id) }

// isFile and isDir accept nil, for nothing.
func isFile(s *wire.FileStatus) bool { return s != nil && s.GetFileType() == wire.FileStatus_IS_FILE }
func isDir(s *wire.FileStatus) bool  { return s != nil && s.GetFileType() == wire.FileStatus_IS_DIR }

// info is namenode.Info, for which a path below a file leads nowhere too.
func (b *Backend) info(ctx context.Context, path string) (*wire.FileStatus, error) {
	s, err := b.nn.Info(ctx, path)
	if isMissing(err) {
		return nil, nil
	}
	return s, err
}

func stampOf(s *wire.FileStatus) semantics.Stamp {
	return semantics.Stamp{Size: int64(s.GetLength()), MTime: int64(s.GetModificationTime()), Inode: s.GetFileId()}
}

func timeOf(s *wire.FileStatus) time.Time {
	return time.UnixMilli(int64(s.GetModificationTime())).UTC()
}

// serverDefaults returns what the cluster gives to new files. It refuses a cluster that wants its data
// encrypted on the way, which is not supported.
func (b *Backend) serverDefaults(ctx context.Context, op string) (*wire.ServerDefaults, error) {
	b.defaults.Lock()
	known := b.defaults.known
	b.defaults.Unlock()
	if known != nil {
		return known, nil
	}
	d, err := b.nn.Defaults(ctx)
	switch {
	case err != nil:
		return nil, fail(op, err)
	case d.GetEncryptDataTransfer():
		return nil, upstream.Errorf(upstream.Unsupported, op, "the cluster encrypts data transfers (dfs.encrypt.data.transfer)")
	case d.GetBytesPerChecksum() == 0 || d.GetBlockSize() == 0 || d.GetBlockSize()%uint64(d.GetBytesPerChecksum()) != 0:
		return nil, upstream.Errorf(upstream.Unavailable, op, "the NameNode names blocks of %d bytes and chunks of %d",
			d.GetBlockSize(), d.GetBytesPerChecksum())
	}
	b.defaults.Lock()
	b.defaults.known = d
	b.defaults.Unlock()
	return d, nil
}

// validBucket reports whether a directory of this name is a bucket.
func validBucket(name string) bool {
	return name != "" && len(name) <= maxComponent && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/:\x00")
}

func (b *Backend) bucketPath(name string) string { return b.root + "/" + name }

// dir returns the path of a directory of a bucket.
func (b *Backend) dir(bucket string, dirs []string) string {
	return strings.Join(append([]string{b.bucketPath(bucket)}, dirs...), "/")
}

// bucket fails with NoBucket when there is none of the name.
func (b *Backend) bucket(ctx context.Context, op, name string) error {
	_, err := b.bucketStatus(ctx, op, name)
	return err
}

func (b *Backend) bucketStatus(ctx context.Context, op, name string) (*wire.FileStatus, error) {
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	if !validBucket(name) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	s, err := b.info(ctx, b.bucketPath(name))
	if err != nil {
		return nil, fail(op, err)
	}
	if !isDir(s) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	return s, nil
}
