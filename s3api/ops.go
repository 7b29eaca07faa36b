package s3api

import (
	"time"

	"unistore/byterange"
	"unistore/object"
)

// Operation is one typed S3 request. Name is the name that AWS gives it ("GetObject"); it labels
// metrics and errors.
type Operation interface {
	Name() string
	// Target returns the bucket and key that the operation acts on; either may be empty.
	Target() (bucket, key string)
	// Writes reports whether the operation changes anything, for read-only credentials.
	Writes() bool
}

// Bucket is embedded by operations on a bucket.
type Bucket struct{ Bucket string }

// Target implements Operation.
func (b Bucket) Target() (string, string) { return b.Bucket, "" }

// Object is embedded by operations on an object. Key is decoded.
type Object struct{ Bucket, Key string }

// Target implements Operation.
func (o Object) Target() (string, string) { return o.Bucket, o.Key }

// Read marks operations that change nothing.
type Read struct{}

// Writes implements Operation.
func (Read) Writes() bool { return false }

// Write marks operations that change something.
type Write struct{}

// Writes implements Operation.
func (Write) Writes() bool { return true }

// The operations. Fields that the request did not give are zero.
type (
	// ListBuckets lists the caller's buckets.
	ListBuckets struct {
		Read
		Prefix  string
		Token   string
		MaxKeys int // 0: all
	}
	// CreateBucket makes a bucket. Its body (LocationConstraint) is read by ReadCreateBucket.
	CreateBucket struct {
		Bucket
		Write
	}
	// DeleteBucket removes an empty bucket.
	DeleteBucket struct {
		Bucket
		Write
	}
	// HeadBucket asks whether a bucket is there.
	HeadBucket struct {
		Bucket
		Read
	}
	// GetBucketLocation answers the region.
	GetBucketLocation struct {
		Bucket
		Read
	}
	// GetBucketVersioning answers an empty configuration.
	GetBucketVersioning struct {
		Bucket
		Read
	}
	// ListObjects is ListObjects (V1) and ListObjectsV2.
	ListObjects struct {
		Bucket
		Read
		V2         bool
		Prefix     string
		Delimiter  string
		After      string // V1 marker, V2 start-after
		Token      string // V2 continuation-token
		HasToken   bool
		MaxKeys    int // 0..1000; larger values are clamped
		EncodeURL  bool
		FetchOwner bool
	}
	// ListObjectVersions lists each object of an unversioned store as version "null".
	ListObjectVersions struct {
		Bucket
		Read
		Prefix, Delimiter          string
		KeyMarker, VersionIDMarker string
		MaxKeys                    int
		EncodeURL                  bool
	}
	// ListMultipartUploads lists unfinished uploads.
	ListMultipartUploads struct {
		Bucket
		Read
		Prefix, Delimiter         string
		KeyMarker, UploadIDMarker string
		MaxUploads                int
		EncodeURL                 bool
	}
	// DeleteObjects removes many objects. Its body is read by ReadDelete.
	DeleteObjects struct {
		Bucket
		Write
	}
	// GetObject reads an object or a range of it.
	GetObject struct {
		Object
		Read
		Range      byterange.Spec // All when absent, malformed or of several ranges (RFC 9110 14.2)
		HasRange   bool           // a well-formed single range was given
		Conditions Conditions
		Select     Selectors
	}
	// HeadObject is GetObject without a body.
	HeadObject struct {
		Object
		Read
		Range      byterange.Spec
		HasRange   bool
		Conditions Conditions
		Select     Selectors
	}
	// GetObjectAttributes answers selected attributes as XML.
	GetObjectAttributes struct {
		Object
		Read
		VersionID                                         string
		ETag, Checksum, ObjectParts, StorageClass, Length bool
		MaxParts, PartMarker                              int
	}
	// PutObject writes an object.
	PutObject struct {
		Object
		Write
		Headers      object.Headers
		StorageClass string
		IfMatch      string // ETag without quotes
		IfNoneMatch  bool   // "*"
	}
	// CopyObject writes an object from another.
	CopyObject struct {
		Object
		Write
		Source         CopySource
		Replace        bool // x-amz-metadata-directive: REPLACE
		Headers        object.Headers
		StorageClass   string
		IfMatch        string
		IfNoneMatch    bool
		HasOtherChange bool // anything that makes a copy onto itself legal (storage class, ...)
		// ChecksumAlgorithm is the checksum wanted of the new object; empty for that of the source.
		ChecksumAlgorithm string
		SourceConditions  Conditions
	}
	// DeleteObject removes an object.
	DeleteObject struct {
		Object
		Write
		VersionID string
		IfMatch   string // ETag without quotes, or "*": the object must be there
	}
	// CreateMultipartUpload starts an upload.
	CreateMultipartUpload struct {
		Object
		Write
		Headers           object.Headers
		StorageClass      string
		ChecksumAlgorithm string
		ChecksumType      string
	}
	// UploadPart writes a part.
	UploadPart struct {
		Object
		Write
		UploadID   string
		PartNumber int // 1..10000
	}
	// UploadPartCopy writes a part from an object.
	UploadPartCopy struct {
		Object
		Write
		UploadID         string
		PartNumber       int
		Source           CopySource
		Range            byterange.Spec // All or Closed
		SourceConditions Conditions
	}
	// CompleteMultipartUpload makes the object of its parts. Its body is read by ReadComplete.
	CompleteMultipartUpload struct {
		Object
		Write
		UploadID    string
		IfMatch     string
		IfNoneMatch bool
		Checksum    *object.Checksum // of the whole object, from the headers
		Size        int64            // x-amz-mp-object-size, or -1
	}
	// AbortMultipartUpload drops an upload.
	AbortMultipartUpload struct {
		Object
		Write
		UploadID string
	}
	// ListParts lists the parts of an upload.
	ListParts struct {
		Object
		Read
		UploadID   string
		MaxParts   int
		PartMarker int
	}
)

// CopySource is a parsed x-amz-copy-source.
type CopySource struct {
	Bucket, Key, VersionID string
}

// Selectors choose another representation than the plain current object; such a read goes
// around the cache.
type Selectors struct {
	VersionID    string
	PartNumber   int
	ChecksumMode bool
	// Overrides are the response-* query parameters: header lines to send in place of the
	// object's own. They alter no bytes.
	Overrides Header
}

// Conditions are the conditional headers of a read (RFC 9110 section 13). ETag lists are without
// quotes; "*" matches anything. A zero time was not given.
type Conditions struct {
	IfMatch, IfNoneMatch               []string
	IfModifiedSince, IfUnmodifiedSince time.Time
}
