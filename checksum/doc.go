// Package checksum knows the checksums of S3: their names, headers and hashes, and how the checksum of a
// multipart object follows from those of its parts.
package checksum
