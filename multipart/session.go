package multipart

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"sync"

	"unistore/checksum"
	"unistore/faults"
	"unistore/meta"
	"unistore/object"
	"unistore/upstream"
)

// piece is one part of a body, in memory.
type piece struct {
	number   int
	position int64
	data     data
	last     bool
	reserved int64 // bytes of the pool
}

// session is one body on its way to a store. Its run reads the body; goroutines that run waits for
// upload parts.
type session struct {
	u      *Uploader
	t      Target
	loc    upstream.Loc
	req    upstream.PutRequest
	plan   plan
	scope  faults.Scope
	parent context.Context         // of the call
	ctx    context.Context         // ends with parent or with the first failure, its cause
	cancel context.CancelCauseFunc // the first call wins

	// Of the goroutine of run.
	up        upstream.Upload // ID is empty until there is an upload
	entry     *Entry          // of up in the journal
	checksum  string          // algorithm of the whole object's checksum, or empty
	whole     *object.Attrs   // the answer to a single PUT
	total     int64           // bytes read
	slots     chan struct{}   // one element a part under way
	wg        sync.WaitGroup
	lastFirst bool    // fault upload.last-part-first
	held      []piece // by that fault, in order

	mu struct {
		sync.Mutex
		parts []upstream.Part // stored, in the order of arrival
		late  bool            // the store may still get one whose request has failed
	}
}

func (u *Uploader) newSession(ctx context.Context, t Target, loc upstream.Loc, req upstream.PutRequest, p plan) *session {
	s := &session{
		u: u, t: t, loc: loc, req: req, plan: p, parent: ctx,
		scope: faults.Scope{Upstream: nameOf(t), Bucket: loc.Bucket, Key: loc.Key},
		slots: make(chan struct{}, u.cfg.Parallel),
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	if c := req.Checksum; c != nil && p.lim.StoresChecksums && p.buffered() && isCRC(c.Algorithm) {
		s.checksum = c.Algorithm
	}
	return s
}

// isCRC reports whether checksums of parts combine to that of the object
// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
func isCRC(algorithm string) bool {
	return slices.Contains([]string{"CRC32", "CRC32C", "CRC64NVME"}, algorithm)
}

// run writes the body and cleans up after itself.
func (s *session) run() (object.Attrs, error) {
	defer s.cancel(nil)
	if s.plan.buffered() {
		s.fail(s.cutAll())
	} else {
		s.fail(s.streamAll())
	}
	s.wg.Wait()
	for _, p := range s.held { // there are some only after a failure
		s.release(p, s.ctx.Err())
	}
	if s.up.ID == "" {
		if err := s.err(); err != nil {
			return object.Attrs{}, err
		}
		return *s.whole, nil
	}
	if s.err() == nil {
		attrs, err := s.complete()
		if err == nil {
			return attrs, nil
		}
		s.fail(err)
	}
	s.abort()
	return object.Attrs{}, s.err()
}

// fail ends the session with err, unless something else has before.
func (s *session) fail(err error) {
	if err != nil {
		s.cancel(err)
	}
}

// err is the first failure as an *upstream.Error, or nil.
func (s *session) err() error {
	if s.ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(s.ctx)
	code := upstream.CodeOf(cause)
	switch {
	case s.parent.Err() != nil:
		code = upstream.Cancelled
	case ofParts(code): // our caller knows nothing of parts: to it the write has failed, and may be tried again
		code = upstream.Unavailable
	default:
		if _, ok := errors.AsType[*upstream.Error](cause); ok {
			return cause
		}
	}
	return &upstream.Error{Code: code, Op: opPut, Err: cause}
}

// ofParts reports whether a code is about an upload and its parts.
func ofParts(code upstream.Code) bool {
	return slices.Contains([]upstream.Code{upstream.NoUpload, upstream.InvalidPart, upstream.PartOrder, upstream.TooSmall}, code)
}

// cutAll reads the body to its end and hands out every piece. A piece gets its number here, where it is
// cut, before anything that could change the order.
func (s *session) cutAll() error {
	c := &cutter{src: s.req.Body, size: s.req.Size}
	for number := 1; ; number++ {
		n := s.plan.part(number)
		if s.req.Size >= 0 {
			n = min(n, s.req.Size-s.total)
		}
		p := piece{number: number, position: s.total}
		var err error
		if p.reserved, err = s.reserve(n); err != nil {
			return err
		}
		if p.data, p.last, err = c.next(s.ctx, n, s.u.pool); err == nil {
			s.total += p.data.size
			err = s.plan.allows(number, s.total)
		}
		if err != nil {
			s.u.pool.release(p.reserved)
			return err
		}
		if err := s.dispatch(p); err != nil || p.last {
			return err
		}
	}
}

// reserve waits for memory for n bytes, at least for one, and returns how much it is. Parts that a fault holds
// back give theirs up before that, oldest first: otherwise they and the reader would wait for each other.
func (s *session) reserve(n int64) (int64, error) {
	n = max(n, 1)
	for len(s.held) > 0 && s.ctx.Err() == nil {
		if reserved, ok := s.u.pool.tryReserve(n); ok {
			return reserved, nil
		}
		s.upload(s.unhold())
	}
	return s.u.pool.reserve(s.ctx, n)
}

func (s *session) unhold() piece {
	p := s.held[0]
	s.held = s.held[1:]
	return p
}

// dispatch writes p, now or in its turn. It owns p's memory from here on.
func (s *session) dispatch(p piece) error {
	if s.u.decide(p.position, p.data.size, p.last, s.plan.lim) == Single {
		attrs, err := s.u.putPiece(s.ctx, s.t, s.loc, s.req, p.data)
		s.whole = &attrs
		s.release(p, err)
		return err
	}
	if err := s.create(); err != nil {
		s.release(p, err)
		return err
	}
	switch {
	case !s.lastFirst:
		return s.start(p)
	case !p.last:
		s.held = append(s.held, p)
		return nil
	}
	s.upload(p)
	for len(s.held) > 0 {
		if err := s.start(s.unhold()); err != nil {
			return err
		}
	}
	return nil
}

// create starts the upload, once.
func (s *session) create() error {
	if s.up.ID != "" {
		return nil
	}
	req := upstream.CreateUploadRequest{Headers: s.req.Headers, StorageClass: s.req.StorageClass}
	if s.checksum != "" {
		req.ChecksumAlgorithm, req.ChecksumType = s.checksum, "FULL_OBJECT"
	}
	s.entry = s.u.cfg.Journal.Begin(meta.UploadPut, meta.ObjectKey{Upstream: s.scope.Upstream, Bucket: s.loc.Bucket, Key: s.loc.Key})
	s.point(PointIntent)
	id, err := s.t.CreateUpload(s.ctx, s.loc, req)
	if err == nil && id == "" {
		err = upstream.Errorf(upstream.Unavailable, "CreateUpload", "the store gave no upload id")
	}
	if err != nil {
		s.entry.Failed(err)
		return err
	}
	s.point(PointUnnamed)
	s.up = upstream.Upload{Loc: s.loc, ID: id}
	s.entry.Opened(id)
	s.point(PointCreated)
	_, s.lastFirst = s.fire(faults.UploadLastPartFirst, "UploadPart")
	return nil
}

// start uploads p in a goroutine as soon as there is a slot. It owns p's memory.
func (s *session) start(p piece) error {
	select {
	case s.slots <- struct{}{}:
	case <-s.ctx.Done():
		s.release(p, s.ctx.Err())
		return context.Cause(s.ctx)
	}
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		s.upload(p)
	})
	return nil
}

