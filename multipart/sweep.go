package multipart

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"unistore/faults"
	"unistore/meta"
	"unistore/metrics"
	"unistore/upstream"
)

// DefaultMaxAge is how old an upload of a client may become before it is aborted.
const DefaultMaxAge = 7 * 24 * time.Hour

const (
	// sweepParallel bounds the requests of a round to all stores together.
	sweepParallel = 8
	// minWait and maxWait bound the time between two rounds.
	minWait, maxWait = 100 * time.Millisecond, time.Minute
)

// The named points of process.kill in a Sweeper.
const (
	PointSweep = "sweep.abort"   // an upload is about to be aborted, or to be asked about
	PointSwept = "sweep.aborted" // it is, but recorded still
)

// The outcomes of unistore_uploads_swept_total.
const (
	sweptAborted  = "aborted"  // of a PUT that had ended
	sweptExpired  = "expired"  // of a client, too old
	sweptSettled  = "settled"  // it is not there any more: it was completed, or aborted by others
	sweptReopened = "reopened" // of a client, and the store has not completed it
	sweptResolved = "resolved" // an intent
	sweptStray    = "stray"    // found in a store of our own, and in no record
	sweptFailed   = "failed"
)

// SweepStore is what a Sweeper needs of a store; *upstream.Store is one.
type SweepStore interface {
	AbortUpload(ctx context.Context, up upstream.Upload) error
	ListParts(ctx context.Context, up upstream.Upload, after, limit int) (upstream.PartsPage, error)
	ListUploads(ctx context.Context, req upstream.ListUploadsRequest) (upstream.UploadsPage, error)
	ListBuckets(ctx context.Context) ([]upstream.Bucket, error)
	Limits() upstream.Limits
}

var _ SweepStore = (*upstream.Store)(nil)

// SweeperConfig sets up a Sweeper.
type SweeperConfig struct {
	Journal *Journal
	Stores  map[string]SweepStore // by name
	MaxAge  time.Duration         // 0: DefaultMaxAge
	// Forget, when not nil, is called after it has turned out whether an object was made although nobody got the answer:
	// what is known of the object there may be old.
	Forget  func(at meta.ObjectKey)
	Metrics *metrics.Metrics
	Log     zerolog.Logger
	Faults  *faults.Set
}

// Sweeper ends in the background what others have left: it aborts the uploads of PUTs that are gone and those of
// clients that are too old, and finds out what became of those that were being completed. A store that does not answer is
// asked again, ever less often.
type Sweeper struct {
	cfg SweeperConfig
	j   *Journal
	mu  struct {
		sync.Mutex
		healed  time.Time            // when records and entries were compared
		pauses  map[string]pause     // stores that do not answer
		scanned map[string]time.Time // stores of our own: when they were searched for strays
	}
}

// pause is how long a store is left alone.
type pause struct {
	tries int
	until time.Time
}

// NewSweeper returns a Sweeper. Run runs it.
func NewSweeper(cfg SweeperConfig) *Sweeper {
	if cfg.MaxAge <= 0 {
		cfg.MaxAge = DefaultMaxAge
	}
	s := &Sweeper{cfg: cfg, j: cfg.Journal}
	s.mu.pauses, s.mu.scanned = map[string]pause{}, map[string]time.Time{}
	for name := range cfg.Stores {
		s.mu.scanned[name] = s.j.cfg.Now()
	}
	s.mu.healed = s.j.cfg.Now()
	return s
}

// Run works until ctx ends.
func (s *Sweeper) Run(ctx context.Context) {
	s.j.discardStrayParts(ctx)
	for {
		wait := min(max(s.Round(ctx).Sub(s.j.cfg.Now()), minWait), maxWait)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.j.kick:
		case <-t.C:
		}
		t.Stop()
	}
}

// job is one thing to do.
type job struct {
	e    *Entry
	up   meta.Upload // as it was when the job was given out
	task task
}

// Round does what is due and returns when there will be more.
func (s *Sweeper) Round(ctx context.Context) (next time.Time) {
	s.heal(ctx)
	jobs, _ := s.due()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sweepParallel)
	for _, w := range jobs {
		group.Go(func() error {
			s.work(ctx, w)
			return nil
		})
	}
	for name, store := range s.cfg.Stores {
		if at := s.scanAt(name, store); !at.IsZero() && !at.After(s.j.cfg.Now()) {
			group.Go(func() error {
				s.scan(ctx, name, store)
				return nil
			})
		}
	}
	_ = group.Wait() // none returns one
	return s.nextDue()
}

