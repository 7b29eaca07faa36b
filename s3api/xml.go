package s3api

import (
	"io"
	"strconv"
	"strings"

	"unistore/checksum"
	"unistore/object"
)

// DeleteTarget is one object of DeleteObjects. Key is not empty but otherwise unchecked (CheckKey). ETag is without
// quotes; set, only that version may be deleted.
type DeleteTarget struct {
	Key, VersionID, ETag string
}

// DeleteRequest is the body of DeleteObjects: 1 to 1000 objects.
type DeleteRequest struct {
	Quiet   bool
	Objects []DeleteTarget
}

// CompletedPart is one line of CompleteMultipartUpload. ETag is without quotes.
type CompletedPart struct {
	PartNumber int // 1..10000
	ETag       string
	Checksums  []object.Checksum // that the client named; no Type
}

const maxDelete = 1000 // objects of one DeleteObjects

// ReadDelete reads the body of DeleteObjects, to its end. Errors: MalformedXML, MaxMessageLengthExceeded,
// NotImplemented for conditions that are not known; and those of body, unchanged.
func ReadDelete(body io.Reader) (DeleteRequest, error) {
	var req DeleteRequest
	x := newXMLReader(body)
	found, err := x.document("Delete", func(name string) (err error) {
		switch name {
		case "Quiet":
			req.Quiet, err = x.boolean()
			return err
		case "Object":
			if len(req.Objects) == maxDelete {
				return errMalformedXML()
			}
			target, err := x.deleteTarget()
			req.Objects = append(req.Objects, target)
			return err
		}
		return errMalformedXML()
	})
	switch {
	case err != nil:
		return DeleteRequest{}, err
	case !found:
		return DeleteRequest{}, &Error{Code: ErrMissingRequestBodyError}
	case len(req.Objects) == 0:
		return DeleteRequest{}, errMalformedXML()
	}
	return req, nil
}

func (x *xmlReader) deleteTarget() (DeleteTarget, error) {
	var t DeleteTarget
	seen := make(map[string]bool, 2)
	err := x.children(func(name string) (err error) {
		if seen[name] {
			return errMalformedXML()
		}
		seen[name] = true
		switch name {
		case "Key":
			t.Key, err = x.text()
		case "VersionId":
			t.VersionID, err = x.word()
		case "ETag":
			t.ETag, err = x.word()
			t.ETag = unquote(t.ETag)
		case "LastModifiedTime", "Size": // conditions, of directory buckets only
			err = &Error{Code: ErrNotImplemented, Message: "DeleteObjects with " + name + " is not implemented"}
		default:
			err = errMalformedXML()
		}
		return err
	})
	if err == nil && t.Key == "" {
		err = errMalformedXML()
	}
	return t, err
}

// ReadComplete reads the body of CompleteMultipartUpload, to its end. Errors: MalformedXML, InvalidPartOrder,
// InvalidArgument, MaxMessageLengthExceeded; and those of body, unchanged.
func ReadComplete(body io.Reader) ([]CompletedPart, error) {
	var parts []CompletedPart
	x := newXMLReader(body)
	found, err := x.document("CompleteMultipartUpload", func(name string) error {
		if name != "Part" || len(parts) == maxPart {
			return errMalformedXML()
		}
		part, err := x.completedPart()
		parts = append(parts, part)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, &Error{Code: ErrInvalidRequest, Message: "You must specify at least one part"}
	case len(parts) == 0:
		return nil, errMalformedXML()
	}
	for i := range parts[1:] {
		if parts[i+1].PartNumber <= parts[i].PartNumber {
			return nil, &Error{Code: ErrInvalidPartOrder}
		}
	}
	return parts, nil
}

func (x *xmlReader) completedPart() (CompletedPart, error) {
	var p CompletedPart
	seen := make(map[string]bool, 4)
	err := x.children(func(name string) error {
		if seen[name] {
			return errMalformedXML()
		}
		seen[name] = true
		value, err := x.word()
		if err != nil {
			return err
		}
		switch name {
		case "PartNumber":
			n, err := strconv.Atoi(value)
			if err != nil {
				return errMalformedXML()
			}
			if n < 1 || n > maxPart {
				return badParam("partNumber", value, "Part number must be an integer between 1 and 10000, inclusive")
			}
			p.PartNumber = n
			return nil
		case "ETag":
			if p.ETag = unquote(value); !plainETag(p.ETag) {
				return &Error{Code: ErrInvalidPart}
			}
			return nil
		}
		alg, ok := checksum.FromHeader(checksum.HeaderPrefix + strings.ToLower(strings.TrimPrefix(name, "Checksum")))
		if !ok || !strings.HasPrefix(name, "Checksum") {
			return errMalformedXML()
		}
		if value != "" {
			p.Checksums = append(p.Checksums, object.Checksum{Algorithm: alg, Value: value})
		}
		return nil
	})
	if err == nil && (p.PartNumber == 0 || p.ETag == "") {
		err = errMalformedXML()
	}
	return p, err
}

// ReadCreateBucket reads the body of CreateBucket, to its end; it may be empty. Errors: MalformedXML,
// MaxMessageLengthExceeded, NotImplemented for anything but a location; and those of body, unchanged.
func ReadCreateBucket(body io.Reader) (location string, err error) {
	x := newXMLReader(body)
	_, err = x.document("CreateBucketConfiguration", func(name string) (err error) {
		switch name {
		case "LocationConstraint":
			location, err = x.word()
			return err
		case "Location", "Bucket", "Tags":
			return &Error{Code: ErrNotImplemented, Message: "CreateBucket with " + name + " is not implemented"}
		}
		return errMalformedXML()
	})
	if err != nil {
		return "", err
	}
	return location, nil
}

// maxETag bounds an ETag; those of stores have up to about 70 characters.
const maxETag = 256

// plainETag reports whether etag may be that of a part at all. Stores get it in XML, and not all of their clients escape
// it. An empty one is found to be missing elsewhere.
func plainETag(etag string) bool {
	return len(etag) <= maxETag && !strings.ContainsFunc(etag, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"'<>&`, r)
	})
}

// unquote takes the quotes off an ETag.
func unquote(etag string) string {
	return strings.TrimSuffix(strings.TrimPrefix(etag, `"`), `"`)
}
