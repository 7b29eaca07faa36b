package cache

// Outcome says what became of the bytes of a write that were to be kept. It labels a metric, and is the cause with which
// an Intake is ended.
type Outcome string

// The outcomes. All but the first mean that nothing is kept; the write itself goes on in any case.
const (
	OutcomeKept      Outcome = "kept"      // published as the new version
	OutcomeFailed    Outcome = "failed"    // the body or the write failed: there is no such version
	OutcomeContended Outcome = "contended" // another write or an invalidation of the object was under way too
	OutcomeShare     Outcome = "share"     // unpublished blocks would exceed their share of the cache
	OutcomeBusy      Outcome = "busy"      // too many writes are being kept at once
	OutcomeNoRoom    Outcome = "no_room"   // everything in the cache is pinned or in use
	OutcomeSlow      Outcome = "slow"      // the disk was slower than the upstream
	OutcomeDisk      Outcome = "disk"      // the disk failed, or file descriptors are short
	OutcomeRecords   Outcome = "records"   // the database failed
	OutcomeBypassed  Outcome = "bypassed"  // the cache is closing, or out of use
	OutcomeMismatch  Outcome = "mismatch"  // the upstream's answer does not fit the bytes
	OutcomeUnseen    Outcome = "unseen"    // the bytes did not pass by in order: parts of a client's upload, copies
)

// Error implements error.
func (o Outcome) Error() string { return "the bytes of the write are not kept: " + string(o) }

// CountUnseen counts a write to a route that keeps what is written, whose bytes this process has not seen.
func (c *Cache) CountUnseen() { c.countOutcome(OutcomeUnseen) }

func (c *Cache) countOutcome(o Outcome) { c.meters.m.CacheWrites.WithLabelValues(string(o)).Inc() }
