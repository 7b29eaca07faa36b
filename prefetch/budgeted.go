package prefetch

import "time"

// budgeted remembers values up to a number and a sum of bytes; what was used longest ago goes first. Not safe for concurrent
// use.
type budgeted[K comparable, V any] struct {
	count   int   // at most
	most    int64 // bytes at most, but for a single value that is larger
	entries map[K]*kept[V]
	bytes   int64 // of all entries
}

type kept[V any] struct {
	value V
	bytes int64
	used  time.Time
}

func newBudgeted[K comparable, V any](count int, most int64) *budgeted[K, V] {
	return &budgeted[K, V]{count: count, most: most, entries: map[K]*kept[V]{}}
}

// get returns the value of k, which is used now.
func (b *budgeted[K, V]) get(k K, now time.Time) (v V, ok bool) {
	e := b.entries[k]
	if e == nil {
		return v, false
	}
	e.used = now
	return e.value, true
}

// put remembers v, of n bytes, as the value of k, and returns the keys of what had to go for it.
func (b *budgeted[K, V]) put(k K, v V, n int64, now time.Time) (gone []K) {
	b.remove(k)
	for len(b.entries) > 0 && (len(b.entries) >= b.count || b.bytes+n > b.most) {
		old := oldest(b.entries, func(e *kept[V]) time.Time { return e.used })
		b.remove(old)
		gone = append(gone, old)
	}
	b.entries[k] = &kept[V]{v, n, now}
	b.bytes += n
	return gone
}

func (b *budgeted[K, V]) remove(k K) {
	if e := b.entries[k]; e != nil {
		b.bytes -= e.bytes
		delete(b.entries, k)
	}
}

// oldest returns the key of the entry of m with the least time; m is not empty.
func oldest[K comparable, V any](m map[K]V, at func(V) time.Time) (key K) {
	var when time.Time
	for k, v := range m {
		if t := at(v); when.IsZero() || t.Before(when) {
			key, when = k, t
		}
	}
	return key
}
