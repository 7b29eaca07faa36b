package wire

import (
	"context"
	"sync"
	"time"

	"unistore/upstream"
)

// A bucket's existence is asked only to tell a HEAD's 404 for a key from one for the bucket, so it may be a
// few seconds old.
const (
	bucketTTL  = 5 * time.Second
	maxBuckets = 1024
)

// Buckets remembers for bucketTTL which buckets exist. It is safe for concurrent use.
type Buckets struct {
	mu struct {
		sync.Mutex
		known map[string]bucketEntry
	}
}

type bucketEntry struct {
	exists bool
	until  time.Time
}

// NewBuckets remembers nothing.
func NewBuckets() *Buckets {
	c := &Buckets{}
	c.mu.known = map[string]bucketEntry{}
	return c
}

func (c *Buckets) get(name string) (exists, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.mu.known[name]
	return e.exists, ok && time.Now().Before(e.until)
}

// Set notes whether a bucket exists.
func (c *Buckets) Set(name string, exists bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.known) >= maxBuckets {
		clear(c.mu.known)
	}
	c.mu.known[name] = bucketEntry{exists: exists, until: time.Now().Add(bucketTTL)}
}

// Forget is called when a bucket may have been made or deleted.
func (c *Buckets) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.known, name)
}

// Exists asks the store, by stat, unless it has been asked just now. Who may see objects need not see buckets, so
// that a refusal is taken for existence: a bucket that is not there is a 404.
func (c *Buckets) Exists(ctx context.Context, name string, stat func(context.Context, string) (upstream.Bucket, error)) (bool, error) {
	if exists, ok := c.get(name); ok {
		return exists, nil
	}
	_, err := stat(ctx, name)
	switch {
	case err == nil:
		c.Set(name, true)
		return true, nil
	case upstream.CodeOf(err) == upstream.NoBucket:
		c.Set(name, false)
		return false, nil
	case upstream.CodeOf(err) == upstream.Access:
		return true, nil
	default:
		return false, err
	}
}
