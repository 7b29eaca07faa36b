package fault

import (
	"strconv"
	"strings"
	"sync"

	"unistore/upstream"
)

// versions remembers which objects pretend to have changed, and how often. An object's outward ETag is
// the store's with a suffix that counts the changes, so that it can be translated back.
type versions struct {
	mu struct {
		sync.Mutex
		changes map[upstream.Loc]int // objects with none are absent
	}
}

const changedSuffix = "-changed"

func (v *versions) change(loc upstream.Loc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.mu.changes == nil {
		v.mu.changes = map[upstream.Loc]int{}
	}
	v.mu.changes[loc]++
}

// written forgets the changes: the store has a new version of its own.
func (v *versions) written(loc upstream.Loc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.mu.changes, loc)
}

// suffix is what the object's outward ETags end with; empty when it has not changed.
func (v *versions) suffix(loc upstream.Loc) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.mu.changes[loc]
	if n == 0 {
		return ""
	}
	return changedSuffix + strconv.Itoa(n)
}

// outward is the ETag to show for the store's.
func outward(etag, suffix string) string {
	if etag == "" {
		return ""
	}
	return etag + suffix
}

// inward is the condition to send to the store for one on outward ETags. That of another version
// becomes an ETag that no object has.
func inward(etag, suffix string) string {
	if etag == "" || suffix == "" {
		return etag
	}
	if own, ok := strings.CutSuffix(etag, suffix); ok {
		return own
	}
	return etag + changedSuffix
}