// nextDue is when there is something to do again.
func (s *Sweeper) nextDue() time.Time {
	jobs, next := s.due()
	if len(jobs) > 0 {
		next = s.j.cfg.Now()
	}
	for name, store := range s.cfg.Stores {
		if at := s.scanAt(name, store); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// due returns what is to be done now, and when the next thing will be.
func (s *Sweeper) due() (jobs []job, next time.Time) {
	now := s.j.cfg.Now()
	next = now.Add(maxWait)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	for _, e := range s.j.mu.entries {
		if e.live {
			continue
		}
		t, at := duty(&e.up, e.settled, s.cfg.MaxAge)
		for _, later := range []time.Time{e.next, s.mu.pauses[e.up.At.Upstream].until} {
			if t.asks() && later.After(at) {
				at = later
			}
		}
		switch {
		case !at.After(now):
			jobs = append(jobs, job{e, e.up, t})
		case at.Before(next):
			next = at
		}
	}
	return jobs, next
}

// work does one job, unless somebody else is at the upload.
func (s *Sweeper) work(ctx context.Context, w job) {
	select {
	case w.e.turn <- struct{}{}:
		defer func() { <-w.e.turn }()
	default:
		s.later(w.e, s.j.cfg.Now().Add(time.Second))
		return
	}
	if !s.stillDue(w) || ctx.Err() != nil {
		return
	}
	if w.task == taskForget {
		w.e.Gone()
		return
	}
	store := s.cfg.Stores[w.up.At.Upstream]
	if store == nil {
		s.homeless(w)
		return
	}
	if s.paused(w.up.At.Upstream) {
		return // another job of this round has found the store down
	}
	outcome, err := s.do(ctx, store, w)
	s.note(ctx, w, outcome, err)
}

// stillDue reports whether the upload is as it was when the job was given out.
func (s *Sweeper) stillDue(w job) bool {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	return !w.e.gone && !w.e.live && w.e.up.State == w.up.State && w.e.up.Ended.Equal(w.up.Ended) && w.e.up.Last.Equal(w.up.Last)
}

// homeless is for an upload whose store is in the configuration no more: it is forgotten when it is too old.
func (s *Sweeper) homeless(w job) {
	at := w.up.Started.Add(s.cfg.MaxAge)
	if s.j.cfg.Now().Before(at) {
		s.later(w.e, at)
		return
	}
	s.cfg.Log.Warn().Str("upstream", w.up.At.Upstream).Str("upload", w.up.ID).
		Msg("an upload is forgotten: its upstream is not in the configuration any more and keeps its parts")
	w.e.Gone()
}

// do carries out a job and names what came of it; empty is nothing yet.
func (s *Sweeper) do(ctx context.Context, store SweepStore, w job) (outcome string, err error) {
	s.point(PointSweep, w.up.At)
	switch w.task {
	case taskResolve:
		return s.resolve(ctx, store, w)
	case taskSettle:
		return s.settle(ctx, store, w)
	case taskAbort, taskForget:
	}
	return s.abort(ctx, store, w)
}

// abort removes an upload from its store, and from the records. That of a PUT that the last process was at is aborted
// once more later, see abortAgain; until then there is no outcome.
func (s *Sweeper) abort(ctx context.Context, store SweepStore, w job) (outcome string, err error) {
	if err := store.AbortUpload(ctx, uploadOf(&w.up)); err != nil && !isGone(err) {
		return "", err
	}
	s.point(PointSwept, w.up.At)
	if w.up.State == meta.UploadCompleting {
		s.forget(w.up.At)
	}
	s.j.mu.Lock()
	again := w.e.late
	w.e.late = false
	w.e.next = s.j.cfg.Now().Add(min(abortAgain, s.cfg.MaxAge))
	s.j.mu.Unlock()
	if again {
		return "", nil
	}
	w.e.Gone()
	if w.up.Kind == meta.UploadPut {
		return sweptAborted, nil
	}
	return sweptExpired, nil
}

// isGone reports whether err says that there is no such upload.
func isGone(err error) bool {
	code := upstream.CodeOf(err)
	return code == upstream.NoUpload || code == upstream.NoBucket
}

func uploadOf(u *meta.Upload) upstream.Upload {
	return upstream.Upload{Loc: upstream.Loc{Bucket: u.At.Bucket, Key: u.At.Key}, ID: u.ID}
}

// settle finds out what became of an upload that was being completed when its caller went. A store may go on with
// that for a while, so an upload that is there still gets settleGrace before it counts as not completed. An object
// that was made is never touched.
func (s *Sweeper) settle(ctx context.Context, store SweepStore, w job) (outcome string, err error) {
	_, err = store.ListParts(ctx, uploadOf(&w.up), 0, 1)
	grace := w.up.Ended.Add(min(settleGrace, s.cfg.MaxAge))
	client := w.up.Kind == meta.UploadClient
	switch {
	case err != nil && !isGone(err):
		return "", err
	case err == nil && s.j.cfg.Now().Before(grace):
		s.later(w.e, grace)
		return "", nil
	case err == nil && !client:
		return s.abort(ctx, store, w)
	case err == nil:
		s.forget(w.up.At)
		w.e.reopen()
		return sweptReopened, nil
	}
	s.forget(w.up.At)
	if client { // it may ask again, and this record knows with which parts it did
		s.j.mu.Lock()
		w.e.settled = true
		s.j.mu.Unlock()
	} else {
		w.e.Gone()
	}
	return sweptSettled, nil
}

// resolveWindow is how far the clock of a store may be off, and how long it may take to make an upload.
const resolveWindow = 15 * time.Minute

// resolve finds out what an intent has become: an upload of its key that was begun about when it was. When there is none,
// that is all. One that there is may be another node's, so it is aborted only when it is too old, whoever has begun it.
func (s *Sweeper) resolve(ctx context.Context, store SweepStore, w job) (outcome string, err error) {
	from, to := w.up.Started.Add(-resolveWindow), w.up.Last.Add(resolveWindow)
	old := w.up.Last.Add(s.cfg.MaxAge) // when all of them are too old
	mine := func(u upstream.UploadInfo) bool {
		if u.Key != w.up.At.Key || u.Started.Before(from) || u.Started.After(to) ||
			s.j.Find(w.up.At.Upstream, upstream.Upload{Loc: upstream.Loc{Bucket: w.up.At.Bucket, Key: u.Key}, ID: u.ID}) != nil {
			return false
		}
		if at := u.Started.Add(s.cfg.MaxAge); at.After(old) {
			old = at
		}
		return true
	}
	found, err := find(ctx, store, w.up.At.Bucket, w.up.At.Key, mine)
	if err != nil && !isGone(err) && !errors.Is(err, upstream.Unsupported) {
		return "", err
	}
	if len(found) > 0 && s.j.cfg.Now().Before(old) {
		s.later(w.e, old)
		return "", nil
	}
	n, err := abortAll(ctx, store, found)
	if n > 0 {
		s.cfg.Log.Info().Str("upstream", w.up.At.Upstream).Int("uploads", n).Msg("uploads whose beginning was not answered were aborted")
	}
	if err != nil {
		return "", err
	}
	w.e.Gone()
	return sweptResolved, nil
}

// find returns the uploads of a bucket whose key begins with prefix and that match.
func find(ctx context.Context, store SweepStore, bucket, prefix string, match func(upstream.UploadInfo) bool) ([]upstream.Upload, error) {
	var found []upstream.Upload
	req := upstream.ListUploadsRequest{Bucket: bucket, Prefix: prefix, MaxUploads: 1000}
	for {
		page, err := store.ListUploads(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list uploads: %w", err)
		}
		for _, u := range page.Uploads {
			if match(u) {
				found = append(found, upstream.Upload{Loc: upstream.Loc{Bucket: bucket, Key: u.Key}, ID: u.ID})
			}
		}
		if !page.More || page.NextKeyMarker == req.KeyMarker && page.NextUploadIDMarker == req.UploadIDMarker {
			return found, nil
		}
		req.KeyMarker, req.UploadIDMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

// abortAll aborts uploads until one fails, and returns how many are gone.
func abortAll(ctx context.Context, store SweepStore, uploads []upstream.Upload) (n int, err error) {
	for _, up := range uploads {
		if err := store.AbortUpload(ctx, up); err != nil && !isGone(err) {
			return n, err
		}
		n++
	}
	return n, nil
}

func (s *Sweeper) forget(at meta.ObjectKey) {
	if s.cfg.Forget != nil {
		s.cfg.Forget(at)
	}
}

func (s *Sweeper) point(name string, at meta.ObjectKey) {
	s.cfg.Faults.Point(faults.Scope{Upstream: at.Upstream, Operation: name, Bucket: at.Bucket, Key: at.Key})
}
