package s3api

// Name implements Operation.
func (ListBuckets) Name() string { return "ListBuckets" }

// Name implements Operation.
func (CreateBucket) Name() string { return "CreateBucket" }

// Name implements Operation.
func (DeleteBucket) Name() string { return "DeleteBucket" }

// Name implements Operation.
func (HeadBucket) Name() string { return "HeadBucket" }

// Name implements Operation.
func (GetBucketLocation) Name() string { return "GetBucketLocation" }

// Name implements Operation.
func (GetBucketVersioning) Name() string { return "GetBucketVersioning" }

// Name implements Operation.
func (ListObjectVersions) Name() string { return "ListObjectVersions" }

// Name implements Operation.
func (ListMultipartUploads) Name() string { return "ListMultipartUploads" }

// Name implements Operation.
func (DeleteObjects) Name() string { return "DeleteObjects" }

// Name implements Operation.
func (GetObject) Name() string { return "GetObject" }

// Name implements Operation.
func (HeadObject) Name() string { return "HeadObject" }

// Name implements Operation.
func (GetObjectAttributes) Name() string { return "GetObjectAttributes" }

// Name implements Operation.
func (PutObject) Name() string { return "PutObject" }

// Name implements Operation.
func (CopyObject) Name() string { return "CopyObject" }

// Name implements Operation.
func (DeleteObject) Name() string { return "DeleteObject" }

// Name implements Operation.
func (CreateMultipartUpload) Name() string { return "CreateMultipartUpload" }

// Name implements Operation.
func (UploadPart) Name() string { return "UploadPart" }

// Name implements Operation.
func (UploadPartCopy) Name() string { return "UploadPartCopy" }

// Name implements Operation.
func (CompleteMultipartUpload) Name() string { return "CompleteMultipartUpload" }

// Name implements Operation.
func (AbortMultipartUpload) Name() string { return "AbortMultipartUpload" }

// Name implements Operation.
func (ListParts) Name() string { return "ListParts" }

// Name implements Operation.
func (l ListObjects) Name() string {
	if l.V2 {
		return "ListObjectsV2"
	}
	return "ListObjects"
}

// Target implements Operation.
func (ListBuckets) Target() (string, string) { return "", "" }
