package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"unistore/cache"
	"unistore/prefetch"
	"unistore/s3api"
)

// priorities are those of registrations: urgent goes before what readers are on their way to, background gives way to
// everything.
var priorities = map[string]prefetch.Class{
	"urgent": prefetch.ClassDue, "normal": prefetch.ClassRegistered, "background": prefetch.ClassSpeculative,
	"": prefetch.ClassRegistered,
}

var pinKinds = map[string]cache.PinKind{"hard": cache.PinHard, "soft": cache.PinSoft, "none": cache.PinNone, "": cache.PinNone}

// queryFile is one file, or all files below a prefix, of a registration.
type queryFile struct {
	Bucket string   `json:"bucket"`
	Key    string   `json:"key"`
	Prefix *string  `json:"prefix"` // instead of key
	ETag   string   `json:"etag"`
	Ranges []string `json:"ranges"` // as in fileQuery
}

// queryFiles is what POST /queries and POST /queries/ID/files take.
type queryFiles struct {
	Files []queryFile `json:"files"`
}

// queryRequest is what POST /queries takes.
type queryRequest struct {
	ID          string   `json:"id"` // none: one is made
	TTL         duration `json:"ttl"`
	Deadline    duration `json:"deadline"` // from now; 0: none
	Priority    string   `json:"priority"` // urgent, normal or background
	Pin         string   `json:"pin"`      // hard, soft or none
	Credentials bool     `json:"credentials"`
	queryFiles
}

// duration is seconds, or text such as "10m"; at most cache.MaxPinTTL when it is a number.
type duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *duration) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		*d = duration(min(n, int64(cache.MaxPinTTL/time.Second)) * int64(time.Second))
	} else if v, err := time.ParseDuration(text); err == nil {
		*d = duration(v)
	} else {
		return errors.New(`a ttl or deadline is a number of seconds, or text such as "10m"`)
	}
	if *d <= 0 {
		return errors.New("a ttl or deadline is at least a second")
	}
	return nil
}

// rejectedFile is a file that was not taken.
type rejectedFile struct {
	File   fileName `json:"file"`
	Reason string   `json:"reason"`
}

type fileName struct {
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
}

// acceptedState is the answer to POST /queries and POST /queries/ID/files.
type acceptedState struct {
	ID       string `json:"id"`
	Accepted struct {
		Files int   `json:"files"`
		Bytes int64 `json:"bytes"`
	} `json:"accepted"`
	Resident    int64           `json:"resident_bytes"`
	Rejections  int             `json:"rejected_count"`
	Rejected    []rejectedFile  `json:"rejected"` // the first of them, at most prefetch.MaxRejected
	Credentials *credentialForm `json:"credentials,omitempty"`
}

type credentialForm struct {
	AccessKey    string    `json:"access_key"`
	SecretKey    string    `json:"secret_key"`
	SessionToken string    `json:"session_token"`
	Expiration   time.Time `json:"expiration"`
}

// queryStatus is one query in the answers to GET.
type queryStatus struct {
	ID          string         `json:"id"`
	AccessKey   string         `json:"access_key,omitempty"` // that registered it
	State       string         `json:"state"`
	Files       int            `json:"files"`
	Total       int64          `json:"bytes_total"`
	Resident    int64          `json:"bytes_resident"`
	Pinned      int64          `json:"bytes_pinned"`
	Inflight    int64          `json:"bytes_inflight"`
	Errors      int            `json:"errors"`
	Failures    []rejectedFile `json:"failures,omitempty"` // the first of them
	Pin         string         `json:"pin"`
	Credentials bool           `json:"credentials"`
	Expires     time.Time      `json:"expires_at"`
	Deadline    time.Time      `json:"deadline,omitzero"`
}

func statusForm(s prefetch.Status) queryStatus {
	owner, id, _ := strings.Cut(s.Name, " ")
	return queryStatus{
		ID: id, AccessKey: owner, State: string(s.State), Files: s.Files, Total: s.Total, Resident: s.Resident, Pinned: s.Pinned,
		Inflight: s.Flying, Errors: s.Errors, Failures: rejectedForm(s.Failures), Pin: s.Pin.String(),
		Credentials: s.Credentials, Expires: s.Until.UTC(), Deadline: s.Deadline.UTC(),
	}
}

