// Package multipart writes bodies of any size to a store in bounded memory, and names the multipart
// uploads of clients.
//
// An Uploader reads a body in order and cuts it into parts. A part's number is its position in the body,
// never the order in which parts arrive or finish. Whether a body becomes one PUT or a multipart upload is
// decided by position and size in Decide, the only place that knows.
//
// plan.go holds the pure decisions, cut.go the reading in order, pool.go and data.go the shared memory, uploader.go
// and session.go the work, id.go the upload ids that clients see.
package multipart
