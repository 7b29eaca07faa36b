// Package mem is the driver of a store in memory: the reference for every other driver, and the upstream
// of tests and demonstrations. It holds what it is given, without bound, and forgets it all at Close.
package mem

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
	"unistore/upstream/internal/semantics"
)

// DefaultLimits are S3's own
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
var DefaultLimits = upstream.Limits{
	MinPart:         5 << 20,
	MaxPart:         5 << 30,
	MaxParts:        semantics.MaxPartNumber,
	MaxPut:          5 << 30,
	MaxObject:       5 << 40,
	MaxKey:          1024,
	MaxCopy:         5 << 30,
	CreateOnly:      true,
	ReplaceOnly:     true,
	CopyConditions:  true,
	DeleteCondition: true,
	StoresChecksums: true,
}

// Config of a Backend; the zero value is good.
type Config struct {
	Limits upstream.Limits  // zero: DefaultLimits. Sizes are enforced, ContiguousParts too.
	Now    func() time.Time // zero: time.Now
}

// Backend is a store in memory. It has every optional ability.
type Backend struct {
	limits upstream.Limits
	now    func() time.Time

	mu struct {
		sync.Mutex
		buckets map[string]*bucket // and everything in them
	}
}

var (
	_ upstream.Backend      = (*Backend)(nil)
	_ upstream.Bucketer     = (*Backend)(nil)
	_ upstream.Multiparter  = (*Backend)(nil)
	_ upstream.Copier       = (*Backend)(nil)
	_ upstream.BatchDeleter = (*Backend)(nil)
)

type bucket struct {
	created time.Time
	objects map[string]*entry
	keys    []string // of objects, ascending
	uploads map[string]*upload
}

// entry is one version of an object; it is never changed.
type entry struct {
	attrs object.Attrs
	data  []byte
	parts []int64 // their sizes; nil for an object made by one Put
}

// New returns an empty store, without buckets.
func New(cfg Config) *Backend {
	b := &Backend{limits: cfg.Limits, now: cfg.Now}
	if b.limits == (upstream.Limits{}) {
		b.limits = DefaultLimits
	}
	if b.now == nil {
		b.now = time.Now
	}
	b.mu.buckets = map[string]*bucket{}
	return b
}

// Limits are those of the Config.
func (b *Backend) Limits() upstream.Limits { return b.limits }

// Close forgets everything.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.buckets = nil
	return nil
}

// alive returns Cancelled once ctx is done.
func alive(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return upstream.Errorf(upstream.Cancelled, op, "%w", err)
	}
	return nil
}

// bucketLocked returns a bucket, NoBucket, or Cancelled.
func (b *Backend) bucketLocked(ctx context.Context, op, name string) (*bucket, error) {
	if err := alive(ctx, op); err != nil {
		return nil, err
	}
	bkt := b.mu.buckets[name]
	if bkt == nil {
		return nil, upstream.Errorf(upstream.NoBucket, op, "%q", name)
	}
	return bkt, nil
}

// find returns the current version of an object.
func (b *Backend) find(ctx context.Context, op string, loc upstream.Loc) (*entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, op, loc.Bucket)
	if err != nil {
		return nil, err
	}
	e := bkt.objects[loc.Key]
	if e == nil {
		return nil, upstream.Errorf(upstream.NotExist, op, "%q", loc.Key)
	}
	return e, nil
}

// Stat implements upstream.Backend.
func (b *Backend) Stat(ctx context.Context, loc upstream.Loc, opts upstream.StatOptions) (object.Attrs, error) {
	const op = "Stat"
	e, err := b.find(ctx, op, loc)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return object.Attrs{}, err
	}
	attrs := e.shown(opts.Checksums)
	if opts.PartNumber != 0 {
		r, err := semantics.PartRange(op, opts.PartNumber, attrs.Size, e.parts)
		if err != nil {
			return object.Attrs{}, err
		}
		attrs.Size = r.Len
	}
	return attrs, nil
}

// shown returns a copy of the attributes for a caller.
func (e *entry) shown(checksums bool) object.Attrs {
	attrs := e.attrs
	attrs.Headers = attrs.Headers.Clone()
	attrs.Checksums = nil
	if checksums {
		attrs.Checksums = slices.Clone(e.attrs.Checksums)
	}
	return attrs
}

// Open implements upstream.Backend.
func (b *Backend) Open(ctx context.Context, loc upstream.Loc, opts upstream.OpenOptions) (*upstream.Stream, error) {
	const op = "Open"
	e, err := b.find(ctx, op, loc)
	if err != nil {
		return nil, err
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return nil, err
	}
	r, err := semantics.Select(op, e.attrs, e.parts, opts)
	if err != nil {
		return nil, err
	}
	return &upstream.Stream{Attrs: e.shown(opts.Checksums), Range: r, Body: newBody(ctx, e.slice(r))}, nil
}

func (e *entry) slice(r byterange.Range) []byte { return e.data[r.Off:r.End():r.End()] }

// Put implements upstream.Backend.
func (b *Backend) Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	const op = "Put"
	if err := b.admit(ctx, op, loc, req.Size); err != nil {
		return object.Attrs{}, err
	}
	data, got, err := ingest(ctx, op, semantics.Body{
		Reader: req.Body, Size: req.Size, Checksum: req.Checksum, Trailing: req.Trailing, MD5: req.MD5,
		TrailingAlgorithm: req.TrailingAlgorithm,
	})
	if err != nil {
		return object.Attrs{}, err
	}
	e := &entry{data: data, attrs: object.Attrs{
		Size: req.Size, ETag: got.ETag, Headers: req.Headers.Clone(), Checksums: got.Checksums,
		StorageClass: req.StorageClass,
	}}
	return b.commit(ctx, op, loc, e, req.IfMatch, req.IfNoneMatch)
}

