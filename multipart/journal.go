package multipart

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"unistore/meta"
	"unistore/metrics"
	"unistore/upstream"
)

const (
	// maxUnfinished and maxResults bound the uploads that a Journal knows, about 1 KiB of memory each: those that have
	// not ended, and the completed ones, whose results are remembered for keepResult.
	maxUnfinished = 30_000
	maxResults    = 20_000
	keepResult    = 24 * time.Hour
)

// JournalConfig sets up a Journal.
type JournalConfig struct {
	DB      *meta.DB         // not closed by the Journal; nil: nothing outlives the process
	Metrics *metrics.Metrics // nil: nothing is counted
	Log     zerolog.Logger
	Now     func() time.Time // nil: time.Now
}

// Journal knows the uploads that were begun at stores through this gateway, those of the Uploader and those of clients,
// and records every step in the database, so that none is lost with the process.
//
// It never fails a write: an upload whose record can not be written goes on, since a store makes an object of it
// whole or not at all. What is lost, should the process end then, is that somebody remembers to abort it, and the
// answer to a Complete that is sent once more. Such failures are counted.
//
// A nil Journal knows nothing. All methods are safe for concurrent use, those of a nil Journal and Entry too.
type Journal struct {
	cfg  JournalConfig
	kick chan struct{} // capacity 1: there is something to do for the Sweeper

	mu struct {
		sync.Mutex
		entries map[uint64]*Entry         // by Upload.Number
		named   map[uploadName]*Entry     // those of entries that have an id
		orphans map[meta.ObjectKey]*Entry // intents whose outcome is not known
		results []*Entry                  // completed, the oldest first; those that are gone too
		states  map[string]int            // what the metric shows
		full    bool                      // has been logged
	}
}

// uploadName names an upload at a store.
type uploadName struct {
	at meta.ObjectKey
	id string
}

// Entry is one upload in a Journal.
type Entry struct {
	j *Journal
	// io orders the database writes of the record as its changes are ordered. It is held during them, and j.mu is
	// taken inside.
	io   sync.Mutex
	turn chan struct{} // capacity 1: held by who completes or aborts

	// Guarded by j.mu.
	up      meta.Upload
	live    bool // somebody in this process works on it
	gone    bool // it is in the Journal no more
	adopted bool // another node has begun it
	late    bool // of a PUT that ended with the last process: parts may have been on their way
	settled bool // completing, and the store has been asked what became of it
	// Of the Sweeper: attempts that the store did not answer, those that it refused, and when to try again.
	unanswered, refusals int
	next                 time.Time
}

// NewJournal loads what the database has. Nobody works on any of it. What can not be read is counted and left to the next
// start: a damaged record is no reason not to serve.
func NewJournal(cfg JournalConfig) *Journal {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	j := &Journal{cfg: cfg, kick: make(chan struct{}, 1)}
	j.mu.entries = map[uint64]*Entry{}
	j.mu.named = map[uploadName]*Entry{}
	j.mu.orphans = map[meta.ObjectKey]*Entry{}
	j.mu.states = map[string]int{}
	if cfg.DB != nil {
		j.load()
	}
	return j
}

