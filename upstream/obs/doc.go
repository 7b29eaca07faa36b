// Package obs is the upstream driver for Huawei OBS, over huaweicloud-sdk-go-obs.
//
// The SDK signs (native signature), builds URLs and reads and writes XML. Everything else is decided here and in
// upstream/internal/wire, around what the SDK would do to data: bodies do not pass through it (it cuts those that are
// too long and swallows the surplus of a reader), ranges and conditions are header lines of ours (its fields drop a range
// of one byte), so are copy sources (it writes a space as "+") and object headers, which are read from the raw
// answer (in its own result user headers replace the object's). There is a client a call, because its context is
// the client's; it never retries, and its panics are errors.
//
// OBS is addressed as BUCKET.HOST: the endpoint is a host name.
//
// What OBS cannot do and says so (upstream.Limits, upstream.Unsupported): conditional writes, S3's checksums, reads by
// part number. Keys with a component "." or ".." and keys of white space alone are refused.
//
// Known limits: the condition of a Delete is looked at before it, not with it; so is that of a part copy, which is
// looked at once more after it.
package obs
