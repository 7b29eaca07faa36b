package hdfs

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The hidden area; see the package comment.
const (
	areaDir    = "/.unistore"
	tmpDir     = areaDir + "/tmp"
	uploadsDir = areaDir + "/uploads"
	// beatFile is the file whose modification time says, by the NameNode's clock, when its process lived.
	beatFile = "alive"
)

const (
	// leaseEvery is how often leases are renewed: others may take a file from its writer after 60 s
	// (HdfsConstants.LEASE_SOFTLIMIT_PERIOD).
	leaseEvery = 20 * time.Second
	beatEvery  = 5 * time.Minute
	// cleanTimeout bounds what is done for nobody's request.
	cleanTimeout = 10 * time.Second
	// maxTrash bounds what is remembered for removal; more is left to other processes.
	maxTrash = 10_000
)

// area is this process's own directory for files that are being written, and the goroutine that keeps their
// leases, removes the unfinished ones, and those of dead processes.
type area struct {
	b       *Backend
	path    string
	next    atomic.Int64
	writers atomic.Int64  // files being written
	wake    chan struct{} // there is something in the trash
	// deadAfter is how old the sign of life of a process may be before others remove what it was writing.
	deadAfter time.Duration
	mu        struct {
		sync.Mutex
		made  bool     // the directory is there
		trash []string // paths to remove
	}
}

func newArea(b *Backend) *area {
	return &area{b: b, path: b.root + tmpDir + "/" + b.nn.Name(), wake: make(chan struct{}, 1), deadAfter: 2 * time.Hour}
}

// name returns a fresh path in the area.
func (a *area) name() string { return a.path + "/" + strconv.FormatInt(a.next.Add(1), 36) }

// make makes the directory, unless it has been made. It returns whether it did.
func (a *area) make(ctx context.Context, again bool) (bool, error) {
	a.mu.Lock()
	made := a.mu.made
	a.mu.Unlock()
	if made && !again {
		return false, nil
	}
	if err := a.b.nn.Mkdir(ctx, a.path, true); err != nil {
		return false, err
	}
	a.mu.Lock()
	a.mu.made = true
	a.mu.Unlock()
	return true, nil
}

// discard has a path removed soon: when the NameNode can be reached.
func (a *area) discard(path string) {
	a.mu.Lock()
	if len(a.mu.trash) < maxTrash {
		a.mu.trash = append(a.mu.trash, path)
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// keep does the area's work until ctx ends.
func (a *area) keep(ctx context.Context) {
	leases, beats := time.NewTicker(leaseEvery), time.NewTicker(beatEvery)
	defer leases.Stop()
	defer beats.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
			a.empty(ctx)
		case <-leases.C:
			if a.writers.Load() > 0 {
				a.report("leases cannot be renewed", a.b.nn.RenewLease(ctx))
			}
			a.empty(ctx)
		case <-beats.C:
			a.report("files of dead processes cannot be removed", a.beat(ctx))
		}
	}
}

func (a *area) report(words string, err error) {
	if err != nil {
		a.b.log.Warn().Err(err).Msg(words)
	}
}

// empty removes what is in the trash. What cannot be reached stays for the next time.
func (a *area) empty(ctx context.Context) {
	a.mu.Lock()
	trash := a.mu.trash
	a.mu.trash = nil
	a.mu.Unlock()
	for i, path := range trash {
		if _, err := a.b.nn.Delete(ctx, path, true); err != nil && !isMissing(err) {
			if answered(err) {
				a.report("an unfinished write stays behind", err)
				continue
			}
			a.mu.Lock()
			a.mu.trash = append(a.mu.trash, trash[i:]...)
			a.mu.Unlock()
			return
		}
	}
}

// beat gives a sign of life, and removes the directories of processes that have not given one for long.
func (a *area) beat(ctx context.Context) error {
	a.mu.Lock()
	made := a.mu.made
	a.mu.Unlock()
	if !made { // nothing was written yet
		return nil
	}
	now, err := a.sign(ctx)
	if err != nil {
		return err
	}
	dirs, err := a.b.readDir(ctx, a.b.root+tmpDir)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		dir := a.b.root + tmpDir + "/" + string(d.GetPath())
		if dir == a.path {
			continue
		}
		seen := d.GetModificationTime() // of the directory: its last file came or went
		if s, err := a.b.info(ctx, dir+"/"+beatFile); err != nil {
			return err
		} else if s != nil {
			seen = max(seen, s.GetModificationTime())
		}
		if now-int64(seen) > a.deadAfter.Milliseconds() {
			if _, err := a.b.nn.Delete(ctx, dir, true); err != nil && !isMissing(err) {
				return err
			}
			a.b.log.Info().Str("directory", dir).Msg("removed unfinished writes of a process that is gone")
		}
	}
	return nil
}

// sign replaces the sign of life, and returns the NameNode's time in milliseconds.
func (a *area) sign(ctx context.Context) (int64, error) {
	path := a.path + "/" + beatFile
	if _, err := a.b.nn.Delete(ctx, path, false); err != nil && !isMissing(err) {
		return 0, err
	}
	if _, err := a.make(ctx, true); err != nil {
		return 0, err
	}
	s, err := a.b.createEmpty(ctx, path)
	return int64(s.GetModificationTime()), err
}

// remove removes the directory with all that is in it, at the end of the process.
func (a *area) remove() {
	a.mu.Lock()
	made := a.mu.made
	a.mu.Unlock()
	if !made {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	a.empty(ctx)
	_, err := a.b.nn.Delete(ctx, a.path, true)
	if err != nil && !isMissing(err) {
		a.report("unfinished writes stay behind", err)
	}
}
