package upstream

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"unistore/object"
)

// aftermath is a context to look and to clean up in after a write: the caller may be gone.
func (s *Store) aftermath(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), slowFactor*s.cfg.Timeout)
}

// disown deals with an object that the store has, and whose bytes it says are not those that were sent; sum
// is the MD5 of these. The object is deleted, if it is still that one, and cause returned.
//
// A store that is not known to have MD5 sums for ETags may only have others that look the same: then the
// object is read, and nil returned if it is right.
func (s *Store) disown(ctx context.Context, loc Loc, attrs object.Attrs, w *witness, sum string, cause error) error {
	ctx, cancel := s.aftermath(ctx)
	defer cancel()
	if w.doubt && sum != "" && s.holds(ctx, loc, attrs, sum) {
		s.opaque()
		return nil
	}
	opts := DeleteOptions{VersionID: attrs.VersionID}
	if attrs.VersionID == "" {
		opts.IfMatch = attrs.ETag
	}
	err := s.Delete(ctx, loc, opts)
	s.cfg.Log.Error().Str("upstream", s.name).Err(cause).AnErr("deletion", err).Bool("deleted", err == nil).
		Msg("the store has other bytes than were sent to it")
	return cause
}

// holds reads an object and reports whether the MD5 of its bytes is sum.
func (s *Store) holds(ctx context.Context, loc Loc, attrs object.Attrs, sum string) bool {
	st, err := s.Open(ctx, loc, OpenOptions{StatOptions: StatOptions{VersionID: attrs.VersionID}, IfMatch: attrs.ETag})
	if err != nil {
		return false
	}
	h := md5.New()
	_, err = io.Copy(h, st.Body)
	_ = st.Body.Close() // it has been read, or it does not count
	return err == nil && hex.EncodeToString(h.Sum(nil)) == sum
}

// opaque notes that the store's ETags are no MD5 sums, though they look like it.
func (s *Store) opaque() {
	if s.trust.etags.CompareAndSwap(etagsUnknown, etagsOpaque) {
		s.cfg.Log.Warn().Str("upstream", s.name).
			Msg("the ETags of this store are no MD5 sums: what it stores is compared by checksums alone from now on")
	}
}

// disownPart replaces a part whose bytes are not those that were sent: a client that goes by ListParts would
// complete with it. A part of one byte has the size of no honest one. How the store answers to it also tells
// whether its ETags are MD5 sums at all.
func (s *Store) disownPart(ctx context.Context, up Upload, number int, w *witness, cause error) {
	ctx, cancel := s.aftermath(ctx)
	defer cancel()
	sum := md5.Sum([]byte("x"))
	part, err := do(ctx, s, s.once("UploadPart"), func(a *attempt) (Part, error) {
		return s.multiparter.UploadPart(a.ctx, up, number, PartRequest{
			Body: strings.NewReader("x"), Size: 1, MD5: base64.StdEncoding.EncodeToString(sum[:]),
		})
	})
	if err == nil && w.doubt && part.ETagMD5 && !strings.EqualFold(part.ETag, hex.EncodeToString(sum[:])) {
		s.opaque()
	}
	s.cfg.Log.Error().Str("upstream", s.name).Str("upload", up.ID).Int("part", number).Err(cause).AnErr("replacement", err).
		Bool("replaced", err == nil).Msg("the store has other bytes of a part than were sent to it")
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
	if sum == "" || size == 0 || s.trust.etags.Load() == etagsOpaque {
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