func rejectedForm(list []prefetch.Failure) []rejectedFile {
	out := make([]rejectedFile, 0, len(list))
	for _, f := range list {
		out = append(out, rejectedFile{fileName{f.Bucket, f.Key}, f.Reason})
	}
	return out
}

// registry returns where queries are registered, or the error of a gateway that does not prefetch.
func (c *control) registry(r controlRequest) (*prefetch.Registry, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	if c.queries == nil {
		return nil, &controlError{status: http.StatusNotImplemented, code: "NotImplemented", message: "prefetching is not enabled (prefetch.enabled)"}
	}
	return c.queries, nil
}

// nameOf returns the name of the query in the path. The operator may name any access key's.
func nameOf(q *prefetch.Registry, r controlRequest) (string, error) {
	own := scopedQuery(r.who, r.name)
	if !r.who.operator {
		return own, nil
	}
	if _, err := q.Status(own); err == nil {
		return own, nil
	}
	found := ""
	for _, s := range q.List() {
		if _, id, _ := strings.Cut(s.Name, " "); id != r.name {
			continue
		}
		if found != "" {
			return "", &controlError{status: http.StatusConflict, code: "AmbiguousQuery", message: "several access keys have a query of this name; ask with the right one"}
		}
		found = s.Name
	}
	if found == "" {
		return own, nil
	}
	return found, nil
}

// maySee reports whether the caller may be told of a query: the operator of all, temporary credentials of their own only.
func (w identity) maySee(owner, id string) bool {
	return w.operator || owner == w.accessKey && (w.query == "" || id == w.query)
}

func queryError(err error) error {
	switch {
	case errors.Is(err, prefetch.ErrNoQuery):
		return &controlError{status: http.StatusNotFound, code: "NoSuchQuery", message: err.Error()}
	case errors.Is(err, prefetch.ErrReleased):
		return &controlError{status: http.StatusGone, code: "QueryEnded", message: err.Error()}
	case errors.Is(err, prefetch.ErrExists):
		return &controlError{status: http.StatusConflict, code: "QueryAlreadyExists", message: err.Error()}
	case errors.Is(err, prefetch.ErrTooMany):
		return &controlError{status: http.StatusServiceUnavailable, code: string(s3api.ErrSlowDown), message: err.Error()}
	}
	return err
}

func (c *control) postQuery(ctx context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	var q queryRequest
	if err := decode(r.body, &q); err != nil {
		return nil, err
	}
	if q.ID == "" {
		q.ID = rand.Text()
	}
	class, okClass := priorities[q.Priority]
	pin, okPin := pinKinds[q.Pin]
	switch {
	case !validQuery(q.ID):
		return nil, badControl("id has 1 to %d printable ASCII characters without space, quote, comma and semicolon", maxQueryID)
	case !okClass:
		return nil, badControl("priority is urgent, normal or background")
	case !okPin:
		return nil, badControl("pin is hard, soft or none")
	}
	entries, denied, err := q.entries(r.who)
	if err != nil {
		return nil, err
	}
	out, err := queries.Register(ctx, prefetch.Registration{
		Name: scopedQuery(r.who, q.ID), TTL: time.Duration(q.TTL), Deadline: time.Duration(q.Deadline), Class: class, Pin: pin,
		Credentials: q.Credentials, Entries: entries,
	})
	if err != nil {
		return nil, queryError(err)
	}
	return controlAnswer{http.StatusAccepted, acceptedForm(q.ID, out, denied)}, nil
}

func acceptedForm(id string, a prefetch.Accepted, denied []rejectedFile) acceptedState {
	out := acceptedState{ID: id, Resident: a.Resident, Rejected: append(denied, rejectedForm(a.Rejected)...)}
	out.Rejections = len(denied) + a.Rejections
	out.Rejected = out.Rejected[:min(len(out.Rejected), prefetch.MaxRejected)]
	if out.Rejected == nil {
		out.Rejected = []rejectedFile{}
	}
	out.Accepted.Files, out.Accepted.Bytes = a.Files, a.Bytes
	if m := a.Minted; m != nil {
		out.Credentials = &credentialForm{m.AccessKey, m.SecretKey, m.Token, a.Until.UTC()}
	}
	return out
}

