package multipart

import (
	"context"
	"time"

	"unistore/meta"
	"unistore/upstream"
)

// task is what is to be done about an upload that nobody works on.
type task uint8

const (
	taskAbort   task = iota
	taskSettle       // find out whether it was completed
	taskResolve      // find out whether it was begun, and abort it
	taskForget       // drop its record
)

// asks reports whether the task needs the store.
func (t task) asks() bool { return t != taskForget }

// settleGrace is how long a store may go on to complete an upload whose caller is gone.
const settleGrace = time.Minute

// duty says what is to be done about an upload that nobody works on, and when; the zero time is at once. settled: it was
// being completed, and the store has been asked since. Uploads may become maxAge old.
//
// Of a PUT nobody can take up the thread, so its upload goes at once. A client may come back to its own until it
// is too old. What an intent has become shows when no store can be at it any more.
func duty(u *meta.Upload, settled bool, maxAge time.Duration) (task, time.Time) {
	switch {
	case u.State == meta.UploadCompleted:
		return taskForget, u.Ended.Add(keepResult)
	case u.State == meta.UploadIntent:
		return taskResolve, u.Last.Add(min(resolveWindow, maxAge))
	case u.State == meta.UploadCompleting && !settled:
		return taskSettle, time.Time{}
	case u.Kind == meta.UploadPut:
		return taskAbort, time.Time{}
	}
	return taskAbort, u.Started.Add(maxAge)
}

// Waits after a failure: of a store that does not answer, and of one that refuses to abort an upload. After maxRefusals,
// which is about a day, the upload is left to the store's own age limit.
const (
	firstPause, lastPause     = time.Second, 5 * time.Minute
	firstRefusal, lastRefusal = time.Minute, time.Hour
	maxRefusals               = 30
)

// backoff doubles from first to last.
func backoff(tries int, first, last time.Duration) time.Duration {
	return min(first<<min(tries, 20), last)
}

// note takes in how a job went.
func (s *Sweeper) note(ctx context.Context, w job, outcome string, err error) {
	name := w.up.At.Upstream
	if err == nil {
		s.mu.Lock()
		delete(s.mu.pauses, name)
		s.mu.Unlock()
		if outcome != "" {
			s.count(outcome)
			s.cfg.Log.Info().Str("upstream", name).Str("upload", w.up.ID).Str("outcome", outcome).Msg("an unfinished upload was swept")
		}
		return
	}
	if ctx.Err() != nil {
		return
	}
	s.count(sweptFailed)
	switch upstream.CodeOf(err) {
	case upstream.Unavailable, upstream.Throttled, upstream.Cancelled:
		s.pauseStore(name, err)
		// It may be this upload alone; then it must not keep the others waiting.
		s.j.mu.Lock()
		w.e.next = s.j.cfg.Now().Add(backoff(w.e.unanswered, firstPause, lastPause))
		w.e.unanswered++
		s.j.mu.Unlock()
	default:
		s.refused(w, err)
	}
}

// refused puts off an upload that the store refuses to abort, or gives it up.
func (s *Sweeper) refused(w job, err error) {
	s.j.mu.Lock()
	w.e.next = s.j.cfg.Now().Add(backoff(w.e.refusals, firstRefusal, lastRefusal))
	w.e.refusals++
	giveUp := w.e.refusals >= maxRefusals
	s.j.mu.Unlock()
	if giveUp {
		w.e.Gone()
	}
	s.cfg.Log.Warn().Str("upstream", w.up.At.Upstream).Str("upload", w.up.ID).Err(err).Bool("for_good", giveUp).
		Msg("an unfinished upload can not be swept: the upstream keeps its parts")
}

