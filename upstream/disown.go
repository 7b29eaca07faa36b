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

// disown deletes an object that the store has, and whose bytes it says are not those that were sent, if it is
// still that one. The object before it is gone in any case.
func (s *Store) disown(ctx context.Context, loc Loc, attrs object.Attrs, cause error) {
	ctx, cancel := s.aftermath(ctx)
	defer cancel()
	opts := DeleteOptions{VersionID: attrs.VersionID}
	if attrs.VersionID == "" {
		opts.IfMatch = attrs.ETag
	}
	err := s.Delete(ctx, loc, opts)
	s.cfg.Log.Error().Str("upstream", s.name).Err(cause).AnErr("deletion", err).Bool("deleted", err == nil).
		Msg("the store says that it took other bytes than were sent (if this is so for every write, its ETags are no MD5 sums: set opaque_etags)")
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

// landed reports whether a conditional Put whose answer was lost has been carried out: the object is there with
// the size and the MD5 of the body. To repeat it would find its own object and call that a conflict.
//
// Two writers of the same bytes can not be told apart by that. Those are most of all writers of an empty
// object, as locks are; they are told that the outcome is not known.
func (s *Store) landed(ctx context.Context, loc Loc, size int64, sum string) (object.Attrs, bool) {
	if sum == "" || size == 0 || s.trust.opaqueETags {
		return object.Attrs{}, false
	}
	attrs, err := s.Stat(ctx, loc, StatOptions{Checksums: true})
	if err != nil || attrs.Size != size || !strings.EqualFold(attrs.ETag, sum) {
		return object.Attrs{}, false
	}
	s.cfg.Log.Warn().Str("upstream", s.name).Dur("age", time.Since(attrs.ModTime)).
		Msg("the answer to a conditional Put was lost; the object is there")
	return attrs, true
}
