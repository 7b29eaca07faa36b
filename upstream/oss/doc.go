// Package oss is the upstream driver for Alibaba Cloud OSS, over alibabacloud-oss-go-sdk-v2.
//
// The SDK signs (V4), finds hosts, and reads and writes XML. What it would decide about data is decided here or in
// package wire: its retries, its correction of the clock, its guesses of content types and its timeouts are off; bodies
// stream with a known length and are checked by OSS's own checksum, CRC-64/ECMA-182; an error that OSS sends
// under 200 OK is one; ranges are asked for with the standard behaviour, since by default OSS answers one outside of the
// object with all of it.
//
// What OSS cannot do is refused, never approximated: writes with If-Match, keys that begin with "/" or "\", and
// create-only writes to buckets with versions, where OSS ignores that condition.
//
// Keys with a component "." or ".." are refused too: what is between here and OSS may resolve them.
//
// Known limits: the payload is not signed, so without TLS only checksums protect what is written; parts of a completed
// object cannot be read by their number.
package oss
