package cache

import (
	"sync"

	"unistore/meta"
)

// retries keeps what the disk or the database refused and must not be forgotten: files to remove and
// records of blocks to delete. Maintenance tries again.
type retries struct {
	mu struct {
		sync.Mutex
		blocks  []*block
		changes []meta.Changes
	}
}

func (r *retries) addBlock(b *block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.blocks = append(r.mu.blocks, b)
}

func (r *retries) addChanges(ch meta.Changes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.changes = append(r.mu.changes, ch)
}

// empty reports whether nothing waits.
func (r *retries) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.blocks) == 0 && len(r.mu.changes) == 0
}

// pending reports whether files wait.
func (r *retries) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.blocks) > 0
}

// retryRecords tries once more, until something fails again; that and the rest wait for the next time.
func (c *Cache) retryRecords() {
	c.retry.mu.Lock()
	blocks, changes := c.retry.mu.blocks, c.retry.mu.changes
	c.retry.mu.blocks, c.retry.mu.changes = nil, nil
	c.retry.mu.Unlock()
	for i, ch := range changes {
		if err := c.db.Write(&ch, false); err != nil {
			c.survived(kindMeta, err)
			c.retry.mu.Lock()
			c.retry.mu.changes = append(c.retry.mu.changes, changes[i:]...)
			c.retry.mu.Unlock()
			break
		}
	}
	for len(blocks) > 0 {
		n := min(len(blocks), removeBatch)
		failed := c.removeFiles(blocks[:n])
		blocks = blocks[n:]
		if failed > 0 {
			c.retry.mu.Lock()
			c.retry.mu.blocks = append(c.retry.mu.blocks, blocks...)
			c.retry.mu.Unlock()
			return
		}
	}
}
