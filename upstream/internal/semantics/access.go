package semantics

import (
	"unistore/byterange"
	"unistore/object"
	"unistore/upstream"
)

// CheckWrite applies the conditions of a write to what is there now: etag, or exists false.
func CheckWrite(op, ifMatch string, ifNoneMatch bool, etag string, exists bool) error {
	if ifNoneMatch && exists {
		return upstream.Errorf(upstream.Changed, op, "the object exists")
	}
	if ifMatch == "" {
		return nil
	}
	if !exists {
		return upstream.Errorf(upstream.NotExist, op, "nothing to replace")
	}
	if ifMatch != etag {
		return upstream.Errorf(upstream.Changed, op, "the ETag is %s", etag)
	}
	return nil
}

// CheckDelete applies the condition of a deletion.
func CheckDelete(op, ifMatch, etag string, exists bool) error {
	if ifMatch == "" || (exists && ifMatch == etag) {
		return nil
	}
	return upstream.Errorf(upstream.Changed, op, "another version, or none")
}

// CheckVersion refuses a version id: an unversioned store has one version, S3 calls it "null".
func CheckVersion(op, id string) error {
	if id == "" || id == "null" {
		return nil
	}
	return upstream.Errorf(upstream.NoVersion, op, "this store keeps no versions")
}

// CheckCopy refuses a copy of an object onto itself that would change nothing, as S3 does.
func CheckCopy(op string, dst upstream.Loc, req upstream.CopyRequest, maxCopy, size int64) error {
	if dst == req.Source && !req.Replace && req.StorageClass == "" {
		return upstream.Errorf(upstream.Invalid, op, "a copy onto itself that changes nothing")
	}
	if maxCopy > 0 && size > maxCopy {
		return upstream.Errorf(upstream.TooLarge, op, "%d bytes, at most %d", size, maxCopy)
	}
	return nil
}

// CheckSource applies the condition on the source of a copy.
func CheckSource(op, ifMatch, etag string) error {
	if ifMatch != "" && ifMatch != etag {
		return upstream.Errorf(upstream.Changed, op, "the source's ETag is %s", etag)
	}
	return nil
}

// Select applies the conditions of a read and returns the range it selects. parts holds the sizes of
// the object's parts; it is empty for an object made by one Put.
func Select(op string, attrs object.Attrs, parts []int64, opts upstream.OpenOptions) (byterange.Range, error) {
	if opts.IfMatch != "" && opts.IfMatch != attrs.ETag {
		return byterange.Range{}, upstream.Errorf(upstream.Changed, op, "the ETag is %s", attrs.ETag)
	}
	if opts.IfNoneMatch != "" && opts.IfNoneMatch == attrs.ETag {
		return byterange.Range{}, upstream.Errorf(upstream.NotModified, op, "the ETag is still %s", attrs.ETag)
	}
	if opts.PartNumber != 0 {
		return PartRange(op, opts.PartNumber, attrs.Size, parts)
	}
	r, err := opts.Range.Resolve(attrs.Size)
	if err != nil {
		return r, upstream.Errorf(upstream.RangeError, op, "%w: %d bytes", err, attrs.Size)
	}
	return r, nil
}

// PartRange returns where the number-th part (from 1) of an object lies. An object made by one Put is
// its own part 1.
func PartRange(op string, number int, size int64, parts []int64) (byterange.Range, error) {
	if len(parts) == 0 {
		parts = []int64{size}
	}
	if number < 1 || number > len(parts) {
		return byterange.Range{}, upstream.Errorf(upstream.RangeError, op, "part %d of %d", number, len(parts))
	}
	var off int64
	for _, n := range parts[:number-1] {
		off += n
	}
	return byterange.Range{Off: off, Len: parts[number-1]}, nil
}

// CopyRange returns the bytes that a part copied from an object of size bytes takes. S3 refuses a range
// that passes the end (https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html).
func CopyRange(op string, spec byterange.Spec, size int64) (byterange.Range, error) {
	r, err := spec.Resolve(size)
	if err != nil {
		return r, upstream.Errorf(upstream.RangeError, op, "%w: %d bytes", err, size)
	}
	if _, last, ok := spec.IsClosed(); ok && last >= size {
		return r, upstream.Errorf(upstream.RangeError, op, "byte %d of %d", last, size)
	}
	return r, nil
}
