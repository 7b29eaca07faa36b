// Package upstream is the seam to the stores behind the gateway: the small interface that a store's
// driver implements (Backend), its optional abilities, and the policy around it (Store) that callers
// use: retries, timeouts, connection limits, metrics, fallbacks for abilities a store lacks.
package upstream

import (
	"context"
	"io"
	"time"

	"unistore/byterange"
	"unistore/object"
)

// Backend is one remote or local store, all of its buckets: what a driver implements.
//
// Methods are safe for concurrent use and return when ctx is done. Every error matches one Code of
// this package with errors.Is; a driver maps its store's errors, status first, and never returns a
// store's credential fault as anything but Access. Callers give valid input: bucket and key are not
// empty, the key is at most Limits().MaxKey bytes of valid UTF-8, sizes are not negative.
// Any key (with "..", "//", a leading "/", control characters) either works, distinct from
// every other key, or is refused with InvalidKey; none escapes the bucket.
type Backend interface {
	// Stat returns the attributes of an object: NotExist, NoBucket.
	Stat(ctx context.Context, loc Loc, opts StatOptions) (object.Attrs, error)

	// Open streams a range of one version of an object. The range is clamped to the end of the object;
	// one that selects nothing is RangeError. With IfMatch, another ETag is Changed;
	// with IfNoneMatch, the same ETag is NotModified.
	// All of an empty object is an empty stream. The caller closes the Stream's Body.
	Open(ctx context.Context, loc Loc, opts OpenOptions) (*Stream, error)

	// Put stores exactly req.Size bytes of req.Body. It is atomic and durable: readers see the old
	// object or the new one, and after an error, or a Body that fails or ends early
	// (TooShort), the old one. The driver reads Body to io.EOF before it commits. The result has at
	// least Size, ETag and VersionID, and whatever the store says of the bytes that it took: ETagMD5,
	// Checksums. Store compares these with what was sent. A driver that does so itself returns the same
	// attributes with Corrupted: they tell Store which object is there now.
	Put(ctx context.Context, loc Loc, req PutRequest) (object.Attrs, error)

	// Delete removes an object; one that does not exist is no error, except with IfMatch (Changed).
	Delete(ctx context.Context, loc Loc, opts DeleteOptions) error

	// List returns one page in S3 order (ascending UTF-8 bytes of the key).
	List(ctx context.Context, req ListRequest) (ListPage, error)

	// Limits are facts about the store; constant for the life of the Backend.
	Limits() Limits

	// Close frees what the Backend holds. No method is called during or after it.
	Close() error
}

// Bucketer is implemented by stores whose buckets can be managed. Optional.
type Bucketer interface {
	ListBuckets(ctx context.Context) ([]Bucket, error)
	StatBucket(ctx context.Context, name string) (Bucket, error) // NoBucket, Access
	CreateBucket(ctx context.Context, name string) error         // BucketExists, BucketOwned
	DeleteBucket(ctx context.Context, name string) error         // NoBucket, BucketNotEmpty
}

// Multiparter is implemented by stores with multipart uploads of their own. Optional.
// An upload that is unknown, completed or aborted is NoUpload.
type Multiparter interface {
	// CreateUpload starts an upload; nothing is visible at loc until CompleteUpload.
	CreateUpload(ctx context.Context, loc Loc, req CreateUploadRequest) (uploadID string, err error)
	// UploadPart stores part number (1..10000), replacing a part of that number. Body, ETagMD5 and Checksums
	// as in Put.
	UploadPart(ctx context.Context, up Upload, number int, req PartRequest) (Part, error)
	// CompleteUpload makes the object of the listed parts, atomically. parts ascend by number
	// (PartOrder) and each ETag is the one UploadPart returned (InvalidPart). A part other than the last
	// below Limits().MinPart is TooSmall. The result has at least the ETag; HeadersKnown says that
	// the rest is there too. Corrupted as in Put.
	CompleteUpload(ctx context.Context, up Upload, req CompleteRequest) (object.Attrs, error)
	AbortUpload(ctx context.Context, up Upload) error
	// ListParts returns parts with a number above after, ascending, at most limit.
	ListParts(ctx context.Context, up Upload, after, limit int) (PartsPage, error)
	ListUploads(ctx context.Context, req ListUploadsRequest) (UploadsPage, error)
}

