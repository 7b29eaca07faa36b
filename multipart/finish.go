package multipart

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"

	"unistore/faults"
	"unistore/object"
	"unistore/upstream"
)

// complete makes the object of the parts. All of them are stored; nothing else of the session runs.
func (s *session) complete() (object.Attrs, error) {
	parts, err := s.sortedParts()
	if err != nil {
		return object.Attrs{}, err
	}
	s.entry.Completing(parts)
	s.point(PointComplete)
	if _, ok := s.fire(faults.UploadCompleteError, "CompleteUpload"); ok {
		return object.Attrs{}, injected("CompleteUpload")
	}
	req := upstream.CompleteRequest{Parts: parts, IfMatch: s.req.IfMatch, IfNoneMatch: s.req.IfNoneMatch}
	if s.checksum != "" {
		req.Checksum = s.req.Checksum
	}
	attrs, err := s.t.CompleteUpload(s.ctx, s.up, req)
	if err != nil {
		return object.Attrs{}, err
	}
	s.point(PointCompleted)
	if err := checkCompleted(attrs, s.total, len(parts)); err != nil {
		return object.Attrs{}, err
	}
	s.entry.Completed(attrs)
	attrs.Size = s.total
	return attrs, nil
}

// sortedParts is the list to complete with, checked to be the whole body: numbers 1 to n, and as many
// bytes as were read.
func (s *session) sortedParts() ([]upstream.Part, error) {
	s.mu.Lock()
	parts := slices.SortedFunc(slices.Values(s.mu.parts), byNumber)
	s.mu.Unlock()
	var size int64
	for i, p := range parts {
		if p.Number != i+1 {
			return nil, upstream.Errorf(upstream.InvalidPart, "CompleteUpload", "part %d is missing", i+1)
		}
		size += p.Size
	}
	if size != s.total {
		return nil, upstream.Errorf(upstream.InvalidPart, "CompleteUpload", "parts of %d bytes for a body of %d", size, s.total)
	}
	return parts, nil
}

// s3ETag is the form that S3 gives the ETag of an object made of parts; other stores have others.
var s3ETag = regexp.MustCompile(`^[0-9a-fA-F]{32}-([0-9]+)$`)

// checkCompleted compares what the store says it has made with what was sent. size 0 is "not said". upstream.Store, which
// can also remove what is wrong, has done so before; this is for other Targets.
func checkCompleted(attrs object.Attrs, size int64, parts int) error {
	bad := attrs.ETag == "" || (attrs.Size != 0 && attrs.Size != size)
	if m := s3ETag.FindStringSubmatch(attrs.ETag); m != nil {
		bad = bad || m[1] != strconv.Itoa(parts)
	}
	if bad {
		return upstream.Errorf(upstream.Unavailable, "CompleteUpload",
			"the store answered with size %d and ETag %q for %d bytes in %d parts", attrs.Size, attrs.ETag, size, parts)
	}
	return nil
}

// abort removes the upload and its parts from the store. The client may be gone, so it has a time of its own.
func (s *session) abort() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.parent), abortTimeout)
	defer cancel()
	err := s.t.AbortUpload(ctx, s.up)
	if err == nil || errors.Is(err, upstream.NoUpload) {
		s.mu.Lock()
		late := s.mu.late
		s.mu.Unlock()
		s.entry.Aborted(late)
		return
	}
	s.entry.Abandoned()
	s.u.cfg.Log.Warn().Str("upstream", s.scope.Upstream).Str("upload", s.up.ID).Err(err).
		Msg("an upload failed and could not be aborted now: the upstream keeps its parts for the time being")
}

func (s *session) fire(name, op string) (faults.Fault, bool) {
	sc := s.scope
	sc.Operation = op
	return s.u.cfg.Faults.Fire(name, sc)
}

func (s *session) point(name string) {
	sc := s.scope
	sc.Operation = name
	s.u.cfg.Faults.Point(sc)
}

func injected(op string) error {
	return &upstream.Error{Code: upstream.Unavailable, Op: op, Message: "injected fault"}
}

func (s *session) count(err error) {
	m := s.u.cfg.Metrics
	if m == nil {
		return
	}
	outcome := "ok"
	switch {
	case s.ctx.Err() != nil && err != nil:
		outcome = "cancelled"
	case err != nil:
		outcome = "error"
	}
	m.UploadParts.WithLabelValues(outcome).Inc()
}
