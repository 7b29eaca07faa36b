package cache

import "iter"

// classes keeps prefetched blocks that nobody has read apart from the others, so that prefetch can neither
// push out what is used nor lose its own work before it is of use. They wait in a FIFO queue. The first read
// makes a block one of the inner policy's. What goes first:
//
//  1. prefetched and unread, beyond the budget, oldest first;
//  2. what the inner policy says;
//  3. prefetched and unread, within the budget.
//
// The third keeps the cache from having no room for a read.
type classes struct {
	inner  policy
	unread queue
	pages  int64 // valid in the blocks of unread
	budget int64 // of pages
}

func (c *classes) insert(b *block) {
	if b.marks&markPrefetched == 0 {
		c.inner.insert(b)
		return
	}
	c.unread.push(b)
	c.pages += int64(b.count())
}

// touch takes a prefetched block's first read for its use; again does not matter.
func (c *classes) touch(b *block, again bool) {
	if b.marks&markPrefetched == 0 {
		c.inner.touch(b, again)
		return
	}
	c.remove(b)
	b.marks &^= markPrefetched
	c.inner.insert(b)
}

func (c *classes) remove(b *block) {
	if b.marks&markPrefetched == 0 {
		c.inner.remove(b)
		return
	}
	c.unread.remove(b)
	c.pages -= int64(b.count())
}

// grew says that a held block has got one more page.
func (c *classes) grew(b *block) {
	if b.marks&markPrefetched != 0 {
		c.pages++
	}
}

func (c *classes) victims() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		next := c.unread.oldest
		for next != nil && c.pages > c.budget {
			b := next
			next = b.newer
			if !yield(b) {
				return
			}
		}
		for b := range c.inner.victims() {
			if !yield(b) {
				return
			}
		}
		for next != nil {
			b := next
			next = b.newer
			if !yield(b) {
				return
			}
		}
	}
}
