package upstream

import (
	"context"
	"strings"
	"time"

	"unistore/object"
)

// aftermath is a context to look and to clean up in after a write: the caller may be gone.
func (s *Store) aftermath(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), slowFactor*s.cfg.Timeout)
}

// What became of an object whose bytes are not those that were sent.
const (
	disownDeleted = "deleted"
	disownFailed  = "failed"
	disownLeft    = "left" // the store could have deleted another writer's object
)

// disown deletes an object that the store has, and whose bytes it says are not those that were sent, if it is
// still that one. The object before it is gone in any case. Where the store can not make sure that it is that one,
// it stays: to delete what another writer has been told is stored would be worse.
func (s *Store) disown(ctx context.Context, loc Loc, attrs object.Attrs, cause error) {
	outcome, err := disownLeft, error(nil)
	if opts, ok := s.exactly(attrs); ok {
		ctx, cancel := s.aftermath(ctx)
		defer cancel()
		outcome = disownDeleted
		if err = s.Delete(ctx, loc, opts); err != nil {
			outcome = disownFailed
		}
	}
	if m := s.cfg.Metrics; m != nil {
		m.UpstreamDisowned.WithLabelValues(s.name, outcome).Inc()
	}
	s.cfg.Log.Error().Str("upstream", s.name).Err(cause).AnErr("deletion", err).Str("outcome", outcome).
		Msg("the store says that it took other bytes than were sent (if this is so for every write, its ETags are no MD5 sums: set opaque_etags)")
}

// nullVersion is the version of every object that was written while its bucket kept no versions: no name of one of them.
const nullVersion = "null"

// exactly are options that delete the version with attrs, and no other; false when the store has no such.
func (s *Store) exactly(attrs object.Attrs) (DeleteOptions, bool) {
	if attrs.VersionID != "" && attrs.VersionID != nullVersion {
		return DeleteOptions{VersionID: attrs.VersionID}, true
	}
	return DeleteOptions{IfMatch: attrs.ETag}, s.Limits().DeleteCondition && attrs.ETag != ""
}

// disownPart replaces a part whose bytes are not those that were sent: a client that goes by ListParts would
// complete with it. A part of one byte has the size of no honest one.
func (s *Store) disownPart(ctx context.Context, up Upload, number int, cause error) {
	ctx, cancel := s.aftermath(ctx)
	defer cancel()
	_, err := do(ctx, s, s.once("UploadPart"), func(a *attempt) (Part, error) {
		return s.multiparter.UploadPart(a.ctx, up, number, PartRequest{Body: strings.NewReader("x"), Size: 1})
	})
	s.cfg.Log.Error().Str("upstream", s.name).Str("upload", up.ID).Int("part", number).Err(cause).AnErr("replacement", err).
		Bool("replaced", err == nil).Msg("the store says that it took other bytes of a part than were sent")
}

// ambiguous reports whether the store may have done what failed with err.
func ambiguous(err error) bool {
	return err != nil && CodeOf(err) == Unavailable && !failureOf(err).unsent
}

// clockSkew is how far a store's clock may be behind this machine's.
const clockSkew = time.Minute

// landed reports whether a conditional Put, begun at start, whose answer was lost has been carried out: all of
// the body was sent, and the object is there with its size and MD5 and is no older than the Put. To repeat it
// would find its own object and call that a conflict.
//
// Two writers of the same bytes at the same time can not be told apart by that. Those are most of all writers of
// an empty object, as locks are; they are told that the outcome is not known.
func (s *Store) landed(ctx context.Context, loc Loc, sent *upload, sum string, start time.Time) (object.Attrs, bool) {
	if sent == nil || !sent.body.Done() || sent.body.Size() == 0 || sum == "" || s.trust.opaqueETags {
		return object.Attrs{}, false
	}
	attrs, err := s.Stat(ctx, loc, StatOptions{Checksums: true})
	if err != nil || attrs.Size != sent.body.Size() || !strings.EqualFold(attrs.ETag, sum) {
		return object.Attrs{}, false
	}
	// Stores tell whole seconds.
	if attrs.ModTime.IsZero() || attrs.ModTime.Before(start.Add(-clockSkew).Truncate(time.Second)) {
		return object.Attrs{}, false
	}
	s.cfg.Log.Warn().Str("upstream", s.name).Dur("age", time.Since(attrs.ModTime)).
		Msg("the answer to a conditional Put was lost; the object is there")
	return attrs, true
}
