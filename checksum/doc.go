// Package checksum knows the checksums of S3: their names, headers and hashes.
package checksum
