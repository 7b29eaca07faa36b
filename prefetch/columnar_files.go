package prefetch

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"unistore/byterange"
	"unistore/cache"
	"unistore/columns"
)

// The bounds of what is known of files in columns.
const (
	firstTail   = 64 << 10 // of a file of which nothing is known: what is beyond its footer is seldom read
	maxLayouts  = 512
	layoutBytes = 32 << 20 // that all layouts take
	maxUses     = 1024
	maxDirs     = 256
	dirBytes    = 32 << 20 // that the keys of all directories take
	maxDirKeys  = 10_000
	tailBytes   = 64 << 20 // of footers beyond firstTail that are fetched and read side by side
	maxSiblings = 8        // files ahead of the one that is read
)

// columnar is what is known of files in columns. Guarded by Prefetcher.mu.
type columnar struct {
	layouts *budgeted[versionKey, *columns.Layout] // nil: it is being found out, or the file is none that we can read
	uses    map[useKey]*useEntry
	dirs    *budgeted[dirKey, []string] // keys of a listing, ascending; they are never changed in place
	footers map[dirKey]int64            // the longest footer of a directory, trailer included, beyond firstTail: bytes
}

type versionKey struct {
	key  cache.Key
	etag string
}

type dirKey struct{ upstream, bucket, dir string }

type useKey struct {
	query  string
	dir    dirKey
	schema uint64
}

type useEntry struct {
	columnUse
	visited map[string]bool // files that were prepared ahead
	used    time.Time
}

func newColumnar() columnar {
	return columnar{
		layouts: newBudgeted[versionKey, *columns.Layout](maxLayouts, layoutBytes),
		uses:    map[useKey]*useEntry{},
		dirs:    newBudgeted[dirKey, []string](maxDirs, dirBytes),
		footers: map[dirKey]int64{},
	}
}

// IsColumnar reports whether a key is that of a file in columns whose footer we can read, by its name.
func IsColumnar(key string) bool { return strings.HasSuffix(key, ".parquet") }

func dirOf(k cache.Key) dirKey { return dirKey{k.Upstream, k.Bucket, path.Dir(k.Key)} }