// upload stores p as its part and releases its memory. A failure ends the session.
func (s *session) upload(p piece) {
	req := upstream.PartRequest{Body: p.data.reader(), Size: p.data.size}
	sum := md5.New()
	p.data.writeTo(sum)
	req.MD5 = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	if h, ok := checksum.New(s.checksum); ok && s.checksum != "" {
		p.data.writeTo(h)
		req.Checksum = &object.Checksum{Algorithm: s.checksum, Value: checksum.Encode(h)}
	}
	err := s.store(p.number, req)
	s.release(p, err)
	s.fail(err)
}

// store uploads one part and notes it.
func (s *session) store(number int, req upstream.PartRequest) error {
	part, err := s.send(number, req)
	s.count(err)
	if err != nil {
		return err
	}
	part.Number, part.Size = number, req.Size
	if req.Checksum != nil {
		part.Checksums = []object.Checksum{*req.Checksum}
	} else {
		part.Checksums = nil
	}
	s.mu.Lock()
	s.mu.parts = append(s.mu.parts, part)
	s.mu.Unlock()
	s.point(PointPart)
	return nil
}

func (s *session) send(number int, req upstream.PartRequest) (upstream.Part, error) {
	if err := s.ctx.Err(); err != nil {
		return upstream.Part{}, err
	}
	if _, ok := s.fire(faults.UploadPartError, "UploadPart"); ok {
		return upstream.Part{}, injected("UploadPart")
	}
	part, err := s.t.UploadPart(s.ctx, s.up, number, req)
	if err != nil {
		if upstream.MayHaveActed(err) {
			s.mu.Lock()
			s.mu.late = true
			s.mu.Unlock()
		}
		return upstream.Part{}, err
	}
	if part.ETag == "" || (part.Size != 0 && part.Size != req.Size) {
		return upstream.Part{}, upstream.Errorf(upstream.Unavailable, "UploadPart",
			"the store answered with size %d and ETag %q for %d bytes", part.Size, part.ETag, req.Size)
	}
	return part, nil
}

// streamAll writes parts too large for memory, one after the other, straight from the body.
func (s *session) streamAll() error {
	if err := s.create(); err != nil {
		return err
	}
	for number := 1; s.total < s.req.Size; number++ {
		n := min(s.plan.part(number), s.req.Size-s.total)
		src := s.req.Body
		if s.total+n < s.req.Size {
			src = io.LimitReader(src, n) // the last part reads on, to the end of the body
		}
		body := upstream.NewSizedReader(src, n)
		if err := s.store(number, upstream.PartRequest{Body: body, Size: n}); err != nil {
			if failed := body.Err(); failed != nil {
				return bodyError(s.ctx, failed)
			}
			return err
		}
		s.total += n
	}
	return nil
}

// release gives p's memory back; err is what became of p. After a failure the blocks themselves are left to the
// garbage collector: net/http may go on reading a request's body for a while after an early answer.
func (s *session) release(p piece, err error) {
	if err == nil {
		s.u.pool.recycle(p.data)
	}
	s.u.pool.release(p.reserved)
}

func byNumber(a, b upstream.Part) int { return cmp.Compare(a.Number, b.Number) }
