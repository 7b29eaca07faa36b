package s3api

import (
	"strconv"
	"strings"
)

func parseListBuckets(c *call) Operation {
	op := ListBuckets{Prefix: c.query["prefix"], Token: c.query["continuation-token"]}
	if value := c.query["max-buckets"]; value != "" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxBucketsPP {
			c.fail(badParam("max-buckets", value, "Argument max-buckets must be an integer between 1 and 10000"))
			n = 0
		}
		op.MaxKeys = n
	}
	if c.query["bucket-region"] != "" {
		c.fail(&Error{Code: ErrNotImplemented, Message: "ListBuckets with bucket-region is not implemented"})
	}
	return op
}

func parseCreateBucket(c *call) Operation     { return CreateBucket{Bucket: c.onBucket()} }
func parseDeleteBucket(c *call) Operation     { return DeleteBucket{Bucket: c.onBucket()} }
func parseHeadBucket(c *call) Operation       { return HeadBucket{Bucket: c.onBucket()} }
func parseBucketLocation(c *call) Operation   { return GetBucketLocation{Bucket: c.onBucket()} }
func parseBucketVersioning(c *call) Operation { return GetBucketVersioning{Bucket: c.onBucket()} }
func parseDeleteObjects(c *call) Operation    { return DeleteObjects{Bucket: c.onBucket()} }

func (c *call) listObjects() ListObjects {
	return ListObjects{
		Bucket:    c.onBucket(),
		Prefix:    c.query["prefix"],
		Delimiter: c.query["delimiter"],
		MaxKeys:   c.count("max-keys", maxListKeys),
		EncodeURL: c.encodeURL(),
	}
}

func parseListObjectsV1(c *call) Operation {
	op := c.listObjects()
	op.After = c.query["marker"]
	return op
}

func parseListObjectsV2(c *call) Operation {
	if t := c.query["list-type"]; t != "2" {
		c.fail(badParam("list-type", t, "Invalid List Type specified in Request"))
	}
	op := c.listObjects()
	op.V2 = true
	op.After = c.query["start-after"]
	op.Token, op.HasToken = c.query["continuation-token"], c.has("continuation-token")
	op.FetchOwner = strings.EqualFold(c.query["fetch-owner"], "true")
	return op
}

func parseListVersions(c *call) Operation {
	op := ListObjectVersions{
		Bucket:          c.onBucket(),
		Prefix:          c.query["prefix"],
		Delimiter:       c.query["delimiter"],
		KeyMarker:       c.query["key-marker"],
		VersionIDMarker: c.query["version-id-marker"],
		MaxKeys:         c.count("max-keys", maxListKeys),
		EncodeURL:       c.encodeURL(),
	}
	if op.VersionIDMarker != "" && op.KeyMarker == "" {
		c.fail(badParam("version-id-marker", op.VersionIDMarker,
			"A version-id marker cannot be specified without a key marker."))
	}
	return op
}

func parseListUploads(c *call) Operation {
	return ListMultipartUploads{
		Bucket:         c.onBucket(),
		Prefix:         c.query["prefix"],
		Delimiter:      c.query["delimiter"],
		KeyMarker:      c.query["key-marker"],
		UploadIDMarker: c.query["upload-id-marker"],
		MaxUploads:     c.count("max-uploads", maxListKeys),
		EncodeURL:      c.encodeURL(),
	}
}
