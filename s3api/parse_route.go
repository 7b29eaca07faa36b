package s3api

import (
	"maps"
	"slices"
	"strings"
)

// resource is something that a URL names: a bucket, an object, or a subresource of one.
type resource struct {
	ops map[string]func(*call) Operation // what there is, by method
	// noun names the operations of a subresource that there are not: GET of noun BucketAcl is
	// GetBucketAcl. names has those that are not verb and noun.
	noun  string
	names map[string]string
}

type resources map[string]*resource // by subresource; "" is the thing itself

var serviceResources = resources{"": {ops: map[string]func(*call) Operation{"GET": parseListBuckets}}}

var bucketResources = withNouns(resources{
	"": {
		ops: map[string]func(*call) Operation{
			"GET": parseListObjectsV1, "PUT": parseCreateBucket, "DELETE": parseDeleteBucket, "HEAD": parseHeadBucket,
		},
		names: map[string]string{"POST": "PostObject"},
	},
	"delete":    {ops: map[string]func(*call) Operation{"POST": parseDeleteObjects}},
	"list-type": {ops: map[string]func(*call) Operation{"GET": parseListObjectsV2}},
	"location":  {ops: map[string]func(*call) Operation{"GET": parseBucketLocation}},
	"session":   {names: map[string]string{"GET": "CreateSession"}},
	"uploads":   {ops: map[string]func(*call) Operation{"GET": parseListUploads}},
	"versioning": {
		ops:   map[string]func(*call) Operation{"GET": parseBucketVersioning},
		names: map[string]string{"PUT": "PutBucketVersioning"},
	},
	"versions": {ops: map[string]func(*call) Operation{"GET": parseListVersions}},
}, map[string]string{
	"abac": "BucketAbac", "accelerate": "BucketAccelerateConfiguration", "acl": "BucketAcl",
	"analytics": "BucketAnalyticsConfiguration", "cors": "BucketCors", "encryption": "BucketEncryption",
	"intelligent-tiering": "BucketIntelligentTieringConfiguration", "inventory": "BucketInventoryConfiguration",
	"lifecycle": "BucketLifecycleConfiguration", "logging": "BucketLogging",
	"metadataConfiguration": "BucketMetadataConfiguration", "metadataTable": "BucketMetadataTableConfiguration",
	"metadataInventoryTable": "BucketMetadataInventoryTableConfiguration",
	"metadataJournalTable":   "BucketMetadataJournalTableConfiguration",
	"metrics":                "BucketMetricsConfiguration", "notification": "BucketNotificationConfiguration",
	"object-lock": "ObjectLockConfiguration", "ownershipControls": "BucketOwnershipControls",
	"policy": "BucketPolicy", "policyStatus": "BucketPolicyStatus", "publicAccessBlock": "PublicAccessBlock",
	"replication": "BucketReplication", "requestPayment": "BucketRequestPayment", "tagging": "BucketTagging",
	"website": "BucketWebsite",
})

var objectResources = withNouns(resources{
	"": {ops: map[string]func(*call) Operation{
		"GET": parseGetObject, "HEAD": parseHeadObject, "PUT": parsePutOrCopy, "DELETE": parseDeleteObject,
	}},
	"append":       {names: map[string]string{"PUT": "AppendObject", "POST": "AppendObject"}},
	"attributes":   {ops: map[string]func(*call) Operation{"GET": parseGetAttributes}},
	"encryption":   {names: map[string]string{"PUT": "UpdateObjectEncryption"}},
	"renameObject": {names: map[string]string{"PUT": "RenameObject"}},
	"restore":      {names: map[string]string{"POST": "RestoreObject"}},
	"select":       {names: map[string]string{"POST": "SelectObjectContent"}},
	"torrent":      {names: map[string]string{"GET": "GetObjectTorrent"}},
	"uploadId": {ops: map[string]func(*call) Operation{
		"GET": parseListParts, "PUT": parseUploadPartOrCopy, "POST": parseComplete, "DELETE": parseAbort,
	}},
	"uploads": {ops: map[string]func(*call) Operation{"POST": parseCreateUpload}},
}, map[string]string{
	"acl": "ObjectAcl", "legal-hold": "ObjectLegalHold", "retention": "ObjectRetention", "tagging": "ObjectTagging",
})

func withNouns(rs resources, nouns map[string]string) resources {
	for sub, noun := range nouns {
		rs[sub] = &resource{noun: noun}
	}
	return rs
}

var verbs = map[string]string{"GET": "Get", "PUT": "Put", "DELETE": "Delete"}

// unsupported names the operation that method would be on r, or is empty when there is no such operation.
func (r *resource) unsupported(method string) string {
	if name, ok := r.names[method]; ok {
		return name
	}
	if verb, ok := verbs[method]; ok && r.noun != "" {
		return verb + r.noun
	}
	return ""
}

// route finds the operation for the request's method and resource, and parses it.
func (c *call) route() Operation {
	res, kind := c.resource()
	if c.req.Method == "OPTIONS" {
		return c.preflight()
	}
	if parse, ok := res.ops[c.req.Method]; ok {
		c.checkHeaders()
		return parse(c)
	}
	if name := res.unsupported(c.req.Method); name != "" {
		c.fail(&Error{Code: ErrNotImplemented, Message: name + " is not implemented"})
		return c.rejected(name)
	}
	c.fail(&Error{
		Code:   ErrMethodNotAllowed,
		Fields: []Field{{"Method", c.req.Method}, {"ResourceType", kind}},
		Header: Header{{"Allow", strings.Join(slices.Sorted(maps.Keys(res.ops)), ", ")}},
	})
	return c.rejected("Unknown")
}

// resource returns what the request is about, and its type as S3 names it in errors. A subresource that does not
// exist at this level is not ignored: PUT KEY?policy must not overwrite an object, nor DELETE BUCKET?uploadId=
// remove a bucket.
func (c *call) resource() (*resource, string) {
	own, kind := serviceResources, "SERVICE"
	switch {
	case c.hasKey:
		own, kind = objectResources, "OBJECT"
	case c.bucket != "":
		own, kind = bucketResources, "BUCKET"
	}
	sub := ""
	if len(c.query) == 0 {
		return own[""], kind
	}
	for _, name := range slices.Sorted(maps.Keys(c.query)) {
		if bucketResources[name] == nil && objectResources[name] == nil || name == "" {
			continue
		}
		if sub != "" {
			c.fail(badParam("ResourceType", sub, "Conflicting query string parameters: "+sub+", "+name))
		}
		sub = name
	}
	if sub == "" {
		return own[""], kind
	}
	kind = strings.ToUpper(sub)
	if res := own[sub]; res != nil {
		return res, kind
	}
	return &resource{}, kind
}

func (c *call) rejected(name string) Operation {
	switch c.req.Method {
	case "GET", "HEAD", "OPTIONS":
		return Rejected{Object: c.onObject(), name: name}
	}
	return Rejected{Object: c.onObject(), name: name, write: true}
}

// preflight answers as S3 does for a bucket without a CORS configuration.
func (c *call) preflight() Operation {
	if c.headers.Get("origin") == "" {
		c.fail(&Error{Code: ErrBadRequest, Message: "Insufficient information. Origin request header needed."})
	}
	c.fail(&Error{Code: ErrAccessForbidden, Fields: []Field{
		{"Method", c.headers.Get("access-control-request-method")}, {"ResourceType", "BUCKET"},
	}})
	return c.rejected("PreflightRequest")
}
