package gateway

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"unistore/config"
	"unistore/meta"
	"unistore/multipart"
	"unistore/s3api"
	"unistore/upstream"
)

const (
	// maxUploads bounds the answer to GET /uploads, listUploadsDefault is how many it has unless asked for more.
	maxUploads         = 10_000
	listUploadsDefault = 1_000
)

// uploadFilter selects unfinished uploads. Zero fields do not narrow.
type uploadFilter struct {
	id     string // as clients see it
	bucket string // the client's; "" is all that the caller may use
	prefix string // of the client's key; needs bucket
	older  time.Duration
}

// uploadState is one unfinished upload.
type uploadState struct {
	Kind     string    `json:"kind"` // put, client
	Bucket   string    `json:"bucket"`
	Key      string    `json:"key"`
	Unrouted bool      `json:"unrouted,omitempty"` // no bucket of a client leads there: both names are the upstream's
	ID       string    `json:"id,omitempty"`       // as clients see it; none of an intent
	Upstream string    `json:"upstream"`
	State    string    `json:"state"`
	Started  time.Time `json:"started"`
	Age      int64     `json:"age_seconds"`
	Parts    int       `json:"parts"` // known to this node
	Bytes    int64     `json:"bytes"` // of these

	view multipart.View
}

func (c *control) getUploads(ctx context.Context, r controlRequest) (any, error) {
	params, err := parameters(r.query, "id", "bucket", "prefix", "older_than", "limit")
	if err != nil {
		return nil, err
	}
	limit := listUploadsDefault
	if text, ok := params["limit"]; ok {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxUploads {
			return nil, badControl("limit must be a number from 1 to %d", maxUploads)
		}
	}
	f, err := newUploadFilter(params["id"], params["bucket"], params["prefix"], params["older_than"])
	if err != nil {
		return nil, err
	}
	if _, ok := params["bucket"]; ok {
		if err := r.who.forControl(f.bucket); err != nil {
			return nil, err
		}
	}
	list, more, err := c.state.uploads(ctx, f, r.who, limit)
	if err != nil {
		return nil, err
	}
	return map[string]any{"uploads": list, "more": more}, nil
}

func newUploadFilter(id, bucket, prefix, older string) (f uploadFilter, err error) {
	f = uploadFilter{id: id, bucket: bucket, prefix: prefix}
	if prefix != "" && bucket == "" {
		return f, badControl("a prefix needs its bucket")
	}
	if older != "" {
		if f.older, err = config.ParseDuration(older); err != nil {
			return f, badControl("older_than %v", err)
		}
	}
	return f, nil
}

// abortion is what POST /uploads/abort takes: one upload by its id, or all that bucket, prefix and age select.
type abortion struct {
	ID     string `json:"id"`
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	Older  string `json:"older_than"`
}

// abortState is its answer.
type abortState struct {
	Aborted int           `json:"aborted"`
	Skipped int           `json:"skipped"` // belong to a PUT that is under way, or their id is not known yet
	Failed  []failedAbort `json:"failed,omitempty"`
}

type failedAbort struct {
	Bucket  string `json:"bucket"`
	Key     string `json:"key"`
	ID      string `json:"id"`
	Message string `json:"message"`
}

func (c *control) postAbortUploads(ctx context.Context, r controlRequest) (any, error) {
	if err := noParameters(r); err != nil {
		return nil, err
	}
	var what abortion
	if err := decode(r.body, &what); err != nil {
		return nil, err
	}
	if r.who.readOnly {
		return nil, deniedControl("the access key is read-only")
	}
	f, err := newUploadFilter(what.ID, what.Bucket, what.Prefix, what.Older)
	switch {
	case err != nil:
		return nil, err
	case f == (uploadFilter{}) && what.Older == "":
		return nil, badControl(`say which uploads: by id, by bucket (and prefix), or by older_than ("0s" for all)`)
	case f.bucket != "":
		if err := r.who.forControl(f.bucket); err != nil {
			return nil, err
		}
	}
	list, _, err := c.state.uploads(ctx, f, r.who, math.MaxInt)
	if err != nil {
		return nil, err
	}
	if f.id != "" && len(list) == 0 {
		return nil, &controlError{status: http.StatusNotFound, code: string(s3api.ErrNoSuchUpload),
			message: "this node knows no unfinished upload of this id"}
	}
	return c.state.abortUploads(ctx, list), nil
}

