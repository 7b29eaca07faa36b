package gateway

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"

	"unistore/byterange"
	"unistore/cache"
	"unistore/object"
	"unistore/upstream"
)

// firstRun is how much the request that learns an object asks for at most (bytes): one run of the
// cache, so that a whole small object comes with its attributes in one round trip and a big
// one is not promised to the end.
const firstRun = 16 << 20

// learner finds out the current version of objects, once for everybody who asks at the same time.
// A flight ends when the answer's headers are there; its body, if any, is the leader's.
type learner struct {
	cache  *cache.Cache
	now    func() time.Time
	doubts *doubts

	mu struct {
		sync.Mutex
		flights map[cache.Key]*flight
	}
}

type flight struct {
	done  chan struct{} // closed when the rest is set
	attrs object.Attrs
	err   error
	// void: while the flight was under way the object was written, or another version was seen. The answer is good
	// for the leader only, who asked before.
	void   bool
	status int // as in learned
	// background: nobody waits for the leader, whose question may have to wait long.
	background bool
}

func newLearner(c *cache.Cache, now func() time.Time, d *doubts) *learner {
	l := &learner{cache: c, now: now, doubts: d}
	l.mu.flights = map[cache.Key]*flight{}
	return l
}

// learned is what is known after asking.
type learned struct {
	attrs object.Attrs
	// first is the answer's body when this caller led and asked for bytes; it must be handed to
	// cache.Read or closed.
	first *cache.First
	// asked: the upstream was asked, by us or by the flight that we joined.
	asked bool
	// For Cache-Status, when asked: why, the status of the upstream's answer (0: not known), and whether
	// we joined another's question.
	why    string
	status int
	joined bool
	// stale: the object was written meanwhile. The caller may have these attributes, but nothing of the version is to
	// be kept.
	stale bool
	// release must be called once, after first has been handed on, so that those who wait find the fill.
	release func()
}

// get returns the attributes of the object at key: those known when they are fresh, else the upstream's.
// want is the range that the caller is going to read; nil when it wants no bytes. With an error, what is for
// Cache-Status is set.
func (l *learner) get(ctx context.Context, t target, key string, want *byterange.Spec, force bool) (learned, error) {
	ck := t.cacheKey(key)
	// A read that must be confirmed does not take an answer to a question from before it came.
	tooOld := force || t.route.Freshness.Revalidate
	why := ""
	for {
		known, found := l.cache.Stat(ck)
		ok := found && known.Attrs.HeadersKnown
		fresh := ok && l.fresh(t, ck, known.Checked)
		if fresh && !force {
			return learned{attrs: known.Attrs, release: func() {}}, nil
		}
		why = cmp.Or(why, whyAsk(ok, fresh))
		f, lead := l.join(ck, upstream.IsBackground(ctx))
		if lead {
			var old *object.Attrs
			ask := want
			switch {
			case ok:
				old = &known.Attrs
			case found && want != nil && l.holds(ck, known.Attrs, *want):
				ask = nil // only the headers are missing
			}
			out, err := l.lead(ctx, f, t, key, ask, old)
			out.why = why
			return out, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return learned{asked: true, why: why, joined: true}, ctx.Err()
		}
		if tooOld || f.err == nil && f.void {
			tooOld = false // whoever leads now has started after us
			continue
		}
		// A leader that left passes the turn; any other failure is everybody's.
		if !errors.Is(f.err, upstream.Cancelled) {
			return learned{
				attrs: f.attrs, asked: true, why: why, status: f.status, joined: true, release: func() {},
			}, f.err
		}
		if err := ctx.Err(); err != nil {
			return learned{asked: true, why: why, joined: true}, err
		}
	}
}

// fresh reports whether what was asked at checked is still good.
func (l *learner) fresh(t target, ck cache.Key, checked time.Time) bool {
	return t.fresh(checked, l.now()) && !l.doubts.has(ck)
}

// holds reports whether all bytes of want are in the cache.
func (l *learner) holds(ck cache.Key, attrs object.Attrs, want byterange.Spec) bool {
	r, err := want.Resolve(attrs.Size)
	return err == nil && l.cache.Resident(ck, attrs, []byterange.Range{r}) == r.Len
}

// whyAsk says why the upstream is asked about an object.
func whyAsk(known, fresh bool) string {
	switch {
	case !known:
		return fwdMiss
	case fresh:
		return fwdRequest
	}
	return fwdStale
}

// join returns the flight of an object, or a new one, which the caller leads. Whoever is waited for takes the place of a
// background flight instead of joining it.
func (l *learner) join(ck cache.Key, background bool) (f *flight, lead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.mu.flights[ck]; ok && (background || !f.background) {
		return f, false
	}
	f = &flight{done: make(chan struct{}), background: background}
	l.mu.flights[ck] = f
	return f, true
}

// forget drops what is known of an object, after a write or when it turned out to have changed. Whoever asks
// from now on does not join a flight that started before.
func (l *learner) forget(ck cache.Key) { l.drop(ck) }

// drop is forget, and says what there was.
func (l *learner) drop(ck cache.Key) cache.Dropped {
	l.detach(ck)
	return l.cache.Drop(ck)
}

// detach keeps whoever asks from now on from joining a flight that is under way.
func (l *learner) detach(ck cache.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.flights, ck)
}

