package emulator

import (
	"net/http"
	"slices"
)

// handler serves one operation: it writes the answer, or returns the failure that is one.
type handler func(c *call) *failure

// subresources change what a request means. One that the emulator does not know is refused rather than taken for
// the plain operation.
var subresources = []string{
	"acl", "bucketInfo", "location", "uploads", "uploadId", "partNumber", "delete", "versionId",
	"append", "cors", "encryption", "lifecycle", "logging", "metadata", "notification", "objectMeta", "policy", "position",
	"quota", "referer", "replication", "restore", "stat", "storageinfo", "symlink", "tagging", "torrent",
	"versioning", "versions", "website", "worm", "x-image-process", "x-oss-process", "select", "rename", "modify", "truncate",
	"name", "storageClass", "storagePolicy", "customdomain", "inventory", "object-lock", "retention", "sequential",
	"intelligenttiering", "domain", "origin", "accelerate", "callback", "callback-var", "asyncFetch",
}

// known are the sub-resources that each kind of request may have.
var known = []string{
	"acl", "bucketInfo", "location", "uploads", "uploadId", "partNumber", "delete", "versionId", "versioning",
}

// route finds out what a call does, and sets its op.
func (e *Emulator) route(c *call) handler {
	c.op = Unknown
	for _, p := range c.query {
		if slices.Contains(subresources, p.name) && !slices.Contains(known, p.name) {
			return func(*call) *failure { return errNotHere }
		}
	}
	switch {
	case c.bucket == "":
		return e.routeService(c)
	case c.key == "":
		return e.routeBucket(c)
	default:
		return e.routeObject(c)
	}
}

func (e *Emulator) routeService(c *call) handler {
	if c.r.Method != http.MethodGet {
		return func(*call) *failure { return errMethod }
	}
	c.op = ListBuckets
	return e.listBuckets
}

func (e *Emulator) routeBucket(c *call) handler {
	sub := func(name string) bool { return c.query.has(name) }
	switch c.r.Method {
	case http.MethodGet:
		switch {
		case sub("uploads"):
			c.op = ListUploads
			return e.listUploads
		case sub("acl"), sub("location"), sub("bucketInfo"), sub("versioning"):
			c.op = BucketInfo
			return e.getBucketInfo
		}
		c.op = List
		return e.list
	case http.MethodHead:
		c.op = HeadBucket
		return e.headBucket
	case http.MethodPut:
		if sub("acl") || sub("versioning") {
			return func(*call) *failure { return errNotHere }
		}
		c.op = CreateBucket
		return e.createBucket
	case http.MethodDelete:
		c.op = DeleteBucket
		return e.deleteBucket
	case http.MethodPost:
		if sub("delete") {
			c.op = DeleteObjects
			return e.deleteObjects
		}
	}
	return func(*call) *failure { return errMethod }
}

func (e *Emulator) routeObject(c *call) handler {
	if c.query.has("acl") || c.query.has("location") || c.query.has("versioning") {
		return func(*call) *failure { return errNotHere }
	}
	if id := c.query.get("versionId"); id != "" && id != "null" {
		return func(*call) *failure { return errNoVersion }
	}
	part, copied := c.query.has("uploadId"), e.header(c, "copy-source") != ""
	switch c.r.Method {
	case http.MethodGet:
		if part {
			c.op = ListParts
			return e.listParts
		}
		c.op = GetObject
		return e.getObject
	case http.MethodHead:
		c.op = HeadObject
		return e.getObject
	case http.MethodPut:
		return e.routePut(c, part, copied)
	case http.MethodDelete:
		if part {
			c.op = AbortUpload
			return e.abortUpload
		}
		c.op = DeleteObject
		return e.deleteObject
	case http.MethodPost:
		switch {
		case part:
			c.op = CompleteUpload
			return e.completeUpload
		case c.query.has("uploads"):
			c.op = CreateUpload
			return e.createUpload
		}
	}
	return func(*call) *failure { return errMethod }
}

func (e *Emulator) routePut(c *call, part, copied bool) handler {
	switch {
	case part && copied:
		c.op = UploadPartCopy
		return e.uploadPartCopy
	case part:
		c.op = UploadPart
		return e.uploadPart
	case copied:
		c.op = CopyObject
		return e.copyObject
	}
	c.op = PutObject
	return e.putObject
}