// uploads returns the unfinished uploads that the caller may know of, at most limit of them.
func (s *gatewayState) uploads(ctx context.Context, f uploadFilter, who identity, limit int) (list []uploadState, more bool, err error) {
	keep, err := s.selector(f)
	if err != nil {
		return nil, false, err
	}
	list = []uploadState{}
	now := s.opts.now()
	for _, v := range s.journal.Views(keep) {
		u, ok := s.describe(v, f, who)
		if !ok {
			continue
		}
		if len(list) == limit {
			return list, true, nil
		}
		u.Age = int64(now.Sub(v.Started) / time.Second)
		if u.Parts, u.Bytes, err = s.journal.Parts(ctx, v); err != nil {
			return nil, false, err
		}
		list = append(list, u)
	}
	return list, false, nil
}

// selector is f on what the journal knows.
func (s *gatewayState) selector(f uploadFilter) (func(multipart.View) bool, error) {
	at := meta.ObjectKey{}
	if f.bucket != "" {
		t, err := s.service.routes.find(f.bucket)
		if err != nil {
			return nil, err
		}
		at = meta.ObjectKey(t.cacheKey(f.prefix))
	}
	var id multipart.ID
	if f.id != "" {
		var err error
		if id, err = multipart.DecodeID(f.id); err != nil {
			return nil, &s3api.Error{Code: s3api.ErrNoSuchUpload}
		}
	}
	latest := s.opts.now().Add(-f.older)
	return func(v multipart.View) bool {
		return !v.Started.After(latest) &&
			(f.id == "" || v.At.Upstream == id.Upstream && v.ID == id.UploadID) &&
			(f.bucket == "" || v.At.Upstream == at.Upstream && v.At.Bucket == at.Bucket && strings.HasPrefix(v.At.Key, at.Key))
	}, nil
}

// describe gives an upload the names that the caller knows it by; false when none of his buckets leads there.
func (s *gatewayState) describe(v multipart.View, f uploadFilter, who identity) (uploadState, bool) {
	u := uploadState{Kind: v.Kind, Upstream: v.At.Upstream, State: v.State, Started: v.Started.UTC(), view: v}
	if v.ID != "" {
		u.ID = multipart.EncodeID(multipart.ID{Upstream: v.At.Upstream, UploadID: v.ID})
	}
	names := s.service.routes.clientNames(v.At)
	i := slices.IndexFunc(names, func(n s3Name) bool { return who.mayUse(n.bucket) && (f.bucket == "" || n.bucket == f.bucket) })
	switch {
	case i >= 0:
		u.Bucket, u.Key = names[i].bucket, names[i].key
	case f.bucket != "": // through a route with a glob, which has no list of names
		t, err := s.service.routes.find(f.bucket)
		if err != nil {
			return u, false
		}
		u.Bucket, u.Key = f.bucket, t.clientKey(v.At.Key)
	case who.unrestricted():
		u.Bucket, u.Key, u.Unrouted = v.At.Bucket, v.At.Key, true
	default:
		return u, false
	}
	return u, true
}

// s3Name is an object as clients name it.
type s3Name struct{ bucket, key string }

// clientNames returns by which names clients reach a place, in the order of the routes. A route with a glob
// whose buckets are one at the upstream leaves its names unsaid.
func (r *routes) clientNames(at meta.ObjectKey) []s3Name {
	var names []s3Name
	for _, route := range r.cfg.Buckets {
		name := route.Name
		if route.Glob() {
			name = at.Bucket
			if found, ok := r.cfg.Find(name); !ok || found.Name != route.Name || route.Bucket != "" {
				continue
			}
		}
		bucket := route.Bucket
		if bucket == "" {
			bucket = name
		}
		if key, ok := strings.CutPrefix(at.Key, route.Prefix); ok && key != "" && route.Upstream == at.Upstream && bucket == at.Bucket {
			names = append(names, s3Name{name, key})
		}
	}
	return names
}

// abortUploads aborts what it can of list.
func (s *gatewayState) abortUploads(ctx context.Context, list []uploadState) abortState {
	var out abortState
	for _, u := range list {
		if u.ID == "" || u.view.Busy {
			out.Skipped++
			continue
		}
		err := s.sweeper.Abort(ctx, u.view)
		if err == nil {
			out.Aborted++
			continue
		}
		message := toS3(err).Message
		if message == "" {
			message = upstream.CodeOf(err).Error()
		}
		s.log.Warn().Err(err).Str("upstream", u.Upstream).Msg("an upload could not be aborted")
		out.Failed = append(out.Failed, failedAbort{Bucket: u.Bucket, Key: u.Key, ID: u.ID, Message: message})
	}
	return out
}
