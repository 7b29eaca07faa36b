package s3api

import (
	"time"

	"unistore/object"
)

// ListedKey is one object of a listing.
type ListedKey struct {
	Key   string
	Attrs object.Attrs
}

// ListResult is one page of a listing of objects or versions. Objects and Prefixes each ascend.
type ListResult struct {
	Objects   []ListedKey
	Prefixes  []string
	Truncated bool
	// Next continues a truncated listing: NextMarker (V1), NextContinuationToken (V2) or NextKeyMarker
	// (versions).
	Next string
}

// BucketEntry is one bucket of ListBuckets.
type BucketEntry struct {
	Name    string
	Created time.Time
}

// UploadEntry is one unfinished upload. An empty StorageClass is STANDARD.
type UploadEntry struct {
	Key, UploadID string
	Started       time.Time
	StorageClass  string
}

// UploadsResult is one page of unfinished uploads.
type UploadsResult struct {
	Uploads                           []UploadEntry
	Prefixes                          []string
	Truncated                         bool
	NextKeyMarker, NextUploadIDMarker string
}

// PartEntry is one part of an upload or of an object. ETag is without quotes.
type PartEntry struct {
	Number    int
	Size      int64
	ETag      string
	ModTime   time.Time
	Checksums []object.Checksum
}

// PartsResult is one page of the parts of an upload, ascending by number.
type PartsResult struct {
	Parts        []PartEntry
	Truncated    bool
	StorageClass string // empty is STANDARD
}

// Deleted is the outcome for one key of DeleteObjects; Err is nil for a key that is gone.
type Deleted struct {
	Key, VersionID string
	Err            *Error
}
