package cache

import "iter"

// lru is the policy by which the least recently used block goes first.
//
//	oldest -> ... (newer) ... -> newest
type lru struct {
	newest, oldest *block
}

func (l *lru) insert(b *block) {
	b.older, b.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = b
	} else {
		l.oldest = b
	}
	l.newest = b
}

func (l *lru) touch(b *block) {
	if l.newest == b {
		return
	}
	l.remove(b)
	l.insert(b)
}

func (l *lru) remove(b *block) {
	if b.older != nil {
		b.older.newer = b.newer
	} else {
		l.oldest = b.newer
	}
	if b.newer != nil {
		b.newer.older = b.older
	} else {
		l.newest = b.older
	}
	b.newer, b.older = nil, nil
}

func (l *lru) victims() iter.Seq[*block] {
	return func(yield func(*block) bool) {
		for b := l.oldest; b != nil; {
			newer := b.newer
			if !yield(b) {
				return
			}
			b = newer
		}
	}
}
