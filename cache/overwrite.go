package cache

import "sync"

// writers are the writes of one object that are under way in this process. Guarded by the stripe's mu.
type writers struct {
	n       int
	crowded bool // two at once, at any moment since the first began
	forgets int  // of the object since then, by anybody
}

// Writing is one write of an object under way, see Overwrite.
type Writing struct {
	key Key
	s   *stripe
	w   *writers
	end sync.Once
}

// Overwrite says that k is about to be written at the upstream, until Done. What is learned meanwhile is kept in
// memory only: a process that ends between the upstream's commit and the Forget after it must not find a record of
// the old version when it starts again. The caller calls Forget after Overwrite and, unless an Intake of this write
// was published, before Done.
func (c *Cache) Overwrite(k Key) *Writing {
	s := c.objects.stripe(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.mu.writing[k]
	if w == nil {
		w = new(writers)
		s.mu.writing[k] = w
	}
	w.n++
	w.crowded = w.crowded || w.n > 1
	return &Writing{key: k, s: s, w: w}
}

// Done ends the write. Calling it again does nothing.
func (w *Writing) Done() {
	w.end.Do(func() {
		w.s.mu.Lock()
		defer w.s.mu.Unlock()
		if w.w.n--; w.w.n == 0 {
			delete(w.s.mu.writing, w.key)
		}
	})
}

// forgets returns how often the object was forgotten so far, for aloneSince.
func (w *Writing) forgets() int {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.w.forgets
}

// aloneSince reports whether no other write of the object has met this one, and nobody has forgotten it since
// forgets was taken: whatever the upstream has said to this write about its version still holds as far as this
// process knows.
func (w *Writing) aloneSince(forgets int) bool {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.aloneSinceLocked(forgets)
}

func (w *Writing) aloneSinceLocked(forgets int) bool {
	return w.s.mu.writing[w.key] == w.w && !w.w.crowded && w.w.forgets == forgets
}

// voidLocked is told that k was forgotten.
func (s *stripe) voidLocked(k Key) {
	if w := s.mu.writing[k]; w != nil {
		w.forgets++
	}
}

// voidMatchingLocked is told that everything in scope is being forgotten.
func (s *stripe) voidMatchingLocked(scope Scope) {
	for k, w := range s.mu.writing {
		if scope.Has(k) {
			w.forgets++
		}
	}
}