// Copier is implemented by stores that copy on their side. Optional.
type Copier interface {
	// Copy's result has at least the ETag; HeadersKnown says that the rest is there too.
	Copy(ctx context.Context, dst Loc, req CopyRequest) (object.Attrs, error)
	CopyPart(ctx context.Context, up Upload, number int, req CopyPartRequest) (Part, error)
}

// BatchDeleter is implemented by stores that delete many keys in one request. Optional.
type BatchDeleter interface {
	// DeleteBatch deletes at most 1000 keys. The result has one error (nil for deleted) a key, in
	// order; err is for the request as a whole.
	DeleteBatch(ctx context.Context, bucket string, keys []string) (errs []error, err error)
}

// BodyVerifier is implemented by stores whose driver makes sure itself that the store has taken the bytes which the
// driver was given, for a body that comes without MD5 and checksum. A difference is Corrupted, with the
// attributes of what is there now. Optional; a wrapper that may change bodies has not got it.
type BodyVerifier interface {
	// VerifiesBodies may change from call to call, as a driver learns what its store can do.
	VerifiesBodies() bool
}

// Loc names an object in a store.
type Loc struct {
	Bucket, Key string
}

// StatOptions select a representation; the zero value is the current version.
type StatOptions struct {
	VersionID  string // as the store names it
	PartNumber int    // 0, or the part whose attributes are wanted
	Checksums  bool   // ask for checksums too
}

// OpenOptions select the bytes to stream.
type OpenOptions struct {
	StatOptions
	Range       byterange.Spec // must be All when PartNumber is set
	IfMatch     string         // an ETag without quotes
	IfNoneMatch string         // an ETag without quotes
}

// Stream is an object's bytes on their way.
type Stream struct {
	// Attrs are those of the whole object (Size is the object's, not the range's); HeadersKnown.
	Attrs object.Attrs
	// Range is what Body delivers, resolved against the object's size.
	Range byterange.Range
	// Body delivers exactly Range.Len bytes and io.EOF, or an error. A cut is
	// io.ErrUnexpectedEOF or Unavailable, never a silent io.EOF. Close cancels what is left.
	Body io.ReadCloser
}

// PutRequest is one object to store.
type PutRequest struct {
	// Body's Read returns an error once the request's context is done. It delivers its last
	// byte only after whatever the client promised about the bytes has been verified.
	Body io.Reader
	// Interrupt, when not nil, makes a Read of Body that is under way return soon, and all later ones fail. It may be
	// called at any time, from any goroutine. The Store calls it when a request ends that has begun to read Body; a
	// Body without it is read in a goroutine of its own, so that what blocks its Read blocks nothing else.
	Interrupt func()
	Size      int64
	Headers   object.Headers
	// Checksum, when not nil, is the client's verified promise, known before the body; the store may
	// check it again and keeps it if it can.
	Checksum *object.Checksum
	// Trailing, when not nil, returns after Body's io.EOF the checksums that came with its trailer.
	Trailing func() []object.Checksum
	// TrailingAlgorithm, when not empty, is that of the checksum that Trailing will return.
	TrailingAlgorithm string
	MD5               string // base64 of the client's Content-MD5, or empty
	IfMatch           string // ETag: replace only that version (Changed; NotExist when there is none)
	IfNoneMatch       bool   // create only: Changed when the object exists
	StorageClass      string
}

// DeleteOptions narrow a deletion.
type DeleteOptions struct {
	VersionID string
	IfMatch   string
}

// ListRequest asks for one page.
type ListRequest struct {
	Bucket    string
	Prefix    string
	Delimiter string // empty, or any string
	// StartAfter: only keys greater than it, and no common prefix equal to it.
	// Ignored when Token is set.
	StartAfter string
	Token      string // ListPage.Next of the page before; opaque
	MaxKeys    int    // 1..1000: objects and prefixes together
}

