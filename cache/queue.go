package cache

import "iter"

// queue is a list of blocks in the order in which they came, through the links in the blocks.
//
//	oldest -> ... (newer) ... -> newest
type queue struct {
	newest, oldest *block
	len            int
}

// push appends a block that is in no queue as the newest.
func (q *queue) push(b *block) {
	b.older, b.newer = q.newest, nil
	if q.newest != nil {
		q.newest.newer = b
	} else {
		q.oldest = b
	}
	q.newest = b
	q.len++
}

// remove takes out a block of this queue.
func (q *queue) remove(b *block) {
	if b.older != nil {
		b.older.newer = b.newer
	} else {
		q.oldest = b.newer
	}
	if b.newer != nil {
		b.newer.older = b.older
	} else {
		q.newest = b.older
	}
	b.newer, b.older = nil, nil
	q.len--
}

// renew makes a block of this queue its newest.
func (q *queue) renew(b *block) {
	if q.newest == b {
		return
	}
	q.remove(b)
	q.push(b)
}

// oldestFirst lists the blocks. The loop may remove the block it was just given, and no other.
func (q *queue) oldestFirst() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		for b := q.oldest; b != nil; {
			newer := b.newer
			if !yield(b) {
				return
			}
			b = newer
		}
	}
}
