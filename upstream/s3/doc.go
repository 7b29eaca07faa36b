// Package s3 is the upstream driver for Amazon S3 and the servers that speak its protocol, over
// aws-sdk-go-v2.
//
// The SDK signs, finds endpoints and credentials, and reads and writes XML. Everything that the SDK
// would decide about data is decided here: its retries and checksums are off, bodies stream unbuffered
// with a known length and an unsigned payload, object headers go out and come in verbatim, and every
// answer is compared with the question before a byte of it is passed on.
//
// Known limits: the payload is not signed, so without TLS only the client's checksums, which are passed
// on, protect what is written.
package s3
