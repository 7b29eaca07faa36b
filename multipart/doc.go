// Package multipart writes bodies of any size to a store in bounded memory, and names the multipart
// uploads of clients.
//
// An Uploader reads a body in order and cuts it into parts. A part's number is its position in the body,
// never the order in which parts arrive or finish. Whether a body becomes one PUT or a multipart upload is
// decided by position and size in Decide, the only place that knows.
//
// A Journal knows every upload that was begun, in memory and in the database, and a Sweeper ends those that nobody
// finishes. The order of their locks: Entry.turn, Entry.io, Sweeper.mu, Journal.mu. Entry.io alone is held during database writes,
// and Entry.turn during requests to a store.
//
// plan.go holds the pure decisions, cut.go the reading in order, pool.go and data.go the shared memory, uploader.go
// and session.go the work, id.go the upload ids that clients see, journal.go and entry.go the
// Journal, duty.go and sweep.go the Sweeper, view.go what the operator sees of both.
package multipart