// admit refuses a write that cannot succeed before its body is read.
func (b *Backend) admit(ctx context.Context, op string, loc upstream.Loc, size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.bucketLocked(ctx, op, loc.Bucket); err != nil {
		return err
	}
	if b.limits.MaxKey > 0 && len(loc.Key) > b.limits.MaxKey {
		return upstream.Errorf(upstream.InvalidKey, op, "a key of %d bytes", len(loc.Key))
	}
	if b.limits.MaxPut > 0 && size > b.limits.MaxPut {
		return upstream.Errorf(upstream.TooLarge, op, "%d bytes", size)
	}
	return nil
}

// commit makes e the current version of loc, if the conditions hold.
func (b *Backend) commit(ctx context.Context, op string, loc upstream.Loc, e *entry,
	ifMatch string, ifNoneMatch bool) (object.Attrs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, op, loc.Bucket)
	if err != nil {
		return object.Attrs{}, err
	}
	if err := b.storeLocked(op, bkt, loc.Key, e, ifMatch, ifNoneMatch); err != nil {
		return object.Attrs{}, err
	}
	return e.written(), nil
}

// written are the attributes as a write answers them. A copy has the ETag of its source, which may have parts.
func (e *entry) written() object.Attrs {
	attrs := e.shown(true)
	attrs.ETagMD5 = true
	return attrs
}

func (b *Backend) storeLocked(op string, bkt *bucket, key string, e *entry, ifMatch string, ifNoneMatch bool) error {
	old := bkt.objects[key]
	etag := ""
	if old != nil {
		etag = old.attrs.ETag
	}
	if err := semantics.CheckWrite(op, ifMatch, ifNoneMatch, etag, old != nil); err != nil {
		return err
	}
	e.attrs.ModTime = b.now().UTC()
	e.attrs.HeadersKnown = true
	if old == nil {
		key = strings.Clone(key) // the caller's may be part of a large buffer
		i, _ := slices.BinarySearch(bkt.keys, key)
		bkt.keys = slices.Insert(bkt.keys, i, key)
	}
	bkt.objects[key] = e
	return nil
}

// Delete implements upstream.Backend.
func (b *Backend) Delete(ctx context.Context, loc upstream.Loc, opts upstream.DeleteOptions) error {
	const op = "Delete"
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, op, loc.Bucket)
	if err != nil {
		return err
	}
	if err := semantics.CheckVersion(op, opts.VersionID); err != nil {
		return err
	}
	etag, old := "", bkt.objects[loc.Key]
	if old != nil {
		etag = old.attrs.ETag
	}
	if err := semantics.CheckDelete(op, opts.IfMatch, etag, old != nil); err != nil {
		return err
	}
	bkt.deleteLocked(loc.Key)
	return nil
}

func (bkt *bucket) deleteLocked(key string) {
	if _, ok := bkt.objects[key]; !ok {
		return
	}
	delete(bkt.objects, key)
	i, _ := slices.BinarySearch(bkt.keys, key)
	bkt.keys = slices.Delete(bkt.keys, i, i+1)
}

// DeleteBatch implements upstream.BatchDeleter.
func (b *Backend) DeleteBatch(ctx context.Context, name string, keys []string) ([]error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, "DeleteBatch", name)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		bkt.deleteLocked(key)
	}
	return make([]error, len(keys)), nil
}

// List implements upstream.Backend.
func (b *Backend) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, "List", req.Bucket)
	if err != nil {
		return upstream.ListPage{}, err
	}
	page := semantics.NewPage(req)
	start, _ := slices.BinarySearch(bkt.keys, max(req.Prefix, page.After()))
	for _, key := range bkt.keys[start:] {
		if page.Full() || (key > req.Prefix && !strings.HasPrefix(key, req.Prefix)) {
			break
		}
		if page.Wants(key) {
			page.Add(key, bkt.objects[key].shown(false))
		}
	}
	return page.Done(), nil
}

// ListBuckets implements upstream.Bucketer.
func (b *Backend) ListBuckets(ctx context.Context) ([]upstream.Bucket, error) {
	if err := alive(ctx, "ListBuckets"); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]upstream.Bucket, 0, len(b.mu.buckets))
	for _, name := range slices.Sorted(maps.Keys(b.mu.buckets)) {
		all = append(all, upstream.Bucket{Name: name, Created: b.mu.buckets[name].created})
	}
	return all, nil
}

// StatBucket implements upstream.Bucketer.
func (b *Backend) StatBucket(ctx context.Context, name string) (upstream.Bucket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, "StatBucket", name)
	if err != nil {
		return upstream.Bucket{}, err
	}
	return upstream.Bucket{Name: name, Created: bkt.created}, nil
}

// CreateBucket implements upstream.Bucketer.
func (b *Backend) CreateBucket(ctx context.Context, name string) error {
	const op = "CreateBucket"
	if err := alive(ctx, op); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.buckets[name] != nil {
		return upstream.Errorf(upstream.BucketOwned, op, "%q", name)
	}
	b.mu.buckets[name] = &bucket{
		created: b.now().UTC(), objects: map[string]*entry{}, uploads: map[string]*upload{},
	}
	return nil
}

// DeleteBucket implements upstream.Bucketer. Unfinished uploads go with the bucket.
func (b *Backend) DeleteBucket(ctx context.Context, name string) error {
	const op = "DeleteBucket"
	b.mu.Lock()
	defer b.mu.Unlock()
	bkt, err := b.bucketLocked(ctx, op, name)
	if err != nil {
		return err
	}
	if len(bkt.objects) > 0 {
		return upstream.Errorf(upstream.BucketNotEmpty, op, "%d objects", len(bkt.objects))
	}
	delete(b.mu.buckets, name)
	return nil
}