// ListedObject is one line of a listing. Attrs.HeadersKnown is false.
type ListedObject struct {
	Key string
	object.Attrs
}

// ListPage is one page of a listing. Objects and Prefixes each ascend.
type ListPage struct {
	Objects  []ListedObject
	Prefixes []string // common prefixes, each ending in the delimiter
	Next     string   // Token for the next page; empty on the last
}

// Bucket is one bucket of a store.
type Bucket struct {
	Name    string
	Created time.Time
}

// Upload names a multipart upload in a store.
type Upload struct {
	Loc
	ID string
}

// CreateUploadRequest starts a multipart upload.
type CreateUploadRequest struct {
	Headers           object.Headers
	ChecksumAlgorithm string // empty, or as in object.Checksum
	ChecksumType      string
	StorageClass      string
}

// PartRequest is the body of one part; fields as in PutRequest.
type PartRequest struct {
	Body      io.Reader
	Interrupt func() // as in PutRequest
	Size      int64
	Checksum  *object.Checksum
	Trailing  func() []object.Checksum
	// TrailingAlgorithm as in PutRequest.
	TrailingAlgorithm string
	MD5               string
}

// Part is one stored part.
type Part struct {
	Number    int
	Size      int64
	ETag      string // without quotes
	ModTime   time.Time
	Checksums []object.Checksum
	ETagMD5   bool // as in object.Attrs
}

// CompleteRequest lists the parts that make the object.
type CompleteRequest struct {
	Parts       []Part // Number and ETag, Checksums when the client named them
	IfMatch     string
	IfNoneMatch bool
	// Checksum of the whole object that the client promised, or nil.
	Checksum *object.Checksum
}

// PartsPage is one page of the parts of an upload.
type PartsPage struct {
	Parts        []Part
	More         bool
	StorageClass string
}

// ListUploadsRequest asks for unfinished uploads, ordered by key, then by start.
type ListUploadsRequest struct {
	Bucket, Prefix, Delimiter string
	KeyMarker, UploadIDMarker string
	MaxUploads                int // 1..1000
}

// UploadsPage is one page of unfinished uploads.
type UploadsPage struct {
	Uploads                           []UploadInfo
	Prefixes                          []string
	NextKeyMarker, NextUploadIDMarker string
	More                              bool
}

// UploadInfo is one unfinished upload.
type UploadInfo struct {
	Key, ID      string
	Started      time.Time
	StorageClass string
}

// CopyRequest is a copy on the store's side.
type CopyRequest struct {
	Source        Loc
	SourceVersion string
	SourceIfMatch string // the ETag that must still be there (Changed)
	// Replace: Headers take the place of the source's; otherwise they are kept.
	Replace      bool
	Headers      object.Headers
	IfMatch      string
	IfNoneMatch  bool
	StorageClass string
}

// CopyPartRequest is a part copied on the store's side.
type CopyPartRequest struct {
	Source        Loc
	SourceVersion string
	SourceIfMatch string
	Range         byterange.Spec // All or Closed
}

// Limits are facts about a store. Sizes are in bytes; 0 means no limit.
type Limits struct {
	MinPart, MaxPart  int64 // of a part that is not the last
	MaxParts          int
	MaxPut, MaxObject int64
	MaxKey            int
	MaxCopy           int64 // by one Copy
	ContiguousParts   bool  // part numbers must be 1..n at CompleteUpload
	CreateOnly        bool  // Put and CompleteUpload honour IfNoneMatch atomically
	ReplaceOnly       bool  // ... and IfMatch
	CopyConditions    bool  // Copy honours both atomically
	DeleteCondition   bool  // Delete honours IfMatch atomically; elsewhere the object is looked at before, or it is refused
	StoresChecksums   bool
	OwnUploads        bool // nothing but this driver makes uploads there: old ones are left-overs, whoever began them
}