// entries checks the files. What the caller may not read is denied, one by one; what is malformed is an error.
func (q *queryFiles) entries(who identity) (out []prefetch.Entry, denied []rejectedFile, err error) {
	if len(q.Files) > prefetch.MaxEntries {
		return nil, nil, badControl("%d files; at most %d are taken at once", len(q.Files), prefetch.MaxEntries)
	}
	for _, f := range q.Files {
		e := prefetch.Entry{Bucket: f.Bucket, Key: f.Key, Prefix: f.Prefix, ETag: strings.Trim(f.ETag, `"`)}
		switch {
		case f.Bucket == "":
			return nil, nil, badControl("a file has no bucket")
		case (f.Key == "") == (f.Prefix == nil):
			return nil, nil, badControl("a file has either key or prefix")
		case f.Prefix != nil && (f.ETag != "" || f.Ranges != nil):
			return nil, nil, badControl("a prefix goes without etag and ranges")
		case f.Key != "" && s3api.CheckKey(f.Key) != nil:
			return nil, nil, badControl("%q is no key", f.Key)
		case len(f.Ranges) > maxRanges:
			return nil, nil, badControl("%d ranges of one file; at most %d are taken", len(f.Ranges), maxRanges)
		}
		for _, text := range f.Ranges {
			spec, ok := parseRange(text)
			if !ok {
				return nil, nil, badControl("%q is no range; write FIRST-LAST, FIRST- or -LENGTH", text)
			}
			e.Specs = append(e.Specs, spec)
		}
		if !who.mayUse(f.Bucket) {
			name := f.Key
			if f.Prefix != nil {
				name = *f.Prefix
			}
			denied = append(denied, rejectedFile{fileName{f.Bucket, name}, "the access key has no right to this bucket"})
			continue
		}
		out = append(out, e)
	}
	return out, denied, nil
}

func (c *control) postQueryFiles(ctx context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	var q queryFiles
	if err := decode(r.body, &q); err != nil {
		return nil, err
	}
	entries, denied, err := q.entries(r.who)
	if err != nil {
		return nil, err
	}
	name, err := nameOf(queries, r)
	if err != nil {
		return nil, err
	}
	out, err := queries.Append(ctx, name, entries)
	if err != nil {
		return nil, queryError(err)
	}
	return controlAnswer{http.StatusAccepted, acceptedForm(r.name, out, denied)}, nil
}

func (c *control) postQueryRenew(_ context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	var q struct {
		TTL duration `json:"ttl"`
	}
	if len(r.body) > 0 {
		if err := decode(r.body, &q); err != nil {
			return nil, err
		}
	}
	name, err := nameOf(queries, r)
	if err != nil {
		return nil, err
	}
	if _, err := queries.Renew(name, time.Duration(q.TTL)); err != nil {
		return nil, queryError(err)
	}
	return c.status(queries, name)
}

func (c *control) status(queries *prefetch.Registry, name string) (any, error) {
	s, err := queries.Status(name)
	if err != nil {
		return nil, queryError(err)
	}
	return statusForm(s), nil
}

func (c *control) getQueries(_ context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	out := []queryStatus{}
	for _, s := range queries.List() {
		if form := statusForm(s); r.who.maySee(form.AccessKey, form.ID) {
			out = append(out, form)
		}
	}
	return map[string]any{"queries": out}, nil
}

func (c *control) getQuery(_ context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	name, err := nameOf(queries, r)
	if err != nil {
		return nil, err
	}
	return c.status(queries, name)
}

func (c *control) deleteQuery(_ context.Context, r controlRequest) (any, error) {
	queries, err := c.registry(r)
	if err != nil {
		return nil, err
	}
	name, err := nameOf(queries, r)
	if err != nil {
		return nil, err
	}
	if err := queries.Release(name); err != nil {
		return nil, queryError(err)
	}
	return c.status(queries, name)
}
