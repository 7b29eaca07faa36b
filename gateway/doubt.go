package gateway

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"unistore/cache"
)

const (
	// doubtSpan is how long a store may take to commit a write whose answer was lost: longer than any request lives
	// in the stores that are known.
	doubtSpan = 15 * time.Minute
	// maxDoubts bounds what is remembered; the oldest go first.
	maxDoubts = 10_000
)

// doubts are the objects with a write whose outcome is not known. The store may commit it at any time soon, also after a
// read has found the old version, so that what is known of them is good for nobody but the one who asked.
// Safe for concurrent use.
type doubts struct {
	now   func() time.Time
	gauge prometheus.Gauge // or nil

	mu struct {
		sync.Mutex
		until map[cache.Key]time.Time
		queue []doubt // the earliest end first; of a key only the last one counts
	}
}

type doubt struct {
	key   cache.Key
	until time.Time
}

func newDoubts(now func() time.Time, gauge prometheus.Gauge) *doubts {
	d := &doubts{now: now, gauge: gauge}
	d.mu.until = map[cache.Key]time.Time{}
	return d
}

// add says that the outcome of a write is not known.
func (d *doubts) add(key cache.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := d.now().Add(doubtSpan)
	d.mu.until[key] = end
	d.mu.queue = append(d.mu.queue, doubt{key, end})
	d.trimLocked()
}

// has reports whether a write of key may still take place.
func (d *doubts) has(key cache.Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.mu.queue) == 0 {
		return false
	}
	d.trimLocked()
	_, ok := d.mu.until[key]
	return ok
}

func (d *doubts) trimLocked() {
	now := d.now()
	for len(d.mu.queue) > 0 && (len(d.mu.queue) > maxDoubts || !now.Before(d.mu.queue[0].until)) {
		first := d.mu.queue[0]
		d.mu.queue = d.mu.queue[1:]
		if d.mu.until[first.key].Equal(first.until) {
			delete(d.mu.until, first.key)
		}
	}
	if d.gauge != nil {
		d.gauge.Set(float64(len(d.mu.until)))
	}
}
