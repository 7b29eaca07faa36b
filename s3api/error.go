package s3api

// ErrorCode is an S3 error code as it stands in the XML, e.g. "NoSuchKey". Its Status and default
// Message are in the table of codes.go.
type ErrorCode string

// Error is a failure that has an S3 code. It is what the client sees: no secrets, no internals.
type Error struct {
	Code    ErrorCode
	Message string // "" for the code's own
	// Resource is the path of the request; RenderError fills it when empty.
	Resource string
	// Fields are further elements of the XML, in order (e.g. Header, BucketName, ...).
	Fields []Field
	// Header lines to send with the error (e.g. Content-Range of a 416, ETag of a 304, Retry-After).
	Header Header
	// Close: the rest of the request's body must not be read; the connection is closed after.
	Close bool
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Message
}
