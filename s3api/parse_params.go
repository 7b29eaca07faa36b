package s3api

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	maxListKeys  = 1000  // a page of any listing
	maxPart      = 10000 // part numbers are 1..10000
	maxBucketsPP = 10000 // max-buckets of ListBuckets
)

// badParam is InvalidArgument with the fields that S3 gives it.
func badParam(name, value, message string) *Error {
	return &Error{Code: ErrInvalidArgument, Message: message, Fields: []Field{
		{"ArgumentName", name}, {"ArgumentValue", value},
	}}
}

// signing are the X-Amz-* parameters that authentication reads.
var signing = []string{
	"x-amz-algorithm", "x-amz-content-sha256", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token",
	"x-amz-signature", "x-amz-signedheaders",
}

// parseQuery decodes the query. Presigners move x-amz-* headers into it, so these parameters are headers here too,
// unless the header itself was sent; those of authentication, and the x-id of SDKs, are left out.
// A name given twice is refused: which of the values counts is anybody's guess.
func (c *call) parseQuery(raw string) map[string]string {
	if raw == "" {
		return nil
	}
	var q map[string]string
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, value := c.unescape(rawName, true), c.unescape(rawValue, true)
		if lower := strings.ToLower(name); name == "x-id" || slices.Contains(signing, lower) {
			continue
		} else if strings.HasPrefix(lower, "x-amz-") {
			name = lower
		}
		if _, dup := q[name]; dup {
			c.fail(badParam(name, value, "The query parameter may be given only once."))
			continue
		}
		if q == nil {
			q = make(map[string]string)
		}
		q[name] = value
		if _, sent := c.headers.Lookup(name); !sent && strings.HasPrefix(name, "x-amz-") {
			c.headers = append(c.headers, Field{Name: name, Value: value})
		}
	}
	return q
}

func (c *call) has(name string) bool {
	_, ok := c.query[name]
	return ok
}

// count reads a page size: 0..2^31-1, clamped to limit; limit when absent or empty.
func (c *call) count(name string, limit int) int {
	return min(c.integer(name, c.query[name], limit), limit)
}

// marker reads a part number to go on after; 0 when absent or empty.
func (c *call) marker(name string) int { return c.integer(name, c.query[name], 0) }

// integer reads a value of 0..2^31-1, or def when it is empty.
func (c *call) integer(name, value string, def int) int {
	if value == "" {
		return def
	}
	n, err := strconv.Atoi(value)
	switch {
	case err != nil || n > math.MaxInt32:
		c.fail(badParam(name, value, "Provided "+name+" not an integer or within integer range"))
	case n < 0:
		c.fail(badParam(name, value, "Argument "+name+" must be an integer between 0 and 2147483647"))
	default:
		return n
	}
	return def
}

// partNumber reads a part number of 1..10000; it must be there.
func (c *call) partNumber() int {
	value := c.query["partNumber"]
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxPart {
		c.fail(badParam("partNumber", value, "Part number must be an integer between 1 and 10000, inclusive"))
		return 0
	}
	return n
}

// uploadID reads an upload id, which must not be empty.
func (c *call) uploadID() string {
	id := c.query["uploadId"]
	if id == "" {
		c.fail(badParam("uploadId", "", "The upload ID must not be empty"))
	}
	return id
}

// versionID reads an optional version id; given, it must not be empty.
func (c *call) versionID() string {
	id, ok := c.query["versionId"]
	if ok && id == "" {
		c.fail(badParam("versionId", "", "Version id cannot be the empty string"))
	}
	return id
}

func (c *call) encodeURL() bool {
	value := c.query["encoding-type"]
	if value != "" && value != "url" {
		c.fail(badParam("encoding-type", value, "Invalid Encoding Method specified in Request"))
	}
	return value == "url"
}
