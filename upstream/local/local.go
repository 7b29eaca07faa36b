package local

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"unistore/faults"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// Config of a Backend.
type Config struct {
	Root    string // made when it is missing
	MinPart int64  // bytes of a part that is not the last; 0 is S3's 5 MiB
	Log     zerolog.Logger
}

// Backend is a store in a directory. It has every optional ability.
type Backend struct {
	log    zerolog.Logger
	limits upstream.Limits
	root   *os.Root
	top    *os.File         // opened root
	area   *area            // nil when the root is read-only
	keys   *semantics.Locks // by bucket/key: who changes the object
	names  *semantics.Locks // by bucket, and by upload id: who makes or ends it
	create func(name string) (*os.File, error)
	xattrs bool // use extended attributes where they work
	name   string
	faults *faults.Set // nil: none

	// Files are renamed to make way for a directory (asides) while directories are read; see readDir.
	asides struct {
		running, ended atomic.Int64
	}
}

var (
	_ upstream.Backend      = (*Backend)(nil)
	_ upstream.Bucketer     = (*Backend)(nil)
	_ upstream.Multiparter  = (*Backend)(nil)
	_ upstream.Copier       = (*Backend)(nil)
	_ upstream.BodyVerifier = (*Backend)(nil)
	_ upstream.BatchDeleter = (*Backend)(nil)
)

// New opens the store in cfg.Root and removes what a crash left in its hidden area. A root that cannot
// be written to is served for reading only. Other processes may use the same root.
func New(cfg Config) (*Backend, error) {
	const op = "New"
	if cfg.Root == "" {
		return nil, upstream.Errorf(upstream.Invalid, op, "no root directory")
	}
	if err := os.MkdirAll(cfg.Root, dirPerm); err != nil {
		return nil, fail(op, err)
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fail(op, err)
	}
	top, err := root.Open(".")
	if err != nil {
		return nil, fail(op, errors.Join(err, root.Close()))
	}
	b := &Backend{log: cfg.Log, limits: limitsOf(cfg), root: root, top: top, keys: semantics.NewLocks(), names: semantics.NewLocks(), xattrs: true}
	a, swept, err := openArea(root)
	switch {
	case err != nil && codeOf(err) == upstream.Access:
		b.log.Warn().Err(err).Str("root", cfg.Root).Msg("local store is read-only")
		return b, nil
	case err != nil:
		return nil, errors.Join(fail(op, err), top.Close(), root.Close())
	case swept > 0:
		b.log.Info().Int("processes", swept).Msg("removed unfinished writes of earlier runs")
	}
	b.area, b.create = a, a.create
	return b, nil
}

// limitsOf are S3's smallest part, so that clients see the same rules everywhere, and otherwise none.
func limitsOf(cfg Config) upstream.Limits {
	return upstream.Limits{
		MinPart:         cmp.Or(cfg.MinPart, 5<<20),
		MaxParts:        semantics.MaxPartNumber,
		MaxKey:          1024,
		CreateOnly:      true,
		ReplaceOnly:     true,
		CopyConditions:  true,
		DeleteCondition: true,
		StoresChecksums: true,
		OwnUploads:      true,
	}
}

// Limits implements upstream.Backend.
func (b *Backend) Limits() upstream.Limits { return b.limits }

// VerifiesBodies implements upstream.BodyVerifier: the ETag is made of the bytes on their way to the file.
func (b *Backend) VerifiesBodies() bool { return true }

// Close removes this process's part of the hidden area.
func (b *Backend) Close() error {
	var err error
	if b.area != nil {
		err = b.area.close()
	}
	return fail("Close", errors.Join(err, b.top.Close(), b.root.Close()))
}

// writable refuses writes to a read-only store.
func (b *Backend) writable(ctx context.Context, op string) error {
	if err := alive(ctx, op); err != nil {
		return err
	}
	if b.area == nil {
		return upstream.Errorf(upstream.Access, op, "the store is read-only")
	}
	return nil
}

// validBucket reports whether a directory of this name is a bucket.
func validBucket(name string) bool {
	return name != "" && len(name) <= 255 && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\x00")
}

// bucket is one bucket's directory, open. All access to its objects goes through dir, which nothing
// leaves, or through descriptors that dir has given.
type bucket struct {
	name string
	dir  *os.Root
}

func (k *bucket) close() { _ = k.dir.Close() }

// open opens a bucket, or returns NoBucket. The caller closes it.
func (b *Backend) open(ctx context.Context, op, name string) (*bucket, error) {
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	if !validBucket(name) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	info, err := b.root.Lstat(name)
	if isMissing(err) || (err == nil && !info.IsDir()) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	if err != nil {
		return nil, fail(op, err)
	}
	dir, err := b.root.OpenRoot(name)
	if isMissing(err) {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	if err != nil {
		return nil, fail(op, err)
	}
	return &bucket{name: name, dir: dir}, nil
}

func (k *bucket) place(dirs []string) place { return place{root: k.dir, dirs: dirs} }
