package s3api

import (
	"strconv"
	"strings"

	"unistore/byterange"
	"unistore/checksum"
	"unistore/object"
)

// The checksum types of x-amz-checksum-type.
const (
	typeFullObject = "FULL_OBJECT"
	typeComposite  = "COMPOSITE"
)

func parseCreateUpload(c *call) Operation {
	c.noVersion()
	op := CreateMultipartUpload{
		Object:            c.onObject(),
		Headers:           c.objectHeaders(),
		StorageClass:      c.storageClass(),
		ChecksumAlgorithm: c.checksumAlgorithm(),
	}
	op.ChecksumType = c.checksumType(op.ChecksumAlgorithm)
	return op
}

// checksumAlgorithm reads x-amz-checksum-algorithm, in upper case; empty when absent.
func (c *call) checksumAlgorithm() string {
	alg := strings.ToUpper(c.headers.Get("x-amz-checksum-algorithm"))
	if _, ok := checksum.New(alg); alg != "" && !ok {
		c.fail(&Error{Code: ErrInvalidRequest, Message: "Checksum algorithm provided is unsupported. Please try again " +
			"with any of the valid types: [" + strings.Join(checksum.Algorithms, ", ") + "]"})
		return ""
	}
	return alg
}

// checksumType reads x-amz-checksum-type of an upload with checksums of alg. The default is what S3
// documents: FULL_OBJECT for CRC64NVME, else COMPOSITE.
func (c *call) checksumType(alg string) string {
	t := strings.ToUpper(c.headers.Get("x-amz-checksum-type"))
	switch {
	case t == "" && alg == "":
		return ""
	case t == "" && alg == checksum.CRC64NVME:
		return typeFullObject
	case t == "":
		return typeComposite
	case t != typeFullObject && t != typeComposite:
		c.fail(&Error{Code: ErrInvalidRequest, Message: "Value for x-amz-checksum-type header is invalid."})
	case alg == "":
		c.fail(&Error{Code: ErrInvalidRequest, Message: "The x-amz-checksum-type header can only be used with the " +
			"x-amz-checksum-algorithm header."})
	case t == typeFullObject && (alg == checksum.SHA1 || alg == checksum.SHA256),
		t == typeComposite && alg == checksum.CRC64NVME:
		c.fail(&Error{Code: ErrInvalidRequest, Message: "The " + t + " checksum type cannot be used with the " +
			strings.ToLower(alg) + " checksum algorithm."})
	}
	return t
}

func parseUploadPartOrCopy(c *call) Operation {
	c.noVersion()
	if source, ok := c.headers.Lookup("x-amz-copy-source"); ok {
		return UploadPartCopy{
			Object:           c.onObject(),
			UploadID:         c.uploadID(),
			PartNumber:       c.partNumber(),
			Source:           c.copySource(source),
			Range:            c.copyRange(),
			SourceConditions: c.conditions("x-amz-copy-source-"),
		}
	}
	return UploadPart{Object: c.onObject(), UploadID: c.uploadID(), PartNumber: c.partNumber()}
}

// copyRange reads x-amz-copy-source-range, which must be closed: unlike Range it is never ignored.
func (c *call) copyRange() byterange.Spec {
	const header = "x-amz-copy-source-range"
	value, ok := c.header(header)
	if !ok {
		return byterange.All()
	}
	spec, ok := byterange.Parse(value)
	if _, _, closed := spec.IsClosed(); !ok || !closed {
		c.fail(badParam(header, value, "The x-amz-copy-source-range value must be of the form bytes=first-last where "+
			"first and last are the zero-based offsets of the first and last bytes to copy"))
		return byterange.All()
	}
	return spec
}

func parseComplete(c *call) Operation {
	c.noVersion()
	op := CompleteMultipartUpload{Object: c.onObject(), UploadID: c.uploadID(), Size: -1, Checksum: c.objectChecksum()}
	op.IfMatch, op.IfNoneMatch = c.writeConditions()
	if value := c.headers.Get("x-amz-mp-object-size"); value != "" {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			c.fail(&Error{Code: ErrInvalidRequest, Message: "Value for x-amz-mp-object-size header is invalid."})
			n = -1
		}
		op.Size = n
	}
	return op
}

// objectChecksum reads the checksum of the whole object, which may be composite ("-N" at its end).
func (c *call) objectChecksum() *object.Checksum {
	var sum *object.Checksum
	for _, f := range c.headers {
		alg, ok := checksum.FromHeader(f.Name)
		if !ok {
			continue
		}
		if sum != nil {
			c.fail(&Error{Code: ErrInvalidRequest, Message: "Expecting a single x-amz-checksum- header. Multiple checksum " +
				"Types are not allowed."})
			return nil
		}
		value, parts, composite := cutLast(f.Value, "-")
		n, err := strconv.Atoi(parts)
		if !checksum.Valid(alg, value) || composite && (err != nil || n < 1 || n > maxPart) {
			c.fail(&Error{Code: ErrInvalidRequest, Message: "Value for " + f.Name + " header is invalid."})
			return nil
		}
		sum = &object.Checksum{Algorithm: alg, Value: f.Value, Type: typeFullObject}
		if composite {
			sum.Type = typeComposite
		}
	}
	if t := strings.ToUpper(c.headers.Get("x-amz-checksum-type")); t != "" {
		if t != typeFullObject && t != typeComposite {
			c.fail(&Error{Code: ErrInvalidRequest, Message: "Value for x-amz-checksum-type header is invalid."})
		} else if sum != nil {
			sum.Type = t
		}
	}
	return sum
}

func parseAbort(c *call) Operation {
	return AbortMultipartUpload{Object: c.onObject(), UploadID: c.uploadID()}
}

func parseListParts(c *call) Operation {
	return ListParts{
		Object:     c.onObject(),
		UploadID:   c.uploadID(),
		MaxParts:   c.count("max-parts", maxListKeys),
		PartMarker: c.marker("part-number-marker"),
	}
}
