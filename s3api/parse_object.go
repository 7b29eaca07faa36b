package s3api

import (
	"strings"

	"unistore/byterange"
)

func parseGetObject(c *call) Operation {
	op := GetObject{Object: c.onObject(), Conditions: c.conditions(""), Select: c.selectors()}
	op.Range, op.HasRange = c.readRange(op.Select)
	return op
}

func parseHeadObject(c *call) Operation {
	op := HeadObject{Object: c.onObject(), Conditions: c.conditions(""), Select: c.selectors()}
	op.Range, op.HasRange = c.readRange(op.Select)
	return op
}

// readRange returns the range of a read. A Range that comes with If-Range is ignored, which RFC 9110
// section 14.2 allows: the whole object is right whatever If-Range holds.
func (c *call) readRange(sel Selectors) (byterange.Spec, bool) {
	value, ok := c.header("range")
	if _, conditional := c.headers.Lookup("if-range"); !ok || conditional {
		return byterange.All(), false
	}
	spec, ok := byterange.Parse(value)
	if !ok {
		return byterange.All(), false
	}
	if sel.PartNumber > 0 {
		c.fail(&Error{Code: ErrInvalidRequest, Message: "Cannot specify both Range header and partNumber query parameter"})
	}
	return spec, true
}

// overrides are the response-* parameters, and the header lines that they replace.
var overrides = []Field{
	{"response-cache-control", "Cache-Control"},
	{"response-content-disposition", "Content-Disposition"},
	{"response-content-encoding", "Content-Encoding"},
	{"response-content-language", "Content-Language"},
	{"response-content-type", "Content-Type"},
	{"response-expires", "Expires"},
}

func (c *call) selectors() Selectors {
	sel := Selectors{
		VersionID:    c.versionID(),
		ChecksumMode: strings.EqualFold(c.headers.Get("x-amz-checksum-mode"), "ENABLED"),
	}
	if c.has("partNumber") {
		sel.PartNumber = c.partNumber()
	}
	if len(c.query) == 0 {
		return sel
	}
	for _, o := range overrides {
		value := c.query[o.Name]
		if value == "" {
			continue
		}
		if !cleanHeaderValue(value) {
			c.fail(badParam(o.Name, value, "Header value cannot be represented."))
			continue
		}
		sel.Overrides = append(sel.Overrides, Field{Name: o.Value, Value: value})
	}
	return sel
}

func parseGetAttributes(c *call) Operation {
	const header = "x-amz-object-attributes"
	op := GetObjectAttributes{Object: c.onObject(), VersionID: c.versionID()}
	wanted, _ := c.header(header)
	if strings.Trim(wanted, " ,") == "" {
		c.fail(&Error{Code: ErrInvalidRequest, Message: "The x-amz-object-attributes header specifying the " +
			"attributes to be retrieved is either missing or empty"})
	}
	for name := range strings.SplitSeq(wanted, ",") {
		switch name = strings.TrimSpace(name); name {
		case "ETag":
			op.ETag = true
		case "Checksum":
			op.Checksum = true
		case "ObjectParts":
			op.ObjectParts = true
		case "StorageClass":
			op.StorageClass = true
		case "ObjectSize":
			op.Length = true
		case "":
		default:
			c.fail(badParam(header, name, "Invalid attribute name specified."))
		}
	}
	op.MaxParts = min(c.integer("x-amz-max-parts", c.headers.Get("x-amz-max-parts"), maxListKeys), maxListKeys)
	op.PartMarker = c.integer("x-amz-part-number-marker", c.headers.Get("x-amz-part-number-marker"), 0)
	return op
}

// parsePutOrCopy is PutObject or CopyObject. A part number without an upload is refused: it is a part gone astray,
// and would replace the object.
func parsePutOrCopy(c *call) Operation {
	if c.has("partNumber") {
		c.fail(badParam("uploadId", "", "This operation needs an upload ID with a part number"))
	}
	c.noVersion()
	if source, ok := c.headers.Lookup("x-amz-copy-source"); ok {
		return c.copyObject(source)
	}
	op := PutObject{Object: c.onObject(), Headers: c.objectHeaders(), StorageClass: c.storageClass()}
	op.IfMatch, op.IfNoneMatch = c.writeConditions()
	return op
}

// noVersion refuses versionId on an operation that makes a version.
func (c *call) noVersion() {
	if id, ok := c.query["versionId"]; ok {
		c.fail(badParam("versionId", id, "This operation does not accept a version-id."))
	}
}

func (c *call) copyObject(source string) Operation {
	op := CopyObject{
		Object:           c.onObject(),
		Source:           c.copySource(source),
		StorageClass:     c.storageClass(),
		SourceConditions: c.conditions("x-amz-copy-source-"),
	}
	op.IfMatch, op.IfNoneMatch = c.writeConditions()
	switch directive := c.headers.Get("x-amz-metadata-directive"); directive {
	case "", "COPY":
	case "REPLACE":
		op.Replace = true
		op.Headers = c.objectHeaders()
	default:
		c.fail(badParam("x-amz-metadata-directive", directive, "Unknown metadata directive."))
	}
	op.ChecksumAlgorithm = c.checksumAlgorithm()
	op.HasOtherChange = op.StorageClass != "" || op.ChecksumAlgorithm != ""
	same := op.Source == CopySource{Bucket: c.bucket, Key: c.key}
	if same && !op.Replace && !op.HasOtherChange {
		c.fail(&Error{Code: ErrInvalidRequest, Message: "This copy request is illegal because it is trying to copy " +
			"an object to itself without changing the object's metadata, storage class, website redirect location " +
			"or encryption attributes."})
	}
	return op
}

// copySource reads [/]BUCKET/KEY[?versionId=ID], percent-encoded.
func (c *call) copySource(raw string) CopySource {
	const header = "x-amz-copy-source"
	if strings.HasPrefix(raw, "arn:") {
		c.fail(&Error{Code: ErrNotImplemented, Message: "A copy source that is an access point is not implemented"})
		return CopySource{}
	}
	path, version, hasVersion := cutLast(raw, "?versionId=")
	name, ok := percentDecode(path, false)
	id, okID := percentDecode(version, false)
	if !ok || !okID {
		c.fail(badParam(header, raw, "Invalid copy source encoding."))
		return CopySource{}
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	switch {
	case !validBucket(bucket):
		c.fail(badParam(header, raw, "Invalid copy source bucket name"))
	case CheckKey(key) != nil:
		c.fail(badParam(header, raw, "Invalid copy source object key"))
	case hasVersion && id == "":
		c.fail(badParam(header, raw, "Version id cannot be the empty string"))
	}
	return CopySource{Bucket: bucket, Key: key, VersionID: id}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func parseDeleteObject(c *call) Operation {
	if c.has("partNumber") {
		c.fail(badParam("uploadId", "", "This operation needs an upload ID with a part number"))
	}
	op := DeleteObject{Object: c.onObject(), VersionID: c.versionID()}
	for _, name := range []string{"if-none-match", "if-modified-since", "if-unmodified-since"} {
		c.refuseHeader(name)
	}
	op.IfMatch = c.singleETag("if-match", true)
	return op
}
