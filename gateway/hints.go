package gateway

import (
	"context"
	"strconv"
	"strings"

	"unistore/byterange"
	"unistore/cache"
	"unistore/object"
	"unistore/prefetch"
	"unistore/s3api"
	"unistore/upstream"
)

// The request headers that say what will be read. Like those of pins they are not signed and grant nothing: what they name is fetched
// only for who may read it, in the class that gives way to all others that somebody asked for. One that can not be
// read is ignored and counted.
const (
	headerHint     = "unistore-hint"     // access=sequential|random|columnar|whole|once, window=BYTES
	headerPrefetch = "unistore-prefetch" // ranges="0-1048575,9000000-9999999", next="bucket/key2 bucket/key3"
)

const (
	// maxHint is the longest value of Unistore-Prefetch, in bytes; it bounds the ranges and keys in it.
	maxHint = 4 << 10
	// nextWhole is how much of an object that is named by next is fetched: bytes from its beginning.
	nextWhole = 8 << 20
	// hintRun is the largest piece in which hinted ranges are fetched.
	hintRun = 8 << 20
	// maxHinted bounds the bytes that one header may have fetched.
	maxHinted = 1 << 30
)

var accessHints = map[string]prefetch.AccessHint{
	"sequential": prefetch.HintSequential, "random": prefetch.HintRandom, "columnar": prefetch.HintColumnar,
	"whole": prefetch.HintWhole, "once": prefetch.HintOnce,
}

// readModes are the hints in the Referer of the analytics accelerator for S3.
var readModes = map[string]prefetch.AccessHint{
	"SEQUENTIAL_FILE_PREFETCH": prefetch.HintSequential, "SMALL_OBJECT_PREFETCH": prefetch.HintNone,
	"PREFETCH_TAIL": prefetch.HintColumnar, "DICTIONARY_PREFETCH": prefetch.HintColumnar,
	"COLUMN_PREFETCH": prefetch.HintColumnar, "REMAINING_COLUMN_PREFETCH": prefetch.HintColumnar,
}

// unistoreHeaders reads the headers of x that are ours, does what they ask, and returns what the read is to pin.
func (s *service) unistoreHeaders(x *exchange) *pinning {
	h := s.pinHeaders(x.Header)
	if h != nil && x.who.query != "" {
		s.restrictPins(h, x.who)
	}
	x.query = queryOf(x, h)
	if referer := x.Header.Get("referer"); referer != "" {
		if _, mode, ok := strings.Cut(referer, "readMode="); ok {
			x.hints.Access = readModes[mode]
		}
	}
	if h == nil {
		return nil
	}
	for _, f := range x.Header {
		ok := true
		switch f.Name {
		case headerHint:
			x.hints, ok = parseHint(f.Value)
		case headerPrefetch:
			x.wants, ok = parseWants(f.Value)
		}
		if !ok {
			s.metrics.HintsIgnored.WithLabelValues(f.Name).Inc()
		}
	}
	return s.pins(x, h)
}

// queryOf names the query that x is a part of: by the header, the credentials that were made for it, the audit header of
// S3A, or the access key. h may be nil.
func queryOf(x *exchange, h *pinHeaders) string {
	switch {
	case h != nil && h.query != "":
		return scopedQuery(x.who, h.query)
	case x.who.query != "":
		return scopedQuery(x.who, x.who.query)
	}
	return scopedQuery(x.who, auditID(x.Header.Get("referer")))
}

// parseHint reads Unistore-Hint. Names that are not known are for a newer version and count for nothing.
func parseHint(v string) (h prefetch.Hint, ok bool) {
	for part := range strings.SplitSeq(v, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "access":
			if h.Access, ok = accessHints[value]; !ok {
				return prefetch.Hint{}, false
			}
		case "window":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 1 {
				return prefetch.Hint{}, false
			}
			h.Window = n
		case "":
			return prefetch.Hint{}, false
		}
	}
	return h, true
}

// hintedWants are what Unistore-Prefetch names.
type hintedWants struct {
	ranges []byterange.Spec // of the object that is read
	next   [][2]string      // bucket and key
}

