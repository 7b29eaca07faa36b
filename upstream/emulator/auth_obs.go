package emulator

// obsSubresources belong to the resource of a signature (support.huaweicloud.com, api-obs, "User
// signature authentication: authentication of signature in a header", CanonicalizedResource).
var obsSubresources = []string{
	"CDNNotifyConfiguration", "acl", "append", "attname", "backtosource", "cors", "customdomain", "delete", "deletebucket",
	"directcoldaccess", "encryption", "inventory", "length", "lifecycle", "location", "logging", "metadata",
	"mirrorBackToSource", "modify", "name", "notification", "object-lock", "obscompresspolicy", "orchestration",
	"partNumber", "policy", "position", "quota", "rename", "replication", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding",
	"response-content-language", "response-content-type", "response-expires", "restore", "retention", "select",
	"storageClass", "storagePolicy", "storageinfo", "tagging", "torrent", "truncate", "uploadId", "uploads", "versionId",
	"versioning", "versions", "website", "x-image-process", "x-image-save-bucket", "x-image-save-object",
	"x-obs-security-token",
}

// verifyOBS knows the native signature. Its resource has the key as it is on the wire, percent-encoded.
func verifyOBS(e *Emulator, c *call) *failure {
	return e.verifyDated(c, dated{scheme: "OBS", resource: c.resource(c.rawKey), signed: obsSubresources, shadowed: true})
}
