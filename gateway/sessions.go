package gateway

import (
	"context"
	"errors"

	"unistore/cache"
	"unistore/faults"
	"unistore/meta"
	"unistore/multipart"
	"unistore/object"
	"unistore/s3api"
	"unistore/upstream"
)

// newSweeper makes what ends the uploads that others have left. Before it returns, what is known of the objects that
// the last run may have written without an answer is forgotten.
func newSweeper(g *Gateway) *multipart.Sweeper {
	forget := func(at meta.ObjectKey) { g.service.learner.forget(cache.Key(at)) }
	for _, at := range g.journal.Unsettled() {
		forget(at)
	}
	stores := make(map[string]multipart.SweepStore, len(g.stores))
	for name, s := range g.stores {
		stores[name] = s
	}
	return multipart.NewSweeper(multipart.SweeperConfig{
		Journal: g.journal, Stores: stores, MaxAge: g.cfg.Uploads.MaxAge, Forget: forget,
		Metrics: g.metrics, Log: g.log, Faults: g.faults,
	})
}

// point is a place where process.kill may strike.
func (s *service) point(name string, t target, key string) {
	at := t.loc(key)
	s.faults.Point(faults.Scope{Upstream: t.store.Name(), Operation: name, Bucket: at.Bucket, Key: at.Key})
}

// notePart records a stored part of a client's upload.
func (s *service) notePart(t target, up upstream.Upload, p upstream.Part) {
	s.faults.Point(faults.Scope{Upstream: t.store.Name(), Operation: multipart.PointClientPart, Bucket: up.Bucket, Key: up.Key})
	s.journal.Find(t.store.Name(), up).Part(p)
}

// completion is what a client wants made of an upload.
type completion struct {
	req  upstream.CompleteRequest
	size int64 // of the object, as the client says; -1 when it does not
}

// completeOnce completes an upload, or says again what became of it when this very list of parts has completed it
// before. Those who ask at the same time wait for each other.
func (s *service) completeOnce(ctx context.Context, t target, up upstream.Upload, what completion) (object.Attrs, error) {
	entry := s.journal.Adopt(t.store.Name(), up)
	release, err := entry.Turn(ctx)
	if err != nil {
		return object.Attrs{}, err
	}
	defer release()
	if attrs, done, err := entry.Result(what.req.Parts); done {
		return attrs, err
	}
	if err := measure(ctx, t, up, what); err != nil {
		entry.Refused(refusal(err))
		return object.Attrs{}, err
	}
	var attrs object.Attrs
	written := s.learner.overwriting(cache.Key{Upstream: t.store.Name(), Bucket: up.Bucket, Key: up.Key})
	defer func() { written(err) }()
	s.unseen(t)
	entry.Completing(what.req.Parts)
	attrs, err = s.completeAt(ctx, t, up, what.req)
	if err != nil {
		entry.Refused(err)
		return object.Attrs{}, err
	}
	entry.Completed(attrs)
	s.faults.Point(faults.Scope{Upstream: t.store.Name(), Operation: multipart.PointClientRecorded, Bucket: up.Bucket, Key: up.Key})
	return attrs, nil
}

// completeAt asks the store.
func (s *service) completeAt(ctx context.Context, t target, up upstream.Upload, req upstream.CompleteRequest) (object.Attrs, error) {
	sc := faults.Scope{Upstream: t.store.Name(), Operation: multipart.PointClientComplete, Bucket: up.Bucket, Key: up.Key}
	s.faults.Point(sc)
	attrs, err := t.store.CompleteUpload(ctx, up, req)
	if errors.Is(err, upstream.NoUpload) {
		return completedBefore(ctx, t, up, req.Parts)
	}
	if err == nil {
		sc.Operation = multipart.PointClientCompleted
		s.faults.Point(sc)
	}
	return attrs, err
}

// refusal gives an error of ours, which no store has seen, a code for the journal.
func refusal(err error) error {
	if _, ok := errors.AsType[*s3api.Error](err); ok {
		return upstream.Invalid
	}
	return err
}
