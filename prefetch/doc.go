// Package prefetch brings bytes into the cache before they are asked for.
//
// # Parts
//
// Pure, with the time as an argument and no I/O: the estimates of a link (link.go) and of a consumer (rate.go), the
// detector that sees where readers of one version go (detector.go, cursor.go), the window that says how far to run ahead of one
// (window.go), the governor that keeps a link from being overrun (governor.go), and the scheduler, which holds what is
// wanted and says what is next (scheduler.go).
//
// Around them Prefetcher (prefetcher.go) is told of every read and carries out what the scheduler says, by the
// cache's own fills. A read is never delayed and never failed by it: observing is a look under one mutex, and
// whatever goes wrong is counted and dropped.
//
// # Words
//
// A link is one bucket of one upstream: what has a latency and a bandwidth of its own. A stream is what one
// query (or access key) reads of one version, over however many connections.
package prefetch
