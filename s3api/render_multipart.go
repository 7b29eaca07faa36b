package s3api

import (
	"time"

	"unistore/object"
)

// RenderListUploads renders a page of ListMultipartUploads.
func RenderListUploads(op ListMultipartUploads, res UploadsResult) *Response {
	const root = "ListMultipartUploadsResult"
	w := newXML(root)
	w.encodeKeys = op.EncodeURL
	w.str("Bucket", op.Bucket.Bucket)
	w.key("KeyMarker", op.KeyMarker)
	w.str("UploadIdMarker", op.UploadIDMarker)
	if res.Truncated {
		w.key("NextKeyMarker", res.NextKeyMarker)
		w.str("NextUploadIdMarker", res.NextUploadIDMarker)
	}
	w.key("Prefix", op.Prefix)
	w.keyIf("Delimiter", op.Delimiter)
	if op.EncodeURL {
		w.str("EncodingType", "url")
	}
	w.int("MaxUploads", int64(op.MaxUploads))
	w.bool("IsTruncated", res.Truncated)
	for _, u := range res.Uploads {
		w.open("Upload")
		w.key("Key", u.Key)
		w.str("UploadId", u.UploadID)
		w.owner("Initiator")
		w.owner("Owner")
		w.storageClass(u.StorageClass)
		w.time("Initiated", u.Started)
		w.close("Upload")
	}
	w.prefixes(res.Prefixes)
	return w.response(root)
}

// RenderListParts renders a page of ListParts.
func RenderListParts(op ListParts, res PartsResult) *Response {
	const root = "ListPartsResult"
	w := newXML(root)
	w.str("Bucket", op.Bucket)
	w.str("Key", op.Key)
	w.str("UploadId", op.UploadID)
	w.owner("Initiator")
	w.owner("Owner")
	w.storageClass(res.StorageClass)
	w.int("PartNumberMarker", int64(op.PartMarker))
	if n := len(res.Parts); res.Truncated && n > 0 {
		w.int("NextPartNumberMarker", int64(res.Parts[n-1].Number))
	}
	w.int("MaxParts", int64(op.MaxParts))
	w.bool("IsTruncated", res.Truncated)
	for _, p := range res.Parts {
		w.open("Part")
		w.int("PartNumber", int64(p.Number))
		w.time("LastModified", p.ModTime)
		w.etag(p.ETag)
		w.int("Size", p.Size)
		w.checksums(p.Checksums, false)
		w.close("Part")
	}
	return w.response(root)
}

// RenderInitiate renders CreateMultipartUpload.
func RenderInitiate(op CreateMultipartUpload, uploadID string) *Response {
	const root = "InitiateMultipartUploadResult"
	w := newXML(root)
	w.str("Bucket", op.Bucket)
	w.str("Key", op.Key)
	w.str("UploadId", uploadID)
	resp := w.response(root)
	resp.SetIf("x-amz-checksum-algorithm", op.ChecksumAlgorithm)
	resp.SetIf("x-amz-checksum-type", op.ChecksumType)
	return resp
}

// RenderComplete renders CompleteMultipartUpload; location is the URL of the new object.
func RenderComplete(op CompleteMultipartUpload, location string, attrs object.Attrs) *Response {
	const root = "CompleteMultipartUploadResult"
	w := newXML(root)
	w.str("Location", location)
	w.str("Bucket", op.Bucket)
	w.str("Key", op.Key)
	w.etag(attrs.ETag)
	w.checksums(attrs.Checksums, true)
	resp := w.response(root)
	resp.SetIf("x-amz-version-id", attrs.VersionID)
	return resp
}

// RenderCopyObject renders CopyObject; attrs are those of the new object.
func RenderCopyObject(attrs object.Attrs) *Response {
	resp := renderCopy("CopyObjectResult", attrs.ETag, attrs.ModTime, attrs.Checksums, true)
	resp.SetIf("x-amz-version-id", attrs.VersionID)
	return resp
}

// RenderCopyPart renders UploadPartCopy.
func RenderCopyPart(etag string, modTime time.Time, sums []object.Checksum) *Response {
	return renderCopy("CopyPartResult", etag, modTime, sums, false)
}

func renderCopy(root, etag string, modTime time.Time, sums []object.Checksum, withType bool) *Response {
	w := newXML(root)
	w.time("LastModified", modTime)
	w.etag(etag)
	w.checksums(sums, withType)
	return w.response(root)
}
