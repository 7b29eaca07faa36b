// Package cos is the upstream driver for Tencent COS, over cos-go-sdk-v5.
//
// The SDK signs and reads and writes XML. What it would do to data is routed around, here and by
// upstream/internal/wire: bodies do not pass through it (its checksum fails every upload whose answer has none, and it
// closes the reader), header lines are put in place before it signs (it cuts the source of a copy at "?"), its retries
// are off, and errors are read from the answer itself (its own hide the cause). Upload ids and versions, which it pastes
// into URLs, are escaped.
//
// Buckets of COS end in the number of the account: NAME-APPID. With Config.AppID set, the names of this driver are
// without it; else the caller names buckets in full. The bucket is part of the host name, so there is an SDK client a
// bucket.
//
// What COS cannot do and says so (upstream.Limits, upstream.Unsupported): to replace one version only (If-Match), S3's
// checksums, reads by part number. To create only is x-cos-forbid-overwrite, which COS ignores in buckets with
// versions: there it is refused. Part numbers must be 1..n at completion: a client's upload with gaps is refused then with
// InvalidPart, because its parts cannot be renumbered without copying them.
//
// Keys that COS does not hold are refused: above 850 bytes, with a "/" or "\" at the start, with the control
// characters 24 to 27; and those whose path leads to the bucket itself.
//
// User headers may have names of letters, digits and "-" alone; others are encoded (wire.EncodeName).
//
// Known limit: the condition of a Delete is looked at before it, not with it.
package cos
