package wire

import (
	"context"
	"encoding/base64"
	"strings"

	"unistore/upstream"
)

// Marked is one page of a listing by marker (S3's first version), names decoded.
type Marked struct {
	Objects   []upstream.ListedObject
	Prefixes  []string
	Truncated bool
	Next      string // NextMarker: what the store wants as the marker of the next page, or empty
}

// Lister makes the pages of upstream.Backend.List of those of a store that lists by marker.
type Lister struct {
	// Fetch asks for one page: names after marker. Whether a common prefix that holds the marker, or is it, comes
	// (again), is left to the store.
	Fetch func(ctx context.Context, req upstream.ListRequest, marker string) (Marked, error)
}

// A token is the place that the pages before have reached, and the store's marker. Nothing up to the place is
// delivered again, whether markers are inclusive or lead back into a common prefix. endOfPrefix behind a common
// prefix is a marker after all that the prefix holds.
const (
	endOfPrefix = "\U0010ffff"
	maxMarker   = 2 << 10 // bytes: longer than any key
)

func joinToken(marker, passed string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(passed)) + "." + base64.RawURLEncoding.EncodeToString([]byte(marker))
}

func splitToken(token string) (marker, passed string, ok bool) {
	a, b, ok := strings.Cut(token, ".")
	p, err := base64.RawURLEncoding.DecodeString(a)
	m, err2 := base64.RawURLEncoding.DecodeString(b)
	return string(m), string(p), ok && err == nil && err2 == nil && len(m) > 0
}

// List implements upstream.Backend.List.
func (l Lister) List(ctx context.Context, req upstream.ListRequest) (upstream.ListPage, error) {
	marker, passed := req.StartAfter, req.StartAfter
	if req.Token != "" {
		var ok bool
		if marker, passed, ok = splitToken(req.Token); !ok {
			return upstream.ListPage{}, upstream.Errorf(upstream.Invalid, "List", "unknown continuation token")
		}
	} else if page, found, err := l.entered(ctx, req); found || err != nil {
		return page, err
	}
	for {
		got, err := l.Fetch(ctx, req, marker)
		if err != nil {
			return upstream.ListPage{}, err
		}
		page, reached, inside := cut(got, passed)
		if !got.Truncated {
			return page, nil
		}
		next, ok := follow(marker, got.Next, reached, inside)
		if !ok {
			return page, upstream.Errorf(upstream.Unavailable, "List", "the listing does not go on")
		}
		if len(page.Objects)+len(page.Prefixes) > 0 {
			page.Next = joinToken(next, reached)
			return page, nil
		}
		marker, passed = next, reached // nothing was left of the page
	}
}

// cut takes from a page what has been passed. reached is the last name of it, inside the common prefix that it
// lies in or is, if any.
func cut(got Marked, passed string) (page upstream.ListPage, reached, inside string) {
	reached = passed
	for _, o := range got.Objects {
		if passed != "" && o.Key <= passed {
			continue
		}
		reached = max(reached, o.Key)
		page.Objects = append(page.Objects, o)
	}
	for _, name := range got.Prefixes {
		reached = max(reached, name)
		// A prefix that the place lies in is passed too: entered has delivered it.
		if passed == "" || name > passed {
			page.Prefixes = append(page.Prefixes, name)
		}
	}
	for _, name := range got.Prefixes {
		if strings.HasPrefix(reached, name) {
			inside = name
		}
	}
	return page, reached, inside
}

// follow is the marker of the next page: the store's own if it leads on, else one made of the place reached.
func follow(marker, next, reached, inside string) (string, bool) {
	if next > marker {
		return next, true
	}
	if inside == "" {
		return reached, reached > marker
	}
	end := inside + endOfPrefix
	for (end <= marker || end <= reached) && len(end) <= maxMarker { // keys of such characters
		end += endOfPrefix
	}
	return end, end > marker
}

// entered looks after a listing that starts inside a common prefix: S3 lists the prefix for the keys that follow in
// it. Stores differ, so that the prefix becomes a page of its own.
func (l Lister) entered(ctx context.Context, req upstream.ListRequest) (page upstream.ListPage, found bool, err error) {
	rest, ok := strings.CutPrefix(req.StartAfter, req.Prefix)
	if req.Delimiter == "" || !ok {
		return page, false, nil
	}
	i := strings.Index(rest, req.Delimiter)
	if i < 0 || i+len(req.Delimiter) == len(rest) { // outside, or the prefix itself, which is left out
		return page, false, nil
	}
	prefix := req.Prefix + rest[:i+len(req.Delimiter)]
	inside := Lister{Fetch: l.Fetch}
	first, err := inside.List(ctx, upstream.ListRequest{Bucket: req.Bucket, Prefix: prefix, StartAfter: req.StartAfter, MaxKeys: 1})
	if err != nil || len(first.Objects) == 0 {
		return page, false, err
	}
	after := max(prefix+endOfPrefix, req.StartAfter)
	return upstream.ListPage{Prefixes: []string{prefix}, Next: joinToken(after, after)}, true, nil
}
