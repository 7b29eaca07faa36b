// Package prefetch is the seam where reads are observed so that the cache can be warmed ahead of them:
// stream detection, window, scheduler and registered queries will live here.
// It may import cache and meta; the gateway calls it with every read, and it never blocks one.
//
// So far it holds this contract only; nothing observes, nothing is warmed.
package prefetch