// parseWants reads Unistore-Prefetch: all of it is good, or nothing counts.
func parseWants(v string) (w hintedWants, ok bool) {
	if len(v) > maxHint {
		return hintedWants{}, false
	}
	for rest := strings.TrimSpace(v); rest != ""; {
		name, quoted, found := strings.Cut(rest, `="`)
		value, after, closed := strings.Cut(quoted, `"`)
		if !found || !closed {
			return hintedWants{}, false
		}
		switch strings.TrimSpace(name) {
		case "ranges":
			for text := range strings.SplitSeq(value, ",") {
				spec, good := parseRange(strings.TrimSpace(text))
				if !good {
					return hintedWants{}, false
				}
				w.ranges = append(w.ranges, spec)
			}
		case "next":
			for name := range strings.FieldsSeq(value) {
				bucket, key, good := strings.Cut(name, "/")
				if !good || bucket == "" || s3api.CheckKey(key) != nil {
					return hintedWants{}, false
				}
				w.next = append(w.next, [2]string{bucket, key})
			}
		default:
			return hintedWants{}, false
		}
		rest = strings.TrimSpace(after)
		if rest != "" {
			if rest, found = strings.CutPrefix(rest, ","); !found {
				return hintedWants{}, false
			}
			rest = strings.TrimSpace(rest)
		}
	}
	return w, len(w.ranges)+len(w.next) > 0
}

// hinted has fetched what the headers of x name, when its read has begun: ranges of the same version, and the beginnings of others. It
// does not wait.
func (s *service) hinted(x *exchange, of prefetch.Target) {
	if s.ahead == nil {
		return
	}
	left := int64(maxHinted)
	for _, r := range prefetch.Union(x.wants.ranges, of.Size) {
		left = s.fetchAhead(of, r, x.query, x.pinRequest(), left)
	}
	for _, name := range x.wants.next {
		if !x.who.mayUse(name[0]) {
			continue
		}
		t, err := s.routes.find(name[0])
		if err != nil {
			continue
		}
		query, pin := x.query, x.pinRequest()
		s.ahead.Go(func(ctx context.Context) {
			if next, err := s.prefetchTarget(ctx, t, name[1]); err == nil {
				s.fetchAhead(next, byterange.Range{Len: min(next.Size, nextWhole)}, query, pin, nextWhole)
			}
		})
	}
}

// fetchAhead queues r of a version in pieces, at most left bytes of it, and returns how many more may be queued.
func (s *service) fetchAhead(of prefetch.Target, r byterange.Range, query string, pin *cache.PinRequest, left int64) int64 {
	for !r.Empty() && left > 0 {
		piece := byterange.Range{Off: r.Off, Len: min(r.Len, hintRun-r.Off%hintRun, left)}
		r = byterange.Range{Off: piece.End(), Len: r.Len - piece.Len}
		left -= piece.Len
		s.ahead.Add(&prefetch.Job{
			Target: of, Range: piece, Class: prefetch.ClassHinted, Cause: cache.CauseHint, Query: query, Pin: pin,
		})
	}
	return left
}

// guessTarget is prefetchTarget of an object that is perhaps read: what a listing has told of it, if that is fresh, will do.
func (s *service) guessTarget(ctx context.Context, t target, key string) (prefetch.Target, error) {
	ck := t.cacheKey(key)
	if known, ok := s.cache.Stat(ck); ok && s.learner.fresh(t, ck, known.Checked) {
		return s.targetOf(t, key, known.Attrs), nil
	}
	return s.prefetchTarget(ctx, t, key)
}

// prefetchTarget finds out the version of an object to be fetched ahead, for nobody who waits.
func (s *service) prefetchTarget(ctx context.Context, t target, key string) (prefetch.Target, error) {
	l, err := s.learner.get(upstream.Background(ctx), t, key, nil, false)
	if err != nil {
		return prefetch.Target{}, err
	}
	l.release()
	return s.targetOf(t, key, l.attrs), nil
}

func (s *service) targetOf(t target, key string, attrs object.Attrs) prefetch.Target {
	return prefetch.Target{Key: t.cacheKey(key), ETag: attrs.ETag, Size: attrs.Size, Fetch: s.fetcher(t, key, attrs.ETag, true)}
}