// dropMatching drops every object in scope, as drop does.
func (l *learner) dropMatching(ctx context.Context, scope cache.Scope) (cache.Dropped, error) {
	l.mu.Lock()
	maps.DeleteFunc(l.mu.flights, func(ck cache.Key, _ *flight) bool { return scope.Has(ck) })
	l.mu.Unlock()
	return l.cache.DropMatching(ctx, scope)
}

// overwriting forgets an object that is about to be written, and once more when the returned func runs. Before, so
// that a crash just after the upstream's commit leaves nothing old to serve; after, because reads
// meanwhile may have learned the old version. A failed write counts: it may have happened, and when the store did not say
// that it has not, it may still happen: done takes the error.
func (l *learner) overwriting(ck cache.Key) (done func(error)) { return l.write(ck).done }

// write is overwriting for a write whose bytes may be published.
func (l *learner) write(ck cache.Key) *overwrite {
	w := &overwrite{l: l, ck: ck, writing: l.cache.Overwrite(ck)}
	l.forget(ck)
	return w
}

// overwrite is a write of an object under way.
type overwrite struct {
	l         *learner
	ck        cache.Key
	writing   *cache.Writing
	published bool
}

// publish makes what in has kept, and attrs, what is known of the object, if it can. in may be nil. Whoever asks from
// now on does not join a flight that started before.
func (w *overwrite) publish(in *cache.Intake, attrs object.Attrs) {
	if in == nil {
		return
	}
	w.l.detach(w.ck)
	w.published = in.Publish(attrs)
}

func (w *overwrite) done(err error) {
	if upstream.MayHaveActed(err) {
		w.l.doubts.add(w.ck)
	}
	if !w.published {
		w.l.forget(w.ck)
	}
	w.writing.Done()
}

// lead asks the upstream. The flight stays until release, also on failure.
func (l *learner) lead(ctx context.Context, f *flight, t target, key string, want *byterange.Spec, old *object.Attrs) (out learned, err error) {
	ck := t.cacheKey(key)
	land := sync.OnceFunc(func() {
		l.mu.Lock()
		if l.mu.flights[ck] == f {
			delete(l.mu.flights, ck)
		}
		l.mu.Unlock()
		close(f.done)
	})
	defer func() {
		if err != nil {
			f.err = err
			land()
		}
	}()
	token := l.cache.Begin(ck)
	if want == nil {
		out.status = http.StatusOK
		out.attrs, err = t.store.Stat(ctx, t.loc(key), upstream.StatOptions{Checksums: true})
	} else {
		out, err = open(ctx, t, key, *want, old)
	}
	out.asked, out.release = true, land
	if err != nil {
		out.status = answeredWith(err)
	}
	f.status = out.status
	switch {
	case errors.Is(err, upstream.NotExist), errors.Is(err, upstream.NoBucket):
		l.forget(ck)
	case err == nil:
		out.stale = !l.cache.Learn(ck, token, out.attrs)
		f.attrs, f.void = out.attrs, out.stale
	}
	return out, err
}

// listed takes in a page of a listing that was asked for after token was taken: it confirms versions, and drops
// those that were overwritten. What it has no ETag of says nothing.
func (l *learner) listed(t target, token cache.Token, page []upstream.ListedObject) {
	for _, o := range page {
		if o.ETag != "" {
			l.cache.Learn(cache.Key{Upstream: t.store.Name(), Bucket: t.bucket, Key: o.Key}, token, o.Attrs)
		}
	}
}

// open asks for the bytes of want, widened to pages, and learns the attributes from the answer. When the
// version known as old is still current, the answer carries no bytes and old is returned.
func open(ctx context.Context, t target, key string, want byterange.Spec, old *object.Attrs) (learned, error) {
	opts := upstream.OpenOptions{Range: widen(want)}
	opts.Checksums = true
	if old != nil {
		opts.IfNoneMatch = old.ETag
	}
	stream, err := t.open(ctx, key, opts, false)
	switch {
	case err == nil:
		out := learned{attrs: stream.Attrs, status: http.StatusPartialContent}
		if stream.Range.Empty() {
			stream.Body.Close()
			return out, nil
		}
		out.first = &cache.First{Range: stream.Range, Body: t.fetching(stream.Body)}
		return out, nil
	case errors.Is(err, upstream.NotModified) && old != nil:
		return learned{attrs: *old, status: http.StatusNotModified}, nil
	case errors.Is(err, upstream.RangeError):
		// The object is empty or ends before the range: only its attributes can tell.
		attrs, err := t.store.Stat(ctx, t.loc(key), upstream.StatOptions{Checksums: true})
		return learned{attrs: attrs, status: http.StatusOK}, err
	default:
		return learned{}, err
	}
}

// widen returns the range to ask the upstream for when want is wanted of an object of unknown size:
// whole pages, at most firstRun. Where a suffix starts is not known, so it gets a page more.
func widen(want byterange.Spec) byterange.Spec {
	if n, ok := want.IsSuffix(); ok {
		return byterange.Suffix(min(n, math.MaxInt64-cache.PageSize) + cache.PageSize - 1)
	}
	from, ok := want.IsFrom()
	end := from + firstRun
	if first, last, closed := want.IsClosed(); closed {
		from, ok = first, true
		end = min(last+1, first+firstRun)
	}
	if !ok {
		from, end = 0, firstRun
	}
	from -= from % cache.PageSize
	end = (end + cache.PageSize - 1) / cache.PageSize * cache.PageSize
	return byterange.Closed(from, end-1)
}