func (j *Journal) load() {
	var bad []uint64
	err := j.cfg.DB.Uploads(func(u meta.Upload, err error) error {
		if err != nil {
			bad = append(bad, u.Number)
			return nil
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.addLocked(u).late = u.Kind == meta.UploadPut
		return nil
	})
	if err != nil {
		j.failed("the records of the last run", err)
	}
	for _, number := range bad {
		var ch meta.Changes
		ch.DeleteUpload(number)
		j.write("delete a damaged record", &ch)
	}
	j.countResumed()
	if len(bad) > 0 {
		j.cfg.Log.Error().Int("records", len(bad)).Msg("records of uploads are damaged: the uploads stay at their store until its own age limit")
	}
	j.sortResults()
}

// countResumed counts the uploads of clients that can go on.
func (j *Journal) countResumed() {
	if j.cfg.Metrics == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.cfg.Metrics.UploadsResumed.Add(float64(j.mu.states[StateOpen] + j.mu.states[StateCompleting]))
}

// addLocked makes u known.
func (j *Journal) addLocked(u meta.Upload) *Entry {
	e := &Entry{j: j, up: u, turn: make(chan struct{}, 1)}
	j.mu.entries[u.Number] = e
	switch {
	case u.ID != "":
		j.mu.named[uploadName{u.At, u.ID}] = e
	case j.mu.orphans[u.At] == nil:
		j.mu.orphans[u.At] = e
	}
	if u.State == meta.UploadCompleted {
		j.mu.results = append(j.mu.results, e)
	}
	j.meterLocked(e.labelLocked(), 1)
	return e
}

// Begin records that the store at.Upstream is about to be asked for an upload; it is durable when Begin returns. The
// caller reports what comes of it, by Failed or Opened at first.
func (j *Journal) Begin(kind meta.UploadKind, at meta.ObjectKey) *Entry {
	if j == nil {
		return nil
	}
	now := j.cfg.Now()
	u := meta.Upload{Number: rand.Uint64(), Kind: kind, State: meta.UploadIntent, At: at, Started: now, Last: now}
	j.mu.Lock()
	if !j.roomLocked() {
		j.mu.Unlock()
		return nil
	}
	e := &Entry{j: j, up: u, turn: make(chan struct{}, 1), live: true}
	j.mu.entries[u.Number] = e
	j.meterLocked(e.labelLocked(), 1)
	j.mu.Unlock()
	e.save("an intent", func(*meta.Upload) {})
	j.sync()
	return e
}

// roomLocked reports whether one more entry may be added.
func (j *Journal) roomLocked() bool {
	unfinished := len(j.mu.entries) - j.mu.states[StateCompleted]
	if unfinished < maxUnfinished {
		j.mu.full = false
		return true
	}
	j.countError()
	if !j.mu.full {
		j.mu.full = true
		j.cfg.Log.Error().Int("uploads", unfinished).Msg("too many unfinished uploads: no more are recorded until some have ended")
	}
	return false
}

// Find returns the entry of an upload, or nil.
func (j *Journal) Find(store string, up upstream.Upload) *Entry {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.named[nameOfUpload(store, up)]
}

// Adopt is Find for an upload that is about to be completed. One that is not known, as another node has begun
// it, becomes known; nothing is recorded of it before Completing.
func (j *Journal) Adopt(store string, up upstream.Upload) *Entry {
	if j == nil {
		return nil
	}
	name := nameOfUpload(store, up)
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.mu.named[name]; e != nil {
		return e
	}
	if !j.roomLocked() {
		return nil
	}
	e := j.addLocked(meta.Upload{
		Number: rand.Uint64(), Kind: meta.UploadClient, State: meta.UploadOpen, At: name.at, ID: up.ID, Started: j.cfg.Now(),
	})
	e.adopted = true
	return e
}

func nameOfUpload(store string, up upstream.Upload) uploadName {
	return uploadName{meta.ObjectKey{Upstream: store, Bucket: up.Bucket, Key: up.Key}, up.ID}
}

// sync makes what was written durable; a failure is counted and logged.
func (j *Journal) sync() {
	if j.cfg.DB == nil {
		return
	}
	if err := j.cfg.DB.Sync(); err != nil {
		j.failed("an intent", err)
	}
}

// write applies changes, which are not synced; a failure is counted and logged. It reports success.
func (j *Journal) write(what string, ch *meta.Changes) bool {
	if j.cfg.DB == nil {
		return true
	}
	err := j.cfg.DB.Write(ch, false)
	if err != nil {
		j.failed(what, err)
	}
	return err == nil
}

func (j *Journal) failed(what string, err error) {
	j.countError()
	j.cfg.Log.Warn().Err(err).Str("what", what).Msg("a record of an upload could not be written or read; the upload goes on")
}

func (j *Journal) countError() {
	if m := j.cfg.Metrics; m != nil {
		m.UploadJournalErrors.Inc()
	}
}

// wake tells the Sweeper that there may be something to do.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// meterLocked counts entries by state.
func (j *Journal) meterLocked(label string, by int) {
	j.mu.states[label] += by
	if m := j.cfg.Metrics; m != nil {
		m.Uploads.WithLabelValues(label).Set(float64(j.mu.states[label]))
	}
}
