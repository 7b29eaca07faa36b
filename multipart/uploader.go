package multipart

import (
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"

	"unistore/faults"
	"unistore/metrics"
	"unistore/object"
	"unistore/upstream"
)

// Defaults of Config.
const (
	DefaultMemory   = 256 << 20
	DefaultParallel = 4
)

// abortTimeout bounds the clean-up after a failure, which must not depend on the client that may be gone.
const abortTimeout = 30 * time.Second

// The named points of process.kill: the Operation of its Scope.
const (
	PointPut       = "put.begin"        // the store is about to get the one PUT
	PointPutStored = "put.stored"       // the object is there, the client does not know
	PointIntent    = "upload.intent"    // the upload is recorded as intended, the store not asked
	PointUnnamed   = "upload.unnamed"   // the upload exists, its id is not recorded
	PointCreated   = "upload.created"   // the upload exists and is recorded, no part is
	PointPart      = "upload.part"      // a part has been stored
	PointComplete  = "upload.complete"  // all parts are stored, the object is not there
	PointCompleted = "upload.completed" // the object is there, the client does not know
)

// The points of a client's own upload.
const (
	PointClientIntent    = "client-upload.intent"    // it is recorded as intended, the store not asked
	PointClientUnnamed   = "client-upload.unnamed"   // the upload exists, its id is not recorded
	PointClientCreated   = "client-upload.created"   // it is recorded, the client does not know
	PointClientPart      = "client-upload.part"      // a part has been stored, and is not recorded
	PointClientComplete  = "client-upload.complete"  // the store is about to be asked to complete it
	PointClientCompleted = "client-upload.completed" // the object is there, which is not recorded
	PointClientRecorded  = "client-upload.recorded"  // it is, and the client does not know
)

// Target is the store that an Uploader writes to; *upstream.Store is one. Methods as in
// upstream.Backend and upstream.Multiparter. A Target with a method Name() string gets its faults
// by that name.
type Target interface {
	Put(ctx context.Context, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error)
	CreateUpload(ctx context.Context, loc upstream.Loc, req upstream.CreateUploadRequest) (string, error)
	UploadPart(ctx context.Context, up upstream.Upload, number int, req upstream.PartRequest) (upstream.Part, error)
	CompleteUpload(ctx context.Context, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error)
	AbortUpload(ctx context.Context, up upstream.Upload) error
	Limits() upstream.Limits
}

var _ Target = (*upstream.Store)(nil)

// Config sets up an Uploader. Zero fields take the defaults.
type Config struct {
	Memory   int64 // bytes of part buffers, of all uploads together
	Parallel int   // parts under way of one upload
	// PartSize replaces the computed size of parts; for tests. It must be at most Memory.
	PartSize int64
	Journal  *Journal // is told of every upload; nil: nobody
	Metrics  *metrics.Metrics
	Log      zerolog.Logger
	Faults   *faults.Set
}

// Uploader writes bodies of any size to stores, in bounded memory. It is safe for concurrent use and
// runs nothing between calls.
type Uploader struct {
	cfg    Config
	part   int64 // the usual size of parts
	pool   *pool
	decide func(position, size int64, last bool, lim upstream.Limits) Mode // Decide, but for tests
}

// NewUploader returns an Uploader. Memory below one part is raised to one part.
func NewUploader(cfg Config) *Uploader {
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = DefaultParallel
	}
	part, block := int64(DefaultPart), int64(blockSize)
	if cfg.PartSize > 0 {
		part, block = cfg.PartSize, min(cfg.PartSize, blockSize)
	}
	cfg.Memory = max(cfg.Memory, part)
	u := &Uploader{cfg: cfg, part: part, pool: newPool(cfg.Memory, block), decide: Decide}
	if cfg.Metrics != nil {
		u.pool.gauge = cfg.Metrics.UploadMemory
	}
	return u
}

// InUse is the memory that uploads hold now, in bytes. It is 0 when none is under way.
func (u *Uploader) InUse() int64 { return u.pool.used() }

// Put stores req.Body as the object at loc; req.Size is its length, or -1 when that is not known.
// A body that fits into one PUT and whose length is known streams through; another one is cut into parts.
// Like Backend.Put it is atomic: after an error the old object is there, or none, and no upload
// is left unless the store failed to abort it, too. The error is an *upstream.Error; a failure of the Body is
// found in it with errors.As. It returns only when no Read of Body is under way.
//
// req.Checksum, Trailing and MD5 are passed on where the store can use them: with a PUT all of
// them, with parts a checksum of the CRC family, since only these can be put together of parts. Whoever
// made Body has verified all of them in either case.
func (u *Uploader) Put(ctx context.Context, t Target, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	if err := ctx.Err(); err != nil {
		return object.Attrs{}, &upstream.Error{Code: upstream.Cancelled, Op: opPut, Err: err}
	}
	lim := t.Limits()
	if req.Size >= 0 && u.decide(0, req.Size, true, lim) == Single {
		return u.put(ctx, t, loc, req)
	}
	p, err := newPlan(req.Size, u.cfg.PartSize, u.bufferLimit(lim), lim)
	if err != nil {
		return object.Attrs{}, err
	}
	return u.newSession(ctx, t, loc, req, p).run()
}

// bufferLimit is the largest part to hold in memory: a quarter of it, so that one upload does not
// stop all others, but at least one part of the usual size.
func (u *Uploader) bufferLimit(lim upstream.Limits) int64 {
	return min(max(u.cfg.Memory/4, u.part, firstPart(lim)), u.cfg.Memory)
}

// put writes the whole body with one request.
func (u *Uploader) put(ctx context.Context, t Target, loc upstream.Loc, req upstream.PutRequest) (object.Attrs, error) {
	scope := faults.Scope{Upstream: nameOf(t), Operation: PointPut, Bucket: loc.Bucket, Key: loc.Key}
	u.cfg.Faults.Point(scope)
	attrs, err := t.Put(ctx, loc, req)
	if err != nil {
		return object.Attrs{}, err
	}
	scope.Operation = PointPutStored
	u.cfg.Faults.Point(scope)
	if attrs.ETag == "" || attrs.Size != req.Size {
		return object.Attrs{}, upstream.Errorf(upstream.Unavailable, opPut,
			"the store answered with size %d and ETag %q for %d bytes", attrs.Size, attrs.ETag, req.Size)
	}
	return attrs, nil
}

// putPiece writes a piece that is the whole body.
func (u *Uploader) putPiece(ctx context.Context, t Target, loc upstream.Loc, req upstream.PutRequest, d data) (object.Attrs, error) {
	req.Body, req.Interrupt, req.Size = io.Reader(d.reader()), nil, d.size
	return u.put(ctx, t, loc, req)
}

func nameOf(t Target) string {
	if n, ok := t.(interface{ Name() string }); ok {
		return n.Name()
	}
	return ""
}