// Listed takes in keys of a listing, which tells what files are beside each other.
func (p *Prefetcher) Listed(upstream, bucket string, keys []string) {
	if p == nil {
		return
	}
	pages := map[dirKey][]string{}
	for _, key := range keys {
		if IsColumnar(key) {
			d := dirOf(cache.Key{Upstream: upstream, Bucket: bucket, Key: key})
			pages[d] = append(pages[d], key)
		}
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for d, page := range pages {
		slices.Sort(page)
		known, _ := p.mu.columnar.dirs.get(d, now)
		if list := mergedKeys(known, page, maxDirKeys); len(list) > len(known) {
			n := int64(0)
			for _, key := range list {
				n += int64(len(key)) + 16
			}
			p.mu.columnar.dirs.put(d, list, n, now)
		}
	}
}

// mergedKeys returns known and, as far as most keys reach, those of page. Both are ascending.
func mergedKeys(known, page []string, most int) []string {
	out := make([]string, 0, min(most, len(known)+len(page)))
	room, at := most-len(known), 0
	for _, key := range page {
		for ; at < len(known) && known[at] <= key; at++ {
			out = append(out, known[at])
		}
		if room > 0 && (len(out) == 0 || out[len(out)-1] != key) {
			out = append(out, key)
			room--
		}
	}
	return append(out, known[at:]...)
}

// layoutLocked returns the layout of a version, or nil while it is not known; then it is being found out, or it never will be.
func (p *Prefetcher) layoutLocked(t Target, now time.Time) *columns.Layout {
	id := versionKey{t.Key, t.ETag}
	l, known := p.mu.columnar.layouts.get(id, now)
	if !known && p.goLocked(func(ctx context.Context) {
		l := p.loadLayout(ctx, t)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keepLayoutLocked(id, l, p.cfg.Now())
	}) {
		p.keepLayoutLocked(id, nil, now)
	}
	return l
}

// Footer fetches the end of a file in columns that is perhaps read soon, and reads its layout, unless that is known or the
// store has enough to do. It does not wait.
func (p *Prefetcher) Footer(t Target) {
	if p == nil {
		return
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.mu.sched.linkOf(t.link())
	if l.allows(ClassSpeculative, min(t.Size, firstTail), l.running, now) {
		p.layoutLocked(t, now)
	}
}

// keepLayoutLocked remembers the layout of a version; nil: there is none to be had.
func (p *Prefetcher) keepLayoutLocked(id versionKey, l *columns.Layout, now time.Time) {
	n := int64(len(id.key.Key) + len(id.etag))
	if l != nil {
		n += l.Bytes()
	}
	for _, gone := range p.mu.columnar.layouts.put(id, l, n, now) {
		for _, s := range p.mu.streams { // who reads it gets it anew with the next read
			if s.file != nil && s.id.key == gone.key && s.id.etag == gone.etag {
				s.file.layout = nil
			}
		}
	}
}

// loadLayout fetches the end of a file into the cache and reads it. nil: it is none that we can read, or could not be fetched.
func (p *Prefetcher) loadLayout(ctx context.Context, t Target) *columns.Layout {
	n := min(t.Size, p.tailOf(dirOf(t.Key)))
	for range 2 {
		l, need, err := p.footer(ctx, t, n)
		if err != nil {
			p.cfg.Log.Debug().Err(err).Msg("a footer could not be fetched or read; nobody waits for it")
			return nil
		}
		if need <= n {
			return l
		}
		p.longFooter(dirOf(t.Key), need)
		n = need
	}
	return nil
}

// footer fetches the last n bytes of a file into the cache and reads its layout. It needs need bytes: with more than n, there is
// no layout yet.
func (p *Prefetcher) footer(ctx context.Context, t Target, n int64) (l *columns.Layout, need int64, err error) {
	if n > firstTail {
		if err := p.tails.Acquire(ctx, n); err != nil {
			return nil, 0, err
		}
		defer p.tails.Release(n)
	}
	tail, err := p.cfg.Cache.Fetched(ctx, cache.PrefetchRequest{
		Key: t.Key, Attrs: t.attrs(), Range: byterange.Range{Off: t.Size - n, Len: n}, Fetch: t.Fetch, Cause: cache.CauseColumnar,
	})
	if err != nil {
		return nil, 0, err
	}
	need, err = columns.FooterLength(tail)
	if err == nil && need > t.Size {
		err = columns.ErrFormat
	}
	if err == nil && need <= n {
		l, err = columns.Parse(tail, t.Size)
	}
	return l, need, err
}

// tailOf is how many bytes at the end of a file of d are fetched to find its footer: those beside each other have footers of
// about one length, and a second request would cost another round trip.
func (p *Prefetcher) tailOf(d dirKey) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(firstTail, p.mu.columnar.footers[d])
}

// longFooter notes that a footer of d takes n bytes, more than were fetched at first.
func (p *Prefetcher) longFooter(d dirKey, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.mu.columnar.footers
	if len(known) >= maxDirs {
		for old := range known { // any: it costs a round trip
			delete(known, old)
			break
		}
	}
	known[d] = max(known[d], n)
}

// columnsLocked takes in a read of a file in columns and returns what to fetch ahead of it in that file. Not ok: nothing is
// known of its columns.
func (p *Prefetcher) columnsLocked(s *stream, r Read, now time.Time) (wants []Want, ok bool) {
	l := p.layoutLocked(r.Target, now)
	if l == nil {
		return nil, false
	}
	if s.file == nil {
		s.file = newColumnFile(r.Target.Key.Key, l)
	}
	s.file.layout = l
	s.detector.Columnar()
	u := p.useLocked(useKey{r.Query, dirOf(r.Target.Key), l.Schema}, now)
	pass := u.pass
	group, ok := s.file.touch(r.Range.Off, r.Range.Len, &u.columnUse)
	if u.pass != pass {
		clear(u.visited)
	}
	if !ok {
		return nil, true
	}
	pace := p.paceLocked(s, now)
	budget := min(pace.Max, rampNext*u.seen) - u.pending
	wants, budget = s.file.ahead(&u.columnUse, group, budget)
	if budget > 0 && r.Sibling != nil && s.file.skips < 2 {
		p.siblingsLocked(u, r)
	}
	return pieces(wants, pace.Run), true
}

func (p *Prefetcher) useLocked(id useKey, now time.Time) *useEntry {
	u := p.mu.columnar.uses[id]
	if u == nil || now.Sub(u.used) > streamIdle {
		if len(p.mu.columnar.uses) >= maxUses {
			delete(p.mu.columnar.uses, oldest(p.mu.columnar.uses, func(u *useEntry) time.Time { return u.used }))
		}
		u = &useEntry{columnUse: columnUse{reads: map[int]int{}}, visited: map[string]bool{}}
		p.mu.columnar.uses[id] = u
	}
	u.used = now
	return u
}

// siblingsLocked prepares the next files beside the one that is read.
func (p *Prefetcher) siblingsLocked(u *useEntry, r Read) {
	list, _ := p.mu.columnar.dirs.get(dirOf(r.Target.Key), u.used)
	at, _ := slices.BinarySearch(list, r.Target.Key.Key)
	u.visited[r.Target.Key.Key] = true
	for _, key := range list[min(at+1, len(list)):min(at+1+maxSiblings, len(list))] {
		if u.visited[key] {
			continue
		}
		if p.goLocked(func(ctx context.Context) { p.prepare(ctx, u, r, key) }) {
			u.visited[key] = true
		}
	}
}

// prepare fetches the footer of the file at key, which is beside the one that r reads, and the columns that the query reads.
func (p *Prefetcher) prepare(ctx context.Context, u *useEntry, r Read, key string) {
	t, err := r.Sibling(ctx, key)
	if err != nil || t.Size == 0 {
		return
	}
	l := p.loadLayout(ctx, t)
	if l == nil {
		return
	}
	now := p.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return
	}
	p.keepLayoutLocked(versionKey{t.Key, t.ETag}, l, now)
	s := p.streamLocked(Read{Target: t, Query: r.Query}, now)
	if s.file == nil {
		s.file = newColumnFile(key, l)
	}
	s.file.layout = l
	if p.mu.columnar.uses[useKey{r.Query, dirOf(t.Key), l.Schema}] != u {
		return // another schema, or too late
	}
	pace := p.paceLocked(s, now)
	wants, _ := s.file.ahead(&u.columnUse, 0, min(pace.Max, rampNext*u.seen)-u.pending)
	for _, w := range pieces(wants, pace.Run) {
		p.mu.sched.add(&Job{Target: t, Range: w.Range, Class: ClassSequential, Cause: w.Cause, Query: r.Query, Stream: s})
	}
	p.pumpLocked(now)
}

// clip keeps what is wanted of a way through a column inside it.
func clip(wants []Want, l *columns.Layout, r byterange.Range) (out []Want) {
	end := l.ChunkEnd(r.End() - 1)
	for _, w := range wants {
		if n := min(w.Range.End(), end) - w.Range.Off; n > 0 {
			out = append(out, Want{byterange.Range{Off: w.Range.Off, Len: n}, w.Cause})
		}
	}
	return out
}
