package semantics

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"mime"
	"path"
	"time"

	"unistore/object"
	"unistore/upstream"
)

// RecordVersion is the format of records; others are ignored, and their files served as if put there by
// another program.
const RecordVersion = 1

// Stamp tells versions of a file apart: every write by any program changes the modification time, and a
// file that takes another's place has another inode.
type Stamp struct {
	Size, MTime int64 // MTime in the unit of the file system
	Inode       uint64
}

// Record is the metadata of an object as JSON, kept with its file for as long as the object: fields may
// be added, never changed.
type Record struct {
	Version      int           `json:"v"`
	Size         int64         `json:"size"`            // Stamp of the file it describes
	MTime        int64         `json:"mtime"`           // ...
	Inode        uint64        `json:"inode,omitempty"` // ...
	ETag         string        `json:"etag"`
	Headers      RecordHeaders `json:"headers,omitzero"`
	Checksums    []RecordSum   `json:"sums,omitempty"`
	Parts        [][2]int64    `json:"parts,omitempty"` // runs: how many, of which size
	StorageClass string        `json:"class,omitempty"`
}

// RecordHeaders are object.Headers as they are kept.
type RecordHeaders struct {
	Type        string            `json:"type,omitempty"`
	Encoding    string            `json:"encoding,omitempty"`
	Language    string            `json:"language,omitempty"`
	Disposition string            `json:"disposition,omitempty"`
	Cache       string            `json:"cache,omitempty"`
	Expires     string            `json:"expires,omitempty"`
	User        map[string]string `json:"user,omitempty"`
}

// RecordSum is an object.Checksum as it is kept.
type RecordSum struct {
	Algorithm string `json:"alg"`
	Value     string `json:"value"`
	Type      string `json:"type,omitempty"`
}

// KeepHeaders returns h as it is kept.
func KeepHeaders(h object.Headers) RecordHeaders {
	return RecordHeaders{h.ContentType, h.ContentEncoding, h.ContentLanguage, h.ContentDisposition, h.CacheControl, h.Expires, h.User}
}

// Object returns what was kept.
func (h RecordHeaders) Object() object.Headers {
	return object.Headers{
		ContentType: h.Type, ContentEncoding: h.Encoding, ContentLanguage: h.Language,
		ContentDisposition: h.Disposition, CacheControl: h.Cache, Expires: h.Expires, User: h.User,
	}
}

// KeepSums returns checksums as they are kept.
func KeepSums(checksums []object.Checksum) []RecordSum {
	var sums []RecordSum
	for _, c := range checksums {
		sums = append(sums, RecordSum(c))
	}
	return sums
}

// ObjectSums returns what was kept.
func ObjectSums(sums []RecordSum) []object.Checksum {
	var checksums []object.Checksum
	for _, s := range sums {
		checksums = append(checksums, object.Checksum(s))
	}
	return checksums
}

// KeepParts returns the sizes of parts as they are kept: most of them are the same.
func KeepParts(sizes []int64) [][2]int64 {
	var packed [][2]int64
	for _, n := range sizes {
		if last := len(packed) - 1; last >= 0 && packed[last][1] == n {
			packed[last][0]++
			continue
		}
		packed = append(packed, [2]int64{1, n})
	}
	return packed
}

// PartSizes returns the sizes of the object's parts; none for an object made by one Put.
func (r *Record) PartSizes() []int64 {
	var sizes []int64
	for _, run := range r.Parts {
		for range run[0] {
			sizes = append(sizes, run[1])
		}
	}
	return sizes
}

// Attrs returns the attributes of the object that r describes.
func (r *Record) Attrs(modified time.Time) object.Attrs {
	count := 0
	for _, run := range r.Parts {
		count += int(run[0])
	}
	return object.Attrs{
		Size: r.Size, ETag: r.ETag, ModTime: modified, Headers: r.Headers.Object(),
		Checksums: ObjectSums(r.Checksums), PartsCount: count, StorageClass: r.StorageClass, HeadersKnown: true,
	}
}

// Describe makes r the record of the file that s tells.
func (r *Record) Describe(s Stamp) {
	r.Version, r.Size, r.MTime, r.Inode = RecordVersion, s.Size, s.MTime, s.Inode
}

