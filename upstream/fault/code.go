package fault

import "unistore/upstream"

// codeOf is the Code that a driver gives for an HTTP status of op; 0 stands for 500.
func codeOf(status int, op string) upstream.Code {
	switch status {
	case 401, 403:
		return upstream.Access
	case 404:
		return missing(op)
	case 405, 501:
		return upstream.Unsupported
	case 409:
		return conflict(op)
	case 412:
		return upstream.Changed
	case 413:
		return upstream.TooLarge
	case 416:
		return upstream.RangeError
	case 429, 503:
		return upstream.Throttled
	case 507:
		return upstream.NoSpace
	}
	if status >= 400 && status < 500 && status != 408 {
		return upstream.Invalid
	}
	return upstream.Unavailable
}

func missing(op string) upstream.Code {
	switch op {
	case "List", "ListUploads", "ListBuckets", "StatBucket", "CreateBucket", "DeleteBucket", "DeleteBatch",
		"CreateUpload", "Put", "Delete":
		return upstream.NoBucket
	case "UploadPart", "CompleteUpload", "AbortUpload", "ListParts", "CopyPart":
		return upstream.NoUpload
	default:
		return upstream.NotExist
	}
}

func conflict(op string) upstream.Code {
	switch op {
	case "CreateBucket":
		return upstream.BucketExists
	case "DeleteBucket":
		return upstream.BucketNotEmpty
	default:
		return upstream.Conflict
	}
}
