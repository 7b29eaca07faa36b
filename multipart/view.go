package multipart

import (
	"cmp"
	"context"
	"slices"
	"time"

	"unistore/meta"
	"unistore/upstream"
)

// View is an unfinished upload as it was at one moment.
type View struct {
	Kind    string // put, client
	State   string // as StateOpen
	At      meta.ObjectKey
	ID      string // as the store names it; empty in an intent
	Started time.Time
	// Busy: it belongs to a PUT that is under way.
	Busy bool

	number uint64
}

// Views returns the unfinished uploads that keep wants, ordered by upstream, bucket, key and start.
func (j *Journal) Views(keep func(View) bool) []View {
	if j == nil {
		return nil
	}
	var views []View
	j.mu.Lock()
	for _, e := range j.mu.entries {
		v := View{
			Kind: "client", State: e.labelLocked(), At: e.up.At, ID: e.up.ID, Started: e.up.Started,
			Busy: e.live, number: e.up.Number,
		}
		if e.up.Kind == meta.UploadPut {
			v.Kind = "put"
		}
		if v.State != StateCompleted && keep(v) {
			views = append(views, v)
		}
	}
	j.mu.Unlock()
	slices.SortFunc(views, func(a, b View) int {
		return cmp.Or(cmp.Compare(a.At.Upstream, b.At.Upstream), cmp.Compare(a.At.Bucket, b.At.Bucket), cmp.Compare(a.At.Key, b.At.Key),
			a.Started.Compare(b.Started), cmp.Compare(a.number, b.number))
	})
	return views
}

// Parts counts the parts of an upload that are recorded, and their bytes. Those of a PUT, and those that another
// node has taken, are not.
func (j *Journal) Parts(ctx context.Context, v View) (n int, size int64, err error) {
	if j == nil || j.cfg.DB == nil || v.Kind != "client" {
		return 0, 0, nil
	}
	err = j.cfg.DB.UploadParts(v.number, func(p meta.UploadPart) error {
		n++
		size += p.Size
		return ctx.Err()
	})
	return n, size, err
}

// Unsettled returns the places where an object may have been made without that anybody knows. What is known of
// the objects there may be old.
func (j *Journal) Unsettled() []meta.ObjectKey {
	j.mu.Lock()
	defer j.mu.Unlock()
	var places []meta.ObjectKey
	for _, e := range j.mu.entries {
		if e.up.State == meta.UploadCompleting {
			places = append(places, e.up.At)
		}
	}
	return places
}

// Abort aborts an upload that is not busy, at the store and in the records. One that is gone already is no error.
func (s *Sweeper) Abort(ctx context.Context, v View) error {
	s.j.mu.Lock()
	e := s.j.mu.entries[v.number]
	s.j.mu.Unlock()
	if e == nil {
		return nil
	}
	release, err := e.Turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	s.j.mu.Lock()
	w, busy := job{e, e.up, taskAbort}, e.live
	gone := e.gone || e.up.State == meta.UploadCompleted
	e.late = false // whoever aborts by hand wants it gone
	s.j.mu.Unlock()
	store := s.cfg.Stores[w.up.At.Upstream]
	switch {
	case gone:
		return nil
	case busy:
		return upstream.Errorf(upstream.Conflict, "AbortUpload", "it belongs to a PUT that is under way")
	case w.up.ID == "":
		return upstream.Errorf(upstream.Conflict, "AbortUpload", "its id is not known")
	case store == nil:
		return upstream.Errorf(upstream.NoUpload, "AbortUpload", "its upstream is not in the configuration any more")
	}
	_, err = s.abort(ctx, store, w)
	return err
}

// Wake makes Run look for what is due.
func (s *Sweeper) Wake() { s.j.wake() }