// Describes reports whether r is of the version of the file that s tells.
func (r *Record) Describes(s Stamp) bool {
	return r.Version == RecordVersion && r.ETag != "" && (Stamp{r.Size, r.MTime, r.Inode}) == s
}

// partsFit reports whether the parts can be those of the object: others can write records too.
func (r *Record) partsFit() bool {
	if len(r.Parts) == 0 {
		return true
	}
	count, left := int64(MaxPartNumber), r.Size
	for _, run := range r.Parts {
		n, size := run[0], run[1]
		if n < 1 || n > count || size < 0 || size > left/n {
			return false
		}
		count, left = count-n, left-n*size
	}
	return left == 0
}

// ParseRecord returns nil for bytes that are no record of this version of the file.
func ParseRecord(data []byte, s Stamp) *Record {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil || !r.Describes(s) || !r.partsFit() {
		return nil
	}
	return &r
}

// ForeignRecord is the record of a file that another program has written. Its ETag contains a "-", so that
// nobody takes it for an MD5.
func ForeignRecord(key string, s Stamp) *Record {
	digest := md5.Sum(fmt.Appendf(nil, "%d %d %d", s.Size, s.MTime, s.Inode))
	r := &Record{ETag: fmt.Sprintf("%x-1", digest)}
	r.Describe(s)
	if r.Headers.Type = mime.TypeByExtension(path.Ext(key)); r.Headers.Type == "" {
		r.Headers.Type = "binary/octet-stream"
	}
	return r
}

// UploadRecord is an unfinished upload as JSON, kept until it ends.
type UploadRecord struct {
	Version      int           `json:"v"`
	Key          string        `json:"key"`
	Started      int64         `json:"started"` // in nanoseconds
	Headers      RecordHeaders `json:"headers,omitzero"`
	Algorithm    string        `json:"alg,omitempty"`
	ChecksumType string        `json:"type,omitempty"`
	StorageClass string        `json:"class,omitempty"`
}

// KeepUpload returns the record of an upload to key.
func KeepUpload(key string, started time.Time, req upstream.CreateUploadRequest) UploadRecord {
	return UploadRecord{
		Version: RecordVersion, Key: key, Started: started.UnixNano(), Headers: KeepHeaders(req.Headers),
		Algorithm: req.ChecksumAlgorithm, ChecksumType: req.ChecksumType, StorageClass: req.StorageClass,
	}
}

// Request returns the request that started the upload.
func (u *UploadRecord) Request() upstream.CreateUploadRequest {
	return upstream.CreateUploadRequest{
		Headers: u.Headers.Object(), ChecksumAlgorithm: u.Algorithm, ChecksumType: u.ChecksumType, StorageClass: u.StorageClass,
	}
}

// PartRecord is what is known of a part as JSON, kept until its upload ends.
type PartRecord struct {
	Number    int         `json:"number"`
	Size      int64       `json:"size"`
	ETag      string      `json:"etag"`
	Checksums []RecordSum `json:"sums,omitempty"`
}

// KeepPart returns p as it is kept.
func KeepPart(p upstream.Part) PartRecord {
	return PartRecord{p.Number, p.Size, p.ETag, KeepSums(p.Checksums)}
}

// Part returns what was kept.
func (p PartRecord) Part(modified time.Time) upstream.Part {
	return upstream.Part{Number: p.Number, Size: p.Size, ETag: p.ETag, Checksums: ObjectSums(p.Checksums), ModTime: modified}
}

// PlanObject returns the record of the object that parts make for an upload, or BadDigest, Invalid. It
// describes no file yet.
func PlanObject(op string, up *UploadRecord, parts []upstream.Part, req upstream.CompleteRequest) (*Record, error) {
	checksums, err := Checksums(op, up.Request(), parts, req.Checksum)
	if err != nil {
		return nil, err
	}
	etag, err := MultipartETag(parts)
	if err != nil {
		return nil, err
	}
	sizes := make([]int64, len(parts))
	for i, p := range parts {
		sizes[i] = p.Size
	}
	return &Record{
		ETag: etag, Headers: up.Headers, Checksums: KeepSums(checksums), Parts: KeepParts(sizes), StorageClass: up.StorageClass,
	}, nil
}
