package netx

import (
	"sync"
	"syscall"
)

// unlimitedFDs stands for a limit that is larger or infinite: more connections than one process serves.
const unlimitedFDs = 1 << 20

// FDBudget raises the soft limit of open files to the hard one, if it may, and returns how many
// descriptors are left for connections when reserve are kept for everything else; at least 1.
func FDBudget(reserve int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1
	}
	if raised := limit; raised.Cur < raised.Max {
		raised.Cur = raised.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			limit = raised
		}
	}
	return max(int(min(limit.Cur, unlimitedFDs))-reserve, 1)
}

// Budget counts the open connections of one or several Listeners against a limit.
type Budget struct {
	limit int

	mu struct {
		sync.Mutex
		open int
	}
}

// NewBudget returns a Budget of limit connections; 0 or less is no limit.
func NewBudget(limit int) *Budget { return &Budget{limit: limit} }

// Open returns the number of open connections.
func (b *Budget) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.open
}

// take opens a connection unless the limit is reached. changed is called under the lock: its calls are
// in the order of the changes.
func (b *Budget) take(changed func(open int)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit > 0 && b.mu.open >= b.limit {
		return false
	}
	b.mu.open++
	changed(b.mu.open)
	return true
}

func (b *Budget) give(changed func(open int)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.open--
	changed(b.mu.open)
}