// pauseStore leaves a store alone that does not answer.
func (s *Sweeper) pauseStore(name string, err error) {
	now := s.j.cfg.Now()
	s.mu.Lock()
	p := s.mu.pauses[name]
	if p.until.After(now) { // another job of the round was faster
		s.mu.Unlock()
		return
	}
	p.until = now.Add(backoff(p.tries, firstPause, lastPause))
	p.tries++
	s.mu.pauses[name] = p
	s.mu.Unlock()
	s.cfg.Log.Warn().Str("upstream", name).Err(err).Dur("again_in", p.until.Sub(now)).Msg("unfinished uploads can not be swept now")
}

func (s *Sweeper) paused(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.pauses[name].until.After(s.j.cfg.Now())
}

// later puts off what is to be done about an upload.
func (s *Sweeper) later(e *Entry, at time.Time) {
	s.j.mu.Lock()
	defer s.j.mu.Unlock()
	e.next = at
}

func (s *Sweeper) count(outcome string) {
	if m := s.cfg.Metrics; m != nil {
		m.UploadsSwept.WithLabelValues(outcome).Inc()
	}
}

// scanAt is when a store of our own is to be searched for uploads that no record knows, as the records of a
// lost database; zero for stores that are not ours.
func (s *Sweeper) scanAt(name string, store SweepStore) time.Time {
	if !store.Limits().OwnUploads {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.mu.scanned[name].Add(min(max(s.cfg.MaxAge/10, time.Second), time.Hour))
	if until := s.mu.pauses[name].until; until.After(at) {
		at = until
	}
	return at
}

// scan aborts what is too old in a store of our own and in no record.
func (s *Sweeper) scan(ctx context.Context, name string, store SweepStore) {
	now := s.j.cfg.Now()
	s.mu.Lock()
	s.mu.scanned[name] = now
	s.mu.Unlock()
	buckets, err := store.ListBuckets(ctx)
	for _, b := range buckets {
		if err != nil {
			break
		}
		old := func(u upstream.UploadInfo) bool {
			up := upstream.Upload{Loc: upstream.Loc{Bucket: b.Name, Key: u.Key}, ID: u.ID}
			return !u.Started.IsZero() && now.Sub(u.Started) > s.cfg.MaxAge && s.j.Find(name, up) == nil
		}
		var strays []upstream.Upload
		if strays, err = find(ctx, store, b.Name, "", old); err != nil {
			break
		}
		var n int
		n, err = abortAll(ctx, store, strays)
		for range n {
			s.count(sweptStray)
		}
		if n > 0 {
			s.cfg.Log.Info().Str("upstream", name).Int("uploads", n).Msg("uploads that nobody knows were aborted: they were too old")
		}
	}
	if err != nil && ctx.Err() == nil {
		s.count(sweptFailed)
		s.pauseStore(name, err)
	}
}

// heal records again what a database has lost that was replaced under us; now and then.
func (s *Sweeper) heal(ctx context.Context) {
	now := s.j.cfg.Now()
	s.mu.Lock()
	due := s.j.cfg.DB != nil && now.Sub(s.mu.healed) >= maxWait
	if due {
		s.mu.healed = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
	s.j.mu.Lock()
	entries := make([]*Entry, 0, len(s.j.mu.entries))
	for _, e := range s.j.mu.entries {
		entries = append(entries, e)
	}
	s.j.mu.Unlock()
	for _, e := range entries {
		has, err := s.j.cfg.DB.HasUpload(e.up.Number)
		if err != nil || ctx.Err() != nil {
			return // the database is out of order: another time
		}
		if !has {
			e.save("an upload", func(*meta.Upload) {})
		}
	}
}

// discardStrayParts removes parts whose upload is gone, which a crash may leave.
func (j *Journal) discardStrayParts(ctx context.Context) {
	if j.cfg.DB == nil {
		return
	}
	err := j.cfg.DB.UploadsWithParts(func(number uint64) error {
		j.mu.Lock()
		known := j.mu.entries[number] != nil
		j.mu.Unlock()
		if known || ctx.Err() != nil {
			return ctx.Err()
		}
		return j.cfg.DB.DiscardUploadParts(number)
	})
	if err != nil && ctx.Err() == nil {
		j.failed("old parts", err)
	}
}
