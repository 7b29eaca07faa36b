package cache

import "sync"

// Overwrite says that k is about to be written at the upstream, until done runs. What is learned meanwhile is kept in
// memory only: a process that ends between the upstream's commit and the Forget after it must not find a record of
// the old version when it starts again. The caller calls Forget after Overwrite and before done.
func (c *Cache) Overwrite(k Key) (done func()) {
	s := c.objects.stripe(k)
	s.mu.Lock()
	s.mu.writing[k]++
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.writing[k]--; s.mu.writing[k] == 0 {
			delete(s.mu.writing, k)
		}
	})
}
