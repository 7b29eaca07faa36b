package cache

import "iter"

// lru is the policy by which the least recently used block goes first.
type lru struct {
	blocks queue
}

func (l *lru) insert(b *block)           { l.blocks.push(b) }
func (l *lru) touch(b *block, _ bool)    { l.blocks.renew(b) }
func (l *lru) remove(b *block)           { l.blocks.remove(b) }
func (l *lru) victims() iter.Seq[*block] { return l.blocks.oldestFirst() }
