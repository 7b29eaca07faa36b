package s3api

// RenderListObjects renders a page of ListObjects or ListObjectsV2.
func RenderListObjects(op ListObjects, res ListResult) *Response {
	const root = "ListBucketResult"
	w := newXML(root)
	w.encodeKeys = op.EncodeURL
	w.str("Name", op.Bucket.Bucket)
	w.key("Prefix", op.Prefix)
	if op.V2 {
		w.listV2(op, res)
	} else {
		w.listV1(op, res)
	}
	w.int("MaxKeys", int64(op.MaxKeys))
	w.keyIf("Delimiter", op.Delimiter)
	if op.EncodeURL {
		w.str("EncodingType", "url")
	}
	w.bool("IsTruncated", res.Truncated)
	for _, o := range res.Objects {
		w.open("Contents")
		w.entry(o)
		if !op.V2 || op.FetchOwner {
			w.owner("Owner")
		}
		w.storageClass(o.Attrs.StorageClass)
		w.close("Contents")
	}
	w.prefixes(res.Prefixes)
	return w.response(root)
}

// listV1 writes the markers. NextMarker is only for listings with a delimiter: without one the client goes
// on from its last key.
func (w *xmlWriter) listV1(op ListObjects, res ListResult) {
	w.key("Marker", op.After)
	if res.Truncated && (op.Delimiter != "" || len(res.Objects) == 0) {
		w.keyIf("NextMarker", res.Next)
	}
}

func (w *xmlWriter) listV2(op ListObjects, res ListResult) {
	w.keyIf("StartAfter", op.After)
	if op.HasToken {
		w.str("ContinuationToken", op.Token)
	}
	if res.Truncated {
		w.str("NextContinuationToken", res.Next)
	}
	w.int("KeyCount", int64(len(res.Objects)+len(res.Prefixes)))
}

// entry writes what objects and versions have in common.
func (w *xmlWriter) entry(o ListedKey) {
	w.key("Key", o.Key)
	w.time("LastModified", o.Attrs.ModTime)
	w.etag(o.Attrs.ETag)
	for _, s := range o.Attrs.Checksums {
		w.str("ChecksumAlgorithm", s.Algorithm)
	}
	w.strIf("ChecksumType", checksumType(o.Attrs.Checksums))
	w.int("Size", o.Attrs.Size)
}

// nullVersion is the version id of objects in a bucket that never had versions.
const nullVersion = "null"

// RenderListVersions renders a page of ListObjectVersions: each object is its only version, "null".
func RenderListVersions(op ListObjectVersions, res ListResult) *Response {
	const root = "ListVersionsResult"
	w := newXML(root)
	w.encodeKeys = op.EncodeURL
	w.str("Name", op.Bucket.Bucket)
	w.key("Prefix", op.Prefix)
	w.key("KeyMarker", op.KeyMarker)
	w.str("VersionIdMarker", op.VersionIDMarker)
	if res.Truncated {
		w.key("NextKeyMarker", res.Next)
		w.str("NextVersionIdMarker", nullVersion)
	}
	w.int("MaxKeys", int64(op.MaxKeys))
	w.keyIf("Delimiter", op.Delimiter)
	if op.EncodeURL {
		w.str("EncodingType", "url")
	}
	w.bool("IsTruncated", res.Truncated)
	for _, o := range res.Objects {
		w.open("Version")
		w.entry(o)
		w.str("VersionId", nullVersion)
		w.bool("IsLatest", true)
		w.owner("Owner")
		w.storageClass(o.Attrs.StorageClass)
		w.close("Version")
	}
	w.prefixes(res.Prefixes)
	return w.response(root)
}

// RenderListBuckets renders the list of buckets; next continues it, or is empty.
func RenderListBuckets(op ListBuckets, buckets []BucketEntry, next string) *Response {
	const root = "ListAllMyBucketsResult"
	w := newXML(root)
	w.owner("Owner")
	w.open("Buckets")
	for _, b := range buckets {
		w.open("Bucket")
		w.str("Name", b.Name)
		w.time("CreationDate", b.Created)
		w.close("Bucket")
	}
	w.close("Buckets")
	w.strIf("ContinuationToken", next)
	w.strIf("Prefix", op.Prefix)
	return w.response(root)
}

// RenderLocation renders GetBucketLocation; us-east-1 is the empty constraint.
func RenderLocation(region string) *Response {
	const root = "LocationConstraint"
	if region == "us-east-1" {
		region = ""
	}
	w := newXML(root)
	escapeXML(&w.buf, region)
	return w.response(root)
}

// RenderVersioning renders GetBucketVersioning of a bucket that never had versions.
func RenderVersioning() *Response {
	const root = "VersioningConfiguration"
	return newXML(root).response(root)
}
